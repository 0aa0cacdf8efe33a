//! Entity keys: bytes, coercion, limits, packed lists.

use thermae_formats::key::key_len;
use thermae_formats::{
    JoinKey, KeyError, KeyType, KeyValue, Scalar, Value, decode_key, encode_key, split_key,
};

fn encode(keys: &[JoinKey], values: &[KeyValue]) -> Result<Vec<u8>, KeyError> {
    let mut out = Vec::new();
    encode_key(keys, values, &mut out).map(|()| out)
}

fn one(key_type: KeyType) -> [JoinKey; 1] {
    [JoinKey::new("id", key_type)]
}

#[test]
fn int32_and_int64_seven_name_one_entity() {
    let seven = encode(&one(KeyType::Int64), &[KeyValue::Int(7)]).unwrap();
    assert_eq!(encode(&one(KeyType::Int32), &[KeyValue::Int(7)]).unwrap(), seven);
    assert_eq!(encode(&one(KeyType::Int32), &[KeyValue::from("7")]).unwrap(), seven);
    assert_eq!(seven, [7, 0, 0, 0, 0, 0, 0, 0]);
    let minus = encode(&one(KeyType::Int32), &[KeyValue::Int(-1)]).unwrap();
    assert_eq!(minus, [0xff; 8]);
}

#[test]
fn composite_keys_keep_the_declared_order_and_come_back() {
    let keys = KeyType::ALL.map(|t| JoinKey::new(t.name(), t));
    let values = [
        KeyValue::from(i32::MIN),
        KeyValue::from(i64::MIN),
        KeyValue::from("a\0b"),
        KeyValue::Bytes(vec![]),
        KeyValue::from([9; 16]),
    ];
    let bytes = encode(&keys, &values).unwrap();
    assert_eq!(bytes.len(), 8 + 8 + 5 + 2 + 16);
    assert_eq!(decode_key(&keys, &bytes).unwrap(), values);
}

#[test]
fn a_view_without_entity_has_the_empty_key() {
    assert!(encode(&[], &[]).unwrap().is_empty());
    assert!(decode_key(&[], &[]).unwrap().is_empty());
    assert_eq!(split_key(&[], b"rest").unwrap(), (&b""[..], &b"rest"[..]));
    assert!(matches!(decode_key(&[], b"x"), Err(KeyError::Trailing { offset: 0, extra: 1 })));
}

#[test]
fn packed_keys_split_one_by_one_and_keys_do_not_run_together() {
    let keys = [JoinKey::new("a", KeyType::String), JoinKey::new("b", KeyType::String)];
    let types = [KeyType::String, KeyType::String];
    let pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")];
    let mut packed = Vec::new();
    let mut singles = Vec::new();
    for (a, b) in pairs {
        let single = encode(&keys, &[a.into(), b.into()]).unwrap();
        assert!(!singles.contains(&single));
        packed.extend_from_slice(&single);
        singles.push(single);
    }
    let mut rest = &packed[..];
    for single in &singles {
        assert_eq!(key_len(&types, rest).unwrap(), single.len());
        let (key, tail) = split_key(&types, rest).unwrap();
        assert_eq!(key, single);
        rest = tail;
    }
    assert!(rest.is_empty());
}

#[test]
fn a_key_is_a_value_of_its_type_and_comes_back_and_text_means_the_same_in_both() {
    let keys = [
        (KeyValue::from(i32::MIN), Value::Int32(i32::MIN)),
        (KeyValue::from(i64::MIN), Value::Int64(i64::MIN)),
        (KeyValue::from("a\0b"), Value::from("a\0b")),
        (KeyValue::Bytes(vec![1]), Value::Bytes(vec![1])),
        (KeyValue::from([9; 16]), Value::Uuid([9; 16])),
    ];
    for (key_type, (key, expected)) in KeyType::ALL.into_iter().zip(keys) {
        assert_eq!(key.to_value("id", key_type).unwrap(), expected);
        assert_eq!(KeyValue::of_value(&expected, "id", key_type).unwrap(), key);
        assert_eq!(KeyType::of_scalar(key_type.scalar()), Some(key_type));
        let null = KeyValue::of_value(&Value::Null, "id", key_type).unwrap_err().to_string();
        assert_eq!(null, format!("join key \"id\": expected {key_type}, found null"));
    }
    assert_eq!(KeyType::of_scalar(Scalar::Float64), None);
    let text = |text: &str, key_type| KeyValue::from(text).to_value("id", key_type).unwrap();
    assert_eq!(text("7", KeyType::Int32), Value::Int32(7));
    assert_eq!(text(&"09".repeat(16), KeyType::Uuid), Value::Uuid([9; 16]));
    // A wider integer passes where it fits; no text passes for a number, as rows have types.
    let of = |value: Value, key_type| KeyValue::of_value(&value, "id", key_type);
    assert_eq!(of(Value::Int32(7), KeyType::Int64).unwrap(), KeyValue::Int(7));
    assert_eq!(of(Value::Int64(7), KeyType::Int32).unwrap(), KeyValue::Int(7));
    for (value, key_type, message) in [
        (Value::Int64(1 << 40), KeyType::Int32, "1099511627776 does not fit an int32"),
        (Value::from("7"), KeyType::Int64, "expected int64, found string"),
        (Value::Float64(7.0), KeyType::Int64, "expected int64, found float64"),
        (Value::Timestamp(7), KeyType::Int64, "expected int64, found timestamp"),
    ] {
        let error = of(value, key_type).unwrap_err().to_string();
        assert_eq!(error, format!("join key \"id\": {message}"));
    }
}

