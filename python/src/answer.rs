//! An answer to an online read, and what it can be had as.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_pyarrow::PyArrowType;
use arrow_schema::Schema;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use thermae_client::MappedAnswer;
use thermae_engine::training::{Column as ArrowColumn, field};
use thermae_formats::row_value::decode_value;
use thermae_formats::wire::{Column, Frame, HEADER_BYTES, Kind, ReadReply, RowStatus, ViewReply};
use thermae_formats::{Value, ValueType};

use crate::errors::{Fault, Result};
use crate::feast;
use crate::values;

/// The columns of an answer: what they are called, their types, and where they lie.
#[derive(Debug)]
pub struct Columns {
    /// Names, in the order asked.
    pub names: Vec<String>,
    /// Their types.
    pub types: Vec<ValueType>,
    /// Of each its view, and its place there.
    pub places: Vec<(usize, usize)>,
}

/// Where an answer lies.
pub enum Held {
    /// In a frame of the wire.
    Wire(thermae_client::Answer),
    /// In memory that was filled from mapped tables, one a view.
    Mapped(Vec<MappedAnswer>),
    /// In a frame of the wire, a view for each column.
    Computed(thermae_client::ComputedAnswer),
    /// The same, laid out in this process.
    Embedded(Vec<u8>),
}

impl Columns {
    /// Columns that lie each in a view of its own.
    pub fn apart(columns: impl Iterator<Item = (String, ValueType)>) -> Self {
        let (names, types): (Vec<_>, Vec<_>) = columns.unzip();
        let places = (0..names.len()).map(|at| (at, 0)).collect();
        Columns { names, types, places }
    }
}

impl Held {
    fn view(&self, index: usize) -> Option<ViewReply<'_>> {
        match self {
            Self::Wire(answer) => answer.view(index),
            Self::Mapped(answers) => answers.get(index)?.view(),
            Self::Computed(answer) => answer.column(index),
            Self::Embedded(bytes) => {
                let (kind_code, payload) = (Kind::Columns as u8, bytes.get(HEADER_BYTES..)?);
                let frame = Frame { kind_code, request_id: 0, bytes, payload };
                ReadReply::again(&frame).ok()?.view(index)
            }
        }
    }

    fn views(&self) -> usize {
        match self {
            Self::Wire(answer) => answer.plan().views().len(),
            Self::Mapped(answers) => answers.len(),
            Self::Computed(answer) => answer.plan().columns().len(),
            Self::Embedded(_) => 0,
        }
    }
}

/// An answer to an online read.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct Answer {
    held: Held,
    columns: Arc<Columns>,
    rows: usize,
    read_time: i64,
}

impl Answer {
    /// An answer of so many rows, judged by a time in microseconds UTC.
    pub fn new(held: Held, columns: Arc<Columns>, rows: usize, read_time: i64) -> Self {
        Answer { held, columns, rows, read_time }
    }

    fn place(&self, column: usize) -> Result<(ViewReply<'_>, usize)> {
        let missing = || Fault::invalid(format!("the answer has no column {column}"));
        let (view, place) = self.columns.places.get(column).ok_or_else(missing)?;
        Ok((self.held.view(*view).ok_or_else(missing)?, *place))
    }

    fn column(&self, column: usize) -> Result<(Column<'_>, &ValueType)> {
        let (view, place) = self.place(column)?;
        let value_type = self.columns.types.get(column);
        view.column(place).zip(value_type).ok_or_else(|| {
            Fault::invalid("this answer is a matrix alone: ask for columns".to_owned())
        })
    }

    /// The float32 block of an answer that lies column by column.
    fn cells(&self) -> Result<Vec<f32>> {
        let columns = self.columns.names.len();
        let mut cells = vec![f32::NAN; self.rows * columns];
        for (at, name) in self.columns.names.iter().enumerate() {
            let (column, value_type) = self.column(at)?;
            if !value_type.is_numeric() {
                let what = "a matrix needs bool, integer and float columns only";
                return Err(Fault::invalid(format!("{what}: {name:?} is {value_type}")));
            }
            for row in 0..column.rows() {
                let Some(field) = column.value(row) else { continue };
                let value = decode_value(value_type, field).map_err(|fault| {
                    Fault::store(format!("column {name:?} does not decode: {}", fault.reason))
                })?;
                if let Some(cell) = cells.get_mut(row * columns + at) {
                    *cell = number(&value);
                }
            }
        }
        Ok(cells)
    }

    fn record_batch(&self) -> Result<RecordBatch> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (at, name) in self.columns.names.iter().enumerate() {
            let (column, value_type) = self.column(at)?;
            let mut built = ArrowColumn::new(value_type);
            let values = (0..column.rows()).map(|row| Ok(column.value(row)));
            built.extend(values).map_err(|_| {
                Fault::store(format!("column {name:?}: a value of the answer does not decode"))
            })?;
            fields.push(field(name, value_type));
            arrays.push(built.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| Fault::store(error.to_string()))
    }
}

#[pymethods]
impl Answer {
    /// How many entities.
    #[getter]
    fn rows(&self) -> usize {
        self.rows
    }

