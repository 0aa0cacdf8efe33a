//! Values as text, for the command line and CSV: what `Display` writes, `parse` reads back bit for bit.

use std::fmt;

use crate::error::{KeyError, ValueError};
use crate::text::{format_float32, format_float64, format_hex, format_uuid, parse_hex, parse_uuid};
use crate::time::format_timestamp_us;
use crate::types::{KeyType, ValueType};
use crate::value::{KeyValue, Value};
use crate::value_scalar::unreadable;

impl Value {
    /// Reads a value of the type from text.
    ///
    /// * bool: `true`, `false` (any case), `1`, `0`;
    /// * floats: decimal, `NaN`, `inf`, `-inf`, or a NaN by its bits, `NaN(0x7fc00001)`;
    /// * timestamp: RFC 3339 or microseconds; uuid: 32 hex digits, with or without dashes;
    /// * bytes and opaque: `0x` and hex digits; string and json: the text itself;
    /// * list and vector: a JSON array of those (strings, times, UUIDs and bytes in quotes).
    ///
    /// The empty text is an empty string or an error, never null: what stands for null is the caller's.
    pub fn parse(value_type: &ValueType, text: &str) -> Result<Self, ValueError> {
        match value_type {
            ValueType::Scalar(scalar) => Self::parse_scalar(*scalar, text),
            ValueType::Opaque { .. } => {
                parse_hex(text).map(Self::Opaque).map_err(|r| unreadable(text, value_type, r))
            }
            ValueType::List(_) | ValueType::Vector { .. } => {
                let json = serde_json::from_str(text)
                    .map_err(|e| unreadable(text, value_type, format!("not a JSON array: {e}")))?;
                match Self::from_json(value_type, &json)? {
                    Self::Null => Err(unreadable(text, value_type, "not a JSON array")),
                    value => Ok(value),
                }
            }
        }
    }
}

impl KeyValue {
    /// Reads a join key value of the type from text; `column` is named by the error.
    ///
    /// Integers are decimal, a UUID is 32 hex digits with or without dashes, bytes are `0x` and hex
    /// digits, a string is the text itself. An int32 out of range is an error.
    pub fn parse(column: &str, key_type: KeyType, text: &str) -> Result<Self, KeyError> {
        let int = |e: std::num::ParseIntError| format!("{text:?} is not an {key_type}: {e}");
        let parsed = match key_type {
            KeyType::Int32 => {
                text.trim().parse::<i32>().map(|v| Self::Int(i64::from(v))).map_err(int)
            }
            KeyType::Int64 => text.trim().parse::<i64>().map(Self::Int).map_err(int),
            KeyType::String => Ok(Self::String(text.to_owned())),
            KeyType::Bytes => parse_hex(text).map(Self::Bytes),
            KeyType::Uuid => parse_uuid(text.trim()).map(Self::Uuid),
        };
        parsed.map_err(|reason| KeyError::Uncoercible { column: column.to_owned(), reason })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.pad("null"),
            Self::Bool(v) => v.fmt(f),
            Self::Int32(v) => v.fmt(f),
            Self::Int64(v) => v.fmt(f),
            Self::Float32(v) => f.pad(&format_float32(*v)),
            Self::Float64(v) => f.pad(&format_float64(*v)),
            Self::String(v) | Self::Json(v) => f.pad(v),
            Self::Bytes(v) | Self::Opaque(v) => f.pad(&format_hex(v)),
            Self::Timestamp(v) => f.pad(&format_timestamp_us(*v)),
            Self::Uuid(v) => f.pad(&format_uuid(v)),
            Self::List(_) | Self::Vector(_) => f.pad(&self.to_json().to_string()),
        }
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(v) => v.fmt(f),
            Self::String(v) => f.pad(v),
            Self::Bytes(v) => f.pad(&format_hex(v)),
            Self::Uuid(v) => f.pad(&format_uuid(v)),
        }
    }
}
