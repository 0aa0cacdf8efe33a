//! Numbers of the format that more than one file goes by.

/// Version of the archive's format.
pub const ARCHIVE_VERSION: u16 = 1;
/// Rows from one fence to the next, and most rows of a page.
pub(super) const FENCE_ROWS: usize = 4_096;
