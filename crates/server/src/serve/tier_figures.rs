//! The engine's figures of its tiers as metric families.

use thermae_engine::Stats;
use thermae_engine::tiers::{TableTier, TierStats};

use crate::http::EngineFamily;

type Pick = fn(&TierStats) -> u64;

/// A figure of each tier: name, help, and by tier how to get it.
type ByTier = (&'static str, &'static str, &'static [(&'static str, Pick)]);

const BY_TIER: [ByTier; 4] = [
    (
        "tier_rows",
        "Versions in a tier, tombstones included",
        &[
            ("hot", |t| t.hot.rows),
            ("memtable", |t| t.memtable.rows),
            ("latest", |t| t.latest.rows),
            ("history", |t| t.history.rows),
        ],
    ),
    (
        "tier_bytes",
        "Bytes of a tier, in memory or on disk",
        &[
            ("hot", |t| t.hot.used_bytes),
            ("memtable", |t| t.memtable.bytes),
            ("latest", |t| t.latest.bytes),
            ("history", |t| t.history.bytes),
        ],
    ),
    (
        "tier_tables",
        "Tables on disk",
        &[("latest", |t| t.latest.tables), ("history", |t| t.history.tables)],
    ),
    (
        "tier_memory_bytes",
        "Bytes of filters and indices of tables in memory",
        &[("latest", |t| t.latest.memory_bytes), ("history", |t| t.history.memory_bytes)],
    ),
];

/// A figure of a shard: name, help, whether it only grows, how to get it.
type ByShard = (&'static str, &'static str, bool, Pick);

const BY_SHARD: [ByShard; 27] = [
    ("hot_complete", "1 if the hot table has every newest row", false, |t| {
        u64::from(t.hot.is_complete)
    }),
    ("hot_evictions", "Rows that left the hot table", true, |t| t.movement.demotions),
    ("hot_promotions", "Rows that came into it by being read", true, |t| t.movement.promotions),
    ("memtables_frozen", "Memtables that wait for their flush", false, |t| t.memtable.frozen),
    ("flushes", "Memtables that became tables", true, |t| t.movement.flushes),
    ("flushed_bytes", "Bytes of tables that flushes wrote", true, |t| t.movement.flushed_bytes),
    ("merges", "Merges of tables", true, |t| t.movement.merges),
    ("compacted_bytes", "Bytes of tables that merges wrote", true, |t| t.movement.compacted_bytes),
    ("tables_dropped", "Tables dropped unread, all past keep_for", true, |t| {
        t.movement.dropped_tables
    }),
    ("background_failures", "Pieces of background work that failed", true, |t| t.movement.failures),
    ("background_trouble", "1 if flushes or compaction do not get on", false, |t| {
        u64::from(t.trouble.is_some())
    }),
    ("write_queue_bytes", "Memory of writes on their way to the log", false, |t| {
        t.memory.queue_bytes
    }),
    ("write_queue_max_bytes", "What they may take before writes are refused", false, |t| {
        t.memory.queue_max_bytes
    }),
    ("snapshot_held_bytes", "Bytes on disk of replaced tables that are still read", false, |t| {
        t.held_bytes
    }),
    ("writes_slowed", "Times that writes waited for the background", true, |t| t.memory.slowed),
    ("memory_excess_bytes", "What filters and indices may take past their share", false, |t| {
        t.memory.index_excess_bytes
    }),
    ("below_hot_keys", "Keys that the hot table could not answer", true, |t| t.reads.asked),
    ("memtable_hits", "Keys that memory answered then", true, |t| t.reads.memory_hits),
    ("warm_hits", "Keys that a table answered", true, |t| t.reads.warm_hits),
    ("warm_block_reads", "Blocks read from tables", true, |t| t.reads.blocks_read),
    ("warm_read_failures", "Look-ups of unreadable or damaged blocks", true, |t| t.reads.failed),
    ("warm_write_lookups", "Look-ups for writes", true, |t| t.reads.for_writes),
    ("archive_rows_asked", "Newest rows asked of the archive", true, |t| t.reads.archive_asked),
    ("archive_row_hits", "Newest rows that the archive gave", true, |t| t.reads.archive_hits),
    ("archive_rows_unavailable", "Newest rows that it did not give in time", true, |t| {
        t.reads.archive_unavailable
    }),
    ("archive_row_failures", "Newest rows damaged or missing in it", true, |t| {
        t.reads.archive_failed
    }),
    ("archive_row_wait_ns", "Time that asks of the archive took", true, |t| {
        t.reads.archive_wait_ns
    }),
];

