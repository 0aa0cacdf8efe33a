//! Changes of definitions: which are compatible, and what the refusals say.

use thermae_formats::{Change, Feature, FeatureView, JoinKey, KeyType, Scalar, Value, ValueType};

fn old() -> FeatureView {
    FeatureView::new(
        "flights",
        "planes",
        vec![JoinKey::new("tail", KeyType::String)],
        vec![
            Feature::new("seats", Scalar::Int32).with_default(Value::Int32(7)),
            Feature::new("speed", Scalar::Float32),
            Feature::new("ids", ValueType::List(Scalar::Int32)),
        ],
    )
}

fn changed(change: fn(&mut FeatureView)) -> Result<Change, String> {
    let mut new = old();
    change(&mut new);
    new.validate().map_err(|e| e.to_string())?;
    new.change_from(&old()).map_err(|e| e.to_string())
}

#[test]
fn policies_and_metadata_keep_the_schema() {
    assert_eq!(changed(|_| ()), Ok(Change::None));
    assert_eq!(changed(|v| v.ttl_us = 5), Ok(Change::Policy));
    assert_eq!(changed(|v| v.tiers.hot_for_us = 5), Ok(Change::Policy));
    assert_eq!(changed(|v| v.owner = "me".into()), Ok(Change::Policy));
    assert_eq!(changed(|v| v.entities = vec!["plane".into()]), Ok(Change::Policy));
    assert_eq!(changed(|v| v.features[1].description = "mph".into()), Ok(Change::Policy));
    assert_eq!(changed(|v| v.features[1].default = Some(Value::Null)), Ok(Change::Policy));
}

#[test]
fn adding_widening_and_reordering_are_compatible() {
    let added = |v: &mut FeatureView| v.features.push(Feature::new("year", Scalar::Int32));
    assert_eq!(changed(added), Ok(Change::Compatible));
    let in_front = |v: &mut FeatureView| {
        let year = Feature::new("year", Scalar::Int32).with_default(Value::Int32(1999));
        v.features.insert(0, year);
    };
    assert_eq!(changed(in_front), Ok(Change::Compatible));
    let wide_int = |v: &mut FeatureView| {
        v.features[0] = Feature::new("seats", Scalar::Int64).with_default(Value::Int64(7));
    };
    assert_eq!(changed(wide_int), Ok(Change::Compatible));
    let wide_float = |v: &mut FeatureView| v.features[1] = Feature::new("speed", Scalar::Float64);
    assert_eq!(changed(wide_float), Ok(Change::Compatible));
    assert_eq!(changed(|v| v.features.swap(0, 1)), Ok(Change::Compatible));
}

#[test]
fn anything_else_is_refused_by_name_and_reason() {
    type Spoil = fn(&mut FeatureView);
    let cases: [(Spoil, &str); 9] = [
        (|v| drop(v.features.remove(1)), "feature \"speed\" is removed"),
        (|v| v.features[1].name = "mph".into(), "feature \"speed\" is removed"),
        (
            |v| v.features[1].value_type = Scalar::Int32.into(),
            "feature \"speed\" changes from float32 to int32; only int32 to int64",
        ),
        (
            |v| v.features[2].value_type = ValueType::List(Scalar::Int64),
            "feature \"ids\" changes from list<int32> to list<int64>",
        ),
        (
            |v| v.features[0].default = Some(Value::Int32(8)),
            "default of feature \"seats\" changes from 7 to 8",
        ),
        (|v| v.features[0].default = None, "default of feature \"seats\" changes from 7 to null"),
        (
            |v| v.join_keys[0].key_type = KeyType::Bytes,
            "join keys change from (tail string) to (tail bytes)",
        ),
        (|v| v.join_keys.clear(), "join keys change from (tail string) to ()"),
        (
            |v| v.version = 2,
            "flights/planes version 2 is another view than flights/planes version 1",
        ),
    ];
    for (spoil, message) in cases {
        let error = changed(spoil).unwrap_err();
        assert!(error.starts_with("incompatible change of feature view \"planes\": "), "{error}");
        assert!(error.contains(message), "{error}");
        assert!(error.ends_with("register it as a new view version to serve both"), "{error}");
    }
}
