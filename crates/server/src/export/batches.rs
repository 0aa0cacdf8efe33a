//! Batches of Arrow columns to a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};
use parquet::arrow::ArrowWriter;
use thermae_formats::{Scalar, Value, ValueType};

use super::ExportError;
use super::part::PartFile;
use super::text::TextFile;
use crate::ingest::coerce::{self, Allow};
use crate::ingest::{Format, arrow_cell};

/// Where an extension of an Arrow type is named.
const EXTENSION: &str = "ARROW:extension:name";

/// A file of batches being written. It has its name only when all of it is there.
pub struct BatchFile {
    part: PartFile,
    sink: Sink,
    rows: u64,
}

enum Sink {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Text(Vec<Shown>, TextFile),
}

/// A column whose values are written as text.
struct Shown {
    name: String,
    value_type: ValueType,
}

impl BatchFile {
    /// Begins a file of these columns; its name tells its format.
    ///
    /// # Errors
    /// A name without a known format, a column that text cannot hold, a folder that cannot be written to.
    pub fn create(path: &Path, schema: &SchemaRef) -> Result<Self, ExportError> {
        let format = Format::of_name(path).ok_or_else(|| ExportError::Format(path.to_owned()))?;
        let shown = || schema.fields().iter().map(|field| shown(field)).collect::<Result<_, _>>();
        let shown = if format == Format::Parquet { Vec::new() } else { shown()? };
        let (part, out) = PartFile::create(path)?;
        let failed = |source| ExportError::Io { path: path.to_owned(), source };
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let sink = match format {
            Format::Parquet => {
                let failed = |source| ExportError::Parquet { path: path.to_owned(), source };
                let properties = super::parquet::properties().map_err(failed)?;
                let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties));
                Sink::Parquet(Box::new(writer.map_err(failed)?))
            }
            Format::Csv => Sink::Text(shown, TextFile::csv(&names, out).map_err(failed)?),
            Format::Ndjson => Sink::Text(shown, TextFile::ndjson(names, out)),
        };
        Ok(Self { part, sink, rows: 0 })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// The file cannot be written, or text cannot hold a value; the file is gone when this is dropped.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        let path = &self.part.path;
        let failed = |source| ExportError::Io { path: path.clone(), source };
        match &mut self.sink {
            Sink::Parquet(writer) => {
                let failed = |source| ExportError::Parquet { path: path.clone(), source };
                writer.write(batch).map_err(failed)?;
                if writer.in_progress_size() >= super::parquet::GROUP_BYTES {
                    writer.flush().map_err(failed)?;
                }
            }
            Sink::Text(shown, file) => {
                let mut values = Vec::with_capacity(shown.len());
                for row in 0..batch.num_rows() {
                    values.clear();
                    for (column, array) in shown.iter().zip(batch.columns()) {
                        values.push(column.value(array, row, self.rows + row as u64 + 1)?);
                    }
                    file.push(&values).map_err(failed)?;
                }
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file and gives it its name; the bytes that it has.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<u64, ExportError> {
        let Self { part, sink, .. } = self;
        let path = &part.path;
        let failed = |source| ExportError::Io { path: path.clone(), source };
        match sink {
            Sink::Parquet(writer) => {
                let finished = writer.into_inner();
                let mut out = finished
                    .map_err(|source| ExportError::Parquet { path: path.clone(), source })?;
                out.flush().map_err(failed)?;
            }
            Sink::Text(_, file) => file.finish().map_err(failed)?,
        }
        part.finish()
    }
}

impl Shown {
    fn value(&self, array: &dyn Array, row: usize, number: u64) -> Result<Value, ExportError> {
        coerce::value(&arrow_cell::cell(array, row), &self.value_type, Allow::default())
            .map_err(|reason| ExportError::Text { column: self.name.clone(), row: number, reason })
    }
}

/// How values of a column are written as text.
fn shown(field: &Field) -> Result<Shown, ExportError> {
    let name = field.name().clone();
    match value_type(field) {
        Some(value_type) => Ok(Shown { name, value_type }),
        None => {
            let found = arrow_cell::type_name(field.data_type());
            Err(ExportError::TextType { column: name, found })
        }
    }
}

/// The type that values of an Arrow column are written as in text; `None` of one that text cannot hold.
pub fn value_type(field: &Field) -> Option<ValueType> {
    Some(match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => ValueType::List(scalar(item)?),
        DataType::FixedSizeList(item, dimension) if *item.data_type() == DataType::Float32 => {
            ValueType::Vector { dimension: u32::try_from(*dimension).ok()? }
        }
        DataType::FixedSizeList(item, _) => ValueType::List(scalar(item)?),
        _ => ValueType::Scalar(scalar(field)?),
    })
}

fn scalar(field: &Field) -> Option<Scalar> {
    let extension = field.metadata().get(EXTENSION).map(String::as_str);
    Some(match field.data_type() {
        DataType::Boolean => Scalar::Bool,
        DataType::Float16 | DataType::Float32 => Scalar::Float32,
        DataType::Float64 => Scalar::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => match extension {
            Some("arrow.json") => Scalar::Json,
            _ => Scalar::String,
        },
        DataType::FixedSizeBinary(16) if extension == Some("arrow.uuid") => Scalar::Uuid,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Scalar::Bytes,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Scalar::Timestamp,
        DataType::Null => Scalar::String,
        other if other.is_integer() => Scalar::Int64,
        _ => return None,
    })
}
