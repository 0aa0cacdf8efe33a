//! Promises of the engine that need the whole of it.

use std::path::Path;

use thermae_engine::catalogue::Schema;
use thermae_engine::reads::{Key, Lookup, RowBuf};
use thermae_engine::runtime::{Stepped, open};
use thermae_engine::service::NoService;
use thermae_engine::store::{Row, Status, Store};
use thermae_engine::{
    Ack, Error, FetchBatch, Fetched, Options, Outcome, Refusal, RowWrite, WriteBatch,
};
use thermae_env::{Env, SimEnv, SimOp, available_cores, pin_thread};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value, ValueType};
use thermae_tests::campaign::{Tiers, World};
use thermae_tests::model::{Operation, Rng};

/// Some rows a table, and none of them in the hot table after an open.
const TIERS: Tiers = Tiers { flush_bytes: 16 << 10, preload_bytes: 0 };

/// Digests after the same operations in batches of `batch_rows`; sent twice when `repeat`.
fn digests(batch_rows: usize, repeat: bool) -> Vec<(u16, u64)> {
    let mut rng = Rng::new(5);
    let operations: Vec<_> =
        (0..600).map(|n| Operation::draw_or_erase(&mut rng, n, 24, 20)).collect();
    let sequences: Vec<u64> = (1..=600).collect();
    let mut world = World::open(SimEnv::new(11), 2, TIERS, World::no_history()).unwrap();
    assert!(world.define().unwrap());
    for _ in 0..if repeat { 2 } else { 1 } {
        for (rows, numbers) in operations.chunks(batch_rows).zip(sequences.chunks(batch_rows)) {
            world.send(rows, Some(numbers), Ack::Durable);
            // One at a time, or there is no room for them all.
            assert!(world.settle().unwrap());
        }
    }
    world.check_rows().unwrap();
    world.digests().unwrap()
}

#[test]
fn the_digest_is_blind_to_batching_and_repetition_and_sees_a_difference() {
    let want = digests(600, false);
    assert_eq!(digests(1, false), want);
    assert_eq!(digests(37, false), want);
    assert_eq!(digests(64, true), want);
    let mut world = World::open(SimEnv::new(11), 2, TIERS, World::no_history()).unwrap();
    assert!(world.define().unwrap());
    assert_ne!(world.digests().unwrap(), want);
}

fn big_rows() -> FeatureView {
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    FeatureView::new(
        "test",
        "big",
        keys,
        vec![Feature::new("data", ValueType::from(Scalar::Bytes))],
    )
}

fn big_row(id: i64) -> Row {
    Row::new([KeyValue::Int(id)], 1_000 + id, [Value::Bytes(vec![id as u8; 60_000])])
}

#[test]
fn rows_past_the_memory_budget_are_warm_and_every_one_is_read_whatever_the_cores() {
    let dir = tempfile::tempdir().unwrap();
    let open = |memory_bytes: u64, cores| {
        let options = Options { memory_bytes, cores, segment_bytes: 1 << 20, ..Options::default() };
        Store::open_with(dir.path(), options).unwrap()
    };
    let ids = 0..400;
    let check = |store: &Store, gone: &[i64]| {
        let plan = store.plan("big", &["data"]).unwrap();
        for id in ids.clone().chain([-1]) {
            let answer = store.get(&plan, &[vec![KeyValue::Int(id)]]).unwrap().swap_remove(0);
            if gone.contains(&id) || id < 0 {
                assert_eq!(answer.status, Status::NotFound, "{id}");
            } else {
                assert_eq!((answer.status, &answer.values), (Status::Present, &big_row(id).values));
            }
        }
    };
    let store = open(8 << 20, 1);
    store.apply(&[big_rows()]).unwrap();
    for id in ids.clone() {
        let outcomes = store.put("test/big", &[big_row(id)]).unwrap();
        assert!(matches!(outcomes[..], [Outcome::Ok { .. }]), "{id}: {outcomes:?}");
    }
    check(&store, &[]);
    // Late rows, tombstones and updates of rows that only the tables have.
    let late = Row { event_time: 1, ..big_row(3) };
    store.put("test/big", &[late]).unwrap();
    store.delete("big", &[vec![KeyValue::Int(7)]], 2_000).unwrap();
    check(&store, &[7]);
    store.close().unwrap();
    for (memory_bytes, cores) in [(4 << 20, 1), (16 << 20, 2), (64 << 20, 3), (4 << 20, 1)] {
        let store = open(memory_bytes, cores);
        check(&store, &[7]);
        store.close().unwrap();
    }
}

