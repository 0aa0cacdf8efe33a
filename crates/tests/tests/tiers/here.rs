//! Rows of tables that are read by whoever asks, without their shards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use thermae_engine::planted::{Bug, plant};
use thermae_engine::tiers::TierStats;
use thermae_env::{Env, SimOp};

use super::small::{Here, Small, here};

/// A page holds two rows of this, and a memtable some forty.
const VALUE_BYTES: usize = 1_500;
/// Rows a shard: more than its hot table of 2 MiB takes.
const ROWS: i64 = 2_000;

/// A store with its rows in tables, of which the hot tables hold a part.
fn settled(cores: usize) -> Small {
    let mut small = Small::of_values(cores, 64 << 10, VALUE_BYTES);
    small.put(0..ROWS * cores as i64, 1_000);
    let stats = small.turn_until(|s| s.memtable.frozen == 0 && s.movement.merges > 0);
    assert!(!stats.hot.is_complete && stats.hot.rows < 1_500, "{stats:?}");
    small
}

/// Rows in a row that only tables have.
fn in_tables(small: &Small, rows: i64) -> Range<i64> {
    let first = (0..ROWS - rows).find(|first| {
        let ids = *first..first + rows;
        ids.clone().all(|id| !small.is_hot(id)) && small.here(ids).unknown == 0
    });
    let first = first.expect("the hot table holds a part");
    first..first + rows
}

#[test]
fn rows_of_tables_are_read_without_a_turn_of_their_shards() {
    for cores in [1, 3] {
        let mut small = settled(cores);
        let rows = ROWS * cores as i64;
        let before = small.turn_until(|_| true);
        let mut times = BTreeMap::new();
        let told = here(&small.stepped.handle, 0..rows, |id, time| {
            assert_eq!(times.insert(id, time), None, "{id} comes once");
        });
        assert_eq!((told.found + told.unknown, told.absent), (rows as usize, 0), "{told:?}");
        // Rows of memtables are left to the shards, and those whose marks are taken for such.
        assert!(told.unknown < 60 * cores, "{told:?}");
        assert!(times.values().all(|time| *time == 1_000));
        let none = small.here(1_000_000..1_001_000);
        assert!(none.absent >= 990 && none.found == 0, "{none:?}");
        // What was told without the shards shows in their figures.
        let asked = |s: &TierStats| s.reads.asked - before.reads.asked;
        let after = small.turn_until(|s| asked(s) > 0);
        let hits = after.reads.warm_hits - before.reads.warm_hits;
        let blocks = after.reads.blocks_read - before.reads.blocks_read;
        assert!(hits > 300 && blocks >= hits && blocks < hits + hits / 10, "{hits}, {blocks}");
        assert_eq!(after.reads.memory_hits, before.reads.memory_hits);
    }
}

#[test]
fn rows_that_are_asked_for_twice_become_hot() {
    let mut small = settled(1);
    let ids = in_tables(&small, 20);
    // Looked for once, and once more here.
    small.here(ids.clone());
    small.turn(4);
    let hot = ids.clone().filter(|id| small.is_hot(*id)).count();
    assert!(hot >= 15, "{hot} of 20");
    let stats = small.turn_until(|s| s.movement.promotions >= hot as u64);
    assert!(stats.hot.used_bytes <= stats.hot.budget_bytes, "{stats:?}");
    assert_eq!(small.read(ids), 20);
}

#[test]
fn a_large_row_that_was_compressed_into_a_page_becomes_hot_by_its_shard() {
    let mut small = Small::of_values(1, 64 << 10, 6_000);
    small.is_plain = true;
    small.put(0..600, 1_000);
    small.turn_until(|s| s.memtable.frozen == 0 && s.movement.merges > 0);
    let cold = (0..600).find(|id| !small.is_hot(*id)).expect("the hot table holds a part");
    let ids = cold..cold + 1;
    assert_eq!(small.here(ids.clone()), Here { unknown: 1, ..Here::default() });
    (0..2).for_each(|_| assert_eq!(small.read(ids.clone()), 1));
    assert!(small.is_hot(cold));
}

