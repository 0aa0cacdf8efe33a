//! Values as typed Arrow arrays.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, FixedSizeListBuilder,
    Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Field, Schema};
use thermae_client::{PlanKey, ScannedRow};
use thermae_formats::{KeyError, NO_TIME, Scalar, Value, ValueType};

use super::{Shape, TIMES};

/// Appends to the builder of `$scalar` by `$then`, whatever its type is.
macro_rules! by_scalar {
    ($scalar:expr, $then:ident, $values:expr) => {
        match $scalar {
            Scalar::Bool => $then(BooleanBuilder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Bool(value)) => Some(*value),
                    _ => None,
                });
            }),
            Scalar::Int32 => $then(Int32Builder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Int32(value)) => Some(*value),
                    _ => None,
                });
            }),
            Scalar::Int64 => $then(Int64Builder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Int64(value)) => Some(*value),
                    _ => None,
                });
            }),
            Scalar::Float32 => $then(Float32Builder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Float32(value)) => Some(*value),
                    _ => None,
                });
            }),
            Scalar::Float64 => $then(Float64Builder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Float64(value)) => Some(*value),
                    _ => None,
                });
            }),
            Scalar::String | Scalar::Json => $then(StringBuilder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::String(value) | Value::Json(value)) => Some(value),
                    _ => None,
                });
            }),
            Scalar::Bytes => $then(BinaryBuilder::new(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Bytes(value)) => Some(value),
                    _ => None,
                });
            }),
            Scalar::Timestamp => $then(times(), $values, |to, value| {
                to.append_option(match value {
                    Some(Value::Timestamp(value)) => Some(*value),
                    _ => None,
                });
            }),
            Scalar::Uuid => $then(FixedSizeBinaryBuilder::new(16), $values, |to, value| {
                // Sixteen bytes fit sixteen bytes.
                match value {
                    Some(Value::Uuid(value)) => drop(to.append_value(value)),
                    _ => to.append_null(),
                }
            }),
        }
    };
}

fn times() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_timezone("UTC")
}

fn plain<B: ArrayBuilder>(
    mut to: B,
    values: &[Option<&Value>],
    append: impl Fn(&mut B, Option<&Value>),
) -> ArrayRef {
    values.iter().for_each(|value| append(&mut to, *value));
    to.finish()
}

fn lists<B: ArrayBuilder>(
    to: B,
    values: &[Option<&Value>],
    append: impl Fn(&mut B, Option<&Value>),
) -> ArrayRef {
    let mut lists = ListBuilder::new(to);
    for value in values {
        if let Some(Value::List(elements)) = value {
            elements.iter().for_each(|element| append(lists.values(), Some(element)));
            lists.append(true);
        } else {
            lists.append(false);
        }
    }
    Arc::new(lists.finish())
}

fn vectors(dimension: u32, values: &[Option<&Value>]) -> ArrayRef {
    let width = i32::try_from(dimension).unwrap_or(i32::MAX);
    let mut lists = FixedSizeListBuilder::new(Float32Builder::new(), width);
    for value in values {
        match value {
            Some(Value::Vector(elements)) if elements.len() == dimension as usize => {
                lists.values().append_slice(elements);
                lists.append(true);
            }
            _ => {
                (0..dimension).for_each(|_| lists.values().append_null());
                lists.append(false);
            }
        }
    }
    Arc::new(lists.finish())
}

fn opaques(values: &[Option<&Value>]) -> ArrayRef {
    plain(BinaryBuilder::new(), values, |to, value| {
        to.append_option(match value {
            Some(Value::Opaque(value)) => Some(value),
            _ => None,
        });
    })
}

/// Values of one type as a column; what is of another type is null.
pub(crate) fn array(value_type: &ValueType, values: &[Option<&Value>]) -> ArrayRef {
    match value_type {
        ValueType::Scalar(scalar) => by_scalar!(scalar, plain, values),
        ValueType::List(scalar) => by_scalar!(scalar, lists, values),
        ValueType::Vector { dimension } => vectors(*dimension, values),
        ValueType::Opaque { .. } => opaques(values),
    }
}

/// Rows as a batch; of no rows it tells the schema.
///
/// # Errors
/// A key is none of its view, or the columns do not make a batch.
pub(super) fn batch(shape: &Shape, rows: &[ScannedRow]) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    let mut add = |name: &str, array: ArrayRef, nullable: bool| {
        columns.push((Field::new(name, array.data_type().clone(), nullable), array));
    };
    for (at, key) in shape.keys.iter().enumerate() {
        let values = rows.iter().map(|row| key_at(row, at, key));
        let values: Vec<_> = values
            .collect::<Result<_, _>>()
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let values: Vec<_> = values.iter().map(Some).collect();
        add(&key.name, array(&ValueType::Scalar(key.key_type.scalar()), &values), false);
    }
    for (at, feature) in shape.features.iter().enumerate() {
        let of = |row| value_at(row, at);
        add(
            &feature.name,
            array(&feature.value_type, &rows.iter().map(of).collect::<Vec<_>>()),
            true,
        );
    }
    let [event_time, created_time, sequence, is_deleted] = TIMES;
    let (mut events, mut created) = (times(), times());
    let (mut sequences, mut deleted) = (Int64Builder::new(), BooleanBuilder::new());
    for row in rows {
        events.append_value(row.event_time);
        created.append_option((row.created_time != NO_TIME).then_some(row.created_time));
        // Below 2^48.
        sequences.append_value(row.sequence as i64);
        deleted.append_value(row.values.is_none());
    }
    add(event_time, Arc::new(events.finish()), false);
    add(created_time, Arc::new(created.finish()), true);
    add(sequence, Arc::new(sequences.finish()), false);
    add(is_deleted, Arc::new(deleted.finish()), false);
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// A join key's value in a row.
///
/// # Errors
/// It is no key of the view.
pub(super) fn key_at(row: &ScannedRow, at: usize, key: &PlanKey) -> Result<Value, KeyError> {
    row.key.get(at).map_or(Ok(Value::Null), |value| value.to_value(&key.name, key.key_type))
}

/// A feature's value in a row, if it has one.
pub(super) fn value_at(row: &ScannedRow, at: usize) -> Option<&Value> {
    row.values.as_ref()?.get(at)
}
