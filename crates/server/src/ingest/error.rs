//! Why a file cannot be loaded at all. A single bad row is a [`Rejection`](super::Rejection) instead.

use std::path::PathBuf;

/// Why a file cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The system would not read it.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It holds no bytes.
    #[error("{} is empty (0 bytes): nothing was loaded", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Its name tells no format.
    #[error(
        "cannot tell the format of {}: name it .parquet, .csv, .ndjson or .jsonl, or add --format",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// It is not of the format.
    #[error("{} is not {format} that can be read: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `Parquet`, `CSV` or `NDJSON`.
        format: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// A column is needed that is not there.
    #[error(
        "{what} needs a column {column:?}, which the file does not have. {help}. It has: {there}"
    )]
    MissingColumn {
        /// What needs it: `join key "origin"`.
        what: String,
        /// The column.
        column: String,
        /// The columns that are there.
        there: String,
        /// What to do.
        help: String,
    },
    /// No column was named for the event time, and none has a usual name.
    #[error(
        "the file does not tell which column is the event time: add --event-time COL{candidates}, or --at TIME \
         when all rows are of one time. It has: {there}"
    )]
    NoEventTime {
        /// A hint naming timestamp columns, or nothing.
        candidates: String,
        /// The columns that are there.
        there: String,
    },
    /// A column's type cannot feed what it is mapped to, in any row.
    #[error("column {column:?} is {found}, which cannot become {what} ({wanted})")]
    WrongColumnType {
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// What it is mapped to.
        what: String,
        /// The type that wants it.
        wanted: String,
    },
    /// `--map` names something that is not there, or twice.
    #[error("--map {mapping}: {reason}")]
    BadMapping {
        /// As given.
        mapping: String,
        /// What is wrong.
        reason: String,
    },
    /// The view's rows have no layout.
    #[error(transparent)]
    Schema(#[from] thermae_formats::SchemaError),
    /// The server's answer ended the load.
    #[error("{0}")]
    Server(String),
    /// The server refused, or there is no connection to it any more.
    #[error(transparent)]
    Client(#[from] thermae_client::Error),
    /// The file of rejects cannot be written.
    #[error("cannot write the rejects file {}: {source}", path.display())]
    Rejects {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
