//! What features are computed from, as columns of a spine: taken by the rule by which online reads take them, so that
//! a frame of Python's numbers trains what it is served.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use thermae_engine::training::{Column, field};
use thermae_features::model::RequestField;
use thermae_formats::row_value::encode_value;
use thermae_formats::{Value, ValueType};

use crate::entities::values_of;
use crate::errors::{Fault, Result};

/// The columns of a spine that are made what on-demand views declare.
pub struct RequestColumns {
    schema: SchemaRef,
    /// Where each is, and its type.
    columns: Vec<(usize, ValueType)>,
    /// Rows that were taken before.
    rows: usize,
}

impl RequestColumns {
    /// Finds those of a spine that are not of the declared type; what is missing is told by whoever reads.
    pub fn new(spine: &Schema, fields: &[RequestField]) -> Self {
        let mut columns = Vec::new();
        let mut all = spine.fields().to_vec();
        for wanted in fields {
            let declared = Arc::new(field(&wanted.name, &wanted.value_type));
            for (at, found) in all.iter_mut().enumerate() {
                if *found.name() == wanted.name && found.data_type() != declared.data_type() {
                    *found = Arc::clone(&declared);
                    columns.push((at, wanted.value_type.clone()));
                }
            }
        }
        RequestColumns { schema: Schema::new(all).into(), columns, rows: 0 }
    }

    /// The spine's columns as they will be.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch of the spine.
    ///
    /// # Errors
    /// A value that does not fit, with its column and row.
    pub fn take(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        for (at, value_type) in &self.columns {
            let Some(column) = columns.get_mut(*at) else { continue };
            let name = batch.schema_ref().field(*at).name();
            let values = values_of(name, column.as_ref(), value_type, self.rows);
            let values = values.map_err(Fault::invalid)?;
            let bytes = values.iter().map(|value| bytes_of(value, value_type));
            let bytes = bytes.collect::<Result<Vec<_>>>()?;
            let mut fitted = Column::new(value_type);
            fitted
                .extend(bytes.iter().map(|bytes| Ok(bytes.as_deref())))
                .map_err(|_| Fault::store(format!("column {name:?} cannot be built")))?;
            *column = fitted.finish();
        }
        self.rows += batch.num_rows();
        let built = RecordBatch::try_new(self.schema(), columns);
        built.map_err(|error: ArrowError| Fault::invalid(error.to_string()))
    }
}

fn bytes_of(value: &Value, value_type: &ValueType) -> Result<Option<Vec<u8>>> {
    if value.is_null() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    encode_value(value_type, value, &mut bytes)
        .map_err(|error| Fault::invalid(error.to_string()))?;
    Ok(Some(bytes))
}
