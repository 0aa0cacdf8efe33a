//! What an owner reports of its tiers.

use thermae_env::Env;

use crate::below::Below;
use crate::tiers::{HotTier, MemoryFigures, MemtableTier, Movement, TierReads, TierStats};

use super::Owner;

/// A hot table has room as long as nobody has claimed so large a part of it.
const ROOM_SHARE: u64 = 64;

/// Counters that the owner keeps for `ShardStats`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows acknowledged.
    pub written: u64,
    /// Rows that were older than the newest.
    pub late: u64,
    /// Rows repeated under their producer's sequence.
    pub duplicate: u64,
    /// Rows refused.
    pub refused: u64,
    /// Times that admission stood still because the background is behind.
    pub slowed: u64,
    /// Keys that readers asked for because hot tables could not tell.
    pub asked: u64,
    /// Those of them that memory answered.
    pub asked_in_memory: u64,
    /// Rows taken into the hot table because they were read.
    pub promoted: u64,
}

impl<E: Env> Owner<E> {
    /// Tells those who read rows from the tables whether the hot table takes them without letting others go.
    pub(crate) fn show_room(&self) {
        let hot = self.state.hot().stats();
        if let Some(below) = self.below.shard(self.state.shard()) {
            below.ascent.set_room(hot.free_bytes > hot.map_bytes / ROOM_SHARE);
        }
    }

    /// Figures of the tiers as of now. Cheap: it is called many times a second.
    pub(crate) fn tiers(&self) -> TierStats {
        let hot = self.state.hot().stats();
        let memtables = &self.state.memtables;
        let (oldest_event_time, newest_event_time) = memtables.event_times().unzip();
        let work = self.working.as_ref().map(|working| working.stats()).unwrap_or_default();
        let counters = &self.counters;
        let answered =
            self.below.shard(self.state.shard()).map(Below::answered).unwrap_or_default();
        let stats = TierStats {
            hot: HotTier {
                rows: hot.rows,
                used_bytes: hot.slot_bytes + hot.free_slot_bytes + hot.index_bytes,
                budget_bytes: hot.map_bytes,
                evictions: hot.evictions,
                is_complete: self.state.is_complete(),
            },
            memtable: MemtableTier {
                rows: memtables.rows() as u64,
                bytes: memtables.bytes() as u64,
                frozen: memtables.frozen() as u64,
                oldest_event_time,
                newest_event_time,
            },
            movement: Movement {
                promotions: counters.promoted,
                demotions: hot.evictions,
                ..Movement::default()
            },
            reads: TierReads {
                asked: counters.asked + answered.asked,
                memory_hits: counters.asked_in_memory,
                ..answered
            },
            memory: MemoryFigures {
                queue_bytes: self.room.taken_bytes(),
                queue_max_bytes: self.room.limit_bytes(),
                slowed: counters.slowed,
                index_max_bytes: self.plan.index_bytes,
                index_excess_bytes: self.plan.index_excess(self.warm.figures().memory_bytes()),
            },
            held_bytes: self.warm.held_bytes(),
            trouble: self.trouble().map(str::to_owned),
            ..TierStats::default()
        };
        #[cfg(feature = "cold")]
        let stats = stats.with_archive_reads(&self.archived.stats());
        stats.with_trees(self.warm.figures()).with_work(&work).with_reads(&self.warm.stats())
    }
}
