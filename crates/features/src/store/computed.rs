//! Features of on-demand views, computed from columns that were read: online and for training by the same function.

use thermae_formats::{KeyType, KeyValue, Value, ValueType};

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

/// A join key as request data, where a field is called like it.
pub(super) fn of_key(field: &RequestField, at: usize, key: &KeyValue) -> Result<Value, Error> {
    let key_type = match field.value_type {
        ValueType::Scalar(scalar) => KeyType::of_scalar(scalar),
        _ => None,
    };
    let Some(key_type) = key_type else {
        let (name, value_type) = (&field.name, &field.value_type);
        return Err(Error::Invalid(format!(
            "the request field {name:?} is {value_type}, and the join key of that name cannot be"
        )));
    };
    let value = key.to_value(&field.name, key_type);
    value.map_err(|e| Error::Invalid(format!("row {at} of the {e}")))
}
