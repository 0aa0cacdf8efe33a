//! Figures that the store reports. Shards publish theirs; a reader adds them up.

use serde::Serialize;

/// Figures of the whole store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// One entry a shard.
    pub shards: Vec<ShardStats>,
    /// One entry a view.
    pub views: Vec<ViewStats>,
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
    /// Log batches sealed.
    pub log_batches: u64,
    /// Rows waiting for the log now.
    pub rows_in_flight: u64,
    /// Why the shard takes no writes, if it does not.
    pub read_only: Option<String>,
    #[serde(skip)]
    pub(crate) by_view: Vec<(i64, i64)>,
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
}
