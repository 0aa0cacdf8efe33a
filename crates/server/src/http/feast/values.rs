//! Values as Feast's feature server writes them in JSON, and as its clients send them.
//!
//! | type | written, and read, as | also read |
//! | --- | --- | --- |
//! | bool, int32, int64, string | themselves | |
//! | float32, float64 | the shortest number; `"NaN"`, `"Infinity"`, `"-Infinity"` | integers |
//! | bytes, opaque | base64 | |
//! | timestamp | seconds since 1970, UTC, with decimals only where it is no whole second | RFC 3339 text |
//! | uuid | `"8-4-4-4-12"` | 32 hex digits |
//! | json | a string that holds it | any JSON value |
//! | list, vector | an array | |

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use thermae_formats::text::format_uuid;
use thermae_formats::time::{format_timestamp_us, parse_timestamp_us};
use thermae_formats::value_json::shortest_float64;
use thermae_formats::{KeyType, KeyValue, NO_TIME, Scalar, Value, ValueType};

use crate::ingest::cell::Cell;
use crate::ingest::coerce::{self, Allow};

const SECOND_US: u64 = 1_000_000;

/// Writes a value as JSON.
pub(super) fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int32(v) => write_display(out, v),
        Value::Int64(v) => write_display(out, v),
        Value::Float32(v) if v.is_finite() => write_float(out, shortest_float64(*v)),
        Value::Float32(v) => write_float(out, f64::from(*v)),
        Value::Float64(v) => write_float(out, *v),
        Value::String(v) | Value::Json(v) => write_text(out, v),
        Value::Bytes(v) | Value::Opaque(v) => write_text(out, &STANDARD.encode(v)),
        Value::Timestamp(v) => write_seconds(out, *v),
        Value::Uuid(v) => write_text(out, &format_uuid(v)),
        Value::List(values) => write_array(out, values, write),
        Value::Vector(values) => {
            write_array(out, values, |out, v| write(out, &Value::Float32(*v)));
        }
    }
}

/// Writes an array, each element by `element`.
pub(super) fn write_array<T>(out: &mut Vec<u8>, all: &[T], element: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, one) in all.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        element(out, one);
    }
    out.push(b']');
}

/// Writes a text, quoted.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // A text always has JSON, and a vector always takes it.
    let _ = serde_json::to_writer(out, text);
}

/// Writes an event time as Feast's server does: RFC 3339, and 1970 where there is none.
pub(super) fn write_event_time(out: &mut Vec<u8>, time_us: i64) {
    let time_us = if time_us == NO_TIME { 0 } else { time_us };
    write_text(out, &format_timestamp_us(time_us));
}

fn write_display(out: &mut Vec<u8>, number: &dyn std::fmt::Display) {
    let _ = write!(out, "{number}");
}

fn write_float(out: &mut Vec<u8>, value: f64) {
    match value {
        v if v.is_finite() => drop(serde_json::to_writer(out, &v)),
        v if v.is_nan() => out.extend_from_slice(b"\"NaN\""),
        v if v > 0.0 => out.extend_from_slice(b"\"Infinity\""),
        _ => out.extend_from_slice(b"\"-Infinity\""),
    }
}

