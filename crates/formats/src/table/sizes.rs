//! The numbers of the format that more than one part needs.

/// Version of the table format.
pub const TABLE_VERSION: u16 = 4;
/// The same of a table that may hold stubs.
pub const TABLE_VERSION_STUBS: u16 = 5;
/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of one view in the index.
pub(super) const VIEW_ENTRY_BYTES: usize = 24;
/// Bytes of one block in the index.
pub(super) const BLOCK_ENTRY_BYTES: usize = 12;
/// Bytes that describe one part of a filter.
pub const FILTER_PART_BYTES: usize = 40;

/// `bytes` rounded up to whole pages.
pub const fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64) * PAGE_BYTES as u64
}
