#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! What fits which type, and what is refused with which words.

use serde_json::value::RawValue;
use thermae_formats::{KeyType, KeyValue, Value, ValueType};

use super::cell::Cell;
use super::coerce::{Allow, TimeUnit, key, time_us, value};

fn strict() -> Allow {
    Allow::default()
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn typed(name: &str) -> ValueType {
    name.parse().unwrap()
}

fn take(cell: &Cell<'_>, name: &str) -> Result<Value, String> {
    value(cell, &typed(name), strict())
}

#[test]
fn what_fits_exactly_is_taken() {
    for (cell, name, expected) in [
        (Cell::Null, "vector<float32, 3>", Value::Null),
        (Cell::Bool(true), "bool", Value::Bool(true)),
        (Cell::Int(-7), "int32", Value::Int32(-7)),
        (Cell::UInt(7), "int64", Value::Int64(7)),
        (Cell::Int(7), "float32", Value::Float32(7.0)),
        (Cell::Float64(0.5), "float32", Value::Float32(0.5)),
        (Cell::Float32(0.1), "float64", Value::Float64(f64::from(0.1_f32))),
        (Cell::Float64(-0.0), "float64", Value::Float64(-0.0)),
        (Cell::Float64(f64::NEG_INFINITY), "float32", Value::Float32(f32::NEG_INFINITY)),
        (Cell::Text(""), "string", Value::String(String::new())),
        (Cell::Text("a\0b"), "string", Value::String("a\0b".to_owned())),
        (Cell::Bytes(&[0, 255]), "bytes", Value::Bytes(vec![0, 255])),
        (Cell::Bytes(&[1]), "opaque<map>", Value::Opaque(vec![1])),
        (Cell::Bytes(&[9; 16]), "uuid", Value::Uuid([9; 16])),
        (Cell::TimestampUs(-1), "timestamp", Value::Timestamp(-1)),
        (Cell::List(vec![]), "list<string>", Value::List(vec![])),
        (Cell::List(vec![Cell::Int(1)]), "list<int64>", Value::List(vec![Value::Int64(1)])),
        (
            Cell::List(vec![Cell::Float64(0.5), Cell::Float32(0.1)]),
            "vector<float32, 2>",
            Value::Vector(vec![0.5, 0.1]),
        ),
        (Cell::Untyped("-0.0"), "float32", Value::Float32(-0.0)),
        (Cell::Untyped("0.1"), "float32", Value::Float32(0.1)),
        (Cell::Untyped("true"), "bool", Value::Bool(true)),
        (
            Cell::Untyped("[1,2]"),
            "list<int32>",
            Value::List(vec![Value::Int32(1), Value::Int32(2)]),
        ),
        (
            Cell::Untyped("2013-01-01T05:00:00Z"),
            "timestamp",
            Value::Timestamp(1_357_016_400_000_000),
        ),
    ] {
        let taken = take(&cell, name);
        assert_eq!(taken.as_ref(), Ok(&expected), "{cell:?} as {name}");
    }
    let nan = take(&Cell::Float64(f64::NAN), "float32").unwrap();
    assert!(matches!(nan, Value::Float32(v) if v.is_nan()));
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    for (cell, name, words) in [
        (Cell::Float64(3.0), "int64", ["expected int64", "float64"]),
        (Cell::Int(3_000_000_000), "int32", ["3000000000", "out of range"]),
        (Cell::UInt(u64::MAX), "int64", ["18446744073709551615", "out of range"]),
        (Cell::Float64(0.1), "float32", ["0.1", "--narrow-floats"]),
        (Cell::Float64(1e300), "float32", ["1e300", "out of range"]),
        (Cell::Int(16_777_217), "float32", ["16777217", "no float32"]),
        (Cell::Int(9_007_199_254_740_993), "float64", ["9007199254740993", "no exact"]),
        (Cell::Int(1), "bool", ["expected bool", "integer"]),
        (Cell::Int(5), "string", ["expected string", "integer"]),
        (Cell::Text("5"), "int64", ["expected int64", "text"]),
        (Cell::Text("x"), "bytes", ["expected bytes", "text"]),
        (Cell::Bytes(&[1; 15]), "uuid", ["16 bytes", "15"]),
        (Cell::Text("{"), "json", ["json", "{"]),
        (Cell::Int(1_357_016_400), "timestamp", ["integer", "--time-unit"]),
        (Cell::Untyped("1357016400"), "timestamp", ["integer", "--time-unit"]),
        (Cell::Untyped("yesterday"), "timestamp", ["yesterday", "not a time"]),
        (Cell::Untyped("1e3"), "int64", ["1e3", "int64"]),
        (Cell::Untyped(""), "int64", ["int64", ""]),
        (Cell::List(vec![Cell::Null]), "list<int64>", ["element 0", "null"]),
        (Cell::List(vec![Cell::Text("a")]), "list<int64>", ["element 0", "expected int64"]),
        (Cell::List(vec![Cell::Float32(1.0)]), "vector<float32, 2>", ["2 elements", "found 1"]),
        (Cell::Unreadable("why".to_owned()), "string", ["why", ""]),
    ] {
        let refused = take(&cell, name).expect_err(&format!("{cell:?} as {name}"));
        assert!(words.iter().all(|word| refused.contains(word)), "{cell:?} as {name}: {refused}");
    }
}

#[test]
fn json_keeps_digits_and_bytes_until_the_type_is_known() {
    for (text, name, expected) in [
        ("0.1", "float32", Value::Float32(0.1)),
        ("9223372036854775807", "int64", Value::Int64(i64::MAX)),
        ("null", "int64", Value::Null),
        ("{\"b\": 1.50,  \"a\":[]}", "json", Value::Json("{\"b\": 1.50,  \"a\":[]}".to_owned())),
        ("\"\\u0000é\"", "string", Value::String("\0é".to_owned())),
        ("[0.1, 2]", "vector<float32, 2>", Value::Vector(vec![0.1, 2.0])),
        ("\"2013-01-01\"", "timestamp", Value::Timestamp(1_356_998_400_000_000)),
        ("\"0x00ff\"", "bytes", Value::Bytes(vec![0, 255])),
        ("\"NaN\"", "float64", Value::Float64(f64::NAN)),
    ] {
        let raw = raw(text);
        assert_eq!(take(&Cell::Json(&raw), name).as_ref(), Ok(&expected), "{text} as {name}");
    }
    for (text, name) in [
        ("1.5", "int64"),
        ("5", "string"),
        ("1e39", "float32"),
        ("\"x\"", "int64"),
        ("{}", "string"),
        ("[1,null]", "list<int64>"),
        ("[1,2,3]", "vector<float32, 2>"),
        ("1357016400", "timestamp"),
        ("true", "int32"),
    ] {
        let raw = raw(text);
        assert!(take(&Cell::Json(&raw), name).is_err(), "{text} as {name}");
    }
}

#[test]
fn floats_are_narrowed_only_when_asked_and_never_to_infinity() {
    let allow = Allow { narrow_floats: true, ..Allow::default() };
    let float32 = typed("float32");
    assert_eq!(value(&Cell::Float64(0.1), &float32, allow), Ok(Value::Float32(0.1)));
    assert!(value(&Cell::Float64(1e300), &float32, allow).unwrap_err().contains("out of range"));
}

#[test]
fn integer_times_have_the_unit_that_was_said() {
    for (unit, count, us) in [
        (TimeUnit::S, 2, 2_000_000),
        (TimeUnit::Ms, 2, 2_000),
        (TimeUnit::Us, 2, 2),
        (TimeUnit::Ns, 2_000, 2),
    ] {
        let allow = Allow { time_unit: Some(unit), ..Allow::default() };
        assert_eq!(time_us(&Cell::Int(count), allow), Ok(us));
        assert_eq!(time_us(&Cell::Untyped(&count.to_string()), allow), Ok(us));
        assert_eq!(time_us(&Cell::Json(&raw(&count.to_string())), allow), Ok(us));
    }
    let in_ns = Allow { time_unit: Some(TimeUnit::Ns), ..Allow::default() };
    assert!(time_us(&Cell::Int(2_001), in_ns).unwrap_err().contains("no whole microsecond"));
    let in_s = Allow { time_unit: Some(TimeUnit::S), ..Allow::default() };
    assert!(time_us(&Cell::Int(i64::MAX), in_s).unwrap_err().contains("out of range"));
    assert!(time_us(&Cell::UInt(u64::MAX), in_s).unwrap_err().contains("out of range"));
}

#[test]
fn keys_are_coerced_or_name_their_column() {
    let key = |cell: &Cell<'_>, wanted| key(cell, "id", wanted);
    assert_eq!(key(&Cell::Int(7), KeyType::Int32), Ok(KeyValue::Int(7)));
    assert_eq!(key(&Cell::Untyped("7"), KeyType::Int64), Ok(KeyValue::Int(7)));
    assert_eq!(key(&Cell::Text("é"), KeyType::String), Ok(KeyValue::from("é")));
    assert_eq!(key(&Cell::Bytes(&[3; 16]), KeyType::Uuid), Ok(KeyValue::Uuid([3; 16])));
    assert_eq!(key(&Cell::Json(&raw("\"a\\\"b\"")), KeyType::String), Ok(KeyValue::from("a\"b")));
    assert_eq!(key(&Cell::Json(&raw("7")), KeyType::Int64), Ok(KeyValue::Int(7)));
    for (cell, wanted) in [
        (Cell::Null, KeyType::String),
        (Cell::Float64(7.0), KeyType::Int64),
        (Cell::Int(3_000_000_000), KeyType::Int32),
        (Cell::Int(7), KeyType::String),
        (Cell::Text("7"), KeyType::Int64),
        (Cell::Bytes(&[1]), KeyType::Uuid),
    ] {
        let refused = key(&cell, wanted).unwrap_err();
        assert!(refused.contains("join key id"), "{refused}");
    }
    for (text, wanted) in [
        ("7.0", KeyType::Int64),
        ("7", KeyType::String),
        ("\"7\"", KeyType::Int64),
        ("null", KeyType::Int64),
    ] {
        let raw = raw(text);
        assert!(key(&Cell::Json(&raw), wanted).unwrap_err().contains("id"), "{text}");
    }
}
