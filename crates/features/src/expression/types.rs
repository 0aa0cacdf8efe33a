//! Which types expressions know, and what operations make of them.

use thermae_formats::{Scalar, ValueType};

/// Whether expressions read and give values of a type.
pub(super) fn is_known(value_type: &ValueType) -> bool {
    use Scalar::{Bool, Float32, Float64, Int32, Int64, String, Timestamp};
    let known = [Bool, Int32, Int64, Float32, Float64, String, Timestamp];
    matches!(value_type, ValueType::Scalar(scalar) if known.contains(scalar))
}

/// The same for people.
pub(super) const KNOWN: &str =
    "expressions know bool, int32, int64, float32, float64, string and timestamp";

pub(super) fn is(value_type: &ValueType, scalars: &[Scalar]) -> bool {
    matches!(value_type, ValueType::Scalar(scalar) if scalars.contains(scalar))
}

pub(super) fn is_integer(value_type: &ValueType) -> bool {
    is(value_type, &[Scalar::Int32, Scalar::Int64])
}

pub(super) fn is_float(value_type: &ValueType) -> bool {
    is(value_type, &[Scalar::Float32, Scalar::Float64])
}

pub(super) fn is_number(value_type: &ValueType) -> bool {
    is_integer(value_type) || is_float(value_type)
}

/// What calculating with a number gives: int64 or float64. Everything else stays.
pub(super) fn calculated(value_type: &ValueType) -> ValueType {
    match value_type {
        found if is_integer(found) => Scalar::Int64.into(),
        found if is_float(found) => Scalar::Float64.into(),
        found => found.clone(),
    }
}

/// The type that values of two types have in common; none where both are null.
pub(super) fn common(
    one: Option<&ValueType>,
    two: Option<&ValueType>,
) -> Result<Option<ValueType>, String> {
    let (Some(one), Some(two)) = (one, two) else { return Ok(one.or(two).cloned()) };
    if one == two {
        return Ok(Some(one.clone()));
    }
    match (is_integer(one) && is_integer(two), is_number(one) && is_number(two)) {
        (true, _) => Ok(Some(Scalar::Int64.into())),
        (_, true) => Ok(Some(Scalar::Float64.into())),
        _ => Err(format!("{one} and {two} have no type in common: cast one")),
    }
}

/// Whether values of a type are cast to another, and to which scalar.
pub(super) fn cast_to(from: Option<&ValueType>, to: &ValueType) -> Result<Scalar, String> {
    use Scalar::{Bool, Float32, Float64, Int32, Int64, String as Text, Timestamp};
    let scalar = match to {
        ValueType::Scalar(
            scalar @ (Bool | Int32 | Int64 | Float32 | Float64 | Text | Timestamp),
        ) => *scalar,
        other => return Err(format!("nothing is cast to {other}")),
    };
    let is_possible = match from {
        None => true,
        Some(from) => match scalar {
            Bool => is(from, &[Bool]),
            Int32 => is_number(from) || is(from, &[Bool, Text]),
            Int64 => is_number(from) || is(from, &[Bool, Text, Timestamp]),
            Float32 | Float64 => is_number(from) || is(from, &[Text]),
            Text => is_integer(from) || is(from, &[Bool, Text]),
            _ => is(from, &[Int64, Timestamp]),
        },
    };
    match (is_possible, from) {
        (false, Some(from)) => Err(format!("{from} is not cast to {to}")),
        _ => Ok(scalar),
    }
}
