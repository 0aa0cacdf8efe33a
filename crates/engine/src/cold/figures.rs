//! What the archive reports.

use serde::Serialize;

/// Figures of the archive; what is counted is counted since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArchiveFigures {
    /// Rows in the files of its tables. A version is in one file, or, while it is still in warm, in both tiers.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Tables: one for each run of schemas of a view.
    pub tables: u64,
    /// Memory that footers, bloom filters and page indices of open files take, in bytes; as of the last change.
    pub open_file_bytes: u64,
    /// Rows archived.
    pub archived_rows: u64,
    /// Batches committed.
    pub batches: u64,
    /// Merges of small files.
    pub merges: u64,
    /// Files that `keep_for` has ended.
    pub expired_files: u64,
    /// Objects removed that no table names.
    pub swept_objects: u64,
    /// Rows that erases left out of its files.
    pub erased_rows: u64,
    /// Removals of what was erased that wait for somebody who reads it still.
    pub erases_waiting: u64,
    /// Rounds that failed and are tried again.
    pub failures: u64,
    /// How long what is in tables and not archived has waited, in microseconds.
    pub lag_us: i64,
    /// Bytes of rows in tables that are not archived, about.
    pub waiting_bytes: u64,
    /// What is damaged and set aside, tables of the warm tier and files of the archive: all else goes on.
    pub damaged: Vec<String>,
    /// Why it does not get on, if it does not.
    pub trouble: Option<String>,
}
