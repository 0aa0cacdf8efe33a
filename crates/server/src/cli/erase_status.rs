//! What a server says of erases: the answer to ERASE_STATUS (docs/protocol.md).

use serde::Deserialize;

/// What the server says of erases.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// Those of which something may be left.
    pub pending: u64,
    /// Versions left out of tables.
    pub rows: u64,
    /// Tables rewritten.
    pub tables: u64,
    /// Log files removed.
    pub segments: u64,
    /// `none`, `open` or `closed`.
    pub archive: String,
    /// Versions left out of the archive.
    pub archive_rows: u64,
    /// Its files that were rewritten.
    pub archive_files: u64,
    /// Why it does not get on.
    pub trouble: Option<String>,
    /// Backups that hold something.
    pub backups: Vec<InBackup>,
    /// Places with files of interrupted backups.
    pub unfinished: Vec<String>,
    /// Backups that could not be looked through.
    pub unread: Vec<String>,
}

/// A backup that holds something.
#[derive(Clone, Debug, Deserialize)]
pub struct InBackup {
    /// Where it lies, below the server's directory of backups.
    pub place: String,
    /// Its name.
    pub backup: String,
    /// When it was taken.
    pub taken: String,
    /// Of how many of the entities.
    pub keys: u64,
}

impl Status {
    /// Notes what is said of further erases. They may have been carried out together with those before, so that
    /// figures are not added up.
    pub fn take(&mut self, other: Self) {
        self.rows = self.rows.max(other.rows);
        self.tables = self.tables.max(other.tables);
        self.segments = self.segments.max(other.segments);
        self.archive_rows = self.archive_rows.max(other.archive_rows);
        self.archive_files = self.archive_files.max(other.archive_files);
        self.archive = other.archive;
    }
}
