//! `Store::scan`, snapshots and cursors, over real files and one simulated disk.

use std::path::Path;

use thermae_engine::background::Background;
use thermae_engine::options::HotMemory;
use thermae_engine::runtime::{Stepped, open};
use thermae_engine::scan::{Cursor, Position, Scan};
use thermae_engine::snapshot::SNAPSHOTS_MAX;
use thermae_engine::store::{Row, Store};
use thermae_engine::{
    Ack, Error, NoService, Options, Outcome, RowWrite, ScanOptions, ScannedRow, WriteBatch,
    WriteKind,
};
use thermae_env::{SimEnv, SimOp};
use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::{KeyValue, NO_TIME, Value, hash};
use thermae_tests::model::Rng;

use super::{VIEW, row, view};

fn store(dir: &std::path::Path, tiers: TierPolicy) -> Store {
    let options = Options { cores: 2, flush_bytes: 64 << 10, ..Options::default() };
    let store = Store::open_with(dir, options).unwrap();
    store.apply(&[view(tiers)]).unwrap();
    store
}

fn put(store: &Store, rows: &[Row]) {
    for rows in rows.chunks(500) {
        let outcomes = store.put(VIEW, rows).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Ok { .. })));
    }
}

fn ids_and_times(rows: impl Iterator<Item = Result<ScannedRow, Error>>) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for row in rows {
        let row = row.unwrap();
        let [KeyValue::Int(id)] = row.key[..] else { panic!("{row:?}") };
        if let Some(values) = &row.values {
            assert_eq!(*values, super::row(id, row.event_time).values);
        }
        found.push((id, row.event_time));
    }
    found
}

#[test]
fn a_scan_shows_what_was_there_when_it_began_while_writes_flushes_and_merges_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    let all: Vec<Row> = (0..3_000).map(|n| row(n % 500, n / 500)).collect();
    put(&store, &all);
    let mut scan = store.scan(VIEW, &[], &ScanOptions::default()).unwrap();
    let first = scan.next().unwrap().unwrap();
    // Ten times as much, late rows and deletions among it: tables of the scan are replaced under it.
    for round in 0..10 {
        let more: Vec<Row> = (0..3_000).map(|n| row(n % 500, (n * 7 + round) % 600)).collect();
        put(&store, &more);
    }
    store.delete(VIEW, &[vec![KeyValue::Int(3)]], 1_000).unwrap();
    let mut found = ids_and_times(std::iter::once(Ok(first)).chain(scan));
    assert_eq!(found.len(), 3_000);
    let hash = |id: i64| hash::entity_hash(&id.to_le_bytes(), store.handle().reads().hash_seed());
    let order = |a: &(i64, i64), b: &(i64, i64)| (hash(a.0), -a.1).cmp(&(hash(b.0), -b.1));
    assert!(found.is_sorted_by(|a, b| order(a, b).is_lt()));
    found.sort_unstable();
    let mut expected: Vec<_> = (0..3_000).map(|n| (n % 500, n / 500)).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let merges: u64 =
        store.handle().stats().shards.iter().map(|shard| shard.tiers.movement.merges).sum();
    assert!(merges > 0, "no table was replaced");
}

