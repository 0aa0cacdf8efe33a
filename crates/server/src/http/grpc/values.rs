//! Values as Feast's `Value` has them.

use thermae_formats::text::{format_uuid, parse_uuid};
use thermae_formats::{KeyType, KeyValue, Value as Ours, ValueType};

use super::messages::{
    BoolList, BytesList, DoubleList, FloatList, Int32List, Int64List, StringList, Val, Value,
};

const SECOND_US: i64 = 1_000_000;

/// A value as Feast has it. A time has whole seconds there, the last one that has begun; a vector is a list of
/// floats, and what is opaque is bytes.
pub(super) fn to_proto(value: Ours) -> Value {
    let val = match value {
        Ours::Null => return Value { val: None },
        Ours::Bool(v) => Val::Bool(v),
        Ours::Int32(v) => Val::Int32(v),
        Ours::Int64(v) => Val::Int64(v),
        Ours::Float32(v) => Val::Float(v),
        Ours::Float64(v) => Val::Double(v),
        Ours::String(v) => Val::String(v),
        Ours::Json(v) => Val::Json(v),
        Ours::Bytes(v) | Ours::Opaque(v) => Val::Bytes(v),
        Ours::Timestamp(v) => Val::UnixTimestamp(v.div_euclid(SECOND_US)),
        Ours::Uuid(v) => Val::Uuid(format_uuid(&v)),
        Ours::Vector(val) => Val::FloatList(FloatList { val }),
        Ours::List(values) => list(values),
    };
    Value { val: Some(val) }
}

/// The values of one kind: a list has no others.
macro_rules! all_of {
    ($values:ident, $kind:ident) => {
        all_of!($values, $kind, |value| value)
    };
    ($values:ident, $kind:ident, $make:expr) => {{
        let made = $values.into_iter().filter_map(|value| match value {
            Ours::$kind(value) => Some($make(value)),
            _ => None,
        });
        made.collect()
    }};
}

/// A list is of its first element's type. An empty one tells none, and is sent as one of texts.
fn list(values: Vec<Ours>) -> Val {
    let seconds = |time_us: i64| time_us.div_euclid(SECOND_US);
    match values.first() {
        Some(Ours::Bool(_)) => Val::BoolList(BoolList { val: all_of!(values, Bool) }),
        Some(Ours::Int32(_)) => Val::Int32List(Int32List { val: all_of!(values, Int32) }),
        Some(Ours::Int64(_)) => Val::Int64List(Int64List { val: all_of!(values, Int64) }),
        Some(Ours::Float32(_)) => Val::FloatList(FloatList { val: all_of!(values, Float32) }),
        Some(Ours::Float64(_)) => Val::DoubleList(DoubleList { val: all_of!(values, Float64) }),
        Some(Ours::Bytes(_)) => Val::BytesList(BytesList { val: all_of!(values, Bytes) }),
        Some(Ours::Timestamp(_)) => {
            Val::UnixTimestampList(Int64List { val: all_of!(values, Timestamp, seconds) })
        }
        Some(Ours::Uuid(_)) => {
            Val::UuidList(StringList { val: all_of!(values, Uuid, |v| format_uuid(&v)) })
        }
        Some(Ours::Json(_)) => Val::JsonList(StringList { val: all_of!(values, Json) }),
        _ => Val::StringList(StringList { val: all_of!(values, String) }),
    }
}

/// A join key of a type.
///
/// # Errors
/// A sentence that says what was found.
pub(super) fn to_key(value: &Value, wanted: KeyType) -> Result<KeyValue, String> {
    let unfit = |found: &dyn std::fmt::Debug| format!("expected {wanted}, found {found:?}");
    match (wanted, &value.val) {
        (_, None) => Err("it is null".to_owned()),
        (KeyType::Int64, Some(Val::Int32(v))) => Ok(KeyValue::from(*v)),
        (KeyType::Int64, Some(Val::Int64(v))) => Ok(KeyValue::Int(*v)),
        (KeyType::Int32, Some(Val::Int32(v))) => Ok(KeyValue::from(*v)),
        (KeyType::Int32, Some(Val::Int64(v))) => {
            i32::try_from(*v).map(KeyValue::from).map_err(|_| unfit(v))
        }
        (KeyType::String, Some(Val::String(v))) => Ok(KeyValue::String(v.clone())),
        (KeyType::Bytes, Some(Val::Bytes(v))) => Ok(KeyValue::Bytes(v.clone())),
        (KeyType::Uuid, Some(Val::Uuid(v) | Val::String(v))) => parse_uuid(v).map(KeyValue::Uuid),
        (_, Some(found)) => Err(unfit(found)),
    }
}

