//! Golden files: bytes that must not change within a format version.
//!
//! `UPDATE_GOLDEN=1` writes them anew; only a new format version is a reason to.

use std::fmt::Write as _;
use std::path::Path;

use thermae_formats::row_value::encode_value;
use thermae_formats::{
    CatalogueEntry, Feature, FeatureView, JoinKey, KeyType, KeyValue, RowLayout, Scalar, SchemaId,
    Value, ValueType, ViewId, decode_key, encode_key,
};

use crate::samples::{features, rows, view};

/// Compares with `golden/NAME`, or writes it if asked to.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == text, "{name} changed: the format is no longer the one documented");
}

/// One `offset  hex` line for each 16 bytes.
fn dump(bytes: &[u8], out: &mut String) {
    for (line, chunk) in bytes.chunks(16).enumerate() {
        write!(out, "  {:04x} ", line * 16).unwrap();
        chunk.iter().for_each(|byte| write!(out, " {byte:02x}").unwrap());
        out.push('\n');
    }
}

/// The bytes of the n-th dump of a golden file.
fn undump(text: &str) -> Vec<Vec<u8>> {
    let mut dumps: Vec<Vec<u8>> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("  ") {
            None => dumps.push(Vec::new()),
            Some(hex) => {
                let bytes = hex.split_whitespace().skip(1);
                let bytes = bytes.map(|b| u8::from_str_radix(b, 16).unwrap());
                dumps.last_mut().unwrap().extend(bytes);
            }
        }
    }
    dumps
}

#[test]
fn rows_are_as_documented() {
    let layout = RowLayout::new(&features()).unwrap();
    let mut text = String::new();
    let chosen: Vec<_> = rows().into_iter().enumerate().filter(|(n, _)| n % 5 == 0).collect();
    for (n, values) in &chosen {
        let mut row = Vec::new();
        let dense = layout.encode(values, &mut row).unwrap();
        writeln!(text, "row {n}, dense {dense}, {} bytes", row.len()).unwrap();
        dump(&row, &mut text);
    }
    compare("data-rows.txt", &text);
    for (bytes, (_, values)) in undump(&text).iter().zip(&chosen) {
        let dense = !values.iter().any(Value::is_null);
        assert_eq!(layout.decode(bytes, dense).unwrap(), *values);
    }
}

/// The examples of docs/formats.md, typed from there.
#[test]
fn the_examples_of_the_document_are_true() {
    let tags = ValueType::List(Scalar::String);
    let texts = |list: &[&str]| Value::List(list.iter().map(|t| Value::from(*t)).collect());
    let mut field = Vec::new();
    encode_value(&tags, &texts(&["ab", "", "c"]), &mut field).unwrap();
    assert_eq!(field, b"\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03\0\0\0abc");

    let mut key = Vec::new();
    let keys = [JoinKey::new("origin", KeyType::String), JoinKey::new("hour", KeyType::Int64)];
    encode_key(&keys, &["JFK".into(), 7_i64.into()], &mut key).unwrap();
    assert_eq!(key, b"\x03\0JFK\x07\0\0\0\0\0\0\0");

    let layout = RowLayout::new(&[
        Feature::new("flag", Scalar::Bool),
        Feature::new("name", Scalar::String),
        Feature::new("speed", Scalar::Float32),
        Feature::new("tags", tags),
    ])
    .unwrap();
    let mut values = [true.into(), "ab".into(), 1.5_f32.into(), texts(&["c"])];
    let mut row = Vec::new();
    assert!(layout.encode(&values, &mut row).unwrap());
    let variable = b"ab\x01\0\0\0\x01\0\0\0c";
    let head = b"\x01\x02\0\0\0\0\0\xc0\x3f\x0b\0\0\0";
    assert_eq!(row, [&head[..], variable].concat());
    values[2] = Value::Null;
    row.clear();
    assert!(!layout.encode(&values, &mut row).unwrap());
    let head = b"\x04\x01\x02\0\0\0\0\0\0\0\x0b\0\0\0";
    assert_eq!(row, [&head[..], variable].concat());

    let json = br#"{"project":"flights","name":"weather","version":1,"entities":["airport"],
 "join_keys":[{"name":"origin","type":"string"},{"name":"hour","type":"int64"}],
 "features":[{"name":"temp","type":"float32","default":0.5,"description":"Fahrenheit","tags":{"unit":"F"}}],
 "ttl_us":86400000000,
 "tiers":{"hot_for_us":0,"warm_for_us":0,"keep_for_us":0,"history":"full"},
 "owner":"","tags":{},"description":"","source":""}"#;
    let compact: Vec<u8> = String::from_utf8_lossy(json).replace("\n ", "").into_bytes();
    assert_eq!(FeatureView::from_json(json).unwrap().to_json().unwrap(), compact);
}

#[test]
fn keys_are_as_documented() {
    let keys = KeyType::ALL.map(|t| JoinKey::new(t.name(), t)).to_vec();
    let samples = [
        vec![
            KeyValue::Int(7),
            KeyValue::Int(-2),
            KeyValue::from("JFK"),
            KeyValue::Bytes(vec![0, 255]),
            KeyValue::Uuid(*b"0123456789abcdef"),
        ],
        vec![
            KeyValue::Int(i64::from(i32::MIN)),
            KeyValue::Int(i64::MAX),
            KeyValue::from(""),
            KeyValue::Bytes(vec![]),
            KeyValue::Uuid([0; 16]),
        ],
    ];
    let mut text = String::new();
    for values in &samples {
        let mut bytes = Vec::new();
        encode_key(&keys, values, &mut bytes).unwrap();
        let shown: Vec<String> = values.iter().map(ToString::to_string).collect();
        writeln!(text, "key of {}", shown.join(" | ")).unwrap();
        dump(&bytes, &mut text);
    }
    compare("data-keys.txt", &text);
    for (bytes, values) in undump(&text).iter().zip(&samples) {
        assert_eq!(decode_key(&keys, bytes).unwrap(), *values);
    }
}

#[test]
fn catalogue_entries_are_as_documented() {
    let mut view = view();
    view.ttl_us = 86_400_000_000;
    view.tiers.hot_for_us = 3_600_000_000;
    view.entities = vec!["airport".to_owned()];
    view.tags.insert("team".to_owned(), "ops".to_owned());
    for (feature, n) in view.features.iter_mut().zip(0..) {
        let corners = crate::samples::corners(&feature.value_type);
        feature.default = Some(corners[n % corners.len()].clone());
    }
    let entry = CatalogueEntry { schema_id: SchemaId(3), view_id: ViewId(2), view };
    let json = String::from_utf8(entry.to_json().unwrap()).unwrap();
    // One feature a line, so that a difference can be read.
    let text = json.replace(",{\"name\"", "\n,{\"name\"") + "\n";
    compare("data-catalogue.txt", &text);
    let read = CatalogueEntry::from_json(text.replace('\n', "").as_bytes()).unwrap();
    assert_eq!(read, entry);
}
