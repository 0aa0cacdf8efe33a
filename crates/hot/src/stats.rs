//! What a table holds and what it costs.

/// Figures of one hot table, all exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HotStats {
    /// Rows, tombstones included.
    pub rows: u64,
    /// Bytes of the slots that hold rows.
    pub slot_bytes: u64,
    /// Bytes of key, value and expiry, each row's sum padded to 8.
    pub body_bytes: u64,
    /// Slot bytes that neither a row's header nor its body uses.
    pub slack_bytes: u64,
    /// Bytes of index segments, overflow buckets and directory cells in use.
    pub index_bytes: u64,
    /// Entries in use over entries that the segments have room for, 0 to 1.
    pub index_load: f64,
    /// Index segments.
    pub segments: u64,
    /// Overflow buckets in use: more than a few mean colliding keys, or a table that ran out of memory.
    pub overflow_buckets: u64,
    /// Times that cells were moved between segments.
    pub cell_moves: u64,
    /// Bytes in chunks that nobody has claimed.
    pub free_bytes: u64,
    /// Bytes of free slots in chunks that a size class has claimed.
    pub free_slot_bytes: u64,
    /// Bytes of the whole map.
    pub map_bytes: u64,
    /// Rows reserved and not yet written.
    pub reserved_rows: u64,
    /// Rows evicted so far.
    pub evictions: u64,
    /// Rows that the hand passed in search of one to evict.
    pub hand_rows: u64,
    /// Those of them that had been read since the hand came by before. Nearly all: the table is too small.
    pub hand_rows_read: u64,
}

impl HotStats {
    /// Bytes that an average row costs beside its key and values: header, slack, share of the index.
    pub fn overhead_bytes_per_row(&self) -> f64 {
        if self.rows == 0 {
            return 0.0;
        }
        (self.slot_bytes - self.body_bytes + self.index_bytes) as f64 / self.rows as f64
    }
}