#[test]
fn a_scan_is_of_one_key_of_some_times_of_some_features_and_of_deletions_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    put(&store, &(0..200).map(|n| row(n % 20, n / 20)).collect::<Vec<_>>());
    store.delete(VIEW, &[vec![KeyValue::Int(7)]], 5).unwrap();
    let scan = |options: &ScanOptions| ids_and_times(store.scan(VIEW, &[], options).unwrap());
    let one = ScanOptions { key: Some(vec![KeyValue::Int(7)]), ..ScanOptions::default() };
    let times = |found: Vec<(i64, i64)>| {
        assert!(found.iter().all(|row| row.0 == 7));
        found.into_iter().map(|row| row.1).collect::<Vec<_>>()
    };
    assert_eq!(times(scan(&one)), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let one = ScanOptions { from_us: 3, to_us: 6, tombstones: true, ..one };
    // The deletion came after the row of its time.
    assert_eq!(times(scan(&one)), [6, 5, 5, 4, 3]);
    let rows: Vec<_> = store.scan(VIEW, &["n"], &one).unwrap().map(Result::unwrap).collect();
    assert_eq!((&rows[1].values, rows[1].created_time), (&None, NO_TIME));
    assert_eq!(rows[2].values, Some(vec![Value::Int64(35)]));
    let half = |hashes| scan(&ScanOptions { hashes, ..ScanOptions::default() }).len();
    assert_eq!(half(0..=u64::MAX / 2) + half(u64::MAX / 2 + 1..=u64::MAX), 200);
    assert!(half(0..=u64::MAX / 2) > 0);
    let wrong = ScanOptions { key: Some(Vec::new()), ..one };
    assert!(matches!(store.scan(VIEW, &[], &wrong), Err(Error::Invalid(_))));
    assert!(matches!(store.scan(VIEW, &["m"], &ScanOptions::default()), Err(Error::Invalid(_))));
    assert!(matches!(store.scan("readings2", &[], &wrong), Err(Error::NotFound(_))));
}

