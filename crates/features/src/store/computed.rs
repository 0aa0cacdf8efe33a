//! Features of on-demand views, computed from columns that were read: online and for training by the same function.

use thermae_formats::{Value, ValueType};

use crate::error::Error;
use crate::expression::Expression;
use crate::model::{ObjectId, RequestField};

/// An on-demand view whose inputs are found.
pub(super) struct Computed {
    /// The view.
    pub id: ObjectId,
    /// By column of its expressions, where it is read: a join and a feature of it.
    pub inputs: Vec<(usize, usize)>,
    /// By further column, its place among what the request brings.
    pub request: Vec<usize>,
    /// One a feature, in their order.
    pub expressions: Vec<Expression>,
}

/// Computes one feature for all rows. `stored` has the values of a feature of a join, `request` those of a field of
/// the request, and `as_of_us` the time of a row.
pub(super) fn compute<'a>(
    view: &Computed,
    expression: &Expression,
    rows: usize,
    stored: impl Fn((usize, usize)) -> &'a [Value],
    request: impl Fn(usize) -> &'a [Value],
    as_of_us: impl Fn(usize) -> i64,
) -> Vec<Value> {
    let stored = view.inputs.iter().map(|place| stored(*place));
    let columns: Vec<&[Value]> =
        stored.chain(view.request.iter().map(|place| request(*place))).collect();
    // What the expression does not read stays null.
    let mut row: Vec<&Value> = vec![&Value::Null; columns.len()];
    let mut values = Vec::with_capacity(rows);
    for at in 0..rows {
        for input in expression.inputs() {
            let value = columns.get(*input).and_then(|column| column.get(at));
            if let (Some(place), Some(value)) = (row.get_mut(*input), value) {
                *place = value;
            }
        }
        values.push(expression.evaluate(&row, as_of_us(at)));
    }
    values
}

/// A value of the request as one of its field's type: an int32 passes as int64, a float32 as float64.
pub(super) fn fitting(field: &RequestField, at: usize, value: Value) -> Result<Value, Error> {
    let value = value.widened_to(&field.value_type);
    value
        .check(&field.value_type)
        .map(|()| value)
        .map_err(|e| Error::Invalid(format!("row {at} of the request field {:?}: {e}", field.name)))
}

/// A join key's column as request data, where a field is called like it.
pub(super) fn of_key(key: &thermae_formats::KeyValue, value_type: &ValueType) -> Value {
    use thermae_formats::{KeyValue, Scalar};
    match (key, value_type) {
        (KeyValue::Int(v), ValueType::Scalar(Scalar::Int32)) => {
            i32::try_from(*v).map_or(Value::Int64(*v), Value::Int32)
        }
        (KeyValue::Int(v), _) => Value::Int64(*v),
        (KeyValue::String(v), _) => Value::String(v.clone()),
        (KeyValue::Bytes(v), _) => Value::Bytes(v.clone()),
        (KeyValue::Uuid(v), _) => Value::Uuid(*v),
    }
}
