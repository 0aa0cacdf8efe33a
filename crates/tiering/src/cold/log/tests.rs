#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use thermae_formats::{CatalogueEntry, Feature, Scalar, SchemaId};

use super::*;
use crate::cold::plan::LogPolicy;
use crate::cold::tests::rows::{DAY_US, STORE, VIEW, columns, small_view};
use crate::cold::{ColdError, Columns, FileRef, MemoryObjects, Objects, Store};

const TABLE: &str = "tables/project/small/v1/s3";

fn file(name: &str, sequences: (u64, u64)) -> FileRef {
    FileRef {
        path: format!("event_date=2011-01-26/{name}.parquet"),
        bytes: 1_000,
        day: 15_000,
        schema_id: SchemaId(3),
        rows: 5,
        tail_bytes: 100,
        tail_checksum: 0xFFFF_0000_1234_5678,
        hashes: (1 << 52, u64::MAX),
        event_times: (15_000 * DAY_US + 1, 15_000 * DAY_US + 1_999),
        sequences,
    }
}

fn entry() -> CatalogueEntry {
    CatalogueEntry { schema_id: SchemaId(3), view_id: VIEW, view: small_view() }
}

struct Fixture {
    objects: MemoryObjects,
    columns: Arc<Columns>,
    entry: CatalogueEntry,
}

impl Fixture {
    fn new() -> Self {
        let entry = entry();
        Self { objects: MemoryObjects::default(), columns: columns(&entry.view), entry }
    }

    fn load(&self) -> Snapshot {
        Snapshot::load(&self.objects, TABLE, STORE).unwrap()
    }

    fn text(&self, version: u64) -> String {
        let path = format!("{TABLE}/_delta_log/{version:020}.json");
        String::from_utf8(self.objects.get(&path).unwrap().to_vec()).unwrap()
    }

    fn commit(&self, snapshot: &mut Snapshot, changes: &Changes) -> Committed {
        let definition = Definition { columns: &self.columns, entry: &self.entry };
        commit(&self.objects, snapshot, definition, changes, 1_500_000).unwrap()
    }
}

fn advance(from: u64, to: u64, name: &str) -> Changes {
    let advances = BTreeMap::from([(4, (from, to))]);
    Changes { adds: vec![file(name, (from, to - 1))], advances, ..Changes::default() }
}

#[test]
fn a_table_reads_as_what_was_committed() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    assert_eq!(fixture.commit(&mut snapshot, &advance(0, 7, "a")), Committed::Done);
    assert_eq!(fixture.commit(&mut snapshot, &advance(7, 9, "b")), Committed::Done);
    let paths = vec![file("a", (0, 6)).path, file("b", (7, 8)).path];
    let merged = Changes { adds: vec![file("c", (0, 8))], removes: paths, ..Changes::default() };
    assert_eq!(fixture.commit(&mut snapshot, &merged), Committed::Done);
    let read = fixture.load();
    assert_eq!(read, snapshot);
    assert_eq!(read.commits(), 3);
    assert_eq!((read.archived(4), read.archived(5)), (9, 0));
    assert_eq!(read.files().collect::<Vec<_>>(), [&file("c", (0, 8))]);
    assert_eq!(read.removed_at_us(&file("a", (0, 6)).path), Some(1_500_000));
}