#[test]
fn a_row_from_the_future_is_refused_and_one_within_the_skew_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { future_skew_us: 1_000_000_000_000, ..Options::default() };
    let store = Store::open_with(dir.path(), options).unwrap();
    store.apply(&[big_rows()]).unwrap();
    let at = |event_time| Row { event_time, ..big_row(1) };
    let outcomes = store.put("big", &[at(i64::MAX), at(4_000_000_000_000_000)]).unwrap();
    assert_eq!(outcomes, [Outcome::NotApplied(Refusal::FutureEventTime); 2]);
    let outcomes = store.put("big", &[at(1_900_000_000_000_000 - 200_000_000_000_000)]).unwrap();
    assert!(matches!(outcomes[0], Outcome::Ok { .. }), "{outcomes:?}");
}

#[test]
fn a_failed_sync_leaves_its_rows_in_doubt_and_the_shard_read_only() {
    let env = SimEnv::new(3);
    let mut world = World::open(env.clone(), 1, TIERS, World::no_history()).unwrap();
    assert!(world.define().unwrap());
    let mut rng = Rng::new(1);
    let mut draw = |n| Operation::draw_or_erase(&mut rng, n, 24, 20);
    world.send(&[draw(1), draw(2), draw(3)], None, Ack::Durable);
    assert!(world.settle().unwrap());
    let before: u64 = world.histories.iter().map(|history| history.must_survive()).sum();
    env.fail_randomly(SimOp::Write, 1_000_000);
    for n in 4..30 {
        world.send(&[draw(n)], None, Ack::Durable);
        assert!(world.settle().unwrap());
    }
    assert!(env.faults_injected() > 0);
    let after: u64 = world.histories.iter().map(|history| history.must_survive()).sum();
    assert_eq!(before, after, "nothing is acknowledged after the log failed");
    let (histories, log_order) = world.into_past();
    let mut world = World::open(env.crash(), 1, TIERS, histories).unwrap();
    world.judge(&log_order).unwrap();
    world.send(&[draw(40)], None, Ack::Durable);
    assert!(world.settle().unwrap(), "after a restart it takes writes again");
}

#[test]
fn a_shard_whose_ring_is_unusable_ends_and_says_so() {
    let env = SimEnv::new(3);
    let options = Options { cores: 2, memory_bytes: 32 << 20, ..Options::default() };
    let opened = open(env.clone(), Path::new("data"), options).unwrap();
    let Stepped { mut shards, handle, lock: _lock, .. } =
        opened.into_shards(|_| NoService).unwrap();
    for shard in &mut shards {
        assert!(shard.turn().unwrap());
    }
    assert_eq!(handle.stats().failure(env.monotonic_ns()), None);
    env.crash();
    assert!(shards[1].turn().is_err());
    let failure = handle.stats().failure(env.monotonic_ns()).unwrap();
    assert!(failure.contains("shard 1 has ended: ring of shard 1"), "{failure}");
}

#[test]
fn pinned_shards_run_on_the_cores_that_the_process_may_use_however_few() {
    let dir = tempfile::tempdir().unwrap();
    // A thread of its own: what it is confined to is inherited by the threads that it starts.
    let run = || {
        let last = *available_cores().unwrap().last().unwrap();
        pin_thread(last).unwrap();
        let options = Options { cores: 3, pin: true, memory_bytes: 48 << 20, ..Options::default() };
        let store = Store::open_with(dir.path(), options).unwrap();
        store.apply(&[big_rows()]).unwrap();
        let rows: Vec<Row> = (0..8).map(big_row).collect();
        let outcomes = store.put("big", &rows).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Ok { .. })));
        store.close().unwrap();
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