/// Every figure of the tiers, by shard and by tier.
pub fn families(stats: &Stats) -> Vec<EngineFamily> {
    let shard = |number: usize| ("shard", number.to_string());
    let by_tier = BY_TIER.iter().map(|(name, help, picks)| {
        let values = stats.shards.iter().flat_map(|s| {
            let value = move |(tier, pick): &(&'static str, Pick)| {
                (vec![shard(s.shard), ("tier", (*tier).to_owned())], pick(&s.tiers))
            };
            picks.iter().map(value)
        });
        EngineFamily { name, help, counter: false, values: values.collect() }
    });
    let by_shard = BY_SHARD.iter().map(|(name, help, counter, pick)| {
        let values = stats.shards.iter().map(|s| (vec![shard(s.shard)], pick(&s.tiers)));
        EngineFamily { name, help, counter: *counter, values: values.collect() }
    });
    by_tier.chain(by_shard).chain([misses(stats), event_times(stats)]).collect()
}

fn misses(stats: &Stats) -> EngineFamily {
    let picks: [(&str, Pick); 2] =
        [("filters", |t| t.reads.misses_filtered), ("blocks", |t| t.reads.misses_read)];
    let values = stats.shards.iter().flat_map(|s| {
        picks.map(|(by, pick)| {
            (vec![("shard", s.shard.to_string()), ("by", by.to_owned())], pick(&s.tiers))
        })
    });
    let (name, help) = ("warm_misses", "Keys that no table has, by what told so");
    EngineFamily { name, help, counter: true, values: values.collect() }
}

/// Times before 1970 are left out: the values of families are not negative.
fn event_times(stats: &Stats) -> EngineFamily {
    let mut values = Vec::new();
    for shard in &stats.shards {
        let TierStats { latest, history, .. } = &shard.tiers;
        for (tier, figures) in [("latest", latest), ("history", history)] {
            let TableTier { oldest_event_time, newest_event_time, .. } = figures;
            for (which, time) in [("oldest", oldest_event_time), ("newest", newest_event_time)] {
                let Some(seconds) = time.and_then(|time| u64::try_from(time / 1_000_000).ok())
                else {
                    continue;
                };
                let labels = [("shard", shard.shard.to_string()), ("tier", tier.to_owned())];
                let which = ("which", which.to_owned());
                values.push((labels.into_iter().chain([which]).collect(), seconds));
            }
        }
    }
    let (name, help) = ("tier_event_time_seconds", "Oldest and newest event time, Unix seconds");
    EngineFamily { name, help, counter: false, values }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::BTreeSet;

    use thermae_engine::stats::ShardStats;

    use super::*;

    #[test]
    fn each_shard_and_tier_has_its_value_and_no_name_is_used_twice() {
        let mut shard = ShardStats::default();
        shard.shard = 3;
        shard.tiers.latest.bytes = 4096;
        shard.tiers.latest.newest_event_time = Some(7_000_000);
        shard.tiers.latest.oldest_event_time = Some(-7_000_000);
        shard.tiers.movement.flushed_bytes = 9;
        shard.tiers.trouble = Some("the disk is full".to_owned());
        let shards = vec![ShardStats::default(), shard];
        let stats = Stats { shards, ..Stats::default() };
        let families = families(&stats);
        let names: BTreeSet<&str> = families.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), families.len());
        let value = |name: &str, labels: &[(&str, &str)]| {
            let family = families.iter().find(|family| family.name == name).unwrap();
            let is_it = |of: &[(&str, String)]| {
                of.iter().map(|(name, value)| (*name, value.as_str())).eq(labels.iter().copied())
            };
            family.values.iter().find(|(of, _)| is_it(of)).map(|(_, value)| *value)
        };
        assert_eq!(value("tier_bytes", &[("shard", "3"), ("tier", "latest")]), Some(4096));
        assert_eq!(value("tier_bytes", &[("shard", "0"), ("tier", "latest")]), Some(0));
        assert_eq!(value("flushed_bytes", &[("shard", "3")]), Some(9));
        assert_eq!(value("background_trouble", &[("shard", "3")]), Some(1));
        assert_eq!(value("warm_misses", &[("shard", "3"), ("by", "blocks")]), Some(0));
        let time = |which| {
            let labels = [("shard", "3"), ("tier", "latest"), ("which", which)];
            value("tier_event_time_seconds", &labels)
        };
        assert_eq!((time("newest"), time("oldest")), (Some(7), None));
    }
}
