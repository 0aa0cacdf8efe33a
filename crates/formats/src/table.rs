//! Sorted tables of the warm tier. Bytes: `docs/formats/warm.md`.

/// What a table holds.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableKind {
    /// At most one version of each row: the newest when the table was written.
    Latest = 1,
    /// Versions that newer ones have superseded.
    History = 2,
}

/// A table as the manifest names it: enough to plan with, and to know it when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRef {
    /// Its number in the store, and its file name.
    pub file_id: u64,
    /// What it holds.
    pub kind: TableKind,
    /// Length of the file, a multiple of 4096.
    pub bytes: u64,
    /// Versions in it, tombstones included.
    pub rows: u64,
    /// Tombstones in it.
    pub tombstones: u64,
    /// Smallest event time in it.
    pub min_event_time: i64,
    /// Greatest event time in it.
    pub max_event_time: i64,
    /// Checksum of its last page, which holds those of all the others.
    pub checksum: u64,
}
