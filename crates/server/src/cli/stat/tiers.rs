//! `thermae stat --tiers`: where the rows lie, how the tiers answer, what moves between them.

use serde::Deserialize;

use super::{Figures, Served, archive};
use crate::table::{Table, bytes, nanoseconds, thousands};

/// What is shown of the tiers of one shard, or of all of them together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tiers {
    hot: Hot,
    memtable: Tier,
    latest: Tier,
    history: Tier,
    movement: Movement,
    reads: Reads,
    memory: Memory,
    write_amplification: f64,
    space_amplification: f64,
    trouble: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Hot {
    rows: u64,
    used_bytes: u64,
    budget_bytes: u64,
    is_complete: bool,
}

/// A memtable or the tables of one kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Tier {
    rows: u64,
    bytes: u64,
    frozen: u64,
    tables: u64,
    memory_bytes: u64,
    oldest_event_time: Option<i64>,
    newest_event_time: Option<i64>,
}

/// What is held to shares of the memory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    queue_bytes: u64,
    queue_max_bytes: u64,
    index_max_bytes: u64,
    index_excess_bytes: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Movement {
    flushes: u64,
    flushed_bytes: u64,
    merges: u64,
    compacted_bytes: u64,
    dropped_tables: u64,
    failures: u64,
    promotions: u64,
    demotions: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Reads {
    asked: u64,
    memory_hits: u64,
    warm_hits: u64,
    misses_filtered: u64,
    misses_read: u64,
    failed: u64,
    blocks_read: u64,
    for_writes: u64,
    archive_asked: u64,
    archive_hits: u64,
    archive_unavailable: u64,
    archive_failed: u64,
    archive_wait_ns: u64,
}

/// The figures as text; ages are told as of `now_us`.
pub(super) fn show(figures: &Figures, now_us: i64) -> String {
    let shards = &figures.engine.shards;
    let all = shards.iter().fold(Tiers::default(), |sum, shard| sum.and(&shard.tiers));
    let incomplete = shards.iter().filter(|shard| !shard.tiers.hot.is_complete).count();
    let mut parts = vec![table(figures, &all, now_us).for_stdout()];
    let mut facts = facts(&all, incomplete, shards.len());
    facts.push(archive::fact(figures.engine.archive.as_ref()));
    parts.push(facts.join("\n") + "\n");
    let mut notes = Vec::new();
    let archive = figures.engine.archive.as_ref();
    notes.extend(archive.and_then(|archive| archive.trouble.clone()));
    notes.extend(archive.into_iter().flat_map(|archive| archive.damaged.iter().cloned()));
    for shard in shards {
        if let Some(why) = &shard.tiers.trouble {
            notes.push(format!("shard {}: {why}", shard.shard));
        }
        if shard.tiers.memory.index_excess_bytes > 0 {
            let excess = bytes(shard.tiers.memory.index_excess_bytes);
            notes.push(format!(
                "shard {}: filters, indices and their merges may take {excess} past their share:\n  \
                 restart to have the hot table give it up, or give more --memory",
                shard.shard
            ));
        }
        if !shard.damaged_tables.is_empty() {
            let (number, damaged) = (shard.shard, shard.damaged_tables.len());
            notes.push(format!("shard {number}: {damaged} tables are damaged; see thermae stat"));
        }
    }
    if all.reads.failed > 0 {
        let failed = thousands(all.reads.failed);
        notes.push(format!("{failed} look-ups met a block that cannot be read or is damaged"));
    }
    if !notes.is_empty() {
        parts.push(notes.join("\n") + "\n");
    }
    parts.join("\n")
}

fn table(figures: &Figures, all: &Tiers, now_us: i64) -> Table {
    let read: u64 = figures.server.views.values().map(Served::keys).sum();
    let Tiers { hot, memtable, latest, history, movement, reads, .. } = all;
    let below = reads.warm_hits + reads.misses_filtered + reads.misses_read;
    let mut table = Table::new(["tier", ">rows", ">bytes", ">hit rate", "age", "movement"]);
    let mut tier = |name: &str, rows, size, rate, age, movement: String| {
        table.row([name.to_owned(), thousands(rows), bytes(size), rate, age, movement]);
    };
    let rate = percent(read.saturating_sub(reads.asked), read);
    let moved =
        format!("{} in, {} out", thousands(movement.promotions), thousands(movement.demotions));
    tier("hot", hot.rows, hot.used_bytes, rate, "-".to_owned(), moved);
    let rate = percent(reads.memory_hits, reads.asked);
    let moved = counted(movement.flushes, "flush", "flushes", movement.flushed_bytes);
    tier("memtable", memtable.rows, memtable.bytes, rate, memtable.age(now_us), moved);
    let rate = percent(reads.warm_hits, below);
    let moved = counted(movement.merges, "merge", "merges", movement.compacted_bytes);
    tier("latest", latest.rows, latest.bytes, rate, latest.age(now_us), moved);
    let moved = format!("{} tables dropped", thousands(movement.dropped_tables));
    tier("history", history.rows, history.bytes, "-".to_owned(), history.age(now_us), moved);
    if let Some(archive) = &figures.engine.archive {
        let rate = percent(reads.archive_hits, reads.archive_asked);
        tier("cold", archive.rows, archive.bytes, rate, "-".to_owned(), archive.movement());
    }
    table
}

/// What does not fit the table.
fn facts(all: &Tiers, incomplete: usize, shards: usize) -> Vec<String> {
    let Tiers { hot, memtable, latest, history, movement, reads, memory, .. } = all;
    let holds = match incomplete {
        0 => "every newest row is in it".to_owned(),
        some => format!("{some} of {shards} shards have more rows than are in it"),
    };
    let used = bytes(hot.used_bytes);
    let mut facts = vec![
        format!("hot table: {used} of {} used; {holds}", bytes(hot.budget_bytes)),
        format!(
            "tables: {} latest, {} history; filters and indices take {}; {} memtables wait",
            thousands(latest.tables),
            thousands(history.tables),
            bytes(latest.memory_bytes + history.memory_bytes),
            thousands(memtable.frozen),
        ),
        format!(
            "memory: writes on their way take {} of {}; filters and indices have {}",
            bytes(memory.queue_bytes),
            bytes(memory.queue_max_bytes),
            bytes(memory.index_max_bytes),
        ),
        format!(
            "written {:.1} x what was flushed; latest takes {:.1} x its oldest table (worst shard)",
            all.write_amplification, all.space_amplification
        ),
        format!(
            "below hot: {} keys asked, {} blocks read; misses: {} by filters, {} after a read",
            thousands(reads.asked),
            thousands(reads.blocks_read),
            thousands(reads.misses_filtered),
            thousands(reads.misses_read),
        ),
    ];
    if reads.for_writes > 0 {
        facts.push(format!("writes looked {} rows up first", thousands(reads.for_writes)));
    }
    if reads.archive_asked > 0 {
        facts.push(format!(
            "archive: {} rows asked, {} given, {} unavailable, {} damaged; {} each on average",
            thousands(reads.archive_asked),
            thousands(reads.archive_hits),
            thousands(reads.archive_unavailable),
            thousands(reads.archive_failed),
            nanoseconds(reads.archive_wait_ns / reads.archive_asked),
        ));
    }
    if movement.failures > 0 {
        let failures = thousands(movement.failures);
        facts.push(format!("{failures} pieces of background work failed and were tried again"));
    }
    facts
}

fn counted(count: u64, one: &str, many: &str, size: u64) -> String {
    format!("{} {}, {}", thousands(count), if count == 1 { one } else { many }, bytes(size))
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    let percent = part as f64 * 100.0 / whole as f64;
    format!("{percent:.1}%")
}

impl Tier {
    /// Age of the oldest and of the newest row.
    fn age(&self, now_us: i64) -> String {
        match (self.oldest_event_time, self.newest_event_time) {
            (Some(oldest), Some(newest)) => {
                let age = |time| about(now_us.saturating_sub(time));
                format!("{} - {}", age(oldest), age(newest))
            }
            _ => "-".to_owned(),
        }
    }

    fn and(&self, other: &Tier) -> Tier {
        let oldest = [self.oldest_event_time, other.oldest_event_time];
        Tier {
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
            frozen: self.frozen + other.frozen,
            tables: self.tables + other.tables,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            oldest_event_time: oldest.into_iter().flatten().min(),
            newest_event_time: self.newest_event_time.max(other.newest_event_time),
        }
    }
}

impl Tiers {
    /// Two shards together. Amplifications are those of the worse one.
    fn and(&self, other: &Tiers) -> Tiers {
        Tiers {
            hot: Hot {
                rows: self.hot.rows + other.hot.rows,
                used_bytes: self.hot.used_bytes + other.hot.used_bytes,
                budget_bytes: self.hot.budget_bytes + other.hot.budget_bytes,
                is_complete: false,
            },
            memtable: self.memtable.and(&other.memtable),
            latest: self.latest.and(&other.latest),
            history: self.history.and(&other.history),
            movement: self.movement.and(&other.movement),
            reads: self.reads.and(&other.reads),
            memory: self.memory.and(&other.memory),
            write_amplification: self.write_amplification.max(other.write_amplification),
            space_amplification: self.space_amplification.max(other.space_amplification),
            trouble: None,
        }
    }
}

impl Memory {
    fn and(&self, other: &Memory) -> Memory {
        Memory {
            queue_bytes: self.queue_bytes + other.queue_bytes,
            queue_max_bytes: self.queue_max_bytes + other.queue_max_bytes,
            index_max_bytes: self.index_max_bytes + other.index_max_bytes,
            index_excess_bytes: self.index_excess_bytes + other.index_excess_bytes,
        }
    }
}

impl Movement {
    fn and(&self, other: &Movement) -> Movement {
        Movement {
            flushes: self.flushes + other.flushes,
            flushed_bytes: self.flushed_bytes + other.flushed_bytes,
            merges: self.merges + other.merges,
            compacted_bytes: self.compacted_bytes + other.compacted_bytes,
            dropped_tables: self.dropped_tables + other.dropped_tables,
            failures: self.failures + other.failures,
            promotions: self.promotions + other.promotions,
            demotions: self.demotions + other.demotions,
        }
    }
}

impl Reads {
    fn and(&self, other: &Reads) -> Reads {
        Reads {
            asked: self.asked + other.asked,
            memory_hits: self.memory_hits + other.memory_hits,
            warm_hits: self.warm_hits + other.warm_hits,
            misses_filtered: self.misses_filtered + other.misses_filtered,
            misses_read: self.misses_read + other.misses_read,
            failed: self.failed + other.failed,
            blocks_read: self.blocks_read + other.blocks_read,
            for_writes: self.for_writes + other.for_writes,
            archive_asked: self.archive_asked + other.archive_asked,
            archive_hits: self.archive_hits + other.archive_hits,
            archive_unavailable: self.archive_unavailable + other.archive_unavailable,
            archive_failed: self.archive_failed + other.archive_failed,
            archive_wait_ns: self.archive_wait_ns + other.archive_wait_ns,
        }
    }
}

/// A time span in one unit: `12 s`, `3.5 h`. What lies ahead of the clock is `now`.
fn about(span_us: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two or three digits")]
    let seconds = span_us as f64 / 1e6;
    let units = [("y", 31_557_600.0), ("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0)];
    match units.into_iter().find(|(_, unit_s)| seconds >= *unit_s) {
        Some((unit, unit_s)) if seconds < 10.0 * unit_s && unit != "s" => {
            format!("{:.1} {unit}", seconds / unit_s)
        }
        Some((unit, unit_s)) => format!("{:.0} {unit}", seconds / unit_s),
        None => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const SHARD: &str = r#"{"shard":1,"rows":900,
        "damaged_tables":[{"path":"a.tbl","offset_bytes":4096,"what":"torn"}],"tiers":{
        "hot":{"rows":900,"used_bytes":10485760,"budget_bytes":12582912,"evictions":70,"is_complete":false},
        "memtable":{"rows":12,"bytes":3145728,"frozen":1,"oldest_event_time":1000000,"newest_event_time":2000000},
        "latest":{"tables":3,"rows":123456789,"tombstones":4,"bytes":25769803776,"memory_bytes":1048576,
            "oldest_event_time":-86400000000,"newest_event_time":0},
        "history":{"tables":0,"rows":0,"bytes":0,"memory_bytes":0,"oldest_event_time":null,"newest_event_time":null},
        "movement":{"flushes":1200,"flushed_bytes":25769803776,"merges":1,"compacted_bytes":5368709120,
            "dropped_tables":0,"failures":2,"promotions":55,"demotions":70,"new_figure":1},
        "reads":{"asked":200,"memory_hits":50,"warm_hits":90,"misses_filtered":58,"misses_read":1,"failed":1,
            "blocks_read":93,"for_writes":4,"archive_asked":1500,"archive_hits":1498,"archive_unavailable":2,
            "archive_wait_ns":6000000000},
        "memory":{"queue_bytes":1048576,"queue_max_bytes":4194304,"index_max_bytes":5242880,
            "index_excess_bytes":2097152},
        "write_amplification":1.2,"space_amplification":1.5,
        "trouble":"compaction is paused: rewriting 5 bytes"}}"#;

    fn figures() -> Figures {
        let text = format!(
            r#"{{"engine":{{"shards":[{{"shard":0}},{SHARD}],"views":[]}},
                "server":{{"views":{{"a/b@1":{{"hits":900,"misses":100}}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn tiers_are_shown_in_90_columns_and_trouble_is_noted() {
        let text = show(&figures(), 60_000_000);
        for part in [
            "hot               900  10.0 MiB     80.0%  -                55 in, 70 out\n",
            "memtable           12   3.0 MiB     25.0%  59 s - 58 s      1,200 flushes, 24.0 GiB\n",
            "latest    123,456,789  24.0 GiB     60.4%  1.0 d - 1.0 min  1 merge, 5.0 GiB\n",
            "history             0       0 B         -  -                0 tables dropped\n",
            "hot table: 10.0 MiB of 12.0 MiB used; 2 of 2 shards have more rows than are in it",
            "tables: 3 latest, 0 history; filters and indices take 1.0 MiB; 1 memtables wait",
            "memory: writes on their way take 1.0 MiB of 4.0 MiB; filters and indices have 5.0 MiB",
            "shard 1: filters, indices and their merges may take 2.0 MiB past their share:",
            "shard 1: 1 tables are damaged; see thermae stat",
            "written 1.2 x what was flushed; latest takes 1.5 x its oldest table (worst shard)",
            "below hot: 200 keys asked, 93 blocks read; misses: 58 by filters, 1 after a read",
            "writes looked 4 rows up first",
            "archive: 1,500 rows asked, 1,498 given, 2 unavailable, 0 damaged; 4.0 ms each on average",
            "2 pieces of background work failed and were tried again",
            "shard 1: compaction is paused: rewriting 5 bytes",
            "1 look-ups met a block that cannot be read or is damaged",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 90), "{text}");
    }

    #[test]
    fn a_server_without_these_figures_shows_none() {
        let text = show(&Figures::default(), 0);
        assert!(text.contains("hot"), "{text}");
    }

    #[test]
    fn spans_are_told_in_one_unit() {
        let second = 1_000_000;
        for (span_us, want) in [
            (-5 * second, "now"),
            (second / 2, "now"),
            (12 * second, "12 s"),
            (90 * second, "1.5 min"),
            (36_000 * second, "10 h"),
            (400 * 86_400 * second, "1.1 y"),
            (i64::MAX, "292271 y"),
        ] {
            assert_eq!(about(span_us), want);
        }
    }
}