#[test]
fn two_stores_cannot_hold_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let Err(error) = Store::open(dir.path()) else { panic!("it is held") };
    assert!(matches!(error, Error::Locked(_)), "{error}");
    store.close().unwrap();
    Store::open(dir.path()).unwrap();
}

#[test]
fn older_schemas_read_through_the_newest_and_partial_writes_merge_over_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let keys = || vec![JoinKey::new("id", KeyType::Int64)];
    let old = vec![Feature::new("n", Scalar::Int32)];
    store.apply(&[FeatureView::new("test", "grows", keys(), old)]).unwrap();
    store.put("grows", &[Row::new([KeyValue::Int(1)], 10, [Value::Int32(-7)])]).unwrap();
    let new = vec![
        Feature::new("n", Scalar::Int64),
        Feature::new("m", Scalar::Float32).with_default(Value::Float32(0.5)),
    ];
    store.apply(&[FeatureView::new("test", "grows", keys(), new)]).unwrap();
    let plan = store.plan("grows", &["m", "n"]).unwrap();
    let answers = store.get(&plan, &[vec![KeyValue::Int(1)], vec![KeyValue::Int(2)]]).unwrap();
    assert_eq!(answers[0].values, [Value::Float32(0.5), Value::Int64(-7)]);
    assert_eq!(answers[1].status, Status::NotFound);
    let shrunk = vec![Feature::new("n", Scalar::String)];
    let refused = store.apply(&[FeatureView::new("test", "grows", keys(), shrunk)]);
    assert!(matches!(refused, Err(Error::Incompatible { .. })), "{refused:?}");
}

/// A delete of row 7 by producer 9; refused for want of room by whoever received it, if `is_refused`.
fn numbered(schema: &Schema, sequence: u64, is_refused: bool) -> WriteBatch {
    let mut batch = WriteBatch::new(Ack::Durable, 9);
    let key = batch.store(&7_i64.to_le_bytes());
    batch.is_refused = is_refused;
    batch.rows.push(RowWrite { producer_sequence: sequence, ..RowWrite::delete(schema, 10, key) });
    batch
}

#[test]
fn a_batch_refused_for_want_of_room_makes_its_producer_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.apply(&[big_rows()]).unwrap();
    let catalogue = store.handle().catalogue();
    let schema = &catalogue.resolve("big").unwrap().latest;
    let send = |sequence: u64, is_refused: bool| {
        store.handle().write(numbered(schema, sequence, is_refused)).unwrap()[0]
    };
    let refused = send(1, true);
    assert!(matches!(refused, Outcome::NotApplied(Refusal::Overloaded { .. })), "{refused:?}");
    assert_eq!(send(2, false), Outcome::NotApplied(Refusal::BlockedBehind));
    assert!(matches!(send(1, false), Outcome::Ok { duplicate: false, .. }));
    assert!(matches!(send(2, false), Outcome::Ok { duplicate: false, .. }));
    assert!(matches!(send(1, false), Outcome::Ok { duplicate: true, .. }));
}

/// A writer repeats a whole batch of which some rows were refused; this time there is no room for any of it.
#[test]
fn a_repetition_refused_for_want_of_room_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.apply(&[big_rows()]).unwrap();
    let catalogue = store.handle().catalogue();
    let schema = &catalogue.resolve("big").unwrap().latest;
    let send = |sequence: u64, is_refused: bool| {
        store.handle().write(numbered(schema, sequence, is_refused)).unwrap()[0]
    };
    assert!(matches!(send(1, false), Outcome::Ok { duplicate: false, .. }));
    assert!(matches!(send(1, true), Outcome::NotApplied(Refusal::Overloaded { .. })));
    assert!(matches!(send(2, false), Outcome::Ok { duplicate: false, .. }));
}

