//! Rows into columns: one builder a column, fed with the bytes of fields as rows hold them.

use std::sync::Arc;

use arrow_array::builder::ListBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use thermae_formats::row_value::for_each_element;
use thermae_formats::version::Version;
use thermae_formats::{KeyType, NO_TIME, Scalar, ValueType, split_key};

use super::ColdError;
use super::columns::{Column, Columns, SYSTEM, element_field};
use super::values::Values;

/// Builds batches of rows.
pub(super) struct BatchBuilder {
    columns: Arc<Columns>,
    builders: Vec<Builder>,
    rows: usize,
}

impl BatchBuilder {
    pub fn new(columns: &Arc<Columns>) -> Self {
        let builders = columns.columns().iter().map(Builder::new).collect();
        Self { columns: Arc::clone(columns), builders, rows: 0 }
    }

    /// Rows of the batch so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends a row of any schema that the columns were compiled for.
    ///
    /// # Errors
    /// The row does not read; the builder is of no use afterwards.
    pub fn push(&mut self, version: &Version<'_>, partition: u16) -> Result<(), ColdError> {
        let optional = |time: i64| (time != NO_TIME).then(|| time.to_le_bytes());
        let (created, expire) = (optional(version.created_time), optional(version.expire_at));
        let system: [Option<&[u8]>; SYSTEM.len()] = [
            Some(&version.event_time.to_le_bytes()),
            created.as_ref().map(|bytes| &bytes[..]),
            expire.as_ref().map(|bytes| &bytes[..]),
            Some(&version.sequence.to_le_bytes()),
            Some(&i32::from(partition).to_le_bytes()),
            Some(&[u8::from(version.is_tombstone())]),
        ];
        for (builder, field) in self.builders.iter_mut().zip(system) {
            builder.append(field)?;
        }
        self.push_key(version.key)?;
        self.push_features(version)?;
        self.rows += 1;
        Ok(())
    }

    fn push_key(&mut self, key: &[u8]) -> Result<(), ColdError> {
        let mut rest = key;
        for (join_key, builder) in
            self.columns.join_keys().iter().zip(&mut self.builders[SYSTEM.len()..])
        {
            let (field, after) = split_key(&[join_key.key_type], rest)
                .map_err(|_| ColdError::Order("its key is not one of the view's join keys"))?;
            builder.append(Some(match join_key.key_type {
                // An int32 key is encoded as an int64 of the same value.
                KeyType::Int32 => &field[..4],
                KeyType::Int64 | KeyType::Uuid => field,
                KeyType::String | KeyType::Bytes => &field[2..],
            }))?;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(ColdError::Order("bytes follow its key")) }
    }

    fn push_features(&mut self, version: &Version<'_>) -> Result<(), ColdError> {
        let builders = &mut self.builders[self.columns.features_at()..];
        if version.is_tombstone() {
            return builders.iter_mut().try_for_each(|builder| builder.append(None));
        }
        let projection = self.columns.projection();
        let row = projection.row(version.schema_id, version.value, version.is_dense())?;
        for (index, builder) in builders.iter_mut().enumerate() {
            builder.append(row.field(index)?.bytes())?;
        }
        Ok(())
    }

    /// The rows so far; the next batch begins empty.
    ///
    /// # Errors
    /// None for rows that were taken.
    pub fn finish(&mut self) -> Result<RecordBatch, ColdError> {
        self.rows = 0;
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        Ok(RecordBatch::try_new(Arc::clone(self.columns.arrow()), arrays)?)
    }
}

/// Builds one column.
enum Builder {
    Values(Values),
    List(Scalar, ListBuilder<Values>),
    /// A vector: as a list, but a row holds no count before its elements.
    Vector(ListBuilder<Values>),
}

impl Builder {
    fn new(column: &Column) -> Self {
        let list = |scalar| ListBuilder::new(Values::new(scalar)).with_field(element_field(scalar));
        match &column.value_type {
            ValueType::Scalar(scalar) => Self::Values(Values::new(*scalar)),
            ValueType::Opaque { .. } => Self::Values(Values::new(Scalar::Bytes)),
            ValueType::List(scalar) => Self::List(*scalar, list(*scalar)),
            ValueType::Vector { .. } => Self::Vector(list(Scalar::Float32)),
        }
    }

    /// Appends a field of a row, or null.
    fn append(&mut self, field: Option<&[u8]>) -> Result<(), ColdError> {
        match (self, field) {
            (Self::Values(values), None) => values.append_null(),
            (Self::Values(values), Some(field)) => values.append(field)?,
            (Self::List(_, list) | Self::Vector(list), None) => list.append(false),
            (Self::List(scalar, list), Some(field)) => {
                let mut appended = Ok(());
                for_each_element(*scalar, field, |element| {
                    appended = std::mem::replace(&mut appended, Ok(()))
                        .and_then(|()| list.values().append(element));
                })
                .map_err(|fault| ColdError::Order(fault.reason))?;
                appended?;
                list.append(true);
            }
            (Self::Vector(list), Some(field)) => {
                field.chunks(4).try_for_each(|element| list.values().append(element))?;
                list.append(true);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Values(values) => values.finish_array(),
            Self::List(_, list) | Self::Vector(list) => Arc::new(list.finish()),
        }
    }
}
