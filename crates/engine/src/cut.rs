//! What a shard hands over when a snapshot is taken, and the decision how.
//!
//! The memtable that is written cannot be read by others. So it is frozen, as a full one is; but if each
//! snapshot froze it, many in a row would make as many tables of a few rows each. A small one is copied
//! instead: copying it takes less than a turn of the shard may take, and the table that a frozen one becomes
//! is never smaller than what is copied at most.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::checkpoint::CheckpointPartition;
use thermae_tiering::erase::PendingErases;
use thermae_tiering::history::ShardPart;

/// Most bytes of a memtable that is copied: some 50 us of work.
const COPY_MAX_BYTES: usize = 512 << 10;
/// The part of the size at which memtables are flushed that is copied at most.
const COPY_MAX_SHARE: usize = 4;
/// Frozen memtables at most: a flush takes one while the other waits.
pub const FROZEN_MAX: usize = 2;

/// What one shard had applied when it was asked.
pub struct ShardCut<E: Env> {
    /// The shard.
    pub shard: usize,
    /// Its memtables and tables.
    pub part: ShardPart<E>,
    /// The newest event time applied in each of its partitions that has rows.
    pub watermarks: Vec<(u16, i64)>,
    /// What a checkpoint holds of its partitions, for those who asked for that too.
    pub partitions: Option<Arc<[CheckpointPartition]>>,
    /// The last sequence applied in each of those.
    pub applied: Vec<(u16, u64)>,
    /// What was erased in them and may still lie somewhere.
    pub erases: Arc<PendingErases>,
}

impl<E: Env> Clone for ShardCut<E> {
    fn clone(&self) -> Self {
        Self {
            shard: self.shard,
            part: self.part.clone(),
            watermarks: self.watermarks.clone(),
            partitions: self.partitions.clone(),
            applied: self.applied.clone(),
            erases: Arc::clone(&self.erases),
        }
    }
}

/// What there is of memtables.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes of the one that is written.
    pub active_bytes: usize,
    /// It has no row.
    pub is_active_empty: bool,
    /// Bytes at which it would be flushed.
    pub flush_bytes: usize,
    /// Those on their way to disk.
    pub frozen: usize,
    /// The last flush failed.
    pub is_flush_failing: bool,
}

/// What is done with the memtable that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Nothing: it is empty.
    Leave,
    /// It is copied.
    Copy,
    /// It is frozen.
    Freeze,
    /// The snapshot waits until one of those on their way is a table.
    Wait,
    /// No snapshot can be taken until flushes get on.
    Refuse,
}

/// How a snapshot gets at the memtable that is written.
pub fn method(memory: &Memory) -> Method {
    if memory.is_active_empty {
        Method::Leave
    } else if memory.active_bytes <= COPY_MAX_BYTES.min(memory.flush_bytes / COPY_MAX_SHARE) {
        Method::Copy
    } else if memory.frozen < FROZEN_MAX {
        Method::Freeze
    } else if memory.is_flush_failing {
        Method::Refuse
    } else {
        Method::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memtable_is_frozen_only_when_it_is_worth_a_table_and_there_is_room() {
        let with = |active_bytes, frozen, is_flush_failing| {
            let (is_active_empty, flush_bytes) = (active_bytes == 0, 64 << 20);
            method(&Memory { active_bytes, is_active_empty, flush_bytes, frozen, is_flush_failing })
        };
        assert_eq!(with(0, 2, true), Method::Leave);
        assert_eq!(with(COPY_MAX_BYTES, 2, true), Method::Copy);
        let large = COPY_MAX_BYTES + 1;
        assert_eq!(with(large, 1, true), Method::Freeze);
        assert_eq!(with(large, 2, false), Method::Wait);
        assert_eq!(with(large, 2, true), Method::Refuse);
        let small = Memory {
            active_bytes: 20 << 10,
            is_active_empty: false,
            flush_bytes: 64 << 10,
            frozen: 0,
            is_flush_failing: false,
        };
        assert_eq!(method(&small), Method::Freeze);
    }
}