#[test]
fn a_commit_that_is_repeated_changes_nothing() {
    let fixture = Fixture::new();
    let (mut one, mut other) = (fixture.load(), fixture.load());
    let changes = advance(0, 7, "a");
    assert_eq!(fixture.commit(&mut one, &changes), Committed::Done);
    // By the same process, by one that does not know of it, and after others have committed.
    assert_eq!(fixture.commit(&mut one, &changes), Committed::Done);
    assert_eq!(fixture.commit(&mut other, &changes), Committed::Done);
    assert_eq!(fixture.commit(&mut other, &advance(7, 9, "b")), Committed::Done);
    assert_eq!(fixture.commit(&mut one, &changes), Committed::Done);
    assert_eq!(fixture.load().commits(), 2);
    // The same sequences in other files: the first to commit has them.
    assert_eq!(fixture.commit(&mut one, &advance(0, 8, "z")), Committed::Superseded);
    assert_eq!(fixture.commit(&mut one, &advance(8, 12, "y")), Committed::Superseded);
    let gone = vec![file("nothing", (0, 0)).path];
    let merge = Changes { removes: gone, ..Changes::default() };
    assert_eq!(fixture.commit(&mut one, &merge), Committed::Superseded);
    assert_eq!(fixture.load().commits(), 2);
}

#[test]
fn a_definition_is_stated_when_it_is_new_and_statistics_are_rounded_outwards() {
    let mut fixture = Fixture::new();
    let mut snapshot = fixture.load();
    fixture.commit(&mut snapshot, &advance(0, 7, "a"));
    fixture.commit(&mut snapshot, &advance(7, 9, "b"));
    fixture.entry.view.features.push(Feature::new("d", Scalar::Bool));
    fixture.entry.schema_id = SchemaId(5);
    let newest = Columns::new(VIEW, &[(SchemaId(5), &fixture.entry.view)]).unwrap();
    fixture.columns = Arc::new(newest);
    fixture.commit(&mut snapshot, &advance(9, 11, "c"));
    // A process that knows the former definition alone does not state it again.
    fixture.columns = columns(&small_view());
    fixture.entry = entry();
    fixture.commit(&mut snapshot, &advance(11, 12, "d"));
    let text = |version| fixture.text(version);
    let states = |version| text(version).contains("metaData");
    assert_eq!([0, 1, 2, 3].map(states), [true, false, true, false]);
    assert_eq!(fixture.load().schema_id(), Some(SchemaId(5)));
    let minimum =
        r#"\"minValues\":{\"event_timestamp\":\"2011-01-26T00:00:00.000Z\",\"sequence\":0}"#;
    let maximum =
        r#"\"maxValues\":{\"event_timestamp\":\"2011-01-26T00:00:00.002Z\",\"sequence\":6}"#;
    assert!(text(0).contains(minimum) && text(0).contains(maximum), "{}", text(0));
}

#[test]
fn every_damage_to_a_commit_is_named_and_none_is_read_over() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    fixture.commit(&mut snapshot, &advance(0, 7, "a"));
    fixture.commit(&mut snapshot, &advance(7, 9, "b"));
    let path = |version: u64| format!("{TABLE}/_delta_log/{version:020}.json");
    let load = |objects: &MemoryObjects| Snapshot::load(objects, TABLE, STORE);
    let bytes = fixture.objects.get(&path(0)).unwrap();
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for at in first_line..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        fixture.objects.delete(&path(0)).unwrap();
        fixture.objects.put_new(&path(0), flipped.into()).unwrap();
        let error = load(&fixture.objects).unwrap_err();
        assert!(
            matches!(&error, ColdError::Damaged { object, .. } if *object == path(0)),
            "{error}"
        );
    }
    for len in 0..bytes.len() {
        fixture.objects.delete(&path(0)).unwrap();
        fixture.objects.put_new(&path(0), bytes.slice(..len)).unwrap();
        assert!(load(&fixture.objects).unwrap_err().is_damage(), "cut to {len}");
    }
    fixture.objects.delete(&path(0)).unwrap();
    assert!(load(&fixture.objects).unwrap_err().is_damage(), "a commit that is missing");
    // A commit in another one's place.
    let second = fixture.objects.get(&path(1)).unwrap();
    fixture.objects.put_new(&path(0), second).unwrap();
    assert!(load(&fixture.objects).unwrap_err().is_damage());
}

