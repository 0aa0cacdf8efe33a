//! Values of an answer as Python's objects and numpy's arrays.

use numpy::{Element, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use thermae_formats::row_value::decode_value;
use thermae_formats::wire::Column;
use thermae_formats::{Scalar, Value, ValueType};

use crate::errors::{Fault, Result};

/// One value as an object: a timestamp as microseconds, a uuid as its 16 bytes.
pub fn object<'py>(py: Python<'py>, value: Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(v) => v.into_pyobject(py)?.to_owned().into_any(),
        Value::Int32(v) => v.into_pyobject(py)?.into_any(),
        Value::Int64(v) | Value::Timestamp(v) => v.into_pyobject(py)?.into_any(),
        Value::Float32(v) => v.into_pyobject(py)?.into_any(),
        Value::Float64(v) => v.into_pyobject(py)?.into_any(),
        Value::String(v) | Value::Json(v) => v.into_pyobject(py)?.into_any(),
        Value::Bytes(v) | Value::Opaque(v) => PyBytes::new(py, &v).into_any(),
        Value::Uuid(v) => PyBytes::new(py, &v).into_any(),
        Value::List(elements) => {
            let elements = elements.into_iter().map(|element| object(py, element));
            PyList::new(py, elements.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        Value::Vector(elements) => PyList::new(py, elements)?.into_any(),
    })
}

/// All values of a column as objects, `None` for null.
pub fn list<'py>(
    py: Python<'py>,
    column: &Column<'_>,
    value_type: &ValueType,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in 0..column.rows() {
        let value = match column.value(row) {
            None => Value::Null,
            Some(field) => decode_value(value_type, field).map_err(|fault| {
                Fault::store(format!("a value of the answer does not decode: {}", fault.reason))
            })?,
        };
        list.append(object(py, value)?)?;
    }
    Ok(list)
}

/// A column of numbers as one array, zero or NaN where null: one pass over the block. `None` for other types.
pub fn array<'py>(
    py: Python<'py>,
    column: &Column<'_>,
    value_type: &ValueType,
) -> Result<Option<Bound<'py, PyAny>>> {
    let ValueType::Scalar(scalar) = value_type else { return vectors(py, column, value_type) };
    Ok(Some(match scalar {
        Scalar::Bool => {
            let values: Vec<bool> = column.values().iter().map(|byte| *byte != 0).collect();
            PyArray1::from_vec(py, values).into_any()
        }
        Scalar::Int32 => fixed(py, column, i32::from_le_bytes, None),
        Scalar::Int64 | Scalar::Timestamp => fixed(py, column, i64::from_le_bytes, None),
        Scalar::Float32 => fixed(py, column, f32::from_le_bytes, Some(f32::NAN)),
        Scalar::Float64 => fixed(py, column, f64::from_le_bytes, Some(f64::NAN)),
        Scalar::String | Scalar::Bytes | Scalar::Uuid | Scalar::Json => return Ok(None),
    }))
}

fn fixed<'py, T: Element + Copy, const N: usize>(
    py: Python<'py>,
    column: &Column<'_>,
    from: fn([u8; N]) -> T,
    null: Option<T>,
) -> Bound<'py, PyAny> {
    let mut values: Vec<T> = column.values().as_chunks::<N>().0.iter().map(|b| from(*b)).collect();
    if let Some(null) = null {
        for (row, value) in values.iter_mut().enumerate() {
            if !column.is_valid(row) {
                *value = null;
            }
        }
    }
    PyArray1::from_vec(py, values).into_any()
}

fn vectors<'py>(
    py: Python<'py>,
    column: &Column<'_>,
    value_type: &ValueType,
) -> Result<Option<Bound<'py, PyAny>>> {
    let ValueType::Vector { dimension } = value_type else { return Ok(None) };
    let dimension = *dimension as usize;
    let from = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let mut values: Vec<f32> = column.values().as_chunks::<4>().0.iter().map(from).collect();
    for (row, vector) in values.chunks_mut(dimension.max(1)).enumerate() {
        if !column.is_valid(row) {
            vector.fill(f32::NAN);
        }
    }
    let shaped = PyArray1::from_vec(py, values).reshape([column.rows(), dimension]);
    Ok(Some(shaped.map_err(|error| Fault::store(error.to_string()))?.into_any()))
}
