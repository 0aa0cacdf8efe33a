//! Values as JSON (and TOML), guided by their type; what is written reads back bit for bit.
//!
//! | type | written as | also read |
//! | --- | --- | --- |
//! | bool | `true` | |
//! | int32, int64 | a number with all of its digits, however many | a string |
//! | float32, float64 | the shortest number; `"NaN"`, `"NaN(0x..)"`, `"inf"`, `"-inf"`, `"-0.0"` | integers, strings |
//! | string, json | a string (json: its text) | json: any JSON value, as its compact text |
//! | bytes, opaque | `"0x"` and hex | |
//! | timestamp | RFC 3339 string, or microseconds outside the years 0000-9999 | microseconds |
//! | uuid | `"8-4-4-4-12"` | 32 hex digits |
//! | list, vector | an array | |

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use crate::error::ValueError;
use crate::text::{format_float32, format_float64, format_hex, format_uuid, parse_hex};
use crate::time::format_timestamp_us;
use crate::types::{Scalar, ValueType};
use crate::value::Value;
use crate::value_scalar::unreadable;

/// Largest magnitude up to which every integer is a float64.
const SAFE_INTEGER: u64 = 1 << 53;

/// A value as JSON or TOML holds it, before its type is known. Unlike `serde_json::Value` it keeps the
/// infinities and NaN that TOML can write.
#[derive(Debug, Clone, PartialEq)]
pub enum Loose {
    /// JSON null.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A number with a decimal point or an exponent.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Loose>),
}

