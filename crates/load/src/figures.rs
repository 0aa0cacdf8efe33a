//! What a store and its process say of themselves, and the difference of two such answers.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Error;
use crate::machine::Process;

/// Figures of a store, counted since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Of its process.
    pub process: Process,
    /// Keys that were read; 0 where the store does not count them (embedded: the caller does).
    pub keys: u64,
    /// Keys that the hot tables could not tell about.
    pub below_hot: u64,
    /// Of those, answered out of memory all the same.
    pub memory_hits: u64,
    /// Of those, answered with a row of a table on disk.
    pub warm_hits: u64,
    /// Of those, answered with a row of the archive.
    pub cold_hits: u64,
    /// Of those, not there.
    pub misses: u64,
    /// Blocks read from tables.
    pub blocks_read: u64,
    /// Live rows.
    pub rows: u64,
    /// Rows in hot tables.
    pub hot_rows: u64,
    /// Bytes that those take.
    pub hot_used_bytes: u64,
    /// Bytes of the hot tables' budgets.
    pub hot_budget_bytes: u64,
    /// Bytes of tables on disk.
    pub table_bytes: u64,
    /// Rows in those.
    pub table_rows: u64,
    /// Bytes of memtables.
    pub memtable_bytes: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Bytes of tables that flushes and merges wrote.
    pub moved_bytes: u64,
    /// Bytes of those that flushes wrote.
    pub flushed_bytes: u64,
    /// Shards.
    pub shards: u64,
}

fn number(json: &Json, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Json::as_u64).unwrap_or(0)
}

impl Figures {
    /// From a server's STATS.
    ///
    /// # Errors
    /// What is no JSON.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let json: Json = serde_json::from_str(text).map_err(|error| {
            Error::Given(format!("the server's figures cannot be read: {error}"))
        })?;
        let engine = json.get("engine").cloned().unwrap_or_default();
        let mut figures = Self::from_engine(&engine);
        let views = json.pointer("/server/views").and_then(Json::as_object);
        for view in views.into_iter().flat_map(|views| views.values()) {
            let kinds = ["/hits", "/misses", "/expired", "/corrupt"];
            figures.keys += kinds.into_iter().map(|kind| number(view, kind)).sum::<u64>();
        }
        let process = json.pointer("/server/process").cloned().unwrap_or_default();
        figures.process = serde_json::from_value(process).unwrap_or_default();
        Ok(figures)
    }

    /// From an engine's figures.
    pub fn from_engine(engine: &Json) -> Self {
        let mut sum = Self::default();
        let list =
            |name: &str| engine.get(name).and_then(Json::as_array).cloned().unwrap_or_default();
        for shard in list("shards") {
            sum.shards += 1;
            sum.hot_rows += number(&shard, "/rows");
            sum.hot_used_bytes += number(&shard, "/hot_used_bytes");
            sum.hot_budget_bytes += number(&shard, "/hot_budget_bytes");
            sum.rows_written += number(&shard, "/rows_written");
            sum.below_hot += number(&shard, "/tiers/reads/asked");
            sum.memory_hits += number(&shard, "/tiers/reads/memory_hits");
            sum.warm_hits += number(&shard, "/tiers/reads/warm_hits");
            // The archive is asked for what the tables have not, and those count that as missing.
            let cold_hits = number(&shard, "/tiers/reads/archive_hits");
            let misses = number(&shard, "/tiers/reads/misses_filtered")
                + number(&shard, "/tiers/reads/misses_read");
            sum.cold_hits += cold_hits;
            sum.misses += misses.saturating_sub(cold_hits);
            sum.blocks_read += number(&shard, "/tiers/reads/blocks_read");
            sum.memtable_bytes += number(&shard, "/tiers/memtable/bytes");
            let flushed = number(&shard, "/tiers/movement/flushed_bytes");
            sum.flushed_bytes += flushed;
            sum.moved_bytes += flushed + number(&shard, "/tiers/movement/compacted_bytes");
            for kind in ["latest", "history"] {
                sum.table_bytes += number(&shard, &format!("/tiers/{kind}/bytes"));
                sum.table_rows += number(&shard, &format!("/tiers/{kind}/rows"));
            }
        }
        sum.rows = list("views").iter().map(|view| number(view, "/rows")).sum();
        sum
    }

    /// The same with a process's figures.
    #[must_use]
    pub fn with_process(self, process: Process) -> Self {
        Self { process, ..self }
    }
}

