//! What goes wrong in the warm tier: each error names the file, what is wrong and what to do.

use std::io;
use std::path::{Path, PathBuf};

use thermae_formats::table::{TABLE_VERSION, TABLE_VERSION_STUBS, TableError};
use thiserror::Error;

/// Why the warm tier could not do what it was asked.
#[derive(Debug, Error)]
pub enum WarmError {
    /// The operating system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No space is left.
    #[error(
        "no space for {needed_bytes} bytes more of {}: free some, or lower keep_for or warm_for",
        path.display()
    )]
    DiskFull {
        /// File that was being written; it is removed again.
        path: PathBuf,
        /// Bytes that did not fit.
        needed_bytes: u64,
    },
    /// A file is not what was written.
    #[error(
        "{} is damaged at offset {offset_bytes}: {what}; restore the file from a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of the damaged part in it.
        offset_bytes: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file was written by another build.
    #[error(
        "{} has table format version {version}, this build knows {TABLE_VERSION} and {TABLE_VERSION_STUBS}: open it with a {} build",
        path.display(),
        if *version > TABLE_VERSION_STUBS { "later" } else { "former" }
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// The archive could not be read.
    #[error("the archive: {source}")]
    Archive {
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What was written there is not there any more.
        is_damage: bool,
    },
    /// Rows came in an order, or of a size, that no table can hold.
    #[error("{} cannot take the row: {what}", path.display())]
    Order {
        /// The table being written.
        path: PathBuf,
        /// What is wrong with the row.
        what: &'static str,
    },
}

impl WarmError {
    /// An I/O error of `path`, or that the disk is full, where `needed_bytes` were to be written.
    pub(crate) fn io(
        what: &'static str,
        path: &Path,
        needed_bytes: u64,
        source: io::Error,
    ) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded => Self::DiskFull { path, needed_bytes },
            _ => Self::Io { what, path, source },
        }
    }

    /// Bytes of `path` that are no table, at `offset_bytes`.
    pub(crate) fn format(path: &Path, offset_bytes: u64, error: &TableError) -> Self {
        match *error {
            TableError::Version(version) => Self::Version { path: path.to_owned(), version },
            _ => Self::damaged(path, offset_bytes, error),
        }
    }

    /// A damaged part of `path`.
    pub(crate) fn damaged(path: &Path, offset_bytes: u64, what: &impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), offset_bytes, what: what.to_string() }
    }

    /// Whether data that was written is no longer there: nothing but a copy brings it back.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Archive { is_damage: true, .. })
    }

    /// Whether the work may succeed when it is tried again with more space on the disk.
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
