//! Values of features and of join keys, compared bit for bit.

use std::hash::{Hash, Hasher};

use crate::error::ValueError;
use crate::types::{Scalar, ValueType};

/// One feature value.
///
/// Equality is of bits: a NaN equals itself and no NaN of another payload, and -0.0 is not 0.0.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value; every feature is nullable.
    Null,
    /// A truth value.
    Bool(bool),
    /// A 32-bit integer.
    Int32(i32),
    /// A 64-bit integer.
    Int64(i64),
    /// A binary32.
    Float32(f32),
    /// A binary64.
    Float64(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A UUID's 16 bytes, in the order they are written.
    Uuid([u8; 16]),
    /// JSON text.
    Json(String),
    /// Values of one scalar type, none null.
    List(Vec<Value>),
    /// A vector of float32.
    Vector(Vec<f32>),
    /// Bytes with a declared logical type.
    Opaque(Vec<u8>),
}

impl Value {
    /// Whether the value is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What kind of value this is: `int64`, `list`, `null`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int32(_) => "int32",
            Self::Int64(_) => "int64",
            Self::Float32(_) => "float32",
            Self::Float64(_) => "float64",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "timestamp",
            Self::Uuid(_) => "uuid",
            Self::Json(_) => "json",
            Self::List(_) => "list",
            Self::Vector(_) => "vector",
            Self::Opaque(_) => "opaque",
        }
    }

    /// Whether both are the same kind of value with the same bits.
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int32(a), Self::Int32(b)) => a == b,
            (Self::Int64(a), Self::Int64(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Float32(a), Self::Float32(b)) => a.to_bits() == b.to_bits(),
            (Self::Float64(a), Self::Float64(b)) => a.to_bits() == b.to_bits(),
            (Self::String(a), Self::String(b)) | (Self::Json(a), Self::Json(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) | (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Vector(a), Self::Vector(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
            }
            _ => false,
        }
    }

    /// Checks that the value is of the type (null is of every type; list elements may not be null).
    pub fn check(&self, value_type: &ValueType) -> Result<(), ValueError> {
        match (value_type, self) {
            (_, Self::Null) => Ok(()),
            (ValueType::Scalar(scalar), value) if value.is_scalar(*scalar) => Ok(()),
            (ValueType::Opaque { .. }, Self::Opaque(_)) => Ok(()),
            (ValueType::Vector { dimension }, Self::Vector(elements)) => {
                let expected = *dimension as usize;
                if elements.len() == expected {
                    return Ok(());
                }
                Err(ValueError::WrongDimension { expected, found: elements.len() })
            }
            (ValueType::List(scalar), Self::List(elements)) => {
                match elements.iter().position(|e| !e.is_scalar(*scalar)) {
                    None => Ok(()),
                    Some(index) => Err(ValueError::Element {
                        index,
                        source: Box::new(elements[index].wrong_type(scalar)),
                    }),
                }
            }
            _ => Err(self.wrong_type(value_type)),
        }
    }

    /// Whether this is a non-null value of the scalar type.
    pub fn is_scalar(&self, scalar: Scalar) -> bool {
        matches!(
            (scalar, self),
            (Scalar::Bool, Self::Bool(_))
                | (Scalar::Int32, Self::Int32(_))
                | (Scalar::Int64, Self::Int64(_))
                | (Scalar::Float32, Self::Float32(_))
                | (Scalar::Float64, Self::Float64(_))
                | (Scalar::String, Self::String(_))
                | (Scalar::Bytes, Self::Bytes(_))
                | (Scalar::Timestamp, Self::Timestamp(_))
                | (Scalar::Uuid, Self::Uuid(_))
                | (Scalar::Json, Self::Json(_))
        )
    }

    /// The value as the wider type (int32 as int64, float32 as float64); any other unchanged.
    ///
    /// A float32 NaN keeps its payload, shifted to the top of the float64's.
    pub fn widened_to(self, wider: &ValueType) -> Self {
        match (self, wider) {
            (Self::Int32(v), ValueType::Scalar(Scalar::Int64)) => Self::Int64(i64::from(v)),
            (Self::Float32(v), ValueType::Scalar(Scalar::Float64)) => {
                Self::Float64(f64::from_bits(widen_float_bits(v.to_bits())))
            }
            (value, _) => value,
        }
    }

    fn wrong_type(&self, wanted: &dyn std::fmt::Display) -> ValueError {
        ValueError::WrongType { wanted: wanted.to_string(), found: self.kind().to_owned() }
    }
}

/// Bits of a float32 as the bits of the float64 of the same value.
///
/// A conversion of the hardware sets a signalling NaN's quiet bit; this keeps every bit of the payload,
/// so that a stored NaN reads the same through every schema and on every machine.
#[inline]
pub fn widen_float_bits(bits: u32) -> u64 {
    let value = f32::from_bits(bits);
    if value.is_nan() {
        let sign = u64::from(bits >> 31) << 63;
        return sign | 0x7FF0_0000_0000_0000 | (u64::from(bits & 0x007F_FFFF) << 29);
    }
    f64::from(value).to_bits()
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.same_bits(other)
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(v) => v.hash(state),
            Self::Int32(v) => v.hash(state),
            Self::Int64(v) | Self::Timestamp(v) => v.hash(state),
            Self::Float32(v) => v.to_bits().hash(state),
            Self::Float64(v) => v.to_bits().hash(state),
            Self::String(v) | Self::Json(v) => v.hash(state),
            Self::Bytes(v) | Self::Opaque(v) => v.hash(state),
            Self::Uuid(v) => v.hash(state),
            Self::List(v) => v.hash(state),
            Self::Vector(v) => v.iter().for_each(|x| x.to_bits().hash(state)),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int64(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::Float32(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

/// One join key value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyValue {
    /// An int32 or int64 key.
    Int(i64),
    /// A string key.
    String(String),
    /// A bytes key.
    Bytes(Vec<u8>),
    /// A UUID key.
    Uuid([u8; 16]),
}

impl KeyValue {
    /// What kind of value this is: `integer`, `string`, `bytes`, `uuid`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "integer",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Uuid(_) => "uuid",
        }
    }
}

impl From<i64> for KeyValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for KeyValue {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for KeyValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<[u8; 16]> for KeyValue {
    fn from(value: [u8; 16]) -> Self {
        Self::Uuid(value)
    }
}