/// Row 5 was refused. It is repeated and taken, and before its turn comes row 7 is refused: when row 5 is
/// logged, that must not let row 8 pass row 7.
#[test]
fn a_refusal_takes_its_turn_behind_what_its_producer_sent_before() {
    let env = SimEnv::new(3);
    let options = Options { memory_bytes: 64 << 20, spin_us: 0, ..Options::default() };
    let opened = open(env, Path::new("data"), options).unwrap();
    let Stepped { mut shards, handle, lock: _lock, .. } =
        opened.into_shards(|_| NoService).unwrap();
    let waiter = handle.submit_apply(&[big_rows()]).unwrap();
    while waiter.poll().is_empty() {
        assert!(shards[0].turn().unwrap());
    }
    let schema = handle.catalogue().resolve("big").unwrap().latest.clone();
    let mut send = |batches: &[(u64, bool)]| -> Vec<Outcome> {
        let submit = |&(sequence, is_refused): &(u64, bool)| {
            handle.submit(numbered(&schema, sequence, is_refused)).unwrap()
        };
        let mut waiting: Vec<_> = batches.iter().map(submit).map(Some).collect();
        let mut answers = vec![None; batches.len()];
        while waiting.iter().any(Option::is_some) {
            assert!(shards[0].turn().unwrap());
            for (ticket, answer) in waiting.iter_mut().zip(&mut answers) {
                match ticket.take().map(|ticket| ticket.poll()) {
                    Some(Ok(outcomes)) => *answer = Some(outcomes[0]),
                    Some(Err(again)) => *ticket = Some(again),
                    None => {}
                }
            }
        }
        answers.into_iter().map(Option::unwrap).collect()
    };
    let is_overloaded =
        |outcome: &Outcome| matches!(outcome, Outcome::NotApplied(Refusal::Overloaded { .. }));
    let is_new = |outcome: &Outcome| matches!(outcome, Outcome::Ok { duplicate: false, .. });
    assert!(is_overloaded(&send(&[(5, true)])[0]));
    let both = send(&[(5, false), (7, true)]);
    assert!(is_new(&both[0]) && is_overloaded(&both[1]), "{both:?}");
    assert_eq!(send(&[(8, false)]), [Outcome::NotApplied(Refusal::BlockedBehind)]);
    assert!(is_new(&send(&[(7, false)])[0]) && is_new(&send(&[(8, false)])[0]));
}

/// Messages that a shard did not come to before it ended, and those that come after that, are answered by nobody:
/// whoever waits is told.
#[test]
fn whoever_asks_a_shard_that_ends_is_told() {
    let options = Options { memory_bytes: 64 << 20, spin_us: 0, ..Options::default() };
    let opened = open(SimEnv::new(3), Path::new("data"), options).unwrap();
    let Stepped { mut shards, handle, lock: _lock, .. } =
        opened.into_shards(|_| NoService).unwrap();
    let waiter = handle.submit_apply(&[big_rows()]).unwrap();
    while waiter.poll().is_empty() {
        assert!(shards[0].turn().unwrap());
    }
    let view = handle.catalogue().resolve("big").unwrap().clone();
    let fetch = || {
        let mut batch = FetchBatch::default();
        batch.push(view.id, handle.reads().hash(&[7; 8]), &[7; 8]);
        batch
    };
    let (write, read) =
        (handle.submit(numbered(&view.latest, 1, false)), handle.submit_fetch(fetch()));
    let snapshot = handle.submit_snapshot().unwrap();
    drop(shards);
    assert_eq!(write.unwrap().wait(), [Outcome::InDoubt]);
    assert!(matches!(read.unwrap().wait()[..], [Fetched::Unavailable(_)]));
    assert!(matches!(snapshot.wait(), Err(Error::Stopped)));
    assert_eq!(handle.write(numbered(&view.latest, 1, false)).unwrap(), [Outcome::InDoubt]);
    assert!(matches!(handle.submit_fetch(fetch()).unwrap().wait()[..], [Fetched::Unavailable(_)]));
    assert!(matches!(handle.apply(&[big_rows()]), Err(Error::Stopped)));
    assert!(matches!(handle.digests(), Err(Error::Stopped)));
    assert!(matches!(handle.snapshot(), Err(Error::Stopped)));
}