impl Loose {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "integer",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::List(_) => "array",
        }
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a bool, a number, a string or an array of those")
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Loose, E> {
        Ok(Loose::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Loose, E> {
        Ok(Loose::Int(i128::from(v)))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Loose, E> {
        Ok(Loose::Int(i128::from(v)))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Loose, E> {
        Ok(Loose::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Loose, E> {
        Ok(Loose::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Loose, A::Error> {
        // The size hint is the sender's word: never allocate by it.
        let mut list = Vec::new();
        while let Some(element) = access.next_element()? {
            list.push(element);
        }
        Ok(Loose::List(list))
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

impl Value {
    /// The value as JSON; see the module's table.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(v) => Json::Bool(*v),
            Self::Int32(v) => Json::from(*v),
            Self::Int64(v) => Json::from(*v),
            Self::Float32(v) => json_float32(*v),
            Self::Float64(v) => json_float64(*v),
            Self::String(v) | Self::Json(v) => Json::from(v.as_str()),
            Self::Bytes(v) | Self::Opaque(v) => Json::from(format_hex(v)),
            Self::Timestamp(v) => {
                let text = format_timestamp_us(*v);
                if text.ends_with('Z') { Json::from(text) } else { Json::from(*v) }
            }
            Self::Uuid(v) => Json::from(format_uuid(v)),
            Self::List(v) => Json::Array(v.iter().map(Self::to_json).collect()),
            Self::Vector(v) => Json::Array(v.iter().map(|x| json_float32(*x)).collect()),
        }
    }

    /// Reads a value of the type from JSON; see the module's table. JSON null is [`Value::Null`].
    pub fn from_json(value_type: &ValueType, json: &serde_json::Value) -> Result<Self, ValueError> {
        let is_json = *value_type == ValueType::Scalar(Scalar::Json);
        if is_json && !json.is_string() && !json.is_null() {
            return Ok(Self::Json(json.to_string()));
        }
        let loose = Loose::deserialize(json)
            .map_err(|e| unreadable(&json.to_string(), value_type, e.to_string()))?;
        Self::from_loose(value_type, &loose)
    }

    /// Reads a value of the type from JSON or TOML whose shape is known and whose type is not.
    pub fn from_loose(value_type: &ValueType, loose: &Loose) -> Result<Self, ValueError> {
        let value = match (value_type, loose) {
            (_, Loose::Null) => Self::Null,
            (ValueType::Scalar(scalar), loose) => scalar_from_loose(*scalar, loose)?,
            (ValueType::Opaque { .. }, Loose::Text(text)) => {
                parse_hex(text).map(Self::Opaque).map_err(|r| unreadable(text, value_type, r))?
            }
            (ValueType::List(scalar), Loose::List(list)) => {
                Self::List(elements(list, |e| scalar_from_loose(*scalar, e))?)
            }
            (ValueType::Vector { .. }, Loose::List(list)) => {
                Self::Vector(elements(list, float32_from_loose)?)
            }
            (_, loose) => return Err(wrong_type(value_type, loose)),
        };
        value.check(value_type)?;
        Ok(value)
    }
}

/// Reads each element, naming the one that is wrong.
fn elements<T>(
    list: &[Loose],
    read: impl Fn(&Loose) -> Result<T, ValueError>,
) -> Result<Vec<T>, ValueError> {
    let named = |(index, element)| {
        read(element).map_err(|source| ValueError::Element { index, source: Box::new(source) })
    };
    list.iter().enumerate().map(named).collect()
}

fn scalar_from_loose(scalar: Scalar, loose: &Loose) -> Result<Value, ValueError> {
    let out_of_range = |v: &i128| unreadable(&v.to_string(), &scalar, "out of range");
    match (scalar, loose) {
        (Scalar::Bool, Loose::Bool(v)) => Ok(Value::Bool(*v)),
        (Scalar::Int32, Loose::Int(v)) => {
            i32::try_from(*v).map(Value::Int32).map_err(|_| out_of_range(v))
        }
        (Scalar::Int64, Loose::Int(v)) => {
            i64::try_from(*v).map(Value::Int64).map_err(|_| out_of_range(v))
        }
        (Scalar::Timestamp, Loose::Int(v)) => {
            i64::try_from(*v).map(Value::Timestamp).map_err(|_| out_of_range(v))
        }
        (Scalar::Float32, loose) => float32_from_loose(loose).map(Value::Float32),
        (Scalar::Float64, Loose::Float(v)) => Ok(Value::Float64(*v)),
        (Scalar::Float64, Loose::Int(v)) if v.unsigned_abs() <= u128::from(SAFE_INTEGER) => {
            Ok(Value::Float64(*v as f64))
        }
        (_, Loose::Text(text)) if scalar != Scalar::Bool => Value::parse_scalar(scalar, text),
        (_, loose) => Err(wrong_type(&scalar, loose)),
    }
}

/// A float32 from a number that is not rounded to infinity, or from text.
fn float32_from_loose(loose: &Loose) -> Result<f32, ValueError> {
    let wanted = Scalar::Float32;
    match loose {
        Loose::Float(v) => {
            let narrow = *v as f32;
            if narrow.is_infinite() && v.is_finite() {
                return Err(unreadable(&v.to_string(), &wanted, "out of range"));
            }
            Ok(narrow)
        }
        Loose::Int(v) if v.unsigned_abs() <= u128::from(SAFE_INTEGER) => Ok(*v as f32),
        Loose::Text(text) => match Value::parse_scalar(wanted, text)? {
            Value::Float32(v) => Ok(v),
            _ => Err(wrong_type(&wanted, loose)),
        },
        loose => Err(wrong_type(&wanted, loose)),
    }
}

fn wrong_type(wanted: &dyn fmt::Display, loose: &Loose) -> ValueError {
    ValueError::WrongType { wanted: wanted.to_string(), found: loose.kind().to_owned() }
}

fn json_float32(value: f32) -> serde_json::Value {
    if !value.is_finite() || is_negative_zero(f64::from(value)) {
        return serde_json::Value::from(format_float32(value));
    }
    serde_json::Value::from(shortest_float64(value))
}

/// The float64 that a finite float32 is written as: its shortest decimal is the float32's, and whoever reads it
/// as a float64 and narrows it has the float32 again.
pub fn shortest_float64(value: f32) -> f64 {
    // The shortest decimal names the float32; read as a float64 it may lie on a midpoint between two
    // float32 and round to the other. The exact float64 never does.
    let shortest = format_float32(value).parse::<f64>().ok().filter(|v| *v as f32 == value);
    shortest.unwrap_or_else(|| f64::from(value))
}

fn json_float64(value: f64) -> serde_json::Value {
    if value.is_finite() && !is_negative_zero(value) {
        return serde_json::Value::from(value);
    }
    serde_json::Value::from(format_float64(value))
}

fn is_negative_zero(value: f64) -> bool {
    value.to_bits() == (-0.0_f64).to_bits()
}
