//! Figures of the tiers of one shard: what lies where, what moves between them, how they answer.
//!
//! A shard publishes them many times a second, so each is kept up to date where it changes, or is a sum
//! over tables that is taken when the tables change; none is counted by going through rows.

use serde::Serialize;
use thermae_env::Env;
use thermae_formats::table::TableRef;
use thermae_tiering::compact::plan::{space_amplification, write_amplification};
use thermae_tiering::tree::{Run, Tree};
use thermae_tiering::worker::WorkerStats;

/// Figures of all tiers of one shard; what is counted is counted since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TierStats {
    /// The hot table.
    pub hot: HotTier,
    /// Rows applied and not yet in tables.
    pub memtable: MemtableTier,
    /// Tables with the newest versions.
    pub latest: TableTier,
    /// Tables with superseded versions.
    pub history: TableTier,
    /// What has moved between tiers.
    pub movement: Movement,
    /// Keys that readers found no answer for in the hot table.
    pub reads: TierReads,
    /// Bytes written to tables for one that was flushed, 1 or more.
    pub write_amplification: f64,
    /// Bytes of `latest` for one of its oldest run, 1 or more: at most 2 or so once merges have settled.
    pub space_amplification: f64,
    /// What is held to shares of the memory beside the hot table and the memtables.
    pub memory: MemoryFigures,
    /// Bytes on the disk of tables that were replaced and are still read: by snapshots, mostly.
    pub held_bytes: u64,
    /// Why flushes or compaction do not get on, if they do not.
    pub trouble: Option<String>,
}

/// What is held to shares of the memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MemoryFigures {
    /// Taken by writes on their way to the log.
    pub queue_bytes: u64,
    /// What they may take; writes beyond it are refused as overloaded.
    pub queue_max_bytes: u64,
    /// Times that writes were made to wait because the background is behind.
    pub slowed: u64,
    /// What filters and indices of tables may take, with the merges that rewrite them.
    pub index_max_bytes: u64,
    /// What they may take more than that, by the tables that there are: the process may exceed its memory
    /// by as much.
    pub index_excess_bytes: u64,
}

/// The hot table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HotTier {
    /// Rows, tombstones included.
    pub rows: u64,
    /// Bytes that rows take: slots, free slots of claimed chunks, index.
    pub used_bytes: u64,
    /// Bytes of the whole table.
    pub budget_bytes: u64,
    /// Rows that went: for others that were wanted more, or past `hot_for`.
    pub evictions: u64,
    /// It has the newest row of every key: no look-up goes on below it.
    pub is_complete: bool,
}

/// The memtables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MemtableTier {
    /// Versions that flushes will write.
    pub rows: u64,
    /// Bytes of memory, the indices included.
    pub bytes: u64,
    /// Memtables that are full and wait for their flush or are in it.
    pub frozen: u64,
    /// Oldest event time, microseconds; none without rows.
    pub oldest_event_time: Option<i64>,
    /// Newest event time, microseconds; none without rows.
    pub newest_event_time: Option<i64>,
}

/// The tables of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TableTier {
    /// Tables.
    pub tables: u64,
    /// Versions in them, tombstones included. In `latest`, a key counts once for each table that has it.
    pub rows: u64,
    /// Tombstones in them.
    pub tombstones: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of their filters and indices in memory.
    pub memory_bytes: u64,
    /// Oldest event time, microseconds; none without rows.
    pub oldest_event_time: Option<i64>,
    /// Newest event time, microseconds; none without rows.
    pub newest_event_time: Option<i64>,
}

/// What has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Movement {
    /// Memtables that have become tables.
    pub flushes: u64,
    /// Bytes of those tables.
    pub flushed_bytes: u64,
    /// Merges of tables.
    pub merges: u64,
    /// Bytes of the tables that merges wrote.
    pub compacted_bytes: u64,
    /// Tables removed unread, all their rows being past `keep_for`.
    pub dropped_tables: u64,
    /// Pieces of background work that failed and are tried again.
    pub failures: u64,
    /// Rows that came into the hot table because somebody read them.
    pub promotions: u64,
    /// Rows that left the hot table, as in [`HotTier::evictions`].
    pub demotions: u64,
}

/// Keys of which the shard's hot table alone could not tell: asked of the shard, or told without it by what lies below.
/// What the thread that asked had to leave to the shard counts once, its blocks each time that they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TierReads {
    /// All of them.
    pub asked: u64,
    /// Answered out of memory: memtables, or the hot table meanwhile.
    pub memory_hits: u64,
    /// Answered with a row of a table.
    pub warm_hits: u64,
    /// Not there, which filters alone told.
    pub misses_filtered: u64,
    /// Not there, after at least one block was read.
    pub misses_read: u64,
    /// Not answered: a block could not be read or did not verify.
    pub failed: u64,
    /// Blocks read, for readers and for writes.
    pub blocks_read: u64,
    /// Look-ups for writes, which must be judged against the row that they replace.
    pub for_writes: u64,
    /// Rows of `serve_from_cold` that were asked of the archive, for reads and for partial writes.
    pub archive_asked: u64,
    /// Rows that it gave.
    pub archive_hits: u64,
    /// Rows that it did not give in time, or could not be asked for.
    pub archive_unavailable: u64,
    /// Rows that are damaged there, or missing.
    pub archive_failed: u64,
    /// Time from the ask to its end, of all asks together, nanoseconds.
    pub archive_wait_ns: u64,
}