fn write_seconds(out: &mut Vec<u8>, time_us: i64) {
    let (sign, size_us) = (if time_us < 0 { "-" } else { "" }, time_us.unsigned_abs());
    let (whole, rest_us) = (size_us / SECOND_US, size_us % SECOND_US);
    let _ = match rest_us {
        0 => write!(out, "{sign}{whole}"),
        rest_us => {
            let decimals = format!("{rest_us:06}");
            write!(out, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
        }
    };
}

/// Reads a value of a type.
///
/// # Errors
/// A sentence that says what was found, and why it is not of the type.
pub(super) fn read(raw: &RawValue, wanted: &ValueType) -> Result<Value, String> {
    let text = raw.get();
    if text == "null" {
        return Ok(Value::Null);
    }
    match wanted {
        ValueType::Scalar(Scalar::Bytes) => bytes(text).map(Value::Bytes),
        ValueType::Opaque { .. } => bytes(text).map(Value::Opaque),
        ValueType::Scalar(Scalar::Timestamp) => time_us(raw).map(Value::Timestamp),
        ValueType::List(scalar) => {
            let elements: Vec<&RawValue> = serde_json::from_str(text)
                .map_err(|_| format!("expected {wanted}, found {}", shown(text)))?;
            let element =
                |(index, raw): (usize, &&RawValue)| match read(raw, &ValueType::Scalar(*scalar)) {
                    Ok(Value::Null) => Err(format!("element {index} is null")),
                    read => read.map_err(|why| format!("element {index}: {why}")),
                };
            elements.iter().enumerate().map(element).collect::<Result<_, _>>().map(Value::List)
        }
        wanted => coerce::value(&Cell::Json(raw), wanted, Allow::default()),
    }
}

/// Reads a join key of a type.
///
/// # Errors
/// A sentence that says what was found, and why it is not of the type.
pub(super) fn read_key(raw: &RawValue, name: &str, wanted: KeyType) -> Result<KeyValue, String> {
    match wanted {
        KeyType::Bytes if raw.get() != "null" => bytes(raw.get()).map(KeyValue::Bytes),
        wanted => coerce::key(&Cell::Json(raw), name, wanted),
    }
}

/// Reads a time: RFC 3339 (without a zone it is UTC) or a number of seconds since 1970; microseconds, UTC.
///
/// # Errors
/// A sentence that says why it is no time.
pub(super) fn time_us(raw: &RawValue) -> Result<i64, String> {
    let text = raw.get();
    let no_time = || {
        format!(
            "{} is not a time: write 2013-01-01T05:00:00Z (with up to 6 decimals), or seconds since 1970",
            shown(text)
        )
    };
    let found = match serde_json::from_str::<String>(text) {
        Err(_) => seconds_us(text),
        // A number in quotes may be of any unit.
        Ok(inner) if inner.trim().parse::<i64>().is_ok() => None,
        Ok(inner) => parse_timestamp_us(&inner).ok(),
    };
    found.filter(|time_us| *time_us != NO_TIME).ok_or_else(no_time)
}

/// A decimal number of seconds, exactly.
fn seconds_us(text: &str) -> Option<i64> {
    let (is_negative, size) = match text.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, text),
    };
    let (whole, decimals) = size.split_once('.').unwrap_or((size, ""));
    let (finer, decimals) = match decimals.get(6..) {
        Some(finer) => (finer, &decimals[..6]),
        None => ("", decimals),
    };
    if !finer.bytes().all(|digit| digit == b'0') {
        return None;
    }
    let digits = format!("{whole}{decimals:0<6}");
    let size_us =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())??;
    Some(if is_negative { -size_us } else { size_us })
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let inner = serde_json::from_str::<String>(text).ok();
    let decoded = inner.and_then(|inner| STANDARD.decode(inner).ok());
    decoded.ok_or_else(|| format!("expected bytes in base64, found {}", shown(text)))
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn written(value: &Value) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_what_feast_writes_and_reads_back_bit_for_bit() {
        let scalar = ValueType::Scalar;
        let list = Value::List(vec![Value::Bytes(vec![0]), Value::Bytes(vec![])]);
        for (value, value_type, text) in [
            (Value::Null, scalar(Scalar::Int64), "null"),
            (Value::Bool(true), scalar(Scalar::Bool), "true"),
            (Value::Int64(i64::MIN), scalar(Scalar::Int64), "-9223372036854775808"),
            (Value::Float32(0.1), scalar(Scalar::Float32), "0.1"),
            (Value::Float32(16_777_216.0), scalar(Scalar::Float32), "16777216.0"),
            (Value::Float32(f32::MAX), scalar(Scalar::Float32), "3.4028235e+38"),
            (Value::Float32(f32::NAN), scalar(Scalar::Float32), "\"NaN\""),
            (Value::Float64(-0.0), scalar(Scalar::Float64), "-0.0"),
            (Value::Float64(f64::NEG_INFINITY), scalar(Scalar::Float64), "\"-Infinity\""),
            (Value::Float64(f64::INFINITY), scalar(Scalar::Float64), "\"Infinity\""),
            (Value::String("a\u{0}\"b".into()), scalar(Scalar::String), "\"a\\u0000\\\"b\""),
            (Value::Json("{\"a\": 1}".into()), scalar(Scalar::Json), "\"{\\\"a\\\": 1}\""),
            (Value::Bytes(vec![0, 255]), scalar(Scalar::Bytes), "\"AP8=\""),
            (Value::Timestamp(1_500_000), scalar(Scalar::Timestamp), "1.5"),
            (Value::Timestamp(-1), scalar(Scalar::Timestamp), "-0.000001"),
            (Value::Timestamp(86_400_000_000), scalar(Scalar::Timestamp), "86400"),
            (Value::Vector(vec![0.5, -1.0]), ValueType::Vector { dimension: 2 }, "[0.5,-1.0]"),
            (list, ValueType::List(Scalar::Bytes), "[\"AA==\",\"\"]"),
        ] {
            assert_eq!(written(&value), text);
            let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(parsed.is_null(), value.is_null(), "it is JSON");
            assert_eq!(read(&raw(text), &value_type), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_time_is_text_or_seconds_and_nothing_is_guessed() {
        for (text, time_us_) in [
            ("\"2022-05-13 10:59:42\"", 1_652_439_582_000_000),
            ("\"2022-05-13T12:59:42.5+02:00\"", 1_652_439_582_500_000),
            ("1652439582", 1_652_439_582_000_000),
            ("1652439582.0000010", 1_652_439_582_000_001),
            ("-1.5", -1_500_000),
            ("0", 0),
        ] {
            assert_eq!(time_us(&raw(text)), Ok(time_us_), "{text}");
        }
        for text in [
            "\"1652439582\"",
            "\"soon\"",
            "1e9",
            "1.0000001",
            "true",
            "null",
            "[]",
            "\"\"",
            "99999999999999999999",
            "-9223372036854.775808",
        ] {
            assert!(time_us(&raw(text)).unwrap_err().contains("is not a time"), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_was_found() {
        let scalar = ValueType::Scalar;
        for (text, value_type, what) in [
            ("1.0", scalar(Scalar::Int64), "invalid digit"),
            ("\"1\"", scalar(Scalar::Bool), "expected bool"),
            ("2147483648", scalar(Scalar::Int32), "number too large"),
            ("1e39", scalar(Scalar::Float32), "out of range"),
            ("\"0x0\"", scalar(Scalar::Bytes), "expected bytes in base64"),
            ("[1,null]", ValueType::List(Scalar::Int64), "element 1 is null"),
            ("[1,\"a\"]", ValueType::List(Scalar::Int64), "element 1: "),
            ("3", ValueType::List(Scalar::Int64), "expected list<int64>, found 3"),
            ("[1]", ValueType::Vector { dimension: 2 }, "2 elements, found 1"),
        ] {
            let why = read(&raw(text), &value_type).unwrap_err();
            assert!(why.contains(what), "{text}: {why}");
        }
        for (text, key_type) in [
            ("\"NaN\"", KeyType::Int64),
            ("1.5", KeyType::Int64),
            ("null", KeyType::String),
            ("7", KeyType::String),
            ("2147483648", KeyType::Int32),
        ] {
            assert!(read_key(&raw(text), "user", key_type).is_err(), "{text}");
        }
        assert_eq!(
            read_key(&raw("\"AP8=\""), "k", KeyType::Bytes),
            Ok(KeyValue::Bytes(vec![0, 255]))
        );
    }
}
