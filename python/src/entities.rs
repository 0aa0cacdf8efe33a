//! Entities: columns of join keys, from Python's lists and numpy's arrays to packed keys, and what else a request
//! brings.

use arrow_array::{Array, ArrayRef, make_array};
use arrow_pyarrow::PyArrowType;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString};
use thermae_client::{ComputedPlan, ComputedRows, Keys, Plan};
use thermae_features::model::RequestField;
use thermae_features::store::{EntityColumns, WantedKey};
use thermae_formats::{KeyType, KeyValue, Value, ValueType};
use thermae_server::ingest::coerce::Allow;
use thermae_server::ingest::{arrow_cell, coerce};

use crate::errors::{Fault, Result};

/// One column.
enum Column {
    /// Join keys of an int64 array.
    Integers(Vec<i64>),
    /// Join keys of a list.
    Values(Vec<KeyValue>),
    /// What features are computed of, as Arrow: read when its type is known.
    Brought(ArrayRef),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Values(values) => values.len(),
            Self::Brought(values) => values.len(),
        }
    }

    fn key(
        &self,
        row: usize,
        name: &str,
        wanted: KeyType,
    ) -> std::result::Result<KeyValue, String> {
        let value = match self {
            Self::Integers(values) => KeyValue::Int(values.get(row).copied().unwrap_or_default()),
            Self::Values(values) => values.get(row).cloned().unwrap_or(KeyValue::Int(0)),
            Self::Brought(values) => {
                return coerce::key(&arrow_cell::cell(values.as_ref(), row), name, wanted);
            }
        };
        // A uuid or an integer may be given as text.
        match (wanted, value) {
            (KeyType::Uuid | KeyType::Int32 | KeyType::Int64, KeyValue::String(text)) => {
                KeyValue::parse(name, wanted, &text).map_err(|error| error.to_string())
            }
            (_, value) => Ok(value),
        }
    }
}

/// Of whom features are asked for, one entity a row.
pub struct Entities {
    columns: Vec<(String, Column)>,
    rows: usize,
}

impl Entities {
    /// From a dictionary of columns: of join keys each an int64 array of numpy or a list, of what features are computed
    /// from an array of Arrow; without any, one row.
    ///
    /// # Errors
    /// A value that is no join key, naming its column and row; columns of different lengths.
    pub fn of(entities: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut columns: Vec<(String, Column)> = Vec::with_capacity(entities.len());
        for (name, values) in entities.iter() {
            let name: String = name.extract()?;
            let column = column(&name, &values)?;
            if let Some((first, other)) = columns.first()
                && other.len() != column.len()
            {
                return Err(Fault::invalid(format!(
                    "column {name:?} has {} rows, column {first:?} has {}",
                    column.len(),
                    other.len()
                ))
                .into());
            }
            columns.push((name, column));
        }
        let rows = columns.first().map_or(1, |(_, column)| column.len());
        Ok(Entities { columns, rows })
    }

    /// How many there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, name: &str) -> Result<&Column> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        found.map(|(_, column)| column).ok_or_else(|| {
            Fault::invalid(format!(
                "the join key {name:?} is missing in the request; it has the columns: {}",
                self.there()
            ))
        })
    }

    fn there(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// The keys of one view of a plan, whose join keys are called `names` here.
    ///
    /// # Errors
    /// A column that is missing, or a value that is no key of the view.
    pub fn keys(&self, plan: &Plan, view: usize, names: &[String]) -> Result<Keys> {
        let mut keys = plan.keys(view)?;
        let columns = names.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        if let [Column::Integers(values)] = columns.as_slice() {
            for (row, value) in values.iter().enumerate() {
                keys.push_i64(*value).map_err(|error| at(row, &error))?;
            }
            return Ok(keys);
        }
        let types: Vec<KeyType> = keys.join_keys().iter().map(|key| key.key_type).collect();
        let mut values = Vec::with_capacity(columns.len());
        for row in 0..self.rows {
            values.clear();
            for ((column, name), key_type) in columns.iter().zip(names).zip(&types) {
                values.push(column.key(row, name, *key_type).map_err(|e| at(row, &e))?);
            }
            keys.push(&values).map_err(|error| at(row, &error))?;
        }
        Ok(keys)
    }

    /// The rows of a read by name.
    ///
    /// # Errors
    /// A column that is missing, or a value that does not fit.
    pub fn computed_rows(&self, plan: &ComputedPlan) -> Result<ComputedRows> {
        let mut rows = plan.rows();
        let keys = plan.join_keys().iter().map(|key| Ok((key, self.column(&key.name)?)));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let fields = plan.request().iter();
        let fields = fields.map(|field| self.brought(&field.name, &field.value_type));
        let fields = fields.collect::<Result<Vec<_>>>()?;
        for row in 0..self.rows {
            let keys = keys.iter().map(|(key, column)| column.key(row, &key.name, key.key_type));
            let keys = keys.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| at(row, &e))?;
            let fields = fields.iter().filter_map(|column| column.get(row).cloned());
            let fields: Vec<Value> = fields.collect();
            rows.push(&keys, &fields).map_err(|error| at(row, &error))?;
        }
        Ok(rows)
    }

    /// What the request brings of a field.
    fn brought(&self, name: &str, value_type: &ValueType) -> Result<Vec<Value>> {
        match self.values_of(name, value_type) {
            Some(values) => values.map_err(Fault::invalid),
            None => Err(Fault::invalid(format!(
                "the request must bring {name:?} ({value_type}), which on-demand features are computed from; it has \
                 the columns: {}",
                self.there()
            ))),
        }
    }

    fn values_of(
        &self,
        name: &str,
        value_type: &ValueType,
    ) -> Option<std::result::Result<Vec<Value>, String>> {
        let (_, column) = self.columns.iter().find(|(known, _)| known == name)?;
        let Column::Brought(array) = column else { return None };
        Some(values_of(name, array.as_ref(), value_type, 0))
    }
}

