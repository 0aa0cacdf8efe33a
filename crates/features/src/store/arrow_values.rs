//! Arrow columns as values that expressions read, and back. Values of other types read as null: no expression names
//! them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_schema::{DataType, TimeUnit};
use thermae_engine::training::data_type;
use thermae_formats::{Scalar, Value, ValueType};

/// Whether a column of a spine holds values of a type: of the type itself or a narrower one.
pub(super) fn is_readable(found: &DataType, value_type: &ValueType) -> bool {
    use Scalar::{Bool, Float32, Float64, Int32, Int64, String, Timestamp};
    let ValueType::Scalar(scalar) = value_type else { return false };
    matches!(
        (scalar, found),
        (Bool, DataType::Boolean)
            | (Int32 | Int64, DataType::Int32)
            | (Int64, DataType::Int64)
            | (Float32 | Float64, DataType::Float32)
            | (Float64, DataType::Float64)
            | (String, DataType::Utf8 | DataType::LargeUtf8)
            | (Timestamp, DataType::Timestamp(TimeUnit::Microsecond, _))
    )
}

/// The values of a column, as ones of a type.
pub(super) fn values_of(array: &ArrayRef, value_type: &ValueType) -> Vec<Value> {
    let values = match array.data_type() {
        DataType::Boolean => {
            array.as_boolean().iter().map(|v| v.map_or(Value::Null, Value::Bool)).collect()
        }
        DataType::Int32 => numbers::<Int32Type>(array, Value::Int32),
        DataType::Int64 => numbers::<Int64Type>(array, Value::Int64),
        DataType::Float32 => numbers::<Float32Type>(array, Value::Float32),
        DataType::Float64 => numbers::<Float64Type>(array, Value::Float64),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(array, Value::Timestamp)
        }
        DataType::Utf8 => texts(array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => texts(array.as_string::<i64>().iter()),
        _ => vec![Value::Null; array.len()],
    };
    values.into_iter().map(|value: Value| value.widened_to(value_type)).collect()
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef, of: impl Fn(T::Native) -> Value) -> Vec<Value> {
    array.as_primitive::<T>().iter().map(|value| value.map_or(Value::Null, &of)).collect()
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Vec<Value> {
    values.map(|value| value.map_or(Value::Null, Value::from)).collect()
}

/// A column of what expressions gave.
pub(super) fn array_of(values: &[Value], value_type: &ValueType) -> ArrayRef {
    macro_rules! column {
        ($array:ident, $variant:ident) => {{
            let values = values.iter().map(|value| match value {
                Value::$variant(v) => Some(*v),
                _ => None,
            });
            Arc::new(values.collect::<$array>())
        }};
    }
    match value_type {
        ValueType::Scalar(Scalar::Bool) => column!(BooleanArray, Bool),
        ValueType::Scalar(Scalar::Int32) => column!(Int32Array, Int32),
        ValueType::Scalar(Scalar::Int64) => column!(Int64Array, Int64),
        ValueType::Scalar(Scalar::Float32) => column!(Float32Array, Float32),
        ValueType::Scalar(Scalar::Float64) => column!(Float64Array, Float64),
        ValueType::Scalar(Scalar::Timestamp) => {
            let zone = match data_type(value_type) {
                DataType::Timestamp(_, zone) => zone,
                _ => None,
            };
            let values = values.iter().map(|value| match value {
                Value::Timestamp(v) => Some(*v),
                _ => None,
            });
            Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone_opt(zone))
        }
        ValueType::Scalar(Scalar::String) => {
            let values = values.iter().map(|value| match value {
                Value::String(v) => Some(v.as_str()),
                _ => None,
            });
            Arc::new(values.collect::<StringArray>())
        }
        other => new_null_array(&data_type(other), values.len()),
    }
}
