//! Arrow tables as rows of a feature view: every row is judged before the first is written.

use arrow_array::RecordBatch;
use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_pyarrow::PyArrowType;
use arrow_schema::{DataType, Schema, SchemaRef};
use pyo3::prelude::*;
use thermae_formats::FeatureView;
use thermae_server::ingest::cell::{Batch, Cell, Column, Reader};
use thermae_server::ingest::coerce::Allow;
use thermae_server::ingest::mapping::{FeatureFrom, TimeFrom};
use thermae_server::ingest::{IngestError, Mapping, Row, RowReader, arrow_cell};

use crate::errors::{Fault, Result};

/// Rows that are wrong and told one by one; the others are counted.
const TOLD_MAX: usize = 20;
/// Rows taken out of a batch at a time: a table of many rows may be one.
const SLICE_ROWS: usize = 8_192;

/// Which columns hold what. A feature without a column takes its default; one without a default is null.
#[derive(Clone, Debug, FromPyObject)]
pub struct Layout {
    /// The column with each row's event time.
    #[pyo3(attribute)]
    event_time: Option<String>,
    /// The column with each row's created time.
    #[pyo3(attribute)]
    created_time: Option<String>,
    /// One event time for all rows, microseconds UTC.
    #[pyo3(attribute)]
    at_us: Option<i64>,
    /// Features may be missing from the table.
    #[pyo3(attribute)]
    partial: bool,
    /// A float64 is rounded to a float32 feature.
    #[pyo3(attribute)]
    narrow_floats: bool,
}

/// A table twice: to be judged, and to be written.
///
/// # Errors
/// It is no stream of Arrow's.
pub fn streams(table: &Bound<'_, PyAny>) -> PyResult<(ArrowRows, ArrowRows)> {
    let check: PyArrowType<RecordBatchStreamReader> = table.extract()?;
    let write: PyArrowType<RecordBatchStreamReader> = table.extract()?;
    Ok((ArrowRows::new(check.0), ArrowRows::new(write.0)))
}

/// An Arrow stream, read as a file is that is loaded.
pub struct ArrowRows {
    stream: RecordBatchStreamReader,
    columns: Vec<Column>,
    /// What is left of the present batch.
    rest: Option<RecordBatch>,
}

impl ArrowRows {
    /// Over a stream.
    fn new(stream: RecordBatchStreamReader) -> Self {
        let columns = columns(&schema(&stream));
        ArrowRows { stream, columns, rest: None }
    }

    /// Which of its columns feeds what.
    ///
    /// # Errors
    /// A column that is missing, or there twice.
    pub fn mapping(&self, view: &FeatureView, layout: &Layout) -> Result<Mapping> {
        let finder = Finder { view, columns: &self.columns };
        finder.check_names()?;
        let keys = view
            .join_keys
            .iter()
            .map(|key| finder.need(&key.name, &format!("the join key {:?}", key.name)));
        let features = view.features.iter().map(|feature| {
            match (finder.find(&feature.name), &feature.default) {
                (Some(column), _) => Ok(FeatureFrom::Column(column)),
                (None, Some(default)) => Ok(FeatureFrom::Default(default.clone())),
                (None, None) if layout.partial => {
                    Ok(FeatureFrom::Default(thermae_formats::Value::Null))
                }
                (None, None) => finder
                    .need(&feature.name, &format!("the feature {:?}", feature.name))
                    .map(FeatureFrom::Column),
            }
        });
        let event_time = match (&layout.event_time, layout.at_us) {
            (Some(column), _) => TimeFrom::Column(finder.need(column, "the event time")?),
            (None, Some(at_us)) => TimeFrom::Fixed(at_us),
            (None, None) => {
                return Err(Fault::invalid(format!(
                    "no column was named for the event time: give event_time or at; there are: {}",
                    finder.there()
                )));
            }
        };
        let created_time = layout.created_time.as_ref();
        let allow = Allow { narrow_floats: layout.narrow_floats, time_unit: None };
        Ok(Mapping {
            keys: keys.collect::<Result<_>>()?,
            features: features.collect::<Result<_>>()?,
            event_time,
            created_time: created_time
                .map(|column| finder.need(column, "the created time"))
                .transpose()?,
            allow,
        })
    }

    /// Judges every row.
    ///
    /// # Errors
    /// What is wrong, row by row.
    pub fn check(mut self, view: &FeatureView, layout: &Layout) -> Result<u64> {
        let mapping = self.mapping(view, layout)?;
        let mut reader = RowReader::new(view, &self.columns, mapping).map_err(IngestError::from)?;
        let (mut rows, mut bad, mut told) = (0, 0_u64, Vec::new());
        while let Some(batch) = self.next()? {
            reader.read(&batch, |row| {
                rows += 1;
                if let Err(rejection) = row {
                    bad += 1;
                    if told.len() < TOLD_MAX {
                        told.push((rejection.number - 1, rejection.detail));
                    }
                }
            });
        }
        if bad == 0 {
            return Ok(rows);
        }
        let lines: Vec<String> =
            told.iter().take(3).map(|(row, what)| format!("row {row}: {what}")).collect();
        let more = if bad > 3 { format!(", and {} more", bad - 3) } else { String::new() };
        let message = format!(
            "{bad} of {rows} rows do not fit {}, and nothing was written: {}{more}",
            view.name,
            lines.join("; ")
        );
        Err(Fault::rows(message, told))
    }