#[test]
fn what_another_store_or_writer_made_is_refused() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    fixture.commit(&mut snapshot, &advance(0, 7, "a"));
    let another = Store { id: [8; 16], ..STORE };
    let error = Snapshot::load(&fixture.objects, TABLE, another).unwrap_err();
    assert!(matches!(error, ColdError::Foreign { what: "store", .. }), "{error}");
    let path = format!("{TABLE}/_delta_log/{:020}.json", 1);
    let harmless =
        r#"{"commitInfo":{"timestamp":1,"operation":"VACUUM START","isBlindAppend":true}}"#;
    fixture.objects.put_new(&path, harmless.into()).unwrap();
    assert_eq!(fixture.load().commits(), 2);
    let path = format!("{TABLE}/_delta_log/{:020}.json", 2);
    let removes = format!(
        "{harmless}\n{}",
        r#"{"remove":{"path":"a","deletionTimestamp":1,"dataChange":true}}"#
    );
    fixture.objects.put_new(&path, removes.into()).unwrap();
    let error = Snapshot::load(&fixture.objects, TABLE, STORE).unwrap_err();
    assert!(error.to_string().contains("another writer"), "{error}");
}

#[test]
fn files_are_found_by_their_times_and_hashes_ends_included() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    fixture.commit(&mut snapshot, &advance(0, 7, "a"));
    let (first, last) = file("a", (0, 6)).event_times;
    let all = (0, u64::MAX);
    let cases = [
        ((i64::MIN, i64::MAX), all, 1),
        ((last, i64::MAX), all, 1),
        ((last + 1, i64::MAX), all, 0),
        ((i64::MIN, first), all, 1),
        ((i64::MIN, first - 1), all, 0),
        ((first, last), (0, (1 << 52) - 1), 0),
        ((first, last), (0, 1 << 52), 1),
    ];
    for (times, hashes, count) in cases {
        assert_eq!(snapshot.files_between(times, hashes).count(), count, "{times:?} {hashes:?}");
    }
}

/// Commits of format version 1, kept: every later build reads them.
#[test]
#[allow(clippy::disallowed_methods)]
fn the_golden_commits_read_as_what_was_committed() {
    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/archive-1-log.txt");
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    fixture.commit(&mut snapshot, &advance(0, 7, "a"));
    let removes = vec![file("a", (0, 6)).path];
    let merged = Changes { adds: vec![file("c", (0, 6))], removes, ..Changes::default() };
    fixture.commit(&mut snapshot, &merged);
    let written = [0, 1].map(|version| fixture.text(version)).join("\n\n");
    if std::env::var_os("THERMAE_BLESS").is_some() {
        std::fs::write(GOLDEN, &written).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    let kept = MemoryObjects::default();
    for (version, commit) in golden.split("\n\n").enumerate() {
        let path = format!("{TABLE}/_delta_log/{version:020}.json");
        kept.put_new(&path, commit.to_owned().into()).unwrap();
    }
    assert_eq!(Snapshot::load(&kept, TABLE, STORE).unwrap(), snapshot);
}

/// Everything but the newest checkpoint goes at once.
const AT_ONCE: LogPolicy = LogPolicy { checkpoint_commits: 2, keep_us: 0, removed_us: i64::MAX };

/// The same that knows of another checkpoint.
fn knowing(snapshot: &Snapshot, checkpoint: Option<u64>) -> Snapshot {
    let mut snapshot = snapshot.clone();
    snapshot.checkpoint = checkpoint;
    snapshot
}

/// Commits of which each adds a file, and every other one removes the one before.
fn commits(fixture: &Fixture, snapshot: &mut Snapshot, of: std::ops::Range<u64>) {
    for at in of {
        let mut changes = advance(at, at + 1, &format!("f{at}"));
        if at % 2 == 1 {
            changes.removes.push(file(&format!("f{}", at - 1), (0, 0)).path);
        }
        assert_eq!(fixture.commit(snapshot, &changes), Committed::Done);
    }
}

#[test]
fn a_table_reads_from_its_checkpoint_as_from_all_commits_and_those_may_go() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    assert!(!checkpoint(&fixture.objects, &mut snapshot, &AT_ONCE, 0).unwrap(), "no commit");
    commits(&fixture, &mut snapshot, 0..1);
    assert!(!checkpoint(&fixture.objects, &mut snapshot, &AT_ONCE, 0).unwrap(), "one commit");
    commits(&fixture, &mut snapshot, 1..5);
    let before = fixture.load();
    assert!(checkpoint(&fixture.objects, &mut snapshot, &AT_ONCE, 2_000_000).unwrap());
    assert!(!checkpoint(&fixture.objects, &mut snapshot, &AT_ONCE, 2_000_000).unwrap(), "again");
    let listed = fixture.objects.list(&format!("{TABLE}/"), "").unwrap();
    let paths: Vec<_> = listed.iter().map(|object| object.path.trim_start_matches(TABLE)).collect();
    assert_eq!(
        paths,
        [
            "/_delta_log/00000000000000000004.checkpoint.parquet",
            "/_delta_log/00000000000000000004.json",
            "/_delta_log/_last_checkpoint",
            "/_thermae/00000000000000000004.json"
        ]
    );
    let read = fixture.load();
    assert_eq!(read, snapshot);
    assert_eq!(knowing(&read, None), before);
    commits(&fixture, &mut snapshot, 5..8);
    assert_eq!(fixture.load(), snapshot, "and the commits after it");
    // What was made of the table as it was then is not taken for the present one.
    let mut stale = before;
    assert!(checkpoint(&fixture.objects, &mut snapshot, &AT_ONCE, 3_000_000).unwrap());
    assert_eq!(fixture.commit(&mut stale, &advance(5, 6, "z")), Committed::Superseded);
    assert_eq!(stale, snapshot);
}

