//! How the memory of a store is divided: one pure function. Every queue, buffer and table takes its limit
//! from here, so that all of them together stay within what was given.

use thermae_tiering::buffers::Buffers;

use crate::table_readers::READER_BYTES;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a shard takes whatever its budget: five log buffers of 1 MiB and one in reserve, blocks that were
/// read for look-ups (1 MiB), the doorkeeper, the marks of producers, figures, rings (1 MiB: what a server's
/// connections receive into, or the threads of an embedder read into), and what
/// Zstandard and the packing of blocks need for eight tables that are read and four that are written (some
/// 300 and 500 KiB each).
const FIXED_BYTES: u64 = 13 * MIB;
/// The least for the shares that depend on the budget: a hot table of some MiB and memtables that are
/// not flushed all the time.
const SHARED_LEAST_BYTES: u64 = 16 * MIB;
/// The smallest hot table that there is.
const HOT_LEAST_BYTES: u64 = MIB;
/// Peak of what tables pin while all of them are merged into one: the old filters and indices, the new
/// ones being written, the same in the encoding of the file.
const PINNED_PEAK: u64 = 3;
/// Bytes of memory for each row of a table: its share of the filter; and for each block of 4 KiB of it: its
/// entry in the index. Measured: 10.3 bits and 12 bytes.
const FILTER_BYTES_PER_16_ROWS: u64 = 21;
const INDEX_BYTES_PER_BLOCK: u64 = 12;
/// A look-up under way: a block of one page, its key, its row, its place in the books.
const LOOK_UP_BYTES: u64 = 8 * KIB;

/// Of what a shard takes in any case, its rings.
const RINGS_BYTES: u64 = MIB;
/// Threads of an embedder that read tables beside each other at most, for each shard.
const READERS_MAX: u64 = 64;

/// What there is to divide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Memory of the process, in bytes.
    pub memory_bytes: u64,
    /// Bytes of it that others than the store take: a server its connections.
    pub reserved_bytes: u64,
    /// Shards that share the rest equally.
    pub shards: u64,
    /// Bytes that filters and indices of a shard's tables take already ([`pinned_bytes`]).
    pub pinned_bytes: u64,
    /// Size at which memtables are flushed, in bytes; 0: a part of the memory.
    pub flush_bytes: u64,
}

/// The shares of one shard, in bytes unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// What does not depend on the budget.
    pub fixed_bytes: u64,
    /// The hot table: what the others leave.
    pub hot_bytes: u64,
    /// Size at which a memtable is flushed; there are three, one that is written and two on their way.
    pub memtable_bytes: u64,
    /// Writes that were taken and not answered; what is beyond is refused as overloaded.
    pub queue_bytes: u64,
    /// Buffers of flushes and merges.
    pub work_bytes: u64,
    /// Look-ups in tables under way, and the rows that they found for writes.
    pub look_up_bytes: u64,
    /// Filters and indices of tables, those that a merge is making included.
    pub index_bytes: u64,
    /// What the allocator loses, a memtable's last chunk and its marks, and what nobody has thought of.
    pub slack_bytes: u64,
}

impl MemoryPlan {
    /// Divides what there is. Shares are as large as they are of use, and the hot table is the rest. Where
    /// tables pin more than their usual sixteenth, the hot table gives it up, down to an eighth.
    ///
    /// Below [`least_bytes`] the fixed part is not all there, and a store may take more than it was given.
    pub fn divide(given: &Given) -> Self {
        let shard_bytes =
            given.memory_bytes.saturating_sub(given.reserved_bytes) / given.shards.max(1);
        let fixed_bytes =
            FIXED_BYTES.min(shard_bytes.saturating_sub(SHARED_LEAST_BYTES).max(shard_bytes / 4));
        let shared = shard_bytes - fixed_bytes;
        let memtable_bytes = match given.flush_bytes {
            0 => (shared / 12).clamp(64 * KIB, 64 * MIB),
            bytes => bytes.max(16 * KIB),
        };
        let queue_bytes = (shared / 16).clamp(128 * KIB, 64 * MIB);
        let work_bytes = (shared / 8).min(32 * MIB);
        let look_up_bytes = (shared / 32).min(8 * MIB);
        let slack_bytes = shared / 32;
        let others = 3 * memtable_bytes.min(shared / 8)
            + queue_bytes
            + work_bytes
            + look_up_bytes
            + slack_bytes;
        let left = shared.saturating_sub(others);
        // A quarter more than now: a store that is opened goes on growing.
        let wanted = (given.pinned_bytes + given.pinned_bytes / 4).saturating_mul(PINNED_PEAK);
        let index_bytes = wanted.max(shared / 16).min(left.saturating_sub(shared / 8));
        Self {
            fixed_bytes,
            hot_bytes: (left - index_bytes).max(HOT_LEAST_BYTES),
            memtable_bytes,
            queue_bytes,
            work_bytes,
            look_up_bytes,
            index_bytes,
            slack_bytes,
        }
    }

    /// Sizes of the buffers of flushes and merges.
    pub fn buffers(&self) -> Buffers {
        Buffers::within(self.work_bytes)
    }

    /// Look-ups in tables that may be under way at a time: half of their share, the other half is for the
    /// rows that they found.
    pub fn look_ups(&self) -> usize {
        (self.look_up_bytes / 2 / LOOK_UP_BYTES).max(16) as usize
    }

    /// Threads of an embedder that may read tables at a time: as many as the memory of the rings, which a store without
    /// connections does not use, and a part of the slack have room for.
    pub fn readers(&self) -> usize {
        let least = RINGS_BYTES / READER_BYTES;
        (self.slack_bytes / 4 / READER_BYTES).clamp(least, READERS_MAX) as usize
    }

    /// Bytes of rows that were read because writes are judged against them.
    pub fn base_bytes(&self) -> usize {
        (self.look_up_bytes / 2) as usize
    }

    /// Bytes by which filters and indices of `pinned_bytes`, with the merge that rewrites them all, may
    /// take more than their share.
    pub fn index_excess(&self, pinned_bytes: u64) -> u64 {
        pinned_bytes.saturating_mul(PINNED_PEAK).saturating_sub(self.index_bytes)
    }
}

/// The least memory for `shards` shards beside `reserved_bytes`, such that everything stays within it.
pub const fn least_bytes(shards: u64, reserved_bytes: u64) -> u64 {
    reserved_bytes + shards * (FIXED_BYTES + SHARED_LEAST_BYTES)
}

/// What filters and indices of tables take in memory, for `rows` rows in `bytes` of files.
pub const fn pinned_bytes(rows: u64, bytes: u64) -> u64 {
    rows / 16 * FILTER_BYTES_PER_16_ROWS + bytes / 4096 * INDEX_BYTES_PER_BLOCK
}

#[cfg(test)]
mod tests;