/// A value that features are computed from, of its field's type: an int32 passes as int64, a float as a double.
///
/// # Errors
/// A sentence that says what was found.
pub(super) fn to_value(value: &Value, wanted: &ValueType) -> Result<Ours, String> {
    let ours = match &value.val {
        None => Ours::Null,
        Some(Val::Bool(v)) => Ours::Bool(*v),
        Some(Val::Int32(v)) => Ours::Int32(*v),
        Some(Val::Int64(v)) => Ours::Int64(*v),
        Some(Val::Float(v)) => Ours::Float32(*v),
        Some(Val::Double(v)) => Ours::Float64(*v),
        Some(Val::String(v)) => Ours::String(v.clone()),
        Some(Val::Json(v)) => Ours::Json(v.clone()),
        Some(Val::Bytes(v)) => Ours::Bytes(v.clone()),
        Some(Val::UnixTimestamp(v)) => Ours::Timestamp(
            v.checked_mul(SECOND_US)
                .ok_or_else(|| format!("{v} s are beyond what a time can be"))?,
        ),
        Some(Val::Uuid(v)) => Ours::Uuid(parse_uuid(v)?),
        Some(found) => return Err(format!("expected {wanted}, found {found:?}")),
    };
    let ours = ours.widened_to(wanted);
    ours.check(wanted).map_err(|_| format!("expected {wanted}, found {:?}", value.val))?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_kind_of_value_has_its_own() {
        let uuid = [7; 16];
        let strings = |text: &str| StringList { val: vec![text.to_owned()] };
        for (ours, theirs) in [
            (Ours::Null, None),
            (Ours::Bool(false), Some(Val::Bool(false))),
            (Ours::Int32(-1), Some(Val::Int32(-1))),
            (Ours::Int64(i64::MIN), Some(Val::Int64(i64::MIN))),
            (Ours::Float32(0.1), Some(Val::Float(0.1))),
            (Ours::Float64(0.1), Some(Val::Double(0.1))),
            (Ours::String(String::new()), Some(Val::String(String::new()))),
            (Ours::Json("{}".into()), Some(Val::Json("{}".into()))),
            (Ours::Bytes(vec![0]), Some(Val::Bytes(vec![0]))),
            (Ours::Opaque(vec![1]), Some(Val::Bytes(vec![1]))),
            (Ours::Timestamp(-1), Some(Val::UnixTimestamp(-1))),
            (Ours::Timestamp(1_999_999), Some(Val::UnixTimestamp(1))),
            (Ours::Uuid(uuid), Some(Val::Uuid(format_uuid(&uuid)))),
            (Ours::Vector(vec![1.0]), Some(Val::FloatList(FloatList { val: vec![1.0] }))),
            (
                Ours::List(vec![Ours::Timestamp(2_000_000)]),
                Some(Val::UnixTimestampList(Int64List { val: vec![2] })),
            ),
            (Ours::List(vec![Ours::Json("1".into())]), Some(Val::JsonList(strings("1")))),
            (Ours::List(vec![Ours::String("a".into())]), Some(Val::StringList(strings("a")))),
            (Ours::List(vec![Ours::Int32(3)]), Some(Val::Int32List(Int32List { val: vec![3] }))),
        ] {
            assert_eq!(to_proto(ours).val, theirs);
        }
    }

    #[test]
    fn request_data_is_of_its_declared_type_or_refused() {
        let value =
            |val: Option<Val>, wanted: &str| to_value(&Value { val }, &wanted.parse().unwrap());
        assert_eq!(value(None, "float64"), Ok(Ours::Null));
        assert_eq!(value(Some(Val::Int32(7)), "int64"), Ok(Ours::Int64(7)));
        assert_eq!(value(Some(Val::Float(0.5)), "float64"), Ok(Ours::Float64(0.5)));
        assert_eq!(
            value(Some(Val::UnixTimestamp(-2)), "timestamp"),
            Ok(Ours::Timestamp(-2_000_000))
        );
        let uuid = format_uuid(&[7; 16]);
        assert_eq!(value(Some(Val::Uuid(uuid)), "uuid"), Ok(Ours::Uuid([7; 16])));
        for (val, wanted, found) in [
            (Val::Double(0.5), "float32", "Double(0.5)"),
            (Val::Double(7.0), "int64", "Double(7.0)"),
            (Val::Int64(7), "int32", "Int64(7)"),
            (Val::String("7".into()), "int64", "String(\"7\")"),
            (Val::FloatList(FloatList { val: vec![1.0] }), "float32", "FloatList"),
        ] {
            let error = value(Some(val), wanted).unwrap_err();
            assert!(
                error.contains(&format!("expected {wanted}")) && error.contains(found),
                "{error}"
            );
        }
        assert!(value(Some(Val::UnixTimestamp(i64::MAX)), "timestamp").is_err());
    }

    #[test]
    fn a_key_is_of_its_declared_type_or_refused() {
        let key = |val: Val, wanted| to_key(&Value { val: Some(val) }, wanted);
        assert_eq!(key(Val::Int64(7), KeyType::Int32), Ok(KeyValue::Int(7)));
        assert_eq!(key(Val::Int32(7), KeyType::Int64), Ok(KeyValue::Int(7)));
        let text = format_uuid(&[7; 16]);
        assert_eq!(key(Val::String(text), KeyType::Uuid), Ok(KeyValue::Uuid([7; 16])));
        for (val, wanted) in [
            (Val::Int64(1 << 31), KeyType::Int32),
            (Val::Double(7.0), KeyType::Int64),
            (Val::String("7".into()), KeyType::Int64),
            (Val::Int64(7), KeyType::String),
            (Val::String("x".into()), KeyType::Uuid),
        ] {
            assert!(key(val.clone(), wanted).is_err(), "{val:?}");
        }
        assert!(to_key(&Value { val: None }, KeyType::String).is_err());
    }
}
