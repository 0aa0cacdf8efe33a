//! A disk that is really full: writes are refused before anything is touched, reads and the rest go on,
//! and the store recovers by itself once there is room.

use std::path::Path;
use std::time::{Duration, Instant};

use thermae_engine::stats::ShardStats;
use thermae_engine::store::{Row, Status, Store};
use thermae_engine::{Ack, Error, Options, Outcome, Refusal, RowWrite, WriteBatch, WriteKind};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
use thermae_tests::model::Rng;

use super::small_disk::{Ballast, small_disk};

/// Compaction wants 256 MiB free: a disk that never has them never recovers.
const DISK_BYTES: u64 = 640 << 20;
const ROW_BYTES: usize = 60_000;
/// More rows than any of these disks holds.
const ROWS_MAX: i64 = 4_000;
/// The store tries again within 10 s; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options { memory_bytes: 8 << 20, segment_bytes: 1 << 20, ..Options::default() }
}

fn open(disk: &Path) -> Result<Store, Error> {
    Store::open_with(disk.join("data"), options())
}

fn defined(disk: &Path) -> Store {
    let store = open(disk).unwrap();
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let data = vec![Feature::new("data", Scalar::Bytes)];
    store.apply(&[FeatureView::new("test", "big", keys, data)]).unwrap();
    store
}

/// Bytes that do not compress.
fn row(id: i64) -> Row {
    let mut rng = Rng::new(id as u64 + 1);
    let data = (0..ROW_BYTES).map(|_| rng.below(256) as u8).collect();
    Row::new([KeyValue::Int(id)], 1_000, [Value::Bytes(data)])
}

/// Writes a row; a write that is never answered breaks the promise, too.
fn put(store: &Store, id: i64) -> Outcome {
    let catalogue = store.handle().catalogue();
    let schema = &catalogue.resolve("big").unwrap().latest;
    let (mut batch, row, mut value) = (WriteBatch::new(Ack::Durable, 0), row(id), Vec::new());
    let dense = schema.layout.encode(&row.values, &mut value).unwrap();
    let (key, value) = (batch.store(&id.to_le_bytes()), batch.store(&value));
    batch.rows.push(RowWrite {
        kind: WriteKind::Put,
        dense,
        value,
        ..RowWrite::delete(schema, row.event_time, key)
    });
    let mut ticket = store.handle().submit(batch).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ticket.poll() {
            Ok(outcomes) => return outcomes[0],
            Err(waiting) => ticket = waiting,
        }
        assert!(Instant::now() < deadline, "write {id} was never answered");
        std::thread::yield_now();
    }
}

/// Writes until the disk is full; the first row that was refused.
fn fill(store: &Store, from: i64) -> i64 {
    for id in from..ROWS_MAX {
        match put(store, id) {
            Outcome::Ok { .. } => {}
            Outcome::NotApplied(Refusal::DiskFull) => return id,
            other => panic!("{id}: {other:?}"),
        }
    }
    panic!("the disk was never full");
}

fn check(store: &Store, ids: std::ops::Range<i64>) {
    let plan = store.plan("big", &["data"]).unwrap();
    for id in ids {
        let answer = store.get(&plan, &[vec![KeyValue::Int(id)]]).unwrap().swap_remove(0);
        assert_eq!((answer.status, &answer.values), (Status::Present, &row(id).values), "{id}");
    }
}

/// Tries until the row is taken, which nobody but the store itself can bring about.
fn put_when_it_can(store: &Store, id: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match put(store, id) {
            Outcome::Ok { .. } => return,
            Outcome::NotApplied(Refusal::DiskFull) => {}
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline, "it did not go on by itself");
        std::thread::yield_now();
    }
}

/// The figures of the shard once they tell of trouble: they are published with a delay.
fn troubled(store: &Store) -> ShardStats {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shard = store.handle().stats().shards.swap_remove(0);
        if shard.tiers.trouble.is_some() {
            return shard;
        }
        assert!(Instant::now() < deadline, "no trouble is told: {shard:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_goes_on_by_itself() {
    let Some(disk) = small_disk("a full disk", DISK_BYTES) else { return };
    let store = defined(disk.path());
    assert!(matches!(put(&store, 0), Outcome::Ok { .. }));
    // ext4 keeps some of it to itself.
    let ballast = Ballast::leaving(disk.path(), 40 << 20);
    let refused = fill(&store, 1);
    assert!(refused > 50, "{refused} rows");
    // Tables could not be written or not be merged, and a log that failed would be read-only.
    let shard = troubled(&store);
    assert!(shard.read_only.is_none(), "{shard:?}");
    check(&store, 0..refused);
    let plan = store.plan("big", &["data"]).unwrap();
    let absent = store.get(&plan, &[vec![KeyValue::Int(refused)]]).unwrap();
    assert_eq!(absent[0].status, Status::NotFound, "a refused row is not there");

    ballast.drop_it();
    put_when_it_can(&store, refused);
    check(&store, 0..refused + 1);
    store.close().unwrap();
    let store = open(disk.path()).unwrap();
    check(&store, 0..refused + 1);
    store.close().unwrap();
}

#[test]
fn a_disk_without_room_for_an_open_refuses_it_and_loses_nothing() {
    let Some(disk) = small_disk("a full disk at the open", DISK_BYTES) else { return };
    let store = defined(disk.path());
    (0..40).for_each(|id| assert!(matches!(put(&store, id), Outcome::Ok { .. }), "{id}"));
    store.close().unwrap();
    let ballast = Ballast::leaving(disk.path(), 0);
    for _ in 0..2 {
        // The log begins with a segment that is whole, 64 MiB here.
        let large = || Options { segment_bytes: 64 << 20, ..options() };
        let error = loop {
            match Store::open_with(disk.path().join("data"), large()) {
                // A process that another test starts has the lock, too, until it has become its program.
                Err(Error::Locked(_)) => std::thread::yield_now(),
                Err(error) => break error,
                Ok(_) => panic!("it opens without room"),
            }
        };
        let text = error.to_string();
        assert!(text.contains("no room") || text.contains("No space"), "{error:?}");
    }
    ballast.drop_it();
    let store = open(disk.path()).unwrap();
    check(&store, 0..40);
    store.close().unwrap();
}
