//! `Store::erase` over real files.

use std::path::Path;
use std::sync::Arc;

use thermae_engine::cold::{ArchiveOptions, LocalObjects};
use thermae_engine::store::{Row, Status, Store};
use thermae_engine::{Options, Outcome, ScanOptions};
use thermae_env::RealEnv;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};
use thermae_tests::forgotten::{find, find_in_archive, find_in_files};
use thermae_tiering::cold::Objects;

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

/// A store whose superseded rows leave for the archive in `root` at once.
fn open_archived(dir: &Path, root: &Path) -> Store {
    std::fs::create_dir_all(root).unwrap();
    let objects = Arc::new(LocalObjects::new(root).unwrap());
    let archive = Some(ArchiveOptions::new(objects).lagging(20_000));
    let store = Store::open_with(dir, Options { archive, ..options(2) }).unwrap();
    let keys = vec![JoinKey::new("name", KeyType::String)];
    let says = vec![Feature::new("says", Scalar::String)];
    let mut view = FeatureView::new("test", "people", keys, says);
    view.tiers.warm_for_us = 1;
    store.apply(&[view]).unwrap();
    store
}

/// Looks at the figures until they are as wanted.
fn wait(store: &Store, is_reached: impl Fn(&thermae_engine::Stats) -> bool) {
    while !is_reached(&store.handle().stats()) {
        std::thread::yield_now();
    }
}

#[test]
fn an_erase_rewrites_the_archive_and_waits_for_those_who_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, root) = (folder.path().join("data"), folder.path().join("archive"));
    let store = open_archived(&dir, &root);
    for round in 0..6 {
        write(&store, 0..PEOPLE, round);
    }
    wait(&store, |stats| {
        let left = stats.shards.iter().all(|shard| shard.tiers.history.rows == 0);
        left && stats.archive.as_ref().is_some_and(|archive| archive.rows == 6 * PEOPLE as u64)
    });
    let (gone, neighbour) = (777, 778);
    let objects = LocalObjects::new(&root).unwrap();
    let in_archive = |person| find_in_archive(&objects, &needles(person)).unwrap().0;
    assert!(!in_archive(gone).is_empty(), "the search sees");
    // What a crash may have left of an upload: an object that no commit names, and one half written.
    let day = "tables/test/people/v1/s0/event_date=1970-01-01";
    let orphan = format!("{day}/0123456789abcdef-10.parquet");
    objects.put_new(&orphan, needles(gone).concat().into()).unwrap();
    let half = root.join(day).join("0123456789abcdef-11.parquet#1");
    std::fs::write(half, needles(gone).concat()).unwrap();
    // Somebody reads, and has not come to an end.
    let mut scan = store.scan(VIEW, &[], &ScanOptions::default()).unwrap();
    let first = scan.next().unwrap().unwrap();
    let outcomes = store.erase(VIEW, &[key(gone)]).unwrap();
    assert_eq!((read(&store, gone), versions(&store, gone)), (None, 0));
    wait(&store, |stats| stats.archive.as_ref().is_some_and(|archive| archive.erases_waiting > 0));
    let Outcome::Ok { partition, sequence, .. } = outcomes[0] else { panic!("{outcomes:?}") };
    let asked = store.handle().submit_erases(&[(partition, sequence)], false).unwrap();
    assert_eq!(asked.wait().unwrap()[0].pending, 1);
    let rows: Vec<_> = scan.map(Result::unwrap).chain([first]).collect();
    assert_eq!(rows.len() as i64, 6 * PEOPLE, "it shows what it began with");
    assert_eq!(rows.iter().filter(|row| row.key == key(gone)).count(), 6);
    let erased = store.erased(&outcomes).unwrap();
    let archive = erased[0].work.archive;
    assert!(archive.rows >= 5 && archive.files > 0, "{erased:?}");
    // While the store goes on.
    assert_eq!(in_archive(gone), [""; 0]);
    assert_eq!(find_in_files(&RealEnv, &root, &needles(gone)).unwrap(), [""; 0]);
    assert!(!in_archive(neighbour).is_empty());
    assert_eq!((versions(&store, gone), versions(&store, neighbour)), (0, 6));
    store.close().unwrap();
    assert_eq!(find(&RealEnv, &dir, &needles(gone)).unwrap(), [""; 0]);
}

#[test]
fn without_its_archive_an_erase_hides_and_with_it_again_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, root) = (folder.path().join("data"), folder.path().join("archive"));
    let store = open_archived(&dir, &root);
    for round in 0..3 {
        write(&store, 0..100, round);
    }
    wait(&store, |stats| stats.archive.as_ref().is_some_and(|archive| archive.rows == 300));
    store.close().unwrap();
    let store = open(&dir, 2);
    let outcomes = store.erase(VIEW, &[key(7)]).unwrap();
    assert_eq!(read(&store, 7), None);
    let refused = store.erased(&outcomes).unwrap_err().to_string();
    assert!(refused.contains("opened without its archive"), "{refused}");
    store.close().unwrap();
    let store = open_archived(&dir, &root);
    store.erased(&outcomes).unwrap();
    let objects = LocalObjects::new(&root).unwrap();
    assert_eq!(find_in_archive(&objects, &needles(7)).unwrap().0, [""; 0]);
    assert!(!find_in_archive(&objects, &needles(8)).unwrap().0.is_empty());
    assert_eq!((read(&store, 7), versions(&store, 8)), (None, 3));
    store.close().unwrap();
}