    /// What the columns are called, in the order asked.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.columns.names.clone()
    }

    /// The types of the columns, as definitions write them.
    #[getter]
    fn types(&self) -> Vec<String> {
        self.columns.types.iter().map(ToString::to_string).collect()
    }

    /// The time by which TTL was judged, microseconds UTC.
    #[getter]
    fn read_time(&self) -> i64 {
        self.read_time
    }

    /// Statuses of a column, one byte an entity, by `thermae.Status`.
    fn statuses<'py>(&self, py: Python<'py>, column: usize) -> Result<Bound<'py, PyArray1<u8>>> {
        let (view, place) = self.place(column)?;
        let values = view.column(place);
        let code = |row| match view.status(row) {
            RowStatus::Present if values.is_none_or(|values| values.is_valid(row)) => 0,
            RowStatus::Present => 1,
            RowStatus::NotFound => 2,
            RowStatus::OutsideMaxAge => 3,
            RowStatus::Error => 4,
            RowStatus::Unavailable => 5,
        };
        Ok(PyArray1::from_vec(py, (0..view.rows()).map(code).collect()))
    }

    /// Event times behind a column, microseconds UTC; the smallest number where there is none.
    fn event_times<'py>(
        &self,
        py: Python<'py>,
        column: usize,
    ) -> Result<Bound<'py, PyArray1<i64>>> {
        let (view, _) = self.place(column)?;
        let time = |row| match view.status(row) {
            RowStatus::Present | RowStatus::OutsideMaxAge => {
                view.event_time(row).unwrap_or(i64::MIN)
            }
            _ => i64::MIN,
        };
        Ok(PyArray1::from_vec(py, (0..view.rows()).map(time).collect()))
    }

    /// A column of numbers, times or vectors as one array; `None` for other types.
    fn array<'py>(&self, py: Python<'py>, column: usize) -> Result<Option<Bound<'py, PyAny>>> {
        let (column, value_type) = self.column(column)?;
        values::array(py, &column, value_type)
    }

    /// Where a column is null, or `None` if it is nowhere.
    fn nulls<'py>(
        &self,
        py: Python<'py>,
        column: usize,
    ) -> Result<Option<Bound<'py, PyArray1<bool>>>> {
        let (column, _) = self.column(column)?;
        let nulls: Vec<bool> = (0..column.rows()).map(|row| !column.is_valid(row)).collect();
        Ok(nulls.contains(&true).then(|| PyArray1::from_vec(py, nulls)))
    }

    /// A column as a list; a timestamp is microseconds UTC, a uuid 16 bytes.
    fn values<'py>(&self, py: Python<'py>, column: usize) -> PyResult<Bound<'py, PyList>> {
        let (column, value_type) = self.column(column)?;
        values::list(py, &column, value_type)
    }

    /// All columns as a `pyarrow.RecordBatch`.
    fn arrow(&self) -> Result<PyArrowType<RecordBatch>> {
        self.record_batch().map(PyArrowType)
    }

    /// All columns as the results of Feast's GetOnlineFeaturesResponse; `kinds` are the numbers of their fields in
    /// Feast's Value, 0 for a column that holds such messages.
    fn feast<'py>(&self, py: Python<'py>, kinds: Vec<u32>) -> Result<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        let columns = self.columns.types.iter().zip(kinds).enumerate();
        for (at, (value_type, kind)) in columns {
            let (view, place) = self.place(at)?;
            feast::result(&view, place, value_type, kind, &mut out)?;
        }
        Ok(PyBytes::new(py, &out))
    }

    /// The float32 block, entities x columns, NaN for null, if the answer was asked for as one.
    fn matrix<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let shape = [self.rows, self.columns.names.len()];
        let wrong = |error: &dyn std::fmt::Display| Fault::store(error.to_string());
        if matches!(self.held, Held::Computed(_) | Held::Embedded(_)) {
            return PyArray1::from_vec(py, self.cells()?).reshape(shape);
        }
        let mut blocks = Vec::with_capacity(self.held.views());
        for view in 0..self.held.views() {
            let view = self.held.view(view).ok_or_else(|| wrong(&"a view is missing"))?;
            blocks.push((view.matrix().map_err(|error| wrong(&error))?, view.columns()));
        }
        if let [(block, _)] = blocks.as_slice() {
            return PyArray1::from_slice(py, block).reshape(shape);
        }
        let mut cells = Vec::with_capacity(shape[0] * shape[1]);
        for row in 0..self.rows {
            for (block, columns) in &blocks {
                cells.extend(block.get(row * columns..(row + 1) * columns).unwrap_or_default());
            }
        }
        PyArray1::from_vec(py, cells).reshape(shape)
    }
}

/// A number as the nearest float32, NaN for anything else.
fn number(value: &Value) -> f32 {
    match value {
        Value::Bool(v) => f32::from(u8::from(*v)),
        Value::Int32(v) => *v as f32,
        Value::Int64(v) => *v as f32,
        Value::Float32(v) => *v,
        Value::Float64(v) => *v as f32,
        _ => f32::NAN,
    }
}