/// A moment of a run: rates since the moment before, and states.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the measured time began.
    pub at_s: f64,
    /// Cores that the store's process kept busy.
    pub cpu_cores: f64,
    /// Cores that this process kept busy (the same process, if the store is embedded).
    pub client_cores: f64,
    /// Resident memory of the store's process, bytes.
    pub resident_bytes: u64,
    /// Read from devices, bytes a second.
    pub read_bytes_per_s: f64,
    /// Written to devices, bytes a second.
    pub written_bytes_per_s: f64,
    /// Keys answered out of hot tables, of all keys; `None` without keys.
    pub hot_share: Option<f64>,
    /// Keys answered out of other memory.
    pub memory_share: Option<f64>,
    /// Keys answered out of tables on disk.
    pub warm_share: Option<f64>,
    /// Keys answered out of the archive.
    pub cold_share: Option<f64>,
    /// Keys that are not there.
    pub missing_share: Option<f64>,
}

impl Sample {
    /// The difference of two answers, `seconds` apart; `keys` were read meanwhile, if the caller counts them.
    pub fn between(
        before: &(Figures, Process),
        after: &(Figures, Process),
        seconds: f64,
        keys: Option<u64>,
    ) -> Self {
        let rate = |pick: fn(&Process) -> u64| {
            pick(&after.0.process).saturating_sub(pick(&before.0.process)) as f64 / seconds
        };
        let counted = |pick: fn(&Figures) -> u64| pick(&after.0).saturating_sub(pick(&before.0));
        let keys = keys.unwrap_or_else(|| counted(|figures| figures.keys));
        let share = |some: u64| (keys > 0).then(|| (some as f64 / keys as f64).min(1.0));
        let client_us = after.1.cpu_us.saturating_sub(before.1.cpu_us) as f64;
        Self {
            at_s: 0.0,
            cpu_cores: rate(|process| process.cpu_us) / 1e6,
            client_cores: client_us / 1e6 / seconds,
            resident_bytes: after.0.process.resident_bytes,
            read_bytes_per_s: rate(|process| process.read_bytes),
            written_bytes_per_s: rate(|process| process.written_bytes),
            hot_share: share(keys.saturating_sub(counted(|figures| figures.below_hot))),
            memory_share: share(counted(|figures| figures.memory_hits)),
            warm_share: share(counted(|figures| figures.warm_hits)),
            cold_share: share(counted(|figures| figures.cold_hits)),
            missing_share: share(counted(|figures| figures.misses)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn figures_are_summed_over_shards_and_compared() {
        let stats = |keys: u64, warm: u64, cpu_us: u64| {
            format!(
                r#"{{"engine":{{"shards":[{{"rows":5,"tiers":{{"reads":{{"asked":{warm},"warm_hits":{},
                "misses_filtered":{},"archive_hits":{}}},
                "latest":{{"bytes":100,"rows":7}},"history":{{"bytes":20}}}}}},{{"rows":3}}],
                "views":[{{"rows":8}}]}},"server":{{"views":{{"a":{{"hits":{keys},"misses":0}}}},
                "process":{{"cpu_us":{cpu_us},"resident_bytes":4096}}}}}}"#,
                warm * 8 / 10,
                warm * 2 / 10,
                warm / 10,
            )
        };
        let before = Figures::from_json(&stats(100, 10, 0)).unwrap();
        assert_eq!((before.hot_rows, before.rows, before.shards), (8, 8, 2));
        assert_eq!((before.table_bytes, before.table_rows), (120, 7));
        let after = Figures::from_json(&stats(300, 60, 1_000_000)).unwrap();
        let idle = Process::default();
        let sample = Sample::between(&(before, idle), &(after, idle), 2.0, None);
        assert_eq!((sample.hot_share, sample.warm_share), (Some(0.75), Some(0.2)));
        // Of the ten that the tables had not the archive had five.
        assert_eq!((sample.cold_share, sample.missing_share), (Some(0.025), Some(0.025)));
        assert_eq!((sample.cpu_cores, sample.resident_bytes), (0.5, 4096));
        assert!(Figures::from_json("[").is_err());
        let none = Sample::between(&(after, idle), &(after, idle), 1.0, None);
        assert_eq!(none.hot_share, None);
    }
}
