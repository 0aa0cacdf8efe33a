//! Figures that the store reports. Shards publish theirs; a reader adds them up.

use std::path::PathBuf;

use serde::Serialize;
use thermae_tiering::worker::Damage;

use crate::tiers::TierStats;

/// A shard publishes at least every 100 ms. One that has not for this long hangs or is gone.
const SILENCE_NS_MAX: u64 = 5_000_000_000;

/// Figures of the whole store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// One entry a shard.
    pub shards: Vec<ShardStats>,
    /// One entry a view.
    pub views: Vec<ViewStats>,
    /// Of the archive, if the store was opened with one.
    #[cfg(feature = "cold")]
    pub archive: Option<crate::cold::ArchiveFigures>,
}

/// Figures of one shard since it started, rows and bytes as of now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShardStats {
    /// The shard.
    pub shard: usize,
    /// Rows in the hot table, tombstones included.
    pub rows: u64,
    /// Bytes of the hot table that rows take: slots, free slots of claimed chunks, index.
    pub hot_used_bytes: u64,
    /// Bytes that the budget's size alone takes: header, room of the directory, index reserve.
    pub hot_fixed_bytes: u64,
    /// Its budget in bytes.
    pub hot_budget_bytes: u64,
    /// Rows acknowledged, late ones included.
    pub rows_written: u64,
    /// Rows accepted that were older than the newest row of their entity.
    pub rows_late: u64,
    /// Rows dropped as repeated under their producer's sequence.
    pub rows_duplicate: u64,
    /// Rows refused.
    pub rows_refused: u64,
    /// Rows of the hot table found damaged and dropped.
    pub rows_corrupt: u64,
    /// Tables on disk that are known to be damaged, the first place of each. Rows in their other blocks
    /// are served; compaction leaves them alone.
    pub damaged_tables: Vec<DamagedTable>,
    /// Log batches sealed.
    pub log_batches: u64,
    /// Rows waiting for the log now.
    pub rows_in_flight: u64,
    /// Figures of its tiers.
    pub tiers: TierStats,
    /// Why the shard takes no writes, if it does not.
    pub read_only: Option<String>,
    /// Why the shard's thread has ended, if an error ended it.
    pub ended: Option<String>,
    /// When these figures were published, nanoseconds of the monotonic clock.
    #[serde(skip)]
    pub published_ns: u64,
    #[serde(skip)]
    pub(crate) by_view: Vec<(i64, i64)>,
    #[serde(skip)]
    pub(crate) newest_by_view: Vec<i64>,
}

/// A table on disk that is not what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DamagedTable {
    /// Its file.
    pub path: PathBuf,
    /// Offset of the damaged part in it, in bytes.
    pub offset_bytes: u64,
    /// What is wrong there.
    pub what: String,
}

/// Figures of one view.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ViewStats {
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Live rows, one an entity; tombstones are not counted.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// The newest event time of a row that was written since the store was opened, or that was taken into memory
    /// then, microseconds UTC; none if there was no such row.
    pub newest_event_time: Option<i64>,
}

impl From<&Damage> for DamagedTable {
    fn from(damage: &Damage) -> Self {
        let Damage { path, offset_bytes, what, .. } = damage.clone();
        Self { path, offset_bytes, what }
    }
}

impl Stats {
    /// Why the store is not whole at `now_ns` of the monotonic clock: the first shard whose thread
    /// has ended, or has made no turn for 5 s. `None` while all of them work.
    pub fn failure(&self, now_ns: u64) -> Option<String> {
        self.shards.iter().find_map(|shard| shard.failure(now_ns))
    }
}

impl ShardStats {
    fn failure(&self, now_ns: u64) -> Option<String> {
        let number = self.shard;
        if let Some(why) = &self.ended {
            return Some(format!("shard {number} has ended: {why}; restart the server"));
        }
        let silence_ns = now_ns.saturating_sub(self.published_ns);
        let seconds = silence_ns / 1_000_000_000;
        let why = format!("shard {number} has made no turn for {seconds} s; restart the server");
        (silence_ns > SILENCE_NS_MAX).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_ended_or_is_silent_is_named() {
        let shard = |shard, published_ns| ShardStats { shard, published_ns, ..Default::default() };
        let start_ns = 7_000_000_000;
        let shards = vec![shard(0, start_ns), shard(1, 0)];
        let mut stats = Stats { shards, ..Stats::default() };
        assert_eq!(stats.failure(SILENCE_NS_MAX), None);
        let silent = stats.failure(SILENCE_NS_MAX + 1);
        assert!(silent.is_some_and(|why| why.contains("shard 1 has made no turn for 5 s")));
        stats.shards[0].ended = Some("ring of shard 0: broken".to_owned());
        let ended = stats.failure(SILENCE_NS_MAX);
        assert!(ended.is_some_and(|why| why.contains("shard 0 has ended: ring of shard 0")));
    }
}
