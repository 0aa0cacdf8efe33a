//! Entities: columns of join keys, from Python's lists and numpy's arrays to packed keys.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString};
use thermae_client::{Keys, Plan};
use thermae_features::store::EntityRows;
use thermae_formats::{KeyType, KeyValue};

use crate::errors::{Fault, Result};

/// One column of join keys.
enum Column {
    /// Of an int64 array.
    Integers(Vec<i64>),
    /// Of a list.
    Values(Vec<KeyValue>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Values(values) => values.len(),
        }
    }

    fn value(&self, row: usize) -> KeyValue {
        match self {
            Self::Integers(values) => KeyValue::Int(values.get(row).copied().unwrap_or_default()),
            Self::Values(values) => values.get(row).cloned().unwrap_or(KeyValue::Int(0)),
        }
    }
}

/// Of whom features are asked for, one entity a row.
pub struct Entities {
    columns: Vec<(String, Column)>,
    rows: usize,
}

impl Entities {
    /// From a dictionary of columns, each an int64 array of numpy or a list; without any, one row.
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
            let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Fault::invalid(format!(
                "the join key {name:?} is missing: the entities have the columns: {there}"
            ))
        })
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
                values.push(coerced(column.value(row), name, *key_type).map_err(|e| at(row, &e))?);
            }
            keys.push(&values).map_err(|error| at(row, &error))?;
        }
        Ok(keys)
    }

    /// The same columns as the embedded store takes them.
    pub fn to_rows(&self, key_type: impl Fn(&str) -> Option<KeyType>) -> Result<EntityRows> {
        let mut rows = EntityRows::new().with_rows(self.rows);
        for (name, column) in &self.columns {
            let mut values = Vec::with_capacity(self.rows);
            for row in 0..self.rows {
                let value = column.value(row);
                values.push(match key_type(name) {
                    Some(wanted) => coerced(value, name, wanted).map_err(|e| at(row, &e))?,
                    None => value,
                });
            }
            rows = rows.with(name.clone(), values);
        }
        Ok(rows)
    }
}

fn at(row: usize, error: &dyn std::fmt::Display) -> Fault {
    Fault::invalid(format!("entity row {row}: {error}"))
}

/// A uuid or an integer may be given as text.
fn coerced(value: KeyValue, name: &str, wanted: KeyType) -> Result<KeyValue> {
    match (wanted, value) {
        (KeyType::Uuid | KeyType::Int32 | KeyType::Int64, KeyValue::String(text)) => {
            KeyValue::parse(name, wanted, &text).map_err(|error| Fault::invalid(error.to_string()))
        }
        (_, value) => Ok(value),
    }
}

fn column(name: &str, values: &Bound<'_, PyAny>) -> PyResult<Column> {
    if let Ok(array) = values.cast::<PyArray1<i64>>() {
        return Ok(Column::Integers(array.to_vec()?));
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
