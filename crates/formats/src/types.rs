//! The types of features and of join keys, and their names as text.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::TypeError;

/// Largest dimension of a vector feature.
pub const MAX_VECTOR_DIMENSION: u32 = 65_536;

/// Longest name of an opaque feature's logical type, in bytes.
pub const MAX_LOGICAL_BYTES: usize = 128;

/// A single value's type; also what lists hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    /// true or false, 1 byte.
    Bool,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// IEEE 754 binary32, every bit pattern kept.
    Float32,
    /// IEEE 754 binary64, every bit pattern kept.
    Float64,
    /// UTF-8 text, zero bytes allowed.
    String,
    /// Any bytes.
    Bytes,
    /// Microseconds since 1970-01-01T00:00:00Z, signed.
    Timestamp,
    /// 16 bytes in the order they are written.
    Uuid,
    /// JSON text, kept byte for byte.
    Json,
}

impl Scalar {
    /// All scalars, in declaration order.
    pub const ALL: [Self; 10] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::String,
        Self::Bytes,
        Self::Timestamp,
        Self::Uuid,
        Self::Json,
    ];

    /// The type's name: `int64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
            Self::Json => "json",
        }
    }

    /// Width in bytes inside a row, or `None` for text and bytes.
    pub const fn width_bytes(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp => Some(8),
            Self::Uuid => Some(16),
            Self::String | Self::Bytes | Self::Json => None,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A feature's type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueType {
    /// One value.
    Scalar(Scalar),
    /// Any number of values of one scalar type, none of them null.
    List(Scalar),
    /// A fixed number of float32, such as an embedding.
    Vector {
        /// Number of elements, 1 to [`MAX_VECTOR_DIMENSION`].
        dimension: u32,
    },
    /// Bytes whose meaning is the application's (maps, structs, decimals).
    Opaque {
        /// What the bytes are, in the application's words.
        logical: String,
    },
}

impl ValueType {
    /// Width in bytes inside a row's fixed section, or `None` for a variable-width type.
    pub fn width_bytes(&self) -> Option<usize> {
        match self {
            Self::Scalar(scalar) => scalar.width_bytes(),
            Self::Vector { dimension } => Some(*dimension as usize * 4),
            Self::List(_) | Self::Opaque { .. } => None,
        }
    }

    /// Whether the type fits a float32 matrix column: bool, integers and floats.
    pub fn is_numeric(&self) -> bool {
        use Scalar::{Bool, Float32, Float64, Int32, Int64};
        matches!(self, Self::Scalar(Bool | Int32 | Int64 | Float32 | Float64))
    }

    /// Whether every value of `self` is a value of `wider`: int32 in int64, float32 in float64.
    pub fn widens_to(&self, wider: &Self) -> bool {
        use Scalar::{Float32, Float64, Int32, Int64};
        matches!(
            (self, wider),
            (Self::Scalar(Int32), Self::Scalar(Int64))
                | (Self::Scalar(Float32), Self::Scalar(Float64))
        )
    }

    /// Checks a vector's dimension and an opaque type's logical name.
    pub fn validate(&self) -> Result<(), TypeError> {
        match self {
            Self::Vector { dimension } if !(1..=MAX_VECTOR_DIMENSION).contains(dimension) => {
                Err(TypeError::BadDimension(dimension.to_string()))
            }
            Self::Opaque { logical } if !is_logical_name(logical) => {
                Err(TypeError::BadLogicalType(logical.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn is_logical_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_LOGICAL_BYTES
        && name == name.trim()
        && !name.chars().any(char::is_control)
}

impl From<Scalar> for ValueType {
    fn from(scalar: Scalar) -> Self {
        Self::Scalar(scalar)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.pad(scalar.name()),
            Self::List(scalar) => f.pad(&format!("list<{scalar}>")),
            Self::Vector { dimension } => f.pad(&format!("vector<float32, {dimension}>")),
            Self::Opaque { logical } => f.pad(&format!("opaque<{logical}>")),
        }
    }
}

impl FromStr for ValueType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let text = text.trim();
        if let Some(scalar) = Scalar::from_name(text) {
            return Ok(Self::Scalar(scalar));
        }
        let unknown = || TypeError::UnknownType(text.chars().take(80).collect());
        let (head, inner) =
            text.strip_suffix('>').and_then(|t| t.split_once('<')).ok_or_else(unknown)?;
        let parsed = match head.trim() {
            "list" => Self::List(Scalar::from_name(inner.trim()).ok_or_else(unknown)?),
            "vector" => {
                let (element, dimension) = inner.split_once(',').ok_or_else(unknown)?;
                if element.trim() != "float32" {
                    return Err(unknown());
                }
                let bad = || TypeError::BadDimension(dimension.trim().chars().take(80).collect());
                Self::Vector { dimension: dimension.trim().parse().map_err(|_| bad())? }
            }
            "opaque" => Self::Opaque { logical: inner.trim().to_owned() },
            _ => return Err(unknown()),
        };
        parsed.validate()?;
        Ok(parsed)
    }
}

/// A join key's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// 32-bit signed integer; encoded like [`KeyType::Int64`], so that 7 names one entity either way.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// UTF-8 text.
    String,
    /// Any bytes.
    Bytes,
    /// 16 bytes.
    Uuid,
}

impl KeyType {
    /// All types of join keys, in declaration order.
    pub const ALL: [Self; 5] = [Self::Int32, Self::Int64, Self::String, Self::Bytes, Self::Uuid];

    /// The type of a feature that holds the same values.
    pub const fn scalar(self) -> Scalar {
        match self {
            Self::Int32 => Scalar::Int32,
            Self::Int64 => Scalar::Int64,
            Self::String => Scalar::String,
            Self::Bytes => Scalar::Bytes,
            Self::Uuid => Scalar::Uuid,
        }
    }

    /// The type of a join key that holds the values of a feature, if there is one.
    pub fn of_scalar(scalar: Scalar) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.scalar() == scalar)
    }

    /// The type's name: `int64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Uuid => "uuid",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KeyType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let text = text.trim();
        Self::ALL
            .into_iter()
            .find(|k| k.name() == text)
            .ok_or_else(|| TypeError::UnknownKeyType(text.chars().take(80).collect()))
    }
}

/// Serialised as its name, in JSON and in TOML alike.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

serde_as_text!(ValueType);
serde_as_text!(KeyType);
