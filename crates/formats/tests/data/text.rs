//! Values as text and as JSON: what is written reads back bit for bit.

use thermae_formats::{Scalar, Value, ValueType};

use crate::samples::{all_types, corners};

#[test]
fn text_of_every_value_parses_back_bit_for_bit() {
    for value_type in all_types() {
        for value in corners(&value_type) {
            let text = value.to_string();
            assert_eq!(Value::parse(&value_type, &text).unwrap(), value, "{value_type} {text:?}");
        }
    }
}

#[test]
fn json_of_every_value_reads_back_bit_for_bit_through_text() {
    for value_type in all_types() {
        for value in corners(&value_type) {
            let text = value.to_json().to_string();
            let json = serde_json::from_str(&text).unwrap();
            assert_eq!(Value::from_json(&value_type, &json).unwrap(), value, "{value_type} {text}");
        }
        assert_eq!(Value::from_json(&value_type, &serde_json::Value::Null).unwrap(), Value::Null);
    }
}

#[test]
fn every_float32_exponent_survives_json() {
    // A stride that visits all exponents and many mantissas.
    for bits in (0..=u32::MAX).step_by(65_521) {
        let value = Value::Float32(f32::from_bits(bits));
        let json = serde_json::from_str(&value.to_json().to_string()).unwrap();
        assert_eq!(Value::from_json(&Scalar::Float32.into(), &json).unwrap(), value, "{bits:#x}");
    }
}

#[test]
fn numbers_print_shortest_and_the_special_ones_apart() {
    let cases = [
        (Value::Float32(0.1), "0.1", "0.1"),
        (Value::Float32(16_777_216.0), "16777216.0", "16777216.0"),
        (Value::Float64(0.1 + 0.2), "0.30000000000000004", "0.30000000000000004"),
        (Value::Float32(-0.0), "-0.0", "\"-0.0\""),
        (Value::Float64(f64::NAN), "NaN", "\"NaN\""),
        (Value::Float32(f32::from_bits(0xffc1_2345)), "NaN(0xffc12345)", "\"NaN(0xffc12345)\""),
        (Value::Float64(f64::NEG_INFINITY), "-inf", "\"-inf\""),
        (Value::Int64(1 << 53), "9007199254740992", "9007199254740992"),
        (Value::Int64((1 << 53) + 1), "9007199254740993", "9007199254740993"),
        (Value::Bytes(vec![0, 0xab]), "0x00ab", "\"0x00ab\""),
        (Value::Bytes(vec![]), "0x", "\"0x\""),
        (Value::Vector(vec![0.5, f32::NAN]), "[0.5,\"NaN\"]", "[0.5,\"NaN\"]"),
        (Value::List(vec![]), "[]", "[]"),
        (Value::Null, "null", "null"),
    ];
    for (value, text, json) in cases {
        assert_eq!(value.to_string(), text);
        assert_eq!(value.to_json().to_string(), json);
    }
    assert_eq!(format!("[{:>6}]", Value::Float32(0.5)), "[   0.5]");
}

#[test]
fn equality_is_of_bits() {
    let nan = |bits| Value::Float32(f32::from_bits(bits));
    assert_eq!(nan(0x7fc0_0000), nan(0x7fc0_0000));
    assert_ne!(nan(0x7fc0_0000), nan(0x7fc0_0001));
    assert_ne!(Value::Float64(0.0), Value::Float64(-0.0));
    assert_ne!(Value::Vector(vec![0.0]), Value::Vector(vec![-0.0]));
    assert_ne!(Value::Int32(1), Value::Int64(1));
    assert_ne!(Value::Bytes(vec![]), Value::Opaque(vec![]));
    assert_ne!(Value::String(String::new()), Value::Null);
    assert_ne!(Value::List(vec![]), Value::Null);
    assert_ne!(Value::Timestamp(0), Value::Int64(0));
}

