//! Why a file cannot be a spine: which file, column and row.

use std::path::{Path, PathBuf};

use crate::ingest::{Column, IngestError};

/// A file that cannot be a spine. Rows are counted from 1, a header line not among them.
#[derive(Debug, thiserror::Error)]
pub enum SpineError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] IngestError),
    /// A column is not there.
    #[error(
        "{what} needs a column {column:?}, which {} does not have. Name the right one with --event-time COL for the \
         time, --map COL=KEY for a join key of a feature view. It has: {there}",
        path.display()
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// What needs it.
        what: &'static str,
        /// The column.
        column: String,
        /// The columns that are there.
        there: String,
    },
    /// A line is broken.
    #[error("{}, row {row}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// What is wrong.
        reason: String,
    },
    /// A value is not what its column is used as.
    #[error("{}, row {row}, column {column:?}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// The columns do not make a batch.
    #[error("{}: {source}", path.display())]
    Batch {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: arrow_schema::ArrowError,
    },
}

impl SpineError {
    pub(super) fn missing(
        path: &Path,
        what: &'static str,
        column: &str,
        columns: &[Column],
    ) -> Self {
        let there: Vec<String> = columns.iter().take(40).map(ToString::to_string).collect();
        let (path, column, there) = (path.to_owned(), column.to_owned(), there.join(", "));
        Self::MissingColumn { path, what, column, there }
    }
}