#[test]
fn definitions_that_fill_several_log_batches_are_applied_whole() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        || Options { memory_bytes: 8 << 20, segment_bytes: 4 << 20, ..Options::default() };
    // Some 2 MiB of definitions: a batch of the log holds one.
    let view = |n: usize| {
        let feature =
            Feature { description: "x".repeat(50_000), ..Feature::new("f", Scalar::Bool) };
        FeatureView::new("test", format!("v{n}"), Vec::new(), vec![feature])
    };
    let views: Vec<FeatureView> = (0..40).map(view).collect();
    let store = Store::open_with(dir.path(), options()).unwrap();
    let applied = store.apply(&views).unwrap();
    assert_eq!(applied.iter().map(|one| one.view_id).collect::<Vec<_>>(), Vec::from_iter(0..40));
    store.close().unwrap();
    let store = Store::open_with(dir.path(), options()).unwrap();
    let catalogue = store.handle().catalogue();
    let stored: Vec<_> = catalogue.views().map(|view| &view.latest.definition).collect();
    assert!(stored.into_iter().eq(&views));
}

#[test]
fn views_that_are_looked_up_together_answer_as_each_does_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memory_bytes: 64 << 20, cores: 2, ..Options::default() };
    let store = Store::open_with(dir.path(), options).unwrap();
    let view = |name: &str| {
        let keys = vec![JoinKey::new("id", KeyType::Int64)];
        FeatureView::new("test", name, keys, vec![Feature::new("n", Scalar::Int64)])
    };
    let names = ["a", "b", "c"];
    store.apply(&names.map(view)).unwrap();
    for (at, name) in names.iter().enumerate() {
        // Of each every third row is not there, another one in each.
        let there = (0..60).filter(|id| id % 3 != at as i64);
        let rows: Vec<_> = there
            .map(|id| Row::new([KeyValue::Int(id)], 1, [Value::Int64(id * 10 + at as i64)]))
            .collect();
        store.put(name, &rows).unwrap();
    }
    let (reads, catalogue) = (store.handle().reads(), store.handle().catalogue());
    let views = names.map(|name| catalogue.view("test", name).unwrap());
    let bytes: Vec<_> = (0..60_i64).map(i64::to_le_bytes).collect();
    let keys: Vec<_> =
        bytes.iter().map(|key| Key { entity_hash: reads.hash(key), bytes: key }).collect();
    let (mut buf, mut alone, mut together) = (RowBuf::default(), Vec::new(), Vec::new());
    let said = |found: &Lookup<'_>| match found {
        Lookup::Found(row) => Some(row.value().to_vec()),
        Lookup::Absent => None,
        other => panic!("{other:?}"),
    };
    // One of them is asked for nothing.
    let parts = [(0, 0..40), (1, 40..40), (2, 40..60)];
    for (view, rows) in parts.clone() {
        reads.multi_get(views[view], &keys[rows], &mut buf, |_, found| alone.push(said(found)));
    }
    let counts = parts.iter().map(|(view, rows)| (&**views[*view], rows.len()));
    reads.multi_get_views(counts, &keys, &mut buf, |row, found| {
        assert_eq!(row, together.len());
        together.push(said(found));
    });
    assert_eq!(alone, together);
    assert!(alone.iter().filter(|found| found.is_none()).count() == 14 + 7 && alone[1].is_some());
    let mut lost = 0;
    let none = std::iter::once((&**views[0], 1));
    reads.multi_get_views(none, &keys[..3], &mut buf, |row, found| {
        assert_eq!(matches!(found, Lookup::Corrupt(_)), row > 0);
        lost += 1;
    });
    assert_eq!(lost, 3, "keys of no view are answered, too");
}