    /// The rows, which were checked before, some at a time.
    ///
    /// # Errors
    /// A column that is missing.
    pub fn stream<'v>(self, view: &'v FeatureView, layout: &Layout) -> Result<RowStream<'v>> {
        let mapping = self.mapping(view, layout)?;
        let reader = RowReader::new(view, &self.columns, mapping).map_err(IngestError::from)?;
        Ok(RowStream { rows: self, reader })
    }

    fn next(&mut self) -> std::result::Result<Option<ArrowBatch>, IngestError> {
        let batch = match self.rest.take() {
            Some(rest) => Some(rest),
            None => self.stream.next().transpose().map_err(|error| {
                IngestError::Server(format!("the table cannot be read: {error}"))
            })?,
        };
        let Some(batch) = batch else { return Ok(None) };
        let rows = batch.num_rows();
        if rows <= SLICE_ROWS {
            return Ok(Some(ArrowBatch(batch)));
        }
        self.rest = Some(batch.slice(SLICE_ROWS, rows - SLICE_ROWS));
        Ok(Some(ArrowBatch(batch.slice(0, SLICE_ROWS))))
    }
}

/// Rows of a table, some at a time.
pub struct RowStream<'v> {
    rows: ArrowRows,
    reader: RowReader<'v>,
}

impl RowStream<'_> {
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// The stream ends with an error, or a row is wrong now.
    pub fn next(&mut self) -> Result<Option<Vec<Row>>> {
        let Some(batch) = self.rows.next()? else { return Ok(None) };
        let (mut rows, mut changed) = (Vec::with_capacity(batch.rows()), None);
        self.reader.read(&batch, |row| match row {
            Ok(row) => rows.push(row),
            Err(rejection) => changed = Some(rejection),
        });
        match changed {
            None => Ok(Some(rows)),
            Some(rejection) => Err(Fault::invalid(format!(
                "row {} changed while it was written: {}",
                rejection.number - 1,
                rejection.detail
            ))),
        }
    }
}

impl Reader for ArrowRows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn next_batch(&mut self) -> std::result::Result<Option<Box<dyn Batch + '_>>, IngestError> {
        Ok(self.next()?.map(|batch| Box::new(batch) as Box<dyn Batch>))
    }

    fn rows_total(&self) -> Option<u64> {
        None
    }
}

/// One batch of a stream.
struct ArrowBatch(RecordBatch);

impl Batch for ArrowBatch {
    fn rows(&self) -> usize {
        self.0.num_rows()
    }

    fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        match self.0.columns().get(column) {
            Some(array) => arrow_cell::cell(array.as_ref(), row),
            None => Cell::Null,
        }
    }

    fn broken(&self, _row: usize) -> Option<&str> {
        None
    }
}

fn schema(stream: &RecordBatchStreamReader) -> SchemaRef {
    use arrow_array::RecordBatchReader as _;
    stream.schema()
}

fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &std::sync::Arc<arrow_schema::Field>| Column {
        name: field.name().clone(),
        type_name: arrow_cell::type_name(field.data_type()),
        readable: arrow_cell::is_readable(field.data_type()),
        data_type: Some(field.data_type().clone()),
    };
    schema.fields().iter().map(column).collect()
}

/// Finds columns by name.
struct Finder<'a> {
    view: &'a FeatureView,
    columns: &'a [Column],
}

impl Finder<'_> {
    fn check_names(&self) -> Result<()> {
        for (at, column) in self.columns.iter().enumerate() {
            if self.columns.iter().take(at).any(|other| other.name == column.name) {
                return Err(Fault::invalid(format!(
                    "the table has two columns {:?}: nothing was written",
                    column.name
                )));
            }
            let is_wanted = self.view.feature(&column.name).is_some()
                || self.view.join_keys.iter().any(|key| key.name == column.name);
            if is_wanted && !column.readable && column.data_type != Some(DataType::Null) {
                return Err(Fault::invalid(format!(
                    "column {:?} is {}, which no feature or join key can be",
                    column.name, column.type_name
                )));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    fn need(&self, name: &str, what: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| {
            Fault::invalid(format!(
                "{what} of {} needs a column {name:?}, which the table does not have; there are: {}",
                self.view.name,
                self.there()
            ))
        })
    }

    fn there(&self) -> String {
        let names: Vec<&str> = self.columns.iter().take(40).map(|c| c.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}
