#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use thermae_formats::hash::{entity_hash, row_hash};
use thermae_formats::hot_layout::FLAG_TOMBSTONE;
use thermae_formats::{NO_TIME, SchemaId};

use super::*;
use crate::testing::Rng;

type Key = (ViewId, Vec<u8>);
type Owned = ((i64, i64, u64), Vec<u8>, bool);

/// What a memtable should hold, said in the plainest way.
#[derive(Default)]
struct Model {
    newest: BTreeMap<Key, Owned>,
    history: BTreeSet<(Key, Owned)>,
}

fn owned(version: &Version<'_>) -> Owned {
    (version.order(), version.value.to_vec(), version.is_tombstone())
}

/// Puts `count` random versions of few keys into both; `hash_of` may make hashes collide.
fn fill(seed: u64, count: u64, hash_of: fn(u64) -> u64) -> (Memtable, Model) {
    let (mut table, mut model) = (Memtable::new(), Model::default());
    let mut rng = Rng::new(seed);
    for sequence in 0..count {
        let view = ViewId(rng.below(3) as u32);
        let key = rng.below(count / 3 + 1).to_le_bytes();
        let dead = rng.one_in(8);
        let long = if rng.one_in(500) { 200_000 } else { 40 };
        let value = vec![sequence as u8; if dead { 0 } else { rng.below(long) as usize }];
        let version = Version {
            schema_id: SchemaId(1),
            flags: if dead { FLAG_TOMBSTONE } else { 0 },
            sequence,
            event_time: rng.below(50) as i64,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: &key,
            value: &value,
        };
        let keeps_history = view != ViewId(2);
        let hash = hash_of(entity_hash(&key, 7));
        let whole = (view, key.to_vec());
        let is_late = model.newest.get(&whole).is_some_and(|new| new.0 > version.order());
        if !is_late {
            table.put_newest(view, hash, hash_of(row_hash(hash, view)), &version, keeps_history);
            let before = model.newest.insert(whole.clone(), owned(&version));
            if let Some(before) = before.filter(|_| keeps_history) {
                model.history.insert((whole, before));
            }
        } else if keeps_history {
            table.put_late(view, hash, &version);
            model.history.insert((whole, owned(&version)));
        }
    }
    (table, model)
}

fn check(table: &Memtable, model: &Model, hash_of: fn(u64) -> u64) {
    for ((view, key), expected) in &model.newest {
        let hash = hash_of(row_hash(hash_of(entity_hash(key, 7)), *view));
        let found = table.newest(hash, key, *view).map(|version| owned(&version));
        assert_eq!(found.as_ref(), Some(expected));
        assert_eq!(table.newest(hash, b"no such key", *view), None);
        assert_eq!(table.newest(hash, key, ViewId(9)), None);
    }
    let place_key = |place: &Place| {
        let (view, hash, version) = table.version(*place);
        (view, hash, version.key.to_vec(), std::cmp::Reverse(version.order()))
    };
    let whole = |place: &Place| {
        let (view, _, version) = table.version(*place);
        ((view, version.key.to_vec()), owned(&version))
    };
    let (latest, history) = (table.latest_sorted(), table.history_sorted());
    assert!(latest.iter().map(place_key).is_sorted() && history.iter().map(place_key).is_sorted());
    let found: BTreeMap<_, _> = latest.iter().map(whole).collect();
    assert_eq!((found, latest.len()), (model.newest.clone(), model.newest.len()));
    let found: BTreeSet<_> = history.iter().map(whole).collect();
    assert_eq!((found, history.len()), (model.history.clone(), model.history.len()));
    assert_eq!(table.rows(), latest.len() + history.len());
    let times = latest.iter().chain(&history).map(|place| table.version(*place).2.event_time);
    let (oldest, newest) = table.event_times().unwrap();
    assert!(times.clone().all(|time| (oldest..=newest).contains(&time)));
    let is_whole = model.history.len() + model.newest.len() < 100 || (oldest, newest) == (0, 49);
    assert!(is_whole, "{oldest} to {newest}");
}

#[test]
fn it_holds_what_a_plain_map_holds() {
    for (seed, count) in [(1, 1), (2, 10), (3, 300), (4, 5_000), (5, 20_000)] {
        let (table, model) = fill(seed, count, |hash| hash);
        check(&table, &model, |hash| hash);
    }
}

#[test]
fn keys_with_equal_hashes_are_told_apart() {
    fn few(hash: u64) -> u64 {
        hash & 3
    }
    let (table, model) = fill(6, 1_000, few);
    check(&table, &model, few);
}

#[test]
fn an_empty_one_has_nothing_and_costs_little() {
    let table = Memtable::new();
    assert!(table.is_empty() && table.latest_sorted().is_empty());
    assert_eq!(table.event_times(), None);
    assert_eq!(table.newest(1, b"", ViewId(0)), None);
    assert!(table.bytes() <= 10_000, "{}", table.bytes());
}

/// Bytes charged beyond those of the versions: heads, alignment, index, what is not used yet.
#[test]
fn what_it_costs_beyond_its_rows_is_bounded() {
    for rows in [1_000_u64, 30_000, 300_000] {
        let mut table = Memtable::new();
        let mut payload = 0;
        for row in 0..rows {
            let (key, value) = (row.to_le_bytes(), [0; 100]);
            let version = Version {
                schema_id: SchemaId(1),
                flags: 0,
                sequence: row,
                event_time: 0,
                created_time: NO_TIME,
                expire_at: NO_TIME,
                key: &key,
                value: &value,
            };
            payload += version.encoded_bytes();
            let hash = entity_hash(&key, 7);
            table.put_newest(ViewId(1), hash, row_hash(hash, ViewId(1)), &version, true);
        }
        let over = (table.bytes() - payload) as f64 / rows as f64;
        let most = if rows < 10_000 { 100.0 } else { 60.0 };
        assert!(over < most, "{rows} rows: {over:.1} bytes a row beyond its own");
    }
}
