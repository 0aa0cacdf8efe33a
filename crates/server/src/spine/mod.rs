//! A file as the spine of a training read: Parquet, CSV or NDJSON, read by the readers of [`crate::ingest`] batch by
//! batch, as often as it is asked for.
//!
//! Columns of Parquet stay as they are. CSV and NDJSON have no types: join keys get those of the views, times are
//! read as `ingest` reads them, and of the other columns each gets the narrowest type that all of its values have
//! (`guess`).

mod batches;
mod error;
mod guess;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use thermae_engine::training::{self, Batches, Cause, Spine};
use thermae_formats::{KeyType, Scalar, ValueType};

use crate::ingest::cell::Reader;
use crate::ingest::coerce::Allow;
use crate::ingest::mapping::EVENT_TIME_NAMES;
use crate::ingest::{Column, Source};
use batches::FileBatches;
pub use error::SpineError;

/// What the time is called when nothing says so, and no usual name is there.
const DEFAULT_TIME: &str = "event_timestamp";

/// What the columns of a spine are used as.
#[derive(Clone, Debug, Default)]
pub struct SpineUse {
    /// The column of each row's time; none: one of the names that an event time goes by.
    pub time: Option<String>,
    /// Columns of join keys, and the types of the keys, one for each view that asks.
    pub keys: Vec<(String, KeyType)>,
    /// Columns that features are computed from, and their types.
    pub fields: Vec<(String, ValueType)>,
    /// How times may be written.
    pub allow: Allow,
    /// Texts of a CSV stay as they are written, because they go into a CSV again.
    pub keeps_text: bool,
}

/// How a column is read.
#[derive(Clone, Debug, PartialEq)]
enum How {
    /// As the file has it.
    Native,
    /// By value, as this type.
    As(ValueType),
    /// By value, as text, whatever it is.
    Text,
}

#[derive(Clone, Debug, PartialEq)]
struct SpineColumn {
    /// Its place in the file.
    at: usize,
    field: Field,
    how: How,
    is_needed: bool,
}

/// A file whose columns are known.
#[derive(Clone, Debug)]
pub struct SpineFile {
    source: Source,
    columns: Vec<SpineColumn>,
    time: String,
    allow: Allow,
    rows: Option<u64>,
}

impl SpineFile {
    /// Looks at the file's columns; reads a CSV or NDJSON through to learn what its other columns hold.
    ///
    /// # Errors
    /// It cannot be read, or lacks a column.
    pub fn open(source: Source, wanted: &SpineUse) -> Result<Self, SpineError> {
        let reader = source.open()?;
        let file = reader.columns().to_vec();
        let mut rows = reader.rows_total();
        drop(reader);
        let is_there = |name: &&str| file.iter().any(|there| there.name == **name);
        let time = match &wanted.time {
            Some(time) => time.clone(),
            None => EVENT_TIME_NAMES.into_iter().find(is_there).unwrap_or(DEFAULT_TIME).to_owned(),
        };
        let needed = std::iter::once(("the time", &time));
        let needed = needed.chain(wanted.keys.iter().map(|(column, _)| ("a join key", column)));
        let fields =
            wanted.fields.iter().map(|(column, _)| ("what features are computed of", column));
        let needed = needed.chain(fields);
        for (what, column) in needed {
            if !is_there(&column.as_str()) {
                return Err(SpineError::missing(&source.path, what, column, &file));
            }
        }
        let mut columns = Vec::with_capacity(file.len());
        let mut guessed = Vec::new();
        for (at, column) in file.iter().enumerate() {
            let needed = needed_as(column, &time, wanted);
            let is_needed = needed.is_some();
            let how = match needed {
                Some(how) => how,
                None if column.data_type.is_some() => How::Native,
                None => {
                    guessed.push(at);
                    How::Text
                }
            };
            columns.push(SpineColumn { at, field: field(column, &how), how, is_needed });
        }
        if !(guessed.is_empty() || wanted.keeps_text && source.format == crate::ingest::Format::Csv)
        {
            let (types, all_rows) = guess::types(&source, &guessed)?;
            rows = Some(all_rows);
            for (at, how) in guessed.into_iter().zip(types) {
                columns[at].field = field(&file[at], &how);
                columns[at].how = how;
            }
        }
        Ok(Self { source, columns, time, allow: wanted.allow, rows })
    }

    /// The same rows with the columns alone that the join needs.
    #[must_use]
    pub fn needed(&self) -> Self {
        let columns = self.columns.iter().filter(|column| column.is_needed).cloned().collect();
        Self { columns, ..self.clone() }
    }

    /// The column of each row's time.
    pub fn time(&self) -> &str {
        &self.time
    }

    /// The places of the columns that [`Self::needed`] has among those of this.
    pub fn needed_places(&self) -> Vec<usize> {
        let places = self.columns.iter().enumerate();
        places.filter(|(_, column)| column.is_needed).map(|(place, _)| place).collect()
    }

    /// The names of its columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.field.name().as_str())
    }
}

/// How a time, a join key or what features are computed from is read; `None` of any other column.
fn needed_as(column: &Column, time: &str, wanted: &SpineUse) -> Option<How> {
    let is_native = |of: fn(&DataType) -> bool| column.data_type.as_ref().is_some_and(of);
    if column.name == time {
        let is_time = |of: &DataType| {
            matches!(of, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
        };
        let as_time = How::As(ValueType::Scalar(Scalar::Timestamp));
        return Some(if is_native(is_time) { How::Native } else { as_time });
    }
    let mut types = wanted.keys.iter().filter(|(name, _)| *name == column.name);
    let (first, field) =
        (types.next(), wanted.fields.iter().find(|(name, _)| *name == column.name));
    if column.data_type.is_some() && (first.is_some() || field.is_some()) {
        return Some(How::Native);
    }
    if let Some((_, value_type)) = field {
        // A join key of that name is of that type, too.
        return Some(How::As(value_type.clone()));
    }
    let first = first?.1;
    let is_int = |of: KeyType| matches!(of, KeyType::Int32 | KeyType::Int64);
    let is_one = types.all(|(_, other)| *other == first || is_int(*other) && is_int(first));
    Some(match first {
        // Keys of several types: each view reads the text its own way.
        _ if !is_one => How::Text,
        KeyType::Int32 | KeyType::Int64 => How::As(ValueType::Scalar(Scalar::Int64)),
        KeyType::String => How::Text,
        KeyType::Bytes => How::As(ValueType::Scalar(Scalar::Bytes)),
        KeyType::Uuid => How::As(ValueType::Scalar(Scalar::Uuid)),
    })
}

fn field(column: &Column, how: &How) -> Field {
    match how {
        How::Native => {
            Field::new(&column.name, column.data_type.clone().unwrap_or(DataType::Null), true)
        }
        How::As(value_type) => training::field(&column.name, value_type),
        How::Text => Field::new(&column.name, DataType::Utf8, true),
    }
}

impl Spine for SpineFile {
    fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|column| column.field.clone()).collect();
        Arc::new(Schema::new(fields))
    }

    fn rows(&self) -> Option<u64> {
        self.rows
    }

    fn read(&self) -> Result<Batches<'_>, Cause> {
        Ok(Box::new(FileBatches::open(self)?))
    }
}
