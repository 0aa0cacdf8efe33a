//! Why a training read fails: which row, column, view or file, and what to do.

use std::io;

use arrow_schema::ArrowError;
use thermae_formats::{KeyError, ProjectionError, RowError};
use thermae_tiering::spill::SpillError;

use crate::error::Error;

/// An error of a spine or of a history, whose kinds are their own business.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A training read that failed. Rows are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The request cannot be right, or names a view that does not exist.
    #[error(transparent)]
    Request(#[from] Error),
    /// A view lacks a feature that is asked for.
    #[error(transparent)]
    Features(#[from] ProjectionError),
    /// The spine lacks a column.
    #[error("{what} needs a column {column:?}, which the spine does not have. It has: {there}")]
    MissingColumn {
        /// What needs it.
        what: String,
        /// The column.
        column: String,
        /// The columns that are there.
        there: String,
    },
    /// A column of the spine is of a type that cannot be what it is used as.
    #[error("column {column:?} of the spine is {found}, which cannot be {what}")]
    ColumnType {
        /// The column.
        column: String,
        /// Its Arrow type.
        found: String,
        /// What it is used as.
        what: String,
    },
    /// Two columns of the answer would have one name.
    #[error(
        "the answer would have two columns {name:?}: ask for full names, name the view otherwise, or rename \
         the spine's column"
    )]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A row of the spine has no time.
    #[error("row {row} of the spine has no time: column {column:?} is null there")]
    NoTime {
        /// The time column.
        column: String,
        /// The row.
        row: u64,
    },
    /// A time is out of range.
    #[error("row {row}, column {column:?}: the time {found} is out of range in microseconds")]
    TimeRange {
        /// The time column.
        column: String,
        /// The row.
        row: u64,
        /// The time in the column's own unit.
        found: i64,
    },
    /// A value that cannot be a join key; the error names its column.
    #[error("row {row} of the spine: {source}")]
    Key {
        /// The row.
        row: u64,
        /// What is wrong.
        source: KeyError,
    },
    /// The spine cannot be read.
    #[error("cannot read the spine: {0}")]
    Spine(Cause),
    /// The spine was not the same when it was read again.
    #[error("the spine changed while it was joined: {0}; ask again")]
    SpineChanged(String),
    /// The history of a view cannot be read.
    #[error("cannot read the history of {view}: {source}")]
    History {
        /// `project/name@version`.
        view: String,
        /// Why.
        source: Cause,
    },
    /// A stored row is not what was written, or of a schema that the catalogue does not know.
    #[error("a row of {view}, asked for by row {row} of the spine: {source}")]
    StoredRow {
        /// `project/name@version`.
        view: String,
        /// The spine's row that it answers.
        row: u64,
        /// What is wrong.
        source: RowError,
    },
    /// What did not fit into memory cannot be spilled.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// A value does not become one of its column.
    #[error("feature {column:?}, asked for by row {row} of the spine, is damaged: {reason}")]
    Value {
        /// The answer's column.
        column: String,
        /// The spine's row.
        row: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A record that was sorted is not what was put in: a fault of the program or of memory.
    #[error("a sorted record is not what was put in: ask again, and report it if it stays")]
    Record,
    /// Columns do not make a batch.
    #[error("cannot build the answer: {0}")]
    Batch(#[from] ArrowError),
    /// A helper thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Somebody cancelled it.
    #[error("the training read was cancelled")]
    Cancelled,
}
