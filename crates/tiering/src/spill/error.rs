//! What goes wrong with spill files: each error names the file and what to do.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why records could not be sorted.
#[derive(Debug, Error)]
pub enum SpillError {
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
        "no space for {needed_bytes} bytes more of {}: free some, name a directory with more, or allow more \
         memory",
        path.display()
    )]
    DiskFull {
        /// The file that was being written; it is removed again.
        path: PathBuf,
        /// Bytes that did not fit.
        needed_bytes: u64,
    },
    /// A file no longer holds what was written to it.
    #[error("{} is damaged at offset {offset_bytes}: ask again, and check the disk", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where its damaged block begins.
        offset_bytes: u64,
    },
}

impl SpillError {
    pub(super) fn io(
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
}
