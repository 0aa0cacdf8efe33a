//! Hostile bytes: refused by name and offset, or read as some value; never a panic.

use thermae_formats::{
    CatalogueEntry, Feature, FeatureView, JoinKey, KeyType, KeyValue, Projection, RowError,
    RowLayout, Scalar, SchemaId, ValueType, decode_key, encode_key, split_key,
};

use crate::samples::{features, rows, view};

/// What each changed byte becomes.
const CHANGES: [fn(u8) -> u8; 6] =
    [|_| 0, |_| 0xff, |b| b ^ 1, |b| b ^ 0x80, |b| b.wrapping_add(1), |_| 0x7f];

/// Calls `check` with each one-byte change and each truncation of `bytes`, and with some bytes appended.
fn mutations(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    for at in 0..bytes.len() {
        for change in CHANGES {
            let mut mutated = bytes.to_vec();
            mutated[at] = change(mutated[at]);
            check(&mutated);
        }
        check(&bytes[..at]);
    }
    for extra in [1, 7, 8, 64] {
        check(&[bytes, &vec![0; extra]].concat());
        check(&[bytes, &vec![0xff; extra]].concat());
    }
}

#[test]
fn what_validates_decodes_and_encodes_to_itself() {
    let layout = RowLayout::new(&features()).unwrap();
    let view = view();
    let names: Vec<&str> = view.features.iter().map(|f| f.name.as_str()).collect();
    let projection = Projection::compile(&[(SchemaId(1), &view)], &names).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    // Short rows of each shape: every byte of each is changed seven ways.
    let mut short = 0;
    for values in rows() {
        let mut row = Vec::new();
        let dense = layout.encode(&values, &mut row).unwrap();
        if row.len() > 400 || short == 12 {
            continue;
        }
        short += 1;
        mutations(&row, |bytes| {
            let projected = projection.decode(SchemaId(1), bytes, dense);
            match layout.validate(bytes, dense) {
                Err(_) => {
                    refused += 1;
                    assert!(layout.decode(bytes, dense).is_err());
                    for index in 0..=layout.len() {
                        let _ = layout.fixed(bytes, dense, index);
                        let _ = layout.variable(bytes, dense, index);
                    }
                }
                Ok(length) => {
                    accepted += 1;
                    let decoded = layout.decode(bytes, dense).unwrap();
                    assert_eq!(projected.unwrap(), decoded);
                    let mut again = Vec::new();
                    // A row with a bitmap of no nulls is accepted, but never written.
                    if layout.encode(&decoded, &mut again).unwrap() == dense {
                        assert_eq!(again, bytes[..length]);
                    }
                }
            }
        });
    }
    assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn row_faults_are_named_with_their_offset() {
    let layout = RowLayout::new(&[
        Feature::new("flag", Scalar::Bool),
        Feature::new("name", Scalar::String),
        Feature::new("tags", ValueType::List(Scalar::String)),
        Feature::new("ids", ValueType::List(Scalar::Int64)),
    ])
    .unwrap();
    // flag, ends of name, tags and ids; "ab"; one tag "c"; one id.
    let mut row = vec![1, 2, 0, 0, 0, 11, 0, 0, 0, 23, 0, 0, 0];
    row.extend(b"ab");
    row.extend([1, 0, 0, 0, 1, 0, 0, 0, b'c']);
    row.extend([1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(layout.validate(&row, true).unwrap(), row.len());
    let cases: [(usize, u8, &str); 10] = [
        (0, 2, "flag at offset 0: a bool is neither 0 nor 1"),
        (1, 12, "tags at offset 5: the end offset is before"),
        (
            9,
            24,
            "ids at offset 9: the end offset is before the value's begin or after the row's end",
        ),
        (9, 22, "ids at offset 24: the list counts more elements"),
        (14, 0xff, "name at offset 14: the text is not UTF-8"),
        (15, 0, "tags at offset 19: bytes follow the last list element"),
        (15, 3, "tags at offset 15: the list counts more elements than it has bytes for"),
        (19, 2, "tags at offset 19: a list element ends before it begins or after the list"),
        (23, 0xc3, "tags at offset 23: the text is not UTF-8"),
        (24, 0, "ids at offset 28: bytes follow the last list element"),
    ];
    for (at, byte, message) in cases {
        let mut bad = row.clone();
        bad[at] = byte;
        let error = layout.validate(&bad, true).unwrap_err().to_string();
        assert!(error.contains(message), "byte {at} = {byte}: {error}");
    }
    let cut = layout.validate(&row[..12], true).unwrap_err();
    assert!(matches!(cut, RowError::Truncated { needed: 13, found: 12, .. }), "{cut}");
}

#[test]
fn nulls_hide_no_bytes_and_the_bitmap_has_no_stray_bit() {
    let layout =
        RowLayout::new(&[Feature::new("a", Scalar::Int32), Feature::new("b", Scalar::Bytes)])
            .unwrap();
    let null_a = [0b01, 0, 0, 0, 0, 1, 0, 0, 0, 9];
    assert_eq!(layout.validate(&null_a, false).unwrap(), 10);
    let cases: [(&[u8], &str); 4] = [
        (&[0b01, 7, 0, 0, 0, 1, 0, 0, 0, 9], "a at offset 1: a null has bytes"),
        (&[0b10, 0, 0, 0, 0, 1, 0, 0, 0, 9], "b at offset 9: a null has bytes"),
        (&[0b101, 0, 0, 0, 0, 1, 0, 0, 0, 9], "the null bitmap at offset 0: a bit beyond"),
        (&[0b01, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 1], "the padding at offset 10"),
    ];
    for (row, message) in cases {
        let error = layout.validate(row, false).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let eight_zeros = [&null_a[..], &[0; 8]].concat();
    assert!(layout.validate(&eight_zeros, false).is_err());
}

#[test]
fn a_list_that_lies_about_its_count_costs_nothing() {
    let layout = RowLayout::new(&[Feature::new("l", ValueType::List(Scalar::Uuid))]).unwrap();
    let row = [4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let error = layout.decode(&row, true).unwrap_err().to_string();
    assert!(error.contains("counts more elements than it has bytes for"), "{error}");
}

#[test]
fn keys_that_split_decode_and_encode_to_themselves() {
    let keys: Vec<JoinKey> = KeyType::ALL.map(|t| JoinKey::new(t.name(), t)).to_vec();
    let types: Vec<KeyType> = keys.iter().map(|k| k.key_type).collect();
    let values = [
        KeyValue::Int(-7),
        KeyValue::Int(i64::MAX),
        KeyValue::from("JFK"),
        KeyValue::Bytes(vec![0, 255]),
        KeyValue::Uuid([3; 16]),
    ];
    let mut bytes = Vec::new();
    encode_key(&keys, &values, &mut bytes).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    mutations(&bytes, |mutated| match split_key(&types, mutated) {
        Err(_) => {
            refused += 1;
            assert!(decode_key(&keys, mutated).is_err());
        }
        Ok((key, rest)) => {
            accepted += 1;
            let mut again = Vec::new();
            encode_key(&keys, &decode_key(&keys, key).unwrap(), &mut again).unwrap();
            assert_eq!(again, key);
            assert_eq!(key.len() + rest.len(), mutated.len());
        }
    });
    assert!(accepted > 20 && refused > 20, "{accepted} accepted, {refused} refused");
}

#[test]
fn mutated_definitions_never_panic_and_what_reads_is_valid() {
    let view = view();
    let json = view.to_json().unwrap();
    let entry = CatalogueEntry {
        schema_id: SchemaId(3),
        view_id: thermae_formats::ViewId(2),
        view: view.clone(),
    };
    let entry_json = entry.to_json().unwrap();
    assert_eq!(CatalogueEntry::from_json(&entry_json).unwrap(), entry);
    mutations(&json[..400], |mutated| {
        let whole = [mutated, &json[400..]].concat();
        if let Ok(read) = FeatureView::from_json(&whole) {
            read.validate().unwrap();
        }
        assert!(FeatureView::from_json(mutated).is_err());
    });
}