/// Reads rows that are written anew, and flushed, before their shard hears of what was read; the old ones among those
/// that are read afterwards.
fn read_while_written_anew() -> BTreeMap<i64, i64> {
    let mut small = settled(1);
    let ids = in_tables(&small, 20);
    let handle = small.stepped.handle.clone();
    let mut is_first = true;
    here(&handle, ids.clone(), |_, time| {
        assert_eq!(time, 1_000, "as it was when the read began");
        if std::mem::take(&mut is_first) {
            small.put(ids.clone(), 2_000);
            // All of it is in tables then, and nowhere else.
            small.put(ROWS..ROWS + 200, 1_000);
            small.define(1);
            small.turn_until(|s| s.memtable.frozen == 0 && s.hot.rows == 0);
            small.define(0);
        }
    });
    small.turn(4);
    assert_eq!(small.read(ids), 20);
    std::mem::take(&mut small.times).into_iter().filter(|(_, time)| *time != 2_000).collect()
}

#[test]
fn what_was_read_before_it_was_written_anew_does_not_become_hot() {
    assert_eq!(read_while_written_anew(), BTreeMap::new());
}

#[test]
fn that_what_is_outdated_becomes_hot_is_found() {
    plant(Some(Bug::TakeUpOutdated));
    let old = read_while_written_anew();
    plant(None);
    assert!(old.len() >= 10, "{old:?}");
}

#[test]
fn rows_that_a_memtable_has_are_left_to_their_shard() {
    let mut small = settled(1);
    let ids = in_tables(&small, 20);
    small.put(ids.clone(), 2_000);
    small.define(1);
    small.turn_until(|s| s.hot.rows == 0);
    let told = here(&small.stepped.handle, ids.clone(), |_, time| assert_eq!(time, 2_000));
    assert!(told.unknown > 0, "{told:?}");
    assert_eq!(small.read(ids), 20);
    assert!(small.times.values().all(|time| *time == 2_000), "{:?}", small.times);
}

#[test]
fn what_cannot_be_read_is_left_to_its_shard_which_says_why() {
    let mut small = settled(1);
    let ids = in_tables(&small, 20);
    small.env.fail_randomly(SimOp::Read, 1_000_000);
    assert_eq!(small.here(ids.clone()), Here { unknown: 20, ..Here::default() });
    assert_eq!(small.read(ids.clone()), 0);
    assert!(small.failed.len() == 20 && small.failed[0].contains(".tbl"), "{:?}", small.failed);
    small.env.fail_randomly(SimOp::Read, 0);
    assert_eq!((small.here(ids.clone()).found, small.read(ids)), (20, 20));
}

#[test]
fn a_file_that_has_become_shorter_loses_no_row_silently() {
    let mut small = settled(1);
    let ids = in_tables(&small, 20);
    let warm = Path::new("/data/warm");
    for entry in small.env.list(warm).unwrap() {
        if entry.name.ends_with(".tbl") {
            small.env.set_file_bytes(&warm.join(&entry.name), &[]).unwrap();
        }
    }
    assert_eq!(small.here(ids.clone()), Here { unknown: 20, ..Here::default() });
    assert_eq!((small.read(ids), small.failed.len()), (0, 20));
    assert!(small.failed[0].contains("the file gave 0"), "{:?}", small.failed);
}

#[test]
fn what_is_erased_is_told_by_its_shard_alone_until_nothing_holds_it() {
    let mut small = settled(1);
    let ids = in_tables(&small, 20);
    let tokens = small.erase(ids.clone());
    let handle = small.stepped.handle.clone();
    let mut erases = handle.submit_erases(&tokens, true).unwrap();
    // Told to be erased, and in tables for a while; the others are read here.
    assert_eq!(small.here(ids.clone()), Here { unknown: 20, ..Here::default() });
    assert!(small.here(0..ROWS).found > 1_500);
    let is_pending = loop {
        erases = match erases.poll() {
            Ok(done) => break done.iter().any(|shard| shard.pending > 0),
            Err(waiting) => waiting,
        };
        let told = small.here(ids.clone());
        assert_eq!(told.found, 0, "{told:?}");
        small.turn(1);
    };
    assert!(!is_pending);
    small.turn(4);
    let told = small.here(ids);
    assert!(told.absent >= 18 && told.found == 0, "{told:?}");
}

#[test]
fn a_store_that_has_stopped_tells_nothing_of_its_tables() {
    let small = settled(1);
    let ids = in_tables(&small, 20);
    let handle = small.stepped.handle.clone();
    drop(small);
    assert_eq!(here(&handle, ids, |_, _| ()), Here { unknown: 20, ..Here::default() });
}