#[test]
fn pages_of_different_snapshots_lose_and_double_no_row_that_was_there_throughout() {
    for (history, seed) in [(History::Full, 1), (History::Latest, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), TierPolicy { history, ..TierPolicy::default() });
        put(&store, &(0..400).map(|n| row(n % 100, n / 100)).collect::<Vec<_>>());
        let view = store.handle().catalogue().resolve(VIEW).unwrap().id;
        let mut rng = Rng::new(seed);
        let (mut found, mut after) = (Vec::new(), None::<Position>);
        loop {
            let snapshot = store.snapshot().unwrap();
            let options = ScanOptions::default();
            let mut cursor = Cursor::open(&snapshot, view, &options, after.as_ref()).unwrap();
            if cursor.row().is_none() {
                break;
            }
            for _ in 0..1 + rng.below(30) {
                let Some(version) = cursor.row() else { break };
                let id = i64::from_le_bytes(version.key.try_into().unwrap());
                found.push((id, version.order()));
                after = Some(Position { key: version.key.to_vec(), order: version.order() });
                cursor.advance().unwrap();
            }
            // Entities with even numbers get newer versions between the pages.
            let more = (0..20).map(|_| row(2 * rng.below(50) as i64, 4 + rng.below(5) as i64));
            put(&store, &more.collect::<Vec<_>>());
        }
        let mut kept = found.clone();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(kept.len(), found.len(), "a row came twice");
        match history {
            History::Full => {
                kept.retain(|row| row.1.0 < 4);
                assert_eq!(kept.len(), 400);
            }
            History::Latest => {
                let mut ids: Vec<_> = found.iter().map(|row| row.0).collect();
                ids.sort_unstable();
                assert_eq!(ids, (0..100).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn many_snapshots_make_no_tables_of_few_rows_and_more_than_a_few_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.apply(&[view(TierPolicy::default())]).unwrap();
    for n in 0..100 {
        put(&store, &[row(n, 1)]);
        let rows = store.scan(VIEW, &[], &ScanOptions::default()).unwrap();
        assert_eq!(ids_and_times(rows).len() as i64, n + 1);
    }
    assert_eq!(std::fs::read_dir(dir.path().join("warm")).unwrap().count(), 0);
    let held: Vec<_> = (0..SNAPSHOTS_MAX).map(|_| store.snapshot().unwrap()).collect();
    assert!(matches!(store.snapshot(), Err(Error::Overloaded(..))));
    drop(held);
    store.snapshot().unwrap();
}

#[test]
fn what_snapshots_hold_of_the_disk_is_told_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    put(&store, &(0..2_000).map(|n| row(n, 1)).collect::<Vec<_>>());
    let snapshot = store.snapshot().unwrap();
    let held_bytes = || {
        let stats = store.handle().stats();
        stats.shards.iter().map(|shard| shard.tiers.held_bytes).sum::<u64>()
    };
    let mut time = 2;
    while held_bytes() == 0 {
        put(&store, &(0..2_000).map(|n| row(n, time)).collect::<Vec<_>>());
        time += 1;
        assert!(time < 200, "no table of the snapshot was replaced");
    }
    let rows = Scan::open(&snapshot, VIEW, &[], &ScanOptions::default()).unwrap();
    assert_eq!(ids_and_times(rows).len(), 2_000);
    drop(snapshot);
    // Figures are told a little later; what a merge at work holds goes with it.
    while held_bytes() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_damaged_table_ends_a_scan_with_its_name_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    put(&store, &(0..3_000).map(|n| row(n, 1)).collect::<Vec<_>>());
    store.close().unwrap();
    // The first block of every table: which of them are named any more the store alone knows.
    for file in std::fs::read_dir(dir.path().join("warm")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "tbl") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[4096 + 100] ^= 4;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    // Not read into the hot table: nobody else meets it first.
    let options = Options { preload_bytes: 0, cores: 2, ..Options::default() };
    let store = Store::open_with(dir.path(), options).unwrap();
    let error = match store.scan(VIEW, &[], &ScanOptions::default()) {
        Ok(mut scan) => scan.find_map(Result::err).unwrap(),
        Err(error) => error,
    };
    let Error::Corrupt { file, offset, .. } = &error else { panic!("{error}") };
    assert!(file.ends_with(".tbl") && *offset == 4096, "{error}");
}

/// Writes rows that do not compress, whatever becomes of them.
fn write_noise(stepped: &mut Stepped<SimEnv, NoService>, rows: u64, rng: &mut Rng) {
    let catalogue = stepped.handle.catalogue();
    let schema = &catalogue.resolve(VIEW).unwrap().latest;
    for _ in 0..rows {
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        let noise: String = (0..4_000).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
        let mut value = Vec::new();
        let values = [Value::Int64(1), Value::String(noise)];
        let dense = schema.layout.encode(&values, &mut value).unwrap();
        let key = batch.store(&rng.below(1 << 20).to_le_bytes());
        let value = batch.store(&value);
        batch.rows.push(RowWrite {
            kind: WriteKind::Put,
            dense,
            value,
            ..RowWrite::delete(schema, 1, key)
        });
        let _ = stepped.handle.submit(batch).unwrap();
        (0..20).for_each(|_| assert!(stepped.shards[0].turn().unwrap()));
    }
}

#[test]
fn while_no_flush_succeeds_a_snapshot_is_refused_and_says_why() {
    let env = SimEnv::new(5);
    let options = Options {
        memory_bytes: 32 << 20,
        spin_us: 0,
        background: Background::Inline,
        flush_bytes: 64 << 10,
        hot_memory: HotMemory::Heap,
        ..Options::default()
    };
    let opened = open(env.clone(), Path::new("/data"), options).unwrap();
    let mut stepped = opened.into_shards(|_| NoService).unwrap();
    let waiter = stepped.handle.submit_apply(&[view(TierPolicy::default())]).unwrap();
    while waiter.poll().is_empty() {
        assert!(stepped.shards[0].turn().unwrap());
    }
    // The log has its segment already: only tables cannot be made.
    env.fail_randomly(SimOp::Create, 1_000_000);
    let mut rng = Rng::new(1);
    write_noise(&mut stepped, 50, &mut rng);
    let mut snapshot = |is_to_be_there: bool| {
        let mut ticket = stepped.handle.submit_snapshot().unwrap();
        for _ in 0..200_000 {
            assert!(stepped.shards[0].turn().unwrap());
            ticket = match ticket.poll() {
                Ok(Ok(snapshot)) => {
                    assert!(is_to_be_there);
                    return snapshot.view(thermae_formats::ViewId(0), 0..=u64::MAX, 4096).err();
                }
                Ok(Err(ticket)) => ticket,
                Err(error) => return Some(error),
            };
        }
        panic!("never answered")
    };
    let Some(Error::Overloaded(why, retry_ms)) = snapshot(false) else { panic!("not refused") };
    assert!(why.contains("no snapshot can be taken") && retry_ms > 0, "{why}");
    env.fail_randomly(SimOp::Create, 0);
    // The worker rests longer after each failure.
    let is_there = (0..1_000).any(|_| {
        env.advance_us(100_000);
        snapshot(true).is_none()
    });
    assert!(is_there, "flushes go on again");
}