#[test]
fn commits_stay_as_long_as_the_policy_says() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    commits(&fixture, &mut snapshot, 0..4);
    let policy = LogPolicy { keep_us: 10, ..AT_ONCE };
    // Objects in memory were all written at 0.
    assert!(checkpoint(&fixture.objects, &mut snapshot, &policy, 9).unwrap());
    let commits_left = || {
        let listed = fixture.objects.list(&format!("{TABLE}/_delta_log/"), "").unwrap();
        listed.iter().filter(|object| object.path.ends_with(".json")).count()
    };
    assert_eq!(commits_left(), 4);
    commits(&fixture, &mut snapshot, 4..6);
    assert!(checkpoint(&fixture.objects, &mut snapshot, &policy, 10).unwrap());
    assert_eq!(commits_left(), 1);
    assert_eq!(fixture.load(), snapshot);
}

#[test]
fn a_damaged_checkpoint_is_not_believed() {
    let fixture = Fixture::new();
    let mut snapshot = fixture.load();
    commits(&fixture, &mut snapshot, 0..3);
    let keep = LogPolicy { keep_us: i64::MAX, ..AT_ONCE };
    assert!(checkpoint(&fixture.objects, &mut snapshot, &keep, 2_000_000).unwrap());
    let path = format!("{TABLE}/_thermae/{:020}.json", 2);
    let bytes = fixture.objects.get(&path).unwrap();
    let flip = |at: usize| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        fixture.objects.replace(&path, flipped.into()).unwrap();
    };
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for at in first_line..bytes.len() {
        flip(at);
        let read = fixture.load();
        assert_eq!(read.checkpoint, None, "byte {at}");
        assert_eq!(knowing(&read, Some(2)), snapshot);
    }
    // Without the commits before it there is nothing else to go by: it is named.
    fixture.objects.delete(&format!("{TABLE}/_delta_log/{:020}.json", 0)).unwrap();
    let error = Snapshot::load(&fixture.objects, TABLE, STORE).unwrap_err();
    assert!(matches!(&error, ColdError::Damaged { object, .. } if *object == path), "{error}");
}