#[test]
fn what_is_not_of_the_type_is_refused() {
    let vector = ValueType::Vector { dimension: 2 };
    let cases: [(ValueType, &str); 18] = [
        (Scalar::Bool.into(), "yes"),
        (Scalar::Int32.into(), "2147483648"),
        (Scalar::Int32.into(), "1.0"),
        (Scalar::Int64.into(), "9223372036854775808"),
        (Scalar::Float32.into(), "1e39"),
        (Scalar::Float32.into(), "NaN(0x3f800000)"),
        (Scalar::Float32.into(), "NaN(0x+7fc00001)"),
        (Scalar::Float64.into(), ""),
        (Scalar::Float64.into(), "1e309"),
        (Scalar::Bytes.into(), "00"),
        (Scalar::Bytes.into(), "0x0g"),
        (Scalar::Uuid.into(), "12345678-9abc-def0-0102"),
        (Scalar::Json.into(), "{a: 1}"),
        (ValueType::List(Scalar::Int32), "[1, null]"),
        (ValueType::List(Scalar::Int32), "null"),
        (ValueType::List(Scalar::String), "[1]"),
        (vector.clone(), "[1.0]"),
        (vector, "[1.0, 1e39]"),
    ];
    for (value_type, text) in cases {
        assert!(Value::parse(&value_type, text).is_err(), "{value_type} {text:?}");
    }
    let error = Value::parse(&ValueType::List(Scalar::Int32), "[1, 2, \"x\"]").unwrap_err();
    assert!(error.to_string().starts_with("element 2: \"x\" is not of type int32"), "{error}");
}

#[test]
fn a_json_feature_keeps_its_text_and_takes_any_json() {
    let json_type = ValueType::Scalar(Scalar::Json);
    let object = serde_json::json!({"a": [1, 2.5]});
    let value = Value::from_json(&json_type, &object).unwrap();
    assert_eq!(value, Value::Json("{\"a\":[1,2.5]}".to_owned()));
    let text = serde_json::json!("{ \"a\" : 1 }");
    let value = Value::from_json(&json_type, &text).unwrap();
    assert_eq!(value, Value::Json("{ \"a\" : 1 }".to_owned()));
}

#[test]
fn json_numbers_are_never_narrowed_in_silence() {
    let read = |t: Scalar, json| Value::from_json(&t.into(), &json);
    assert_eq!(read(Scalar::Float64, serde_json::json!(3)).unwrap(), Value::Float64(3.0));
    assert_eq!(read(Scalar::Int32, serde_json::json!("12")).unwrap(), Value::Int32(12));
    assert!(read(Scalar::Int32, serde_json::json!(2_147_483_648_i64)).is_err());
    assert!(read(Scalar::Int64, serde_json::json!(u64::MAX)).is_err());
    assert!(read(Scalar::Int64, serde_json::json!(1.0)).is_err());
    assert!(read(Scalar::Float64, serde_json::json!(9_007_199_254_740_993_i64)).is_err());
    assert!(read(Scalar::Float32, serde_json::json!(1e39)).is_err());
    assert!(read(Scalar::Bool, serde_json::json!(1)).is_err());
    assert!(read(Scalar::String, serde_json::json!(1)).is_err());
}

#[test]
fn type_names_read_back_and_wrong_ones_are_refused() {
    for value_type in all_types() {
        assert_eq!(value_type.to_string().parse::<ValueType>().unwrap(), value_type);
    }
    assert_eq!(ValueType::Vector { dimension: 128 }.to_string(), "vector<float32, 128>");
    assert_eq!(
        " vector< float32,128 > ".parse::<ValueType>().unwrap().to_string(),
        "vector<float32, 128>"
    );
    let wrong = [
        "",
        "int",
        "Int64",
        "list",
        "list<>",
        "list<list<int32>>",
        "vector<float32, 0>",
        "vector<float32, 65537>",
        "vector<float32, -1>",
        "vector<float64, 3>",
        "vector<float32>",
        "opaque<>",
        "opaque<a\nb>",
        "map<string>",
    ];
    for text in wrong {
        assert!(text.parse::<ValueType>().is_err(), "{text:?}");
    }
    assert!(format!("opaque<{}>", "x".repeat(129)).parse::<ValueType>().is_err());
}

#[test]
fn widening_keeps_every_bit_that_it_can() {
    let wide = ValueType::Scalar(Scalar::Float64);
    let widen = |bits| Value::Float32(f32::from_bits(bits)).widened_to(&wide);
    assert_eq!(widen(0x8000_0000), Value::Float64(-0.0));
    assert_eq!(widen(0.1_f32.to_bits()), Value::Float64(f64::from(0.1_f32)));
    assert_eq!(widen(0x7f80_0000), Value::Float64(f64::INFINITY));
    assert_eq!(widen(1), Value::Float64(f64::from(f32::from_bits(1))));
    // A signalling NaN stays one.
    assert_eq!(widen(0x7f80_0001), Value::Float64(f64::from_bits(0x7ff0_0000_2000_0000)));
    assert_eq!(widen(0xffc1_2345), Value::Float64(f64::from_bits(0xfff8_2468_a000_0000)));
    let wide = ValueType::Scalar(Scalar::Int64);
    assert_eq!(Value::Int32(i32::MIN).widened_to(&wide), Value::Int64(-2_147_483_648));
}
