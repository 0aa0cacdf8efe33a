//! Rows of a view's history to files: Parquet, CSV, NDJSON.
//!
//! Columns, in this order: the join keys, the features, and four that each version has ([`TIMES`]). What
//! is written loads again (`thermae ingest --event-time event_timestamp --created-time
//! created_timestamp`); values come out of Parquet bit for bit.

mod batches;
pub(crate) mod columns;
mod parquet;
mod part;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use thermae_client::{Plan, ScannedRow};
use thermae_formats::wire::{PlanColumn, PlanKey};

use crate::ingest::Format;
pub use batches::{BatchFile, value_type};
use part::PartFile;

/// Names of the columns behind keys and features: when the fact was true, when it was learnt, the version's
/// place in the log of its partition, and whether it is a deletion.
pub const TIMES: [&str; 4] = ["event_timestamp", "created_timestamp", "sequence", "is_deleted"];

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The name does not tell a format.
    #[error("{} does not tell its format: name it .parquet, .csv, .ndjson or .jsonl", .0.display())]
    Format(PathBuf),
    /// Two columns would have one name.
    #[error(
        "the column {0:?} of the view has the name of one that every export has; leave it out by naming \
         the features to export"
    )]
    Name(String),
    /// Text cannot hold a column.
    #[error("column {column:?} is {found}, which CSV and NDJSON cannot hold: write a .parquet")]
    TextType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// Text cannot hold a value.
    #[error("row {row}, column {column:?}: {reason}; write a .parquet")]
    Text {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// Why not.
        reason: String,
    },
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The Parquet writer refused.
    #[error("cannot write {}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ::parquet::errors::ParquetError,
    },
}

/// What a file has: keys and features of one view.
#[derive(Clone, Debug)]
struct Shape {
    keys: Vec<PlanKey>,
    features: Vec<PlanColumn>,
}

/// Takes rows one by one.
trait Sink {
    fn push(&mut self, row: ScannedRow) -> io::Result<()>;
    /// Writes what is left.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A file being written. It has its name only when all of it is there.
pub struct Export {
    part: PartFile,
    sink: Box<dyn Sink>,
    rows: u64,
}

impl Export {
    /// Begins the file for a plan of one view; its name tells its format.
    ///
    /// # Errors
    /// A name without a known format, a column's name that is taken, a folder that cannot be written to.
    pub fn create(path: &Path, plan: &Plan) -> Result<Self, ExportError> {
        let shape = Shape {
            keys: plan.views().first().map(|view| view.join_keys.clone()).unwrap_or_default(),
            features: plan.columns(0).to_vec(),
        };
        let names = shape.keys.iter().map(|key| &key.name);
        let mut names = names.chain(shape.features.iter().map(|column| &column.name));
        if let Some(name) = names.find(|name| TIMES.contains(&name.as_str())) {
            return Err(ExportError::Name(name.clone()));
        }
        let format = Format::of_name(path).ok_or_else(|| ExportError::Format(path.to_owned()))?;
        let failed = |source| ExportError::Io { path: path.to_owned(), source };
        let (part, out) = PartFile::create(path)?;
        let sink: Box<dyn Sink> = match format {
            Format::Parquet => Box::new(
                parquet::ParquetSink::new(shape, out)
                    .map_err(|source| ExportError::Parquet { path: path.to_owned(), source })?,
            ),
            Format::Csv => Box::new(text::TextSink::csv(shape, out).map_err(failed)?),
            Format::Ndjson => Box::new(text::TextSink::ndjson(shape, out)),
        };
        Ok(Self { part, sink, rows: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file cannot be written; it is gone when this is dropped.
    pub fn push(&mut self, row: ScannedRow) -> Result<(), ExportError> {
        self.rows += 1;
        let path = &self.part.path;
        self.sink.push(row).map_err(|source| ExportError::Io { path: path.clone(), source })
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
        sink.finish().map_err(|source| ExportError::Io { path: part.path.clone(), source })?;
        part.finish()
    }
}
