//! Scalar values from text.

use std::fmt;

use crate::error::ValueError;
use crate::text::{parse_bool, parse_float32, parse_float64, parse_hex, parse_uuid};
use crate::time::parse_timestamp_us;
use crate::types::Scalar;
use crate::value::Value;

impl Value {
    /// Reads a value of the scalar type from text; see [`Value::parse`].
    pub fn parse_scalar(scalar: Scalar, text: &str) -> Result<Self, ValueError> {
        let parsed: Result<Self, String> = match scalar {
            Scalar::Bool => parse_bool(text).map(Self::Bool),
            Scalar::Int32 => text.trim().parse().map(Self::Int32).map_err(|e| format!("{e}")),
            Scalar::Int64 => text.trim().parse().map(Self::Int64).map_err(|e| format!("{e}")),
            Scalar::Float32 => parse_float32(text.trim()).map(Self::Float32),
            Scalar::Float64 => parse_float64(text.trim()).map(Self::Float64),
            Scalar::String => Ok(Self::String(text.to_owned())),
            Scalar::Bytes => parse_hex(text).map(Self::Bytes),
            Scalar::Timestamp => parse_timestamp_us(text).map(Self::Timestamp),
            Scalar::Uuid => parse_uuid(text.trim()).map(Self::Uuid),
            Scalar::Json => serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map(|_| Self::Json(text.to_owned()))
                .map_err(|e| e.to_string()),
        };
        parsed.map_err(|reason| unreadable(text, &scalar, reason))
    }
}

/// The error for a text that is not of the type wanted; long texts are cut.
pub(crate) fn unreadable(
    text: &str,
    wanted: &dyn fmt::Display,
    reason: impl Into<String>,
) -> ValueError {
    ValueError::Unreadable {
        text: text.chars().take(80).collect(),
        wanted: wanted.to_string(),
        reason: reason.into(),
    }
}
