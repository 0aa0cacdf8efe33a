//! The figures that a store reports of its tiers, and reads of them.

mod here;
mod small;

use std::path::Path;

use thermae_engine::tiers::TierStats;
use thermae_env::{Env, SimOp};

use small::Small;

#[test]
fn rows_are_counted_where_they_lie_and_where_they_move() {
    let mut small = Small::open();
    let empty = small.turn_until(|_| true);
    assert!(empty.hot.is_complete && empty.latest.tables == 0);
    // 8 MB of rows twice: neither the hot table of 2 MiB nor a memtable takes them.
    small.put(0..200, 1_000);
    small.put(0..200, 2_000);
    // Every version lies in a table or in the memtable, the newest and the superseded ones; figures
    // are published with a delay.
    let settled = |s: &TierStats| {
        let rows = s.latest.rows + s.history.rows + s.memtable.rows;
        s.memtable.frozen == 0 && s.movement.merges > 0 && rows >= 400
    };
    let stats = small.turn_until(settled);
    assert!(!stats.hot.is_complete && stats.hot.evictions > 200, "{stats:?}");
    assert!(stats.hot.used_bytes <= stats.hot.budget_bytes && stats.hot.rows < 100, "{stats:?}");
    assert_eq!(stats.movement.demotions, stats.hot.evictions);
    assert!(stats.movement.flushes > 20 && stats.trouble.is_none(), "{stats:?}");
    assert!(stats.movement.flushed_bytes > 12_000_000, "{stats:?}");
    let written = stats.movement.flushed_bytes + stats.movement.compacted_bytes;
    let amplification = written as f64 / stats.movement.flushed_bytes as f64;
    assert!((stats.write_amplification - amplification).abs() < 1e-9, "{stats:?}");
    let latest = &stats.latest;
    assert!(latest.rows + stats.memtable.rows >= 200, "{stats:?}");
    assert_eq!(latest.newest_event_time, Some(2_000));
    assert!(latest.memory_bytes > 0 && latest.bytes > 40_000 * latest.rows, "{stats:?}");
    assert!(stats.space_amplification >= 1.0);

    // Reads below the hot table: rows from tables, and keys that filters alone know to be absent.
    let before = stats.reads;
    assert_eq!(small.read(0..20), 20);
    assert_eq!(small.read(1_000..1_100), 0);
    let reads = small.turn_until(|s| s.reads.asked >= before.asked + 100).reads;
    let asked = reads.asked - before.asked;
    let hits = (reads.memory_hits + reads.warm_hits) - (before.memory_hits + before.warm_hits);
    let misses = reads.misses_filtered + reads.misses_read;
    assert_eq!((hits + misses, misses), (asked, 100), "{reads:?}");
    assert!(reads.warm_hits > 0 && reads.misses_filtered > 80, "{reads:?}");
    assert!(reads.blocks_read >= reads.warm_hits, "{reads:?}");
    // Asked for again, not long after: they come in.
    assert_eq!(small.read(0..20), 20);
    small.turn_until(|s| s.movement.promotions > 0);
}

#[test]
fn nearly_all_keys_that_are_nowhere_are_known_without_the_owner() {
    let mut small = Small::open();
    small.put(0..200, 1_000);
    let stats = small.turn_until(|s| s.memtable.frozen == 0 && s.movement.flushes > 0);
    assert!(!stats.hot.is_complete, "{stats:?}");
    // No turn in between: the shard has no part in it. A filter is wrong about one key in 256.
    let told = small.told_absent(1_000..2_000).len();
    assert!(told > 950, "{told} of 1000");
    let after = small.turn_until(|s| s.reads.asked > stats.reads.asked);
    assert_eq!(after.reads.misses_filtered - stats.reads.misses_filtered, told as u64);
}

#[test]
fn keys_of_several_shards_that_are_asked_together_are_told_apart() {
    let mut small = Small::of_shards(3, 128 << 10);
    small.put(0..400, 1_000);
    let is_below = |s: &TierStats| s.memtable.frozen == 0 && s.movement.flushes > 0;
    assert!(!small.turn_until(is_below).hot.is_complete);
    // Two that are nowhere after each that is somewhere.
    let ids = (0..1_200).map(|nth| if nth % 3 == 0 { nth / 3 } else { 10_000 + nth });
    let told = small.told_absent(ids);
    assert!(told.iter().all(|id| *id >= 10_000), "{told:?}");
    assert!(told.len() > 760, "{} of 800", told.len());
}

#[test]
fn rows_that_left_the_hot_table_for_memtables_alone_are_not_told_absent() {
    // Memtables of 100 rows over a hot table of some 50: looked at in every turn.
    let mut small = Small::flushing_at(4 << 20);
    small.put(0..250, 1_000);
    let stats = small.turn_until(|s| s.movement.flushes > 1 && s.memtable.frozen == 0);
    assert!(stats.hot.evictions > 100 && stats.hot.rows < 80, "{stats:?}");
    assert_eq!(small.read(0..250), 250);
}

#[test]
fn a_disk_that_refuses_shows_in_the_figures() {
    let mut small = Small::open();
    small.put(0..200, 1_000);
    small.turn_until(|s| s.memtable.frozen == 0 && s.movement.flushes > 0);
    small.env.fail_randomly(SimOp::Read, 1_000_000);
    small.read(0..20);
    small.turn_until(|s| s.reads.failed > 0);
    small.env.fail_randomly(SimOp::Read, 0);
    // The log has its segment already: only a table's file is missing.
    small.env.fail_randomly(SimOp::Create, 1_000_000);
    small.put(200..206, 1_000);
    let stats = small.turn_until(|s| s.trouble.is_some());
    assert!(stats.memtable.frozen > 0 && stats.movement.failures > 0, "{stats:?}");
    small.env.fail_randomly(SimOp::Create, 0);
    small.turn_until(|s| s.trouble.is_none() && s.memtable.frozen == 0);
}

#[test]
fn a_block_that_can_not_be_read_fails_its_own_row_alone() {
    let mut small = Small::open();
    // Rows that fill blocks of their own.
    small.put(0..200, 1_000);
    small.turn_until(|s| s.memtable.frozen == 0 && s.movement.merges > 0);
    let warm = Path::new("/data/warm");
    let tables = small.env.list(warm).unwrap().into_iter();
    let tables = tables.filter(|entry| entry.name.ends_with(".tbl"));
    let largest = tables.max_by_key(|entry| entry.len_bytes).unwrap();
    assert!(largest.len_bytes > 1 << 20, "{largest:?}");
    let middle = largest.len_bytes / 2;
    small.env.set_unreadable(&warm.join(&largest.name), middle..middle + 1).unwrap();
    assert_eq!(small.read(0..200), 199);
    let [why] = &small.failed[..] else { panic!("{:?}", small.failed) };
    assert!(why.contains(&largest.name) && why.contains("os error 5"), "{why}");
    small.env.set_unreadable(&warm.join(&largest.name), 0..0).unwrap();
    assert_eq!((small.read(0..200), small.failed.len()), (200, 0));
}