#[test]
fn what_cannot_be_coerced_is_an_error_naming_the_column() {
    let too_big = i64::from(i32::MAX) + 1;
    let cases = [
        (KeyType::Int32, KeyValue::Int(too_big), "2147483648 does not fit an int32"),
        (KeyType::Int32, KeyValue::from("2147483648"), "is not an int32"),
        (KeyType::Int64, KeyValue::from("7.0"), "is not an int64"),
        (KeyType::Int64, KeyValue::Uuid([0; 16]), "expected int64, found uuid"),
        (KeyType::String, KeyValue::Int(7), "expected string, found integer"),
        (KeyType::Uuid, KeyValue::from("12"), "a UUID is 32 hex digits"),
        (KeyType::Bytes, KeyValue::from("abc"), "0x and pairs of hex digits"),
    ];
    for (key_type, value, message) in cases {
        let mut out = b"kept".to_vec();
        let as_value = value.to_value("id", key_type).unwrap_err().to_string();
        let error = encode_key(&one(key_type), &[value], &mut out).unwrap_err().to_string();
        assert!(error.starts_with("join key \"id\": ") && error.contains(message), "{error}");
        assert_eq!(as_value, error, "a key in a row is refused as one in a packed key");
        assert_eq!(out, b"kept");
    }
    // The first join key is encoded before the second is refused.
    let keys = [JoinKey::new("a", KeyType::Int64), JoinKey::new("b", KeyType::Int32)];
    let mut out = b"kept".to_vec();
    let error = encode_key(&keys, &[1_i64.into(), too_big.into()], &mut out).unwrap_err();
    assert!(error.to_string().starts_with("join key \"b\": "), "{error}");
    assert_eq!(out, b"kept");
    let error = encode(&one(KeyType::Int64), &[]).unwrap_err().to_string();
    assert_eq!(error, "expected 1 join key values (id), found 0");
}

#[test]
fn keys_parse_from_text_by_their_type() {
    let parse = |t, text| KeyValue::parse("id", t, text);
    assert_eq!(parse(KeyType::Int32, "-5").unwrap(), KeyValue::Int(-5));
    assert_eq!(parse(KeyType::String, " x ").unwrap(), KeyValue::from(" x "));
    assert_eq!(parse(KeyType::Bytes, "0x00ff").unwrap(), KeyValue::Bytes(vec![0, 255]));
    let uuid = parse(KeyType::Uuid, "12345678-9abc-def0-0102-030405060708").unwrap();
    assert_eq!(uuid.to_string(), "12345678-9abc-def0-0102-030405060708");
    assert_eq!(parse(KeyType::Uuid, "123456789abcdef00102030405060708").unwrap(), uuid);
    for (key_type, text) in [
        (KeyType::Int32, "2147483648"),
        (KeyType::Int64, ""),
        (KeyType::Uuid, "é2345678-9abc-def0-0102-0304050607"),
        (KeyType::Bytes, "0x0"),
    ] {
        let error = parse(key_type, text).unwrap_err();
        assert!(error.to_string().starts_with("join key \"id\": "), "{error}");
    }
}

#[test]
fn a_key_holds_1024_bytes_and_not_one_more() {
    let keys = [JoinKey::new("a", KeyType::Int64), JoinKey::new("b", KeyType::String)];
    let types = [KeyType::Int64, KeyType::String];
    let text = |n: usize| KeyValue::String("x".repeat(n));
    let longest = encode(&keys, &[KeyValue::Int(1), text(1014)]).unwrap();
    assert_eq!(longest.len(), 1024);
    assert_eq!(split_key(&types, &longest).unwrap().0.len(), 1024);
    let error = encode(&keys, &[KeyValue::Int(1), text(1015)]).unwrap_err();
    assert_eq!(error, KeyError::TooLong { found: 1025, limit: 1024 });
    let error = encode(&keys, &[KeyValue::Int(1), text(70_000)]).unwrap_err().to_string();
    assert!(error.starts_with("join key \"b\": 70000 bytes"), "{error}");
    let mut hostile = vec![0; 8];
    hostile.extend(1015_u16.to_le_bytes());
    hostile.resize(1025, b'x');
    assert!(matches!(split_key(&types, &hostile), Err(KeyError::TooLong { found: 1025, .. })));
    assert!(matches!(decode_key(&keys, &hostile), Err(KeyError::TooLong { found: 1025, .. })));
}
