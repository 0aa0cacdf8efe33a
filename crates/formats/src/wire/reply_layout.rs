//! Sizes that builder and reader of a reply agree on (docs/protocol.md, "Replies").

/// Every buffer starts at a multiple of this, counted from the frame's first byte.
pub(super) const ALIGN: usize = 64;
/// Flags, view count and read time, before the first view entry.
pub(super) const HEAD_BYTES: usize = 16;
/// Entry of one view.
pub(super) const VIEW_ENTRY_BYTES: usize = 24;
/// Entry of one column.
pub(super) const COLUMN_ENTRY_BYTES: usize = 16;
