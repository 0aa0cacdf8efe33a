//! Targets over text: definitions as JSON, values and types as words.

use thermae_formats::{
    CatalogueEntry, Change, FeatureView, KeyType, KeyValue, RowLayout, Value, ValueType,
};

/// Feature views and catalogue entries as JSON: what is accepted is valid, has a row layout, and says the
/// same after it is written and read again.
pub fn schema_json(data: &[u8]) {
    if let Ok(view) = FeatureView::from_json(data) {
        view.validate().expect("an accepted view is valid");
        RowLayout::new(&view.features).expect("an accepted view has a row layout");
        let json = view.to_json().expect("an accepted view can be written");
        assert_eq!(FeatureView::from_json(&json).expect("and read again"), view);
        assert_eq!(view.change_from(&view), Ok(Change::None), "a view is no change from itself");
    }
    if let Ok(entry) = CatalogueEntry::from_json(data) {
        let json = entry.to_json().expect("an accepted entry can be written");
        assert_eq!(CatalogueEntry::from_json(&json).expect("and read again"), entry);
    }
}

/// The first line is a type, the rest a value of it: what parses prints, and what it prints parses to the
/// same bits; the same through JSON.
pub fn value_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (name, text) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(key_type) = name.parse::<KeyType>() {
        key_text(key_type, text);
    }
    let Ok(value_type) = name.parse::<ValueType>() else { return };
    assert_eq!(value_type.to_string().parse::<ValueType>().as_ref(), Ok(&value_type));
    if let Ok(value) = Value::parse(&value_type, text) {
        let again = Value::from_json(&value_type, &value.to_json());
        let again = again.unwrap_or_else(|error| panic!("{value:?} as JSON is refused: {error}"));
        assert!(again.same_bits(&value), "{value:?} came back as {again:?}");
    }
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text)
        && let Ok(value) = Value::from_json(&value_type, &json)
    {
        let again = Value::from_json(&value_type, &value.to_json());
        assert!(again.is_ok_and(|again| again.same_bits(&value)), "{value:?} changed");
    }
}

fn key_text(key_type: KeyType, text: &str) {
    let Ok(value) = KeyValue::parse("k", key_type, text) else { return };
    let join_key = [thermae_formats::JoinKey::new("k", key_type)];
    let mut key = Vec::new();
    if thermae_formats::encode_key(&join_key, std::slice::from_ref(&value), &mut key).is_ok() {
        let back = thermae_formats::decode_key(&join_key, &key).expect("an encoded key decodes");
        assert_eq!(back, [value]);
    }
}
