//! Sorted tables of the warm tier: what each page of a file is. Bytes: `docs/formats/warm.md`.
//!
//! Compression and I/O are the tiering crate's; here are the parts before and after them.

mod block;
mod columns;
mod columns_layout;
#[cfg(test)]
mod columns_tests;
mod columns_write;
mod error;
mod filter;
mod footer;
mod id;
mod index;
mod page;
mod sizes;
#[cfg(test)]
mod tests;

pub use block::{
    BLOCK_HEADER_BYTES, BlockHeader, Codec, MAX_BLOCK_PAGES, MAX_RAW_BYTES, Rows, open_block,
    seal_block,
};
pub use columns::Columns;
pub use columns_layout::Layout;
pub use columns_write::ColumnsWriter;
pub use error::TableError;
pub use filter::{FilterPart, TableFilter, encode_filter};
pub use footer::{Section, TableFooter};
pub use id::TableId;
pub use index::{TableIndex, ViewBlocks};
pub use sizes::{FILTER_PART_BYTES, PAGE_BYTES, TABLE_VERSION, TABLE_VERSION_STUBS, padded};

/// File name of a table in the directory of tables.
pub fn table_name(file_id: u64) -> String {
    format!("{file_id:016x}.tbl")
}

/// What a table holds.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableKind {
    /// At most one version of each row: the newest when the table was written.
    Latest = 1,
    /// Versions that newer ones have superseded.
    History = 2,
}

impl TableKind {
    /// The kind that is stored as `code`.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Latest),
            2 => Some(Self::History),
            _ => None,
        }
    }
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
