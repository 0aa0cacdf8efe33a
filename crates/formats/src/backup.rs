//! What a backup holds. Bytes: `docs/formats/backup.md`.

mod name;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::ViewId;
use crate::manifest::{Manifest, ManifestError};
pub use name::{BackupName, FileKind, FileName};

/// First bytes of every backup.
pub const BACKUP_MAGIC: [u8; 8] = *b"THRMBKUP";
/// Version of the backup format. A backup without attachments is written as version 2, and as version 1 if it says
/// nothing of an archive either.
pub const BACKUP_VERSION: u16 = 3;
/// Longest name of an attachment, bytes.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 64;
/// Bytes of a file that one checksum is over.
pub const PIECE_BYTES: u64 = 1 << 20;

/// A backup: the manifest of the directory that it is restored to, and the files that this one names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// When the shards were asked for what is in it, microseconds UTC.
    pub taken_us: i64,
    /// Without logs; every epoch up to its own is covered.
    pub manifest: Manifest,
    /// Its tables and checkpoints, ascending by file id.
    pub files: Vec<BackupFile>,
    /// What it needs of the store's archive; none where no row has left the tables for it.
    pub archive: Option<BackupArchive>,
    /// Files of the directory that are not the store's own, whole, by name: the registry's. See
    /// [`is_attachment_name`].
    pub attachments: BTreeMap<String, Vec<u8>>,
}

/// Whether a file may be attached to a backup under this name: `[a-z][a-z0-9_]*` and one or more endings, which no
/// file of the store's own is called.
pub fn is_attachment_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let may_be = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !part.is_empty() && part.bytes().all(may_be)
    };
    name.len() <= ATTACHMENT_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.contains('.')
        && name.split('.').all(is_part)
}

/// An archive as it was when a backup was taken. Its objects are not in the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupArchive {
    /// Its id.
    pub id: u128,
    /// Views of which rows may lie in the archive alone: those of an event time before this, microseconds UTC.
    pub views: BTreeMap<ViewId, i64>,
    /// Its tables, by path: at least one.
    pub tables: BTreeMap<String, ArchiveTable>,
}

/// A table of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveTable {
    /// Commits that it had.
    pub commits: u64,
    /// What it was made of then: a checkpoint of that version (`docs/formats/archive.md`), which verifies itself.
    pub state: Vec<u8>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupFile {
    /// Its number in the store.
    pub file_id: u64,
    /// Its length.
    pub bytes: u64,
    /// The checksum of each [`PIECE_BYTES`] of it.
    pub pieces: Vec<u64>,
}

/// Why bytes are no backup.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackupError {
    /// The bytes end inside it, or go on behind it.
    #[error("the file has {found} bytes, {what} do not fit that")]
    Length {
        /// What is cut or too much.
        what: &'static str,
        /// Bytes that it has.
        found: usize,
    },
    /// Not a backup.
    #[error("no backup: wrong magic")]
    Magic,
    /// A backup of a later format.
    #[error("backup format version {0}, this build knows {BACKUP_VERSION}")]
    NewerVersion(u16),
    /// The bytes are not what was written.
    #[error("the backup's checksum does not hold")]
    Checksum,
    /// The manifest in it is none.
    #[error("the backup's manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// The checksum holds but a field is what no writer writes.
    #[error("the backup's {0} is impossible")]
    Field(&'static str),
}

/// Pieces of a file of so many bytes.
pub const fn pieces_of(bytes: u64) -> u64 {
    bytes.div_ceil(PIECE_BYTES)
}

impl Backup {
    /// Bytes of all of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Versions in its tables: superseded ones and tombstones too.
    pub fn rows(&self) -> u64 {
        self.manifest.tables.iter().map(|table| table.rows).sum()
    }

    /// The names of its files, in their order.
    pub fn names(&self) -> Vec<FileName> {
        named(&self.manifest).into_values().map(|(name, _)| name).collect()
    }

    /// Whether a backup like this may be written.
    ///
    /// # Errors
    /// [`BackupError::Field`] names what is impossible.
    pub fn check(&self) -> Result<(), BackupError> {
        let Manifest { current, sealed, trees, epoch, covered_epoch, .. } = &self.manifest;
        let are_logs_gone = current.is_empty() && sealed.is_empty() && covered_epoch == epoch;
        let have_checkpoints = trees.iter().all(|tree| tree.checkpoint != 0);
        let named = named(&self.manifest);
        let is_sound = |(file, (name, table_bytes)): (&BackupFile, &(FileName, Option<u64>))| {
            file.file_id == name.file_id
                && file.bytes > 0
                && table_bytes.is_none_or(|bytes| bytes == file.bytes)
                && file.pieces.len() as u64 == pieces_of(file.bytes)
        };
        let is_list_sound =
            named.len() == self.files.len() && self.files.iter().zip(named.values()).all(is_sound);
        let checks = [
            (*epoch > 0, "epoch"),
            (are_logs_gone, "list of logs"),
            (!trees.is_empty() && have_checkpoints, "list of trees"),
            (is_list_sound, "list of files"),
            (self.archive.as_ref().is_none_or(|archive| !archive.tables.is_empty()), "archive"),
            (self.attachments.keys().all(|name| is_attachment_name(name)), "list of attachments"),
        ];
        match checks.iter().find(|(is_sound, _)| !is_sound) {
            Some((_, field)) => Err(BackupError::Field(field)),
            None => Ok(()),
        }
    }
}

/// The files that a manifest names, by their ids; of tables it tells the length.
fn named(manifest: &Manifest) -> BTreeMap<u64, (FileName, Option<u64>)> {
    let tables = manifest.tables.iter().map(|table| {
        let (file_id, checksum) = (table.file_id, table.checksum);
        (FileName { file_id, checksum, kind: FileKind::Table }, Some(table.bytes))
    });
    let trees = manifest.trees.iter().filter(|tree| tree.checkpoint != 0);
    let checkpoints = trees.map(|tree| {
        let (file_id, checksum) = (tree.checkpoint, tree.checkpoint_checksum);
        (FileName { file_id, checksum, kind: FileKind::Checkpoint }, None)
    });
    tables.chain(checkpoints).map(|file| (file.0.file_id, file)).collect()
}
