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

/// `bytes` rounded up to whole pages; what a damaged footer makes too many for that is more than any file has.
pub const fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64).saturating_mul(PAGE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::padded;

    #[test]
    fn lengths_are_whole_pages_and_absurd_ones_do_not_overflow() {
        assert_eq!([0, 1, 4096, 4097].map(padded), [0, 4096, 4096, 8192]);
        assert_eq!(padded(u64::MAX), u64::MAX);
    }
}
