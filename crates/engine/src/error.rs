//! What can go wrong, grouped by what the caller does next.

use std::path::PathBuf;

use thermae_formats::SchemaError;
use thermae_tiering::WarmError;

use crate::log::LogError;

/// An engine failure. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be right: correct it before sending it again.
    #[error("{0}")]
    Invalid(String),
    /// The thing named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A definition that existing rows could not be read through.
    #[error("feature view {view}: {source}; register it under a new version to serve both")]
    Incompatible {
        /// `project/name@version` of the refused definition.
        view: String,
        /// What makes it incompatible.
        source: SchemaError,
    },
    /// The store takes no writes now; reads go on.
    #[error("writes are refused: {0}")]
    ReadOnly(String),
    /// The outcome is unknown; repeating the request under its producer sequence is safe.
    #[error("the outcome is in doubt: {0}; repeating it with the same producer sequence is safe")]
    InDoubt(String),
    /// A queue is full: repeat later.
    #[error("overloaded: {0}; retry in {retry_after_ms} ms", retry_after_ms = .1)]
    Overloaded(String, u32),
    /// Another process holds the directory.
    #[error("{0} is open in another process; stop it, or open another directory")]
    Locked(PathBuf),
    /// Bytes on disk are not what was written.
    #[error("{file} at byte {offset}: {what}; restore the file or the directory from a backup")]
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What does not hold.
        what: String,
    },
    /// Rows that are asked for lie in the archive alone, and it cannot be read.
    #[error("history is not complete without the archive: {0}")]
    Archive(String),
    /// The operating system refused something.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The store has stopped or is stopping.
    #[error("the store is stopped; open it again")]
    Stopped,
}

impl Error {
    /// A log error, with its place.
    pub(crate) fn from_log(error: LogError) -> Self {
        match error {
            LogError::Locked { path } => Error::Locked(path),
            LogError::Io { action, path, source } => {
                Error::Io { context: format!("{action} {}", path.display()), source }
            }
            error => match error.location() {
                Some((path, offset)) => Error::Corrupt {
                    file: path.display().to_string(),
                    offset,
                    what: error.to_string(),
                },
                None => Error::Invalid(error.to_string()),
            },
        }
    }

    /// An error of the warm tier, with its place.
    pub fn from_warm(error: WarmError) -> Self {
        match error {
            WarmError::Damaged { path, offset_bytes, what } => {
                Error::Corrupt { file: path.display().to_string(), offset: offset_bytes, what }
            }
            WarmError::Io { what, path, source } => {
                Error::Io { context: format!("{what} {}", path.display()), source }
            }
            WarmError::Archive { source, .. } => Error::Archive(source.to_string()),
            error => Error::Invalid(error.to_string()),
        }
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { context: context.into(), source }
    }
}
