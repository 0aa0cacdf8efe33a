//! Batches of a file as Arrow columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use thermae_engine::training::{Cause, Spine};
use thermae_formats::{Scalar, Value, ValueType};

use crate::export::columns;
use crate::ingest::cell::{Batch, Cell, Reader};
use crate::ingest::coerce;
use crate::ingest::source::FileReader;

use super::{How, SpineColumn, SpineError, SpineFile};

/// A pass over the file.
pub struct FileBatches<'s> {
    spine: &'s SpineFile,
    schema: SchemaRef,
    reader: FileReader,
    /// Rows before the next batch.
    rows: u64,
    is_over: bool,
}

impl<'s> FileBatches<'s> {
    /// From the first row on.
    pub fn open(spine: &'s SpineFile) -> Result<Self, SpineError> {
        let mut reader = spine.source.open()?;
        let wanted: Vec<usize> = spine.columns.iter().map(|column| column.at).collect();
        reader.select(&wanted);
        Ok(Self { spine, schema: spine.schema(), reader, rows: 0, is_over: false })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SpineError> {
        let Self { spine, schema, reader, rows, .. } = self;
        let Some(batch) = reader.next_batch()? else { return Ok(None) };
        let path = || spine.source.path.clone();
        for at in 0..batch.rows() {
            if let Some(reason) = batch.broken(at) {
                let (row, reason) = (*rows + at as u64 + 1, reason.to_owned());
                return Err(SpineError::Row { path: path(), row, reason });
            }
        }
        let array = |column: &SpineColumn| {
            array(spine, column, batch.as_ref()).map_err(|(at, reason)| SpineError::Value {
                path: path(),
                row: *rows + at as u64 + 1,
                column: column.field.name().clone(),
                reason,
            })
        };
        let arrays = spine.columns.iter().map(array).collect::<Result<Vec<_>, _>>()?;
        *rows += batch.rows() as u64;
        RecordBatch::try_new(Arc::clone(schema), arrays)
            .map(Some)
            .map_err(|source| SpineError::Batch { path: path(), source })
    }
}

impl Iterator for FileBatches<'_> {
    type Item = Result<RecordBatch, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let batch = self.next_batch();
        self.is_over = !matches!(batch, Ok(Some(_)));
        batch.map_err(Cause::from).transpose()
    }
}

/// A column of a batch; the error is (row of the batch, reason).
fn array(
    spine: &SpineFile,
    column: &SpineColumn,
    batch: &dyn Batch,
) -> Result<ArrayRef, (usize, String)> {
    let value_type = match &column.how {
        How::Native => {
            let array = batch.array(column.at);
            return array.ok_or_else(|| (0, "the file has no such column any more".to_owned()));
        }
        How::As(value_type) => value_type.clone(),
        How::Text => ValueType::Scalar(Scalar::String),
    };
    let value = |row: usize| {
        let cell = batch.cell(column.at, row);
        let value = match column.how {
            How::Text => text(&cell),
            _ => coerce::value(&cell, &value_type, spine.allow),
        };
        value.map_err(|reason| (row, reason))
    };
    let values = (0..batch.rows()).map(value).collect::<Result<Vec<Value>, _>>()?;
    Ok(columns::array(&value_type, &values.iter().map(Some).collect::<Vec<_>>()))
}

/// A cell as text: that of a JSON string is its content, of anything else in JSON as it is written.
fn text(cell: &Cell<'_>) -> Result<Value, String> {
    match cell {
        Cell::Untyped(text) => Ok(Value::from(*text)),
        Cell::Json(raw) if !raw.get().starts_with('"') => Ok(Value::from(raw.get())),
        cell => coerce::value(cell, &ValueType::Scalar(Scalar::String), coerce::Allow::default()),
    }
}
