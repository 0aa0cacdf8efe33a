//! What can go wrong with the log, grouped by what the caller does next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes on disk that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not hold.
    pub what: String,
}

/// Why a data directory cannot be opened or verified.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// No room on the disk for what an open needs; nothing was changed.
    #[error("no room on the disk for {path} ({needed_bytes} bytes); free some and open again")]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
        /// Its length.
        needed_bytes: u64,
    },
    /// Another process, or another store of this one, has the directory open.
    #[error("{path} is locked: the directory is open elsewhere; stop that process first")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {}: {}; restore it from a backup, or open the directory \
             for salvage", .0.file.display(), .0.offset, .0.what)]
    Damaged(Damage),
    /// A file that must exist does not.
    #[error("{path} is missing: {why}; restore it from a backup")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What names it.
        why: &'static str,
    },
    /// A file of another store.
    #[error("{path} belongs to another store; move it out of the directory")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file written by a later version.
    #[error("{path} was written by a newer version ({what}); open it with that version")]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Which version it has.
        what: String,
    },
    /// A segment that no log of the manifest contains, and that holds batches.
    #[error(
        "{path} holds batches but the MANIFEST knows no such log; if it was copied here, \
             move it away; if the MANIFEST is an old copy, restore the present one"
    )]
    Extra {
        /// The file.
        path: PathBuf,
    },
    /// Logs without a manifest.
    #[error("{path} is missing although there are logs; restore it from a backup")]
    NoManifest {
        /// The manifest.
        path: PathBuf,
    },
    /// A backup is being restored to the directory, or was when the machine stopped.
    #[error(
        "{path} is there: a restore into this directory has not ended; run it again, or remove the directory"
    )]
    Restoring {
        /// The manifest that waits to be named.
        path: PathBuf,
    },
    /// The receiver of the replayed records refused one.
    #[error("replay stopped: {0}")]
    Refused(String),
    /// A manifest that may not follow the present one; nothing was written.
    #[error("the MANIFEST cannot be replaced: {0}")]
    Manifest(String),
    /// An option is out of its limits.
    #[error("log option {0}")]
    Options(String),
}

impl LogError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn damaged(file: &Path, offset: u64, what: impl ToString) -> Self {
        Self::Damaged(Damage { file: file.to_owned(), offset, what: what.to_string() })
    }

    /// The file concerned, and where in it (0 when the whole file is).
    pub fn location(&self) -> Option<(&Path, u64)> {
        match self {
            Self::Damaged(damage) => Some((&damage.file, damage.offset)),
            Self::Io { path, .. }
            | Self::DiskFull { path, .. }
            | Self::Locked { path }
            | Self::Missing { path, .. }
            | Self::Foreign { path }
            | Self::NewerVersion { path, .. }
            | Self::Extra { path }
            | Self::NoManifest { path } => Some((path, 0)),
            Self::Restoring { .. } | Self::Refused(_) | Self::Manifest(_) | Self::Options(_) => {
                None
            }
        }
    }

    /// As a damage: what is wrong with which bytes.
    pub(super) fn into_damage(self) -> Damage {
        match self {
            Self::Damaged(damage) => damage,
            other => {
                let (file, offset) = other.location().unwrap_or((Path::new(""), 0));
                Damage { file: file.to_owned(), offset, what: other.to_string() }
            }
        }
    }
}

/// Why a record was not appended. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The open batch is full: submit it, and append after the next progress.
    #[error("the open log batch is full")]
    BatchFull,
    /// The present segment is full and the next one is still being made: come back later.
    #[error("the next log segment is not ready yet")]
    NotReady,
    /// The present segment is full and the disk has no room for another; it is tried again by
    /// itself.
    #[error(
        "the disk is full: no room for {path} ({needed_bytes} bytes); free some, the log goes on by itself"
    )]
    DiskFull {
        /// The segment that does not fit.
        path: PathBuf,
        /// Its length.
        needed_bytes: u64,
    },
    /// The present segment is full and another cannot be made; it is tried again by itself.
    #[error("cannot make the next log segment {path}: {what}; it is tried again by itself")]
    NoSegment {
        /// The segment.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// The record fits no batch.
    #[error("the record needs a log batch of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes of a batch with this record alone.
        bytes: usize,
        /// Largest batch.
        limit: usize,
    },
    /// The log has failed: it takes nothing more until the directory is opened again.
    #[error("the log is read-only: {0}")]
    ReadOnly(Arc<LogFailure>),
    /// The log is being stopped.
    #[error("the log is stopping")]
    Stopping,
}

impl AppendError {
    /// Whether the same record will fit soon, without anyone doing anything about it.
    pub const fn is_backpressure(&self) -> bool {
        matches!(self, Self::BatchFull | Self::NotReady)
    }
}

/// The end of a log's writing: a write or a sync failed. Never retried over the same pages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {} at byte {offset} failed: {cause}; open the directory again to recover", .file.display())]
pub struct LogFailure {
    /// The segment.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was being done.
    pub what: &'static str,
    /// What the system said.
    pub cause: String,
}

/// Whether the disk, or the user's share of it, is full.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
