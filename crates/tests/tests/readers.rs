//! Threads that read tables by themselves while another writes, and flushes and merges go on below them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use thermae_engine::store::{Plan, Row, Status, Store};
use thermae_engine::{Options, Outcome};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
use thermae_tests::model::Rng;

const VIEW: &str = "test/users";
/// Rows of half a kilobyte: twice what the hot table takes.
const USERS: i64 = 7_000;
const TEXT_BYTES: usize = 500;
const ROUNDS_MAX: i64 = 40;
/// Rows that are compared at least, and those of them that tables had.
const COMPARED: u64 = 20_000;
const FROM_TABLES: u64 = 10_000;
const READERS: u64 = 3;
const KEYS: usize = 40;

fn text(user: i64, round: i64) -> String {
    // What does not compress, so that rows lie a few a page.
    let mut rng = Rng::new((user * ROUNDS_MAX + round) as u64 + 1);
    (0..TEXT_BYTES).map(|_| char::from(b'0' + rng.below(75) as u8)).collect()
}

fn open(dir: &std::path::Path) -> Store {
    let options = Options { memory_bytes: 4 << 20, flush_bytes: 128 << 10, ..Options::default() };
    let store = Store::open_with(dir, options).unwrap();
    let keys = vec![JoinKey::new("user", KeyType::Int64)];
    let features = vec![Feature::new("round", Scalar::Int64), Feature::new("text", Scalar::String)];
    store.apply(&[FeatureView::new("test", "users", keys, features)]).unwrap();
    store
}

/// Writes every user once a round, and says of each which round was acknowledged last; for two rounds at least, and
/// until enough was compared.
fn write(store: &Store, acknowledged: &[AtomicI64], compared: &AtomicU64) {
    let reads = || store.handle().stats().shards[0].tiers.reads;
    let is_enough =
        || compared.load(Ordering::Relaxed) > COMPARED && reads().warm_hits > FROM_TABLES;
    for round in (1..=ROUNDS_MAX).take_while(|round| *round <= 2 || !is_enough()) {
        for first in (0..USERS).step_by(100) {
            let users = first..first + 100;
            let row = |user: i64| {
                let values = [Value::Int64(round), Value::String(text(user, round))];
                Row::new([KeyValue::Int(user)], round, values)
            };
            let rows: Vec<Row> = users.clone().map(row).collect();
            let outcomes = store.put(VIEW, &rows).unwrap();
            for (user, outcome) in users.zip(outcomes) {
                assert!(matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
                acknowledged[user as usize].store(round, Ordering::Release);
            }
        }
    }
}

/// Reads until the writer is done, and counts the rows that were compared.
fn read(
    store: &Store,
    plan: &Plan,
    acknowledged: &[AtomicI64],
    compared: &AtomicU64,
    is_done: &AtomicBool,
    seed: u64,
) {
    let mut rng = Rng::new(seed);
    let mut seen = vec![0; USERS as usize];
    while !is_done.load(Ordering::Acquire) {
        // Sometimes one, which is read by itself.
        let count = if rng.one_in(3) { 1 } else { KEYS };
        let users: Vec<usize> = (0..count).map(|_| rng.below(USERS as u64) as usize).collect();
        let least: Vec<i64> =
            users.iter().map(|user| acknowledged[*user].load(Ordering::Acquire)).collect();
        let keys: Vec<_> = users.iter().map(|user| vec![KeyValue::Int(*user as i64)]).collect();
        let answers = store.get(plan, &keys).unwrap();
        for ((user, least), answer) in users.into_iter().zip(least).zip(answers) {
            let least = least.max(seen[user]);
            if answer.status == Status::NotFound && least == 0 {
                continue;
            }
            let [Value::Int64(round), Value::String(found)] = &answer.values[..] else {
                panic!("user {user}, at least of round {least}: {answer:?}");
            };
            assert!(*round >= least, "user {user} is of round {round}, was of {least}");
            assert!(*found == text(user as i64, *round), "user {user} of round {round}: {found}");
            seen[user] = *round;
            compared.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn no_reader_sees_less_than_was_acknowledged_or_than_it_saw_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let plan = store.plan(VIEW, &["round", "text"]).unwrap();
    let acknowledged: Vec<AtomicI64> = (0..USERS).map(|_| AtomicI64::new(0)).collect();
    let (is_done, compared) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reading = |seed| {
            let (store, plan, acknowledged) = (&store, &plan, &acknowledged);
            let (compared, is_done) = (&compared, &is_done);
            scope.spawn(move || read(store, plan, acknowledged, compared, is_done, seed))
        };
        let readers: Vec<_> = (0..READERS).map(reading).collect();
        let written = scope.spawn(|| write(&store, &acknowledged, &compared)).join();
        is_done.store(true, Ordering::Release);
        written.unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let tiers = store.handle().stats().shards[0].tiers.clone();
    println!("{compared:?} compared; {:?}, {:?}", tiers.reads, tiers.movement);
    assert!(compared.into_inner() > COMPARED && tiers.reads.warm_hits > FROM_TABLES, "{tiers:?}");
    assert!(tiers.movement.flushes > 10 && tiers.movement.promotions > 0, "{tiers:?}");
    store.close().unwrap();
}
