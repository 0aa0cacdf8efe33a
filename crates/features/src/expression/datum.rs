//! Values while an expression is computed, and how they compare.

use std::borrow::Cow;
use std::cmp::Ordering;

use thermae_formats::Value;
use thermae_formats::value::widen_float_bits;

/// What a node gives for a row. Integers of both widths are `Int`, floats of both are `Float`: a float32 is exact
/// as a float64.
#[derive(Clone, Debug)]
pub(super) enum Datum<'r> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'r, str>),
    Time(i64),
}

impl<'r> Datum<'r> {
    pub fn of(value: &'r Value) -> Self {
        match value {
            Value::Bool(v) => Self::Bool(*v),
            Value::Int32(v) => Self::Int(i64::from(*v)),
            Value::Int64(v) => Self::Int(*v),
            Value::Float32(v) => Self::Float(f64::from_bits(widen_float_bits(v.to_bits()))),
            Value::Float64(v) => Self::Float(*v),
            Value::String(v) => Self::Text(Cow::Borrowed(v)),
            Value::Timestamp(v) => Self::Time(*v),
            // The compiler lets no other types in.
            _ => Self::Null,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(v) => Some(*v),
            Self::Int(v) => Some(*v as f64),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(v) | Self::Time(v) => Some(*v),
            _ => None,
        }
    }

    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(v) => Some(*v),
            _ => None,
        }
    }
}

impl From<Option<i64>> for Datum<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

impl From<Option<bool>> for Datum<'_> {
    fn from(value: Option<bool>) -> Self {
        value.map_or(Self::Null, Self::Bool)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

/// How two values stand; `None` if one is a NaN or null.
fn order(one: &Datum<'_>, two: &Datum<'_>) -> Option<Ordering> {
    match (one, two) {
        (Datum::Int(a), Datum::Int(b)) | (Datum::Time(a), Datum::Time(b)) => Some(a.cmp(b)),
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(b)),
        (Datum::Text(a), Datum::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => one.as_float()?.partial_cmp(&two.as_float()?),
    }
}

/// Null if either is; a NaN is unequal to everything, itself included.
pub(super) fn compare(op: Comparison, one: &Datum<'_>, two: &Datum<'_>) -> Option<bool> {
    if one.is_null() || two.is_null() {
        return None;
    }
    let order = order(one, two);
    Some(match op {
        Comparison::Eq => order == Some(Ordering::Equal),
        Comparison::NotEq => order != Some(Ordering::Equal),
        Comparison::Lt => order == Some(Ordering::Less),
        Comparison::LtEq => order.is_some_and(Ordering::is_le),
        Comparison::Gt => order == Some(Ordering::Greater),
        Comparison::GtEq => order.is_some_and(Ordering::is_ge),
    })
}