/// The values of a column that features are computed from; `first` is the number of its first row.
///
/// # Errors
/// A value that does not fit, with its column and row.
pub fn values_of(
    name: &str,
    array: &dyn Array,
    value_type: &ValueType,
    first: usize,
) -> std::result::Result<Vec<Value>, String> {
    // Python's own floats are of 64 bits.
    let allow = Allow { narrow_floats: true, time_unit: None };
    let value = |row| {
        coerce::value(&arrow_cell::cell(array, row), value_type, allow)
            .map_err(|why| format!("column {name:?}, row {}: {why}", first + row))
    };
    (0..array.len()).map(value).collect()
}

impl EntityColumns for Entities {
    fn keys(&self, key: &WantedKey) -> Option<std::result::Result<Vec<KeyValue>, String>> {
        let (_, column) = self.columns.iter().find(|(known, _)| *known == key.name)?;
        let value =
            |row| column.key(row, &key.name, key.key_type).map_err(|why| at(row, &why).to_string());
        Some((0..self.rows).map(value).collect())
    }

    fn values(&self, field: &RequestField) -> Option<std::result::Result<Vec<Value>, String>> {
        self.values_of(&field.name, &field.value_type)
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }
}

fn at(row: usize, error: &dyn std::fmt::Display) -> Fault {
    Fault::invalid(format!("entity row {row}: {error}"))
}

fn column(name: &str, values: &Bound<'_, PyAny>) -> PyResult<Column> {
    if let Ok(array) = values.cast::<PyArray1<i64>>() {
        return Ok(Column::Integers(array.to_vec()?));
    }
    if values.hasattr("_export_to_c")? {
        let data: PyArrowType<_> = values.extract()?;
        return Ok(Column::Brought(make_array(data.0)));
    }
    let list = values.cast::<PyList>()?;
    let values = list.iter().enumerate().map(|(row, item)| key_value(name, row, &item));
    values.collect::<PyResult<_>>().map(Column::Values)
}

fn key_value(name: &str, row: usize, item: &Bound<'_, PyAny>) -> PyResult<KeyValue> {
    let unfit = |what: &str| -> PyErr {
        Fault::invalid(format!("column {name:?}, row {row}: {what}")).into()
    };
    if let Ok(text) = item.cast::<PyString>() {
        return Ok(KeyValue::String(text.to_str()?.to_owned()));
    }
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return Ok(KeyValue::Bytes(bytes.as_bytes().to_vec()));
    }
    if item.is_none() {
        return Err(unfit("a join key is null"));
    }
    if item.is_instance_of::<PyBool>() {
        return Err(unfit("a bool is no join key"));
    }
    if let Ok(float) = item.cast::<PyFloat>() {
        let what = if float.extract::<f64>()?.is_nan() {
            "a join key is NaN"
        } else {
            "a float is no join key"
        };
        return Err(unfit(what));
    }
    if let Ok(value) = item.extract::<i64>() {
        return Ok(KeyValue::Int(value));
    }
    let is_uuid = item.get_type().name().is_ok_and(|name| name == "UUID");
    match item.getattr("bytes").and_then(|bytes| bytes.extract::<[u8; 16]>()) {
        Ok(bytes) if is_uuid => Ok(KeyValue::Uuid(bytes)),
        _ => Err(unfit(&format!(
            "{} is no join key: give integers of 64 bits, texts, bytes or UUIDs",
            item.repr()?
        ))),
    }
}