/// Figures of the look-ups in tables, each counted once, since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmReadStats {
    /// Reads that found a row.
    pub hits: u64,
    /// Reads that found none, and read no block.
    pub misses_filtered: u64,
    /// Reads that found none and read at least one block.
    pub misses_read: u64,
    /// Blocks read.
    pub reads: u64,
    /// Look-ups of blocks that could not be read or did not verify.
    pub failed: u64,
    /// Look-ups for writes.
    pub for_writes: u64,
}

/// Reads of the archive since the store was opened.
#[cfg(feature = "cold")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveReadStats {
    /// Rows asked for, for reads and writes.
    pub asked: u64,
    /// Rows that it gave.
    pub hits: u64,
    /// Rows that it did not give in time, or could not be asked for.
    pub unavailable: u64,
    /// Rows that are damaged there, or missing.
    pub failed: u64,
    /// Time from the ask to the answer, of all of them together, nanoseconds.
    pub waited_ns: u64,
}

/// What the tables of a shard come to; summed once for each change of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TreeFigures {
    latest: TableTier,
    history: TableTier,
    space_amplification: f64,
}

impl TreeFigures {
    /// Bytes of filters and indices in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.latest.memory_bytes + self.history.memory_bytes
    }

    /// Sums over the tables of `tree`.
    pub fn of<E: Env>(tree: &Tree<E>) -> Self {
        let refs: Vec<TableRef> = tree.latest.iter().map(|run| run.table_ref).collect();
        TreeFigures {
            latest: TableTier::of(&tree.latest),
            history: TableTier::of(&tree.history),
            space_amplification: space_amplification(&refs),
        }
    }
}

impl TableTier {
    fn of<E: Env>(runs: &[Run<E>]) -> Self {
        let mut sum = TableTier::default();
        for run in runs {
            sum.add(&run.table_ref, run.table.memory_bytes());
        }
        sum
    }

    fn add(&mut self, table: &TableRef, memory_bytes: u64) {
        self.tables += 1;
        self.rows += table.rows;
        self.tombstones += table.tombstones;
        self.bytes += table.bytes;
        self.memory_bytes += memory_bytes;
        let oldest = self.oldest_event_time.into_iter().chain([table.min_event_time]).min();
        let newest = self.newest_event_time.max(Some(table.max_event_time));
        (self.oldest_event_time, self.newest_event_time) = (oldest, newest);
    }
}

impl TierStats {
    /// Adds what the tables come to.
    pub fn with_trees(self, trees: &TreeFigures) -> Self {
        let TreeFigures { latest, history, space_amplification } = *trees;
        TierStats { latest, history, space_amplification, ..self }
    }

    /// Adds what the worker has done.
    pub fn with_work(mut self, work: &WorkerStats) -> Self {
        self.write_amplification = write_amplification(work.flushed_bytes, work.compacted_bytes);
        self.movement = Movement {
            flushes: work.flushes,
            flushed_bytes: work.flushed_bytes,
            merges: work.merges,
            compacted_bytes: work.compacted_bytes,
            dropped_tables: work.dropped_tables,
            failures: work.failures,
            ..self.movement
        };
        self
    }

    /// Adds how the archive has answered.
    #[cfg(feature = "cold")]
    pub(crate) fn with_archive_reads(mut self, reads: &ArchiveReadStats) -> Self {
        self.reads = TierReads {
            archive_asked: reads.asked,
            archive_hits: reads.hits,
            archive_unavailable: reads.unavailable,
            archive_failed: reads.failed,
            archive_wait_ns: reads.waited_ns,
            ..self.reads
        };
        self
    }

    /// Adds how the tables have answered.
    pub fn with_reads(mut self, reads: &WarmReadStats) -> Self {
        self.reads = TierReads {
            warm_hits: self.reads.warm_hits + reads.hits,
            misses_filtered: self.reads.misses_filtered + reads.misses_filtered,
            misses_read: self.reads.misses_read + reads.misses_read,
            failed: reads.failed,
            blocks_read: self.reads.blocks_read + reads.reads,
            for_writes: reads.for_writes,
            ..self.reads
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use thermae_formats::table::TableKind;

    use super::*;

    #[test]
    fn tables_add_up_and_the_times_are_those_of_all() {
        let table = |bytes, min_event_time, max_event_time| TableRef {
            file_id: 1,
            kind: TableKind::Latest,
            bytes,
            rows: 10,
            tombstones: 1,
            min_event_time,
            max_event_time,
            checksum: 0,
        };
        let mut sum = TableTier::default();
        assert_eq!((sum.oldest_event_time, sum.newest_event_time), (None, None));
        sum.add(&table(4096, -5, 7), 100);
        sum.add(&table(8192, 3, 9), 20);
        let want = TableTier {
            tables: 2,
            rows: 20,
            tombstones: 2,
            bytes: 12288,
            memory_bytes: 120,
            oldest_event_time: Some(-5),
            newest_event_time: Some(9),
        };
        assert_eq!(sum, want);
    }

    #[test]
    fn parts_of_the_figures_leave_each_other_alone() {
        let movement = Movement { promotions: 3, demotions: 4, ..Movement::default() };
        let reads = TierReads { asked: 9, memory_hits: 2, ..TierReads::default() };
        let stats = TierStats { movement, reads, ..TierStats::default() };
        let work = WorkerStats { flushed_bytes: 100, compacted_bytes: 150, ..Default::default() };
        let answered = WarmReadStats { hits: 5, reads: 6, ..Default::default() };
        let stats = stats.with_work(&work).with_reads(&answered);
        assert!((stats.write_amplification - 2.5).abs() < 1e-9);
        assert_eq!((stats.movement.promotions, stats.movement.demotions), (3, 4));
        assert_eq!((stats.reads.asked, stats.reads.warm_hits, stats.reads.blocks_read), (9, 5, 6));
    }
}
