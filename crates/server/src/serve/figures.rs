//! The engine's figures as metric families.

use thermae_engine::Stats;
use thermae_engine::cold::ArchiveFigures;
use thermae_engine::stats::ShardStats;

use crate::http::EngineFamily;

/// The figures of the archive.
fn archive(figures: &ArchiveFigures) -> Vec<EngineFamily> {
    let waited_s = u64::try_from(figures.lag_us / 1_000_000).unwrap_or(0);
    let trouble = u64::from(figures.trouble.is_some());
    let all = [
        ("archive_rows", "Versions in files of the archive", false, figures.rows),
        ("archive_bytes", "Bytes of those files", false, figures.bytes),
        ("archive_files", "Those files", false, figures.files),
        ("archive_lag_seconds", "How long rows in tables wait for it", false, waited_s),
        ("archive_waiting_bytes", "Bytes of the rows that wait", false, figures.waiting_bytes),
        ("archive_rows_archived", "Versions archived", true, figures.archived_rows),
        ("archive_merges", "Merges of small files", true, figures.merges),
        ("archive_failures", "Rounds that failed", true, figures.failures),
        ("archive_trouble", "1 if the archive does not get on", false, trouble),
    ];
    let family = |(name, help, counter, value)| {
        let values = vec![(Vec::new(), value)];
        EngineFamily { name, help, counter, values }
    };
    let damaged = figures.damaged.iter().map(|what| (vec![("what", what.clone())], 1));
    let damaged = EngineFamily {
        name: "archive_damaged",
        help: "Damaged tables and files of the archive that are set aside",
        counter: false,
        values: damaged.collect(),
    };
    all.into_iter().map(family).chain([damaged]).collect()
}

/// Every figure of the engine, by shard or by view.
pub fn families(stats: &Stats) -> Vec<EngineFamily> {
    type Pick = fn(&ShardStats) -> u64;
    let by_shard: [(&str, &str, bool, Pick); 11] = [
        ("hot_rows", "Rows in the hot table, tombstones included", false, |s| s.rows),
        ("hot_used_bytes", "Bytes of the hot table in use", false, |s| s.hot_used_bytes),
        ("hot_budget_bytes", "Budget of the hot table in bytes", false, |s| s.hot_budget_bytes),
        ("rows_written", "Rows acknowledged", true, |s| s.rows_written),
        ("rows_late", "Rows accepted behind a newer one", true, |s| s.rows_late),
        ("rows_duplicate", "Rows repeated by their producer", true, |s| s.rows_duplicate),
        ("rows_refused", "Rows refused", true, |s| s.rows_refused),
        ("log_batches", "Log batches sealed", true, |s| s.log_batches),
        ("damaged_tables", "Tables on disk that are known to be damaged", false, |s| {
            s.damaged_tables.len() as u64
        }),
        ("rows_in_flight", "Rows waiting for the log", false, |s| s.rows_in_flight),
        ("read_only", "1 if the shard takes no writes", false, |s| {
            u64::from(s.read_only.is_some())
        }),
    ];
    let mut families: Vec<EngineFamily> = by_shard
        .into_iter()
        .map(|(name, help, counter, pick)| EngineFamily {
            name,
            help,
            counter,
            values: stats
                .shards
                .iter()
                .map(|shard| (vec![("shard", shard.shard.to_string())], pick(shard)))
                .collect(),
        })
        .collect();
    let view = |pick: fn(&thermae_engine::stats::ViewStats) -> u64| {
        let name = |v: &thermae_engine::stats::ViewStats| {
            format!("{}/{}@{}", v.project, v.name, v.version)
        };
        stats.views.iter().map(|v| (vec![("view", name(v))], pick(v))).collect()
    };
    families.push(EngineFamily {
        name: "view_rows",
        help: "Live rows, one an entity",
        counter: false,
        values: view(|v| v.rows),
    });
    families.push(EngineFamily {
        name: "view_bytes",
        help: "Bytes of keys and values",
        counter: false,
        values: view(|v| v.bytes),
    });
    families.extend(super::tier_figures::families(stats));
    families.extend(stats.archive.iter().flat_map(archive));
    families
}
