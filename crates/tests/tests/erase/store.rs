//! `Store::erase` over real files.

use std::path::Path;

use thermae_engine::store::{Row, Status, Store};
use thermae_engine::{Options, Outcome, ScanOptions};
use thermae_env::RealEnv;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
use thermae_tests::forgotten::find;

const VIEW: &str = "test/people";
const PEOPLE: i64 = 2_000;

fn options(cores: usize) -> Options {
    let (flush_bytes, segment_bytes) = (128 << 10, 256 << 10);
    Options { cores, flush_bytes, segment_bytes, ..Options::default() }
}

fn open(dir: &Path, cores: usize) -> Store {
    let store = Store::open_with(dir, options(cores)).unwrap();
    let keys = vec![JoinKey::new("name", KeyType::String)];
    let features = vec![Feature::new("says", Scalar::String)];
    store.apply(&[FeatureView::new("test", "people", keys, features)]).unwrap();
    store
}

fn name(person: i64) -> String {
    format!("person-{person:06}-of-the-test")
}

fn says(person: i64, round: i64) -> String {
    format!("<<secret {person:06} of round {round:03}>>")
}

fn key(person: i64) -> Vec<KeyValue> {
    vec![KeyValue::String(name(person))]
}

/// Writes something of everybody.
fn write(store: &Store, people: impl Iterator<Item = i64>, round: i64) {
    let row = |person| Row::new(key(person), 1_000 + round, [Value::String(says(person, round))]);
    let rows: Vec<_> = people.map(row).collect();
    for rows in rows.chunks(500) {
        let outcomes = store.put(VIEW, rows).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Ok { .. })));
    }
}

fn read(store: &Store, person: i64) -> Option<Value> {
    let plan = store.plan(VIEW, &["says"]).unwrap();
    let mut answers = store.get(&plan, &[key(person)]).unwrap();
    let answer = answers.remove(0);
    assert!(matches!(answer.status, Status::Present | Status::NotFound), "{answer:?}");
    (answer.status == Status::Present).then(|| answer.values[0].clone())
}

/// What must be nowhere, and what must be somewhere or the search is blind.
fn needles(person: i64) -> Vec<Vec<u8>> {
    vec![name(person).into_bytes(), format!("<<secret {person:06}").into_bytes()]
}

fn versions(store: &Store, person: i64) -> usize {
    let scan = store.scan(VIEW, &[], &ScanOptions::default()).unwrap();
    scan.map(Result::unwrap).filter(|row| row.key == key(person)).count()
}

#[test]
fn nothing_of_an_erased_entity_is_left_in_any_file_and_its_neighbours_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 2);
    for round in 0..6 {
        write(&store, 0..PEOPLE, round);
    }
    let (gone, neighbour) = (777, 778);
    assert_eq!((versions(&store, gone), versions(&store, neighbour)), (6, 6));
    let outcomes = store.erase(VIEW, &[key(gone), key(gone + 100), key(-1)]).unwrap();
    assert_eq!(read(&store, gone), None);
    assert_eq!(versions(&store, gone), 0);
    assert_eq!(read(&store, neighbour), Some(Value::String(says(neighbour, 5))));
    // A late row is a new one.
    write(&store, std::iter::once(gone + 100), -7);
    write(&store, 0..10, 6);
    let erased = store.erased(&outcomes).unwrap();
    assert!(erased.iter().all(|shard| shard.pending == 0), "{erased:?}");
    let rows: u64 = erased.iter().map(|shard| shard.work.rows).sum();
    let segments: u64 = erased.iter().map(|shard| shard.work.segments).sum();
    assert!(rows > 0 && segments > 0, "{erased:?}");
    assert_eq!(store.handle().stats().views[0].rows, PEOPLE as u64 - 1);
    store.close().unwrap();
    assert_eq!(find(&RealEnv, dir.path(), &needles(gone)).unwrap(), [""; 0]);
    let written_again = find(&RealEnv, dir.path(), &needles(gone + 100)).unwrap();
    assert!(!written_again.is_empty());
    assert!(!find(&RealEnv, dir.path(), &needles(neighbour)).unwrap().is_empty());
    let store = open(dir.path(), 3);
    assert_eq!((read(&store, gone), versions(&store, gone)), (None, 0));
    assert_eq!(read(&store, gone + 100), Some(Value::String(says(gone + 100, -7))));
    assert_eq!((versions(&store, gone + 100), versions(&store, neighbour)), (1, 6));
    assert_eq!(read(&store, neighbour), Some(Value::String(says(neighbour, 5))));
    store.close().unwrap();
}

#[test]
fn an_erase_that_a_stop_cut_short_is_carried_out_after_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 2);
    for round in 0..6 {
        write(&store, 0..PEOPLE, round);
    }
    let outcomes = store.erase(VIEW, &[key(5)]).unwrap();
    let digests = store.handle().digests().unwrap();
    store.close().unwrap();
    // Divided among other shards, too.
    let store = open(dir.path(), 1);
    assert_eq!((read(&store, 5), versions(&store, 5)), (None, 0));
    assert_eq!(store.handle().digests().unwrap(), digests);
    store.erased(&outcomes).unwrap();
    assert_eq!(store.handle().digests().unwrap(), digests);
    store.close().unwrap();
    assert_eq!(find(&RealEnv, dir.path(), &needles(5)).unwrap(), [""; 0]);
    assert!(!find(&RealEnv, dir.path(), &needles(6)).unwrap().is_empty());
}

#[test]
fn nothing_is_left_in_what_became_the_log_of_another_shard() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    write(&store, 0..PEOPLE, 0);
    store.close().unwrap();
    let store = open(dir.path(), 3);
    let outcomes = store.erase(VIEW, &[key(5)]).unwrap();
    store.erased(&outcomes).unwrap();
    // As they lie there while the store goes on.
    assert_eq!(find(&RealEnv, dir.path(), &needles(5)).unwrap(), [""; 0]);
    assert!(!find(&RealEnv, dir.path(), &needles(6)).unwrap().is_empty());
    store.close().unwrap();
}

#[test]
fn an_entity_is_erased_from_every_view_that_has_its_join_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 2);
    let name_key = || vec![JoinKey::new("name", KeyType::String)];
    let other_key = vec![JoinKey::new("pet", KeyType::String)];
    let says = || vec![Feature::new("says", Scalar::String)];
    let more = FeatureView::new("test", "more", name_key(), says());
    store.apply(&[more, FeatureView::new("test", "pets", other_key, says())]).unwrap();
    for view in [VIEW, "test/more", "test/pets"] {
        let value = Value::String(format!("<<secret {view}>>"));
        store.put(view, &[Row::new(key(1), 1_000, [value])]).unwrap();
    }
    let outcomes = store.erase_from_all_views(VIEW, &[key(1)]).unwrap();
    assert_eq!(outcomes.len(), 2);
    store.erased(&outcomes).unwrap();
    let is_there = |view: &str| {
        let plan = store.plan(view, &["says"]).unwrap();
        store.get(&plan, &[key(1)]).unwrap()[0].status == Status::Present
    };
    assert_eq!([VIEW, "test/more", "test/pets"].map(is_there), [false, false, true]);
    let secret = |view: &str| vec![format!("<<secret {view}>>").into_bytes()];
    assert_eq!(find(&RealEnv, dir.path(), &secret(VIEW)).unwrap(), [""; 0]);
    assert_eq!(find(&RealEnv, dir.path(), &secret("test/more")).unwrap(), [""; 0]);
    assert!(!find(&RealEnv, dir.path(), &secret("test/pets")).unwrap().is_empty());
    store.close().unwrap();
}
