#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use thermae_env::{Env, SimEnv, SimOp};
use thermae_formats::hash::{entity_hash, row_hash};
use thermae_formats::table::TableKind;
use thermae_formats::{NO_TIME, SchemaId};

use super::*;
use crate::merge::PartedSource;
use crate::table::{Table, TableSpec, TableWriter};
use crate::testing::Rng;
use crate::tree::Run;

const STORE: [u8; 16] = *b"0123456789abcdef";
const SEED: u64 = 0x5EED;
const VIEW: ViewId = ViewId(3);
const PARTITIONS: usize = 8;

/// Entity hash, key, order: what a row is sorted by. The value is made of them.
type Row = (u64, [u8; 8], (i64, i64, u64));

fn row(rng: &mut Rng, keys: u64) -> Row {
    let key = rng.below(keys).to_le_bytes();
    let created = if rng.one_in(3) { NO_TIME } else { rng.below(2) as i64 };
    (entity_hash(&key, SEED), key, (rng.below(40) as i64, created, rng.below(3)))
}

fn sort(rows: &mut Vec<Row>) {
    rows.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(b.2.cmp(&a.2)));
    rows.dedup();
}

fn value(row: &Row) -> Vec<u8> {
    // Some blocks for each table.
    let mut rng = Rng::new(row.0 ^ row.2.0 as u64 ^ row.2.2);
    (0..300).map(|_| rng.next_u64() as u8).collect()
}

fn version<'a>(row: &'a Row, value: &'a [u8]) -> Version<'a> {
    Version {
        schema_id: SchemaId(1),
        flags: 0,
        sequence: row.2.2,
        event_time: row.2.0,
        created_time: row.2.1,
        expire_at: NO_TIME,
        key: &row.1,
        value,
    }
}

/// A machine with tables, and what lies in them, source by source, the newest first.
struct World {
    env: SimEnv,
    dir: PathBuf,
    rng: Rng,
    next_file: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let (env, dir) = (SimEnv::new(seed), PathBuf::from("/warm"));
        env.create_dir_all(&dir).unwrap();
        Self { env, dir, rng: Rng::new(seed), next_file: 1 }
    }

    fn run(&mut self, kind: TableKind, rows: &[Row]) -> Run<SimEnv> {
        let (store_id, file_id) = (STORE, self.next_file);
        self.next_file += 1;
        let spec = TableSpec { store_id, file_id, kind, hash_seed: SEED, may_hold_stubs: true };
        let mut writer = TableWriter::create(&self.env, &self.dir, spec).unwrap();
        // Rows of other views lie before and behind.
        for view in [ViewId(2), VIEW, ViewId(4)] {
            for row in rows.iter().take(if view == VIEW { usize::MAX } else { 40 }) {
                writer.add(view, row.0, &version(row, &value(row))).unwrap();
            }
        }
        let table_ref = writer.finish().unwrap();
        let table = Table::open(&self.env, Path::new("/warm"), &STORE, &table_ref).unwrap();
        Run { table_ref, table: Arc::new(table) }
    }

    fn rows(&mut self, most: u64, keys: u64) -> Vec<Row> {
        let rows = 1 + self.rng.below(most);
        let mut rows = (0..rows).map(|_| row(&mut self.rng, keys)).collect();
        sort(&mut rows);
        rows
    }

    /// Of each key one version, as a run of `latest` has them.
    fn newest_rows(&mut self, most: u64, keys: u64) -> Vec<Row> {
        let mut rows = self.rows(most, keys);
        rows.dedup_by_key(|row| (row.0, row.1));
        rows
    }

    fn part(&mut self, keys: u64) -> (ShardPart<SimEnv>, Vec<Vec<Row>>, Vec<Row>) {
        let (mut memtables, mut newest, mut superseded) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rng.below(3) {
            let mut memtable = Memtable::new();
            let rows = self.newest_rows(80, keys);
            for row in &rows {
                let (value, late) = (value(row), (row.0, row.1, (-1, 0, 9)));
                memtable.put_newest(
                    VIEW,
                    row.0,
                    row_hash(row.0, VIEW),
                    &version(row, &value),
                    true,
                );
                memtable.put_newest(ViewId(4), row.0, row.0, &version(row, &value), true);
                if row.0.is_multiple_of(3) {
                    memtable.put_late(VIEW, row.0, &version(&late, &self::value(&late)));
                    superseded.push(late);
                }
            }
            memtables.push(Arc::new(memtable));
            newest.push(rows);
        }
        let mut tree = Tree::default();
        for _ in 0..self.rng.below(4) {
            let rows = self.newest_rows(150, keys);
            tree.latest.push(self.run(TableKind::Latest, &rows));
            newest.push(rows);
        }
        for _ in 0..self.rng.below(5) {
            let rows = self.rows(150, keys);
            tree.history.push(self.run(TableKind::History, &rows));
            superseded.extend(rows);
        }
        (ShardPart { memtables, tree: Arc::new(tree) }, newest, superseded)
    }

    fn retention(&mut self, history: History) -> Retention {
        let keep_for_us = if self.rng.one_in(2) { 15 } else { 0 };
        let mark = |rng: &mut Rng| (!rng.one_in(4)).then(|| rng.below(40) as i64);
        let watermarks = (0..PARTITIONS).map(|_| mark(&mut self.rng)).collect();
        Retention {
            policy: TierPolicy { keep_for_us, history, ..TierPolicy::default() },
            watermarks,
            erases: Arc::default(),
        }
    }
}

/// What must show, by the plainest rules that there are.
fn expected(
    newest: &[Vec<Row>],
    superseded: &[Row],
    range: &HistoryRange,
    retention: &Retention,
) -> Vec<Row> {
    let mut all: Vec<Row> = newest.iter().flatten().copied().collect();
    match retention.policy.history {
        History::Full => all.extend(superseded),
        // The first source that has the key decides.
        History::Latest => all.retain(|row| {
            let of_key = newest.iter().flatten().find(|other| other.1 == row.1);
            of_key == Some(row)
        }),
    }
    sort(&mut all);
    all.retain(|row| {
        let mark = retention.watermarks[usize::from(partition_of(row.0, PARTITIONS as u16))];
        let keep_for_us = retention.policy.keep_for_us;
        let is_past = keep_for_us > 0 && mark.is_some_and(|mark| row.2.0 < mark - keep_for_us);
        range.hashes.contains(&row.0) && range.event_times.contains(&row.2.0) && !is_past
    });
    all
}

fn owned(entry: &Entry<'_>) -> Row {
    let (view, entity_hash, version) = entry;
    let row = (*entity_hash, version.key.try_into().unwrap(), version.order());
    assert_eq!((*view, version.value), (VIEW, &value(&row)[..]));
    row
}

/// Reads all of it; `try_again` says whether an error is to be.
fn read_all(history: &mut ViewHistory<SimEnv>) -> (Vec<Row>, u64) {
    let (mut found, mut errors) = (Vec::new(), 0);
    while let Some(entry) = history.peek() {
        found.push(owned(&entry));
        while history.advance().is_err() {
            assert!(history.peek().is_none());
            errors += 1;
        }
    }
    (found, errors)
}

fn range(rng: &mut Rng) -> HistoryRange {
    let mut range = HistoryRange::all(VIEW, 4096 << rng.below(6));
    if rng.one_in(2) {
        let (a, b) = (rng.next_u64(), rng.next_u64());
        range.hashes = a.min(b)..=a.max(b);
    }
    if rng.one_in(2) {
        let (a, b) = (rng.below(44) as i64 - 2, rng.below(44) as i64 - 2);
        range.event_times = a.min(b)..=a.max(b);
    }
    range
}

#[test]
fn every_version_that_must_show_shows_once_and_in_order() {
    let mut shown = [0; 2];
    for seed in 0..300 {
        let mut world = World::new(seed);
        let keys = [3, 40, 400][world.rng.below(3) as usize];
        let (part, newest, superseded) = world.part(keys);
        for (history, shown) in [History::Full, History::Latest].into_iter().zip(&mut shown) {
            let (range, retention) = (range(&mut world.rng), world.retention(history));
            let expected = expected(&newest, &superseded, &range, &retention);
            let mut found =
                ViewHistory::open(std::slice::from_ref(&part), &range, retention).unwrap();
            let (mut found, errors) = read_all(&mut found);
            // Of a table that is read, others show too.
            found.retain(|row| range.event_times.contains(&row.2.0));
            assert_eq!(
                (found, errors),
                (expected.clone(), 0),
                "seed {seed}: {history:?} {range:?}"
            );
            *shown += expected.len();
        }
    }
    assert!(shown.iter().all(|shown| *shown > 5_000), "{shown:?}");
}

#[test]
fn the_parts_show_together_what_they_show_merged_each_in_order() {
    let mut shown = [0; 2];
    for seed in 0..200 {
        let mut world = World::new(seed);
        let (part, newest, superseded) = world.part(400);
        for (history, shown) in [History::Full, History::Latest].into_iter().zip(&mut shown) {
            let (mut range, retention) = (range(&mut world.rng), world.retention(history));
            range.event_times = i64::MIN..=i64::MAX;
            let mut expected = expected(&newest, &superseded, &range, &retention);
            // From somewhere in the middle on, as a join begins each part.
            let from = expected.get(expected.len() / 5).map_or(0, |row| row.0);
            expected.retain(|row| row.0 >= from);
            let parts = std::slice::from_ref(&part);
            let mut source = HistoryParts::open(parts, Vec::new(), &range, retention).unwrap();
            let mut found = Vec::new();
            while source.next_part().unwrap() {
                source.seek(from, &[]).unwrap();
                let begin = found.len();
                while let Some(entry) = source.peek() {
                    found.push(owned(&entry));
                    source.advance().unwrap();
                }
                let in_order =
                    |a: &Row, b: &Row| (a.0, a.1, Reverse(a.2)) < (b.0, b.1, Reverse(b.2));
                assert!(found[begin..].is_sorted_by(in_order), "seed {seed}");
            }
            sort(&mut found);
            assert_eq!(found, expected, "seed {seed}: {history:?} {range:?}");
            *shown += expected.len();
        }
    }
    assert!(shown.iter().all(|shown| *shown > 5_000), "{shown:?}");
}

#[test]
fn a_seek_is_as_if_every_row_before_had_been_passed() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        let (part, newest, superseded) = world.part(400);
        let history = if seed % 2 == 0 { History::Full } else { History::Latest };
        let mut range = range(&mut world.rng);
        range.event_times = i64::MIN..=i64::MAX;
        let retention = world.retention(history);
        let all = expected(&newest, &superseded, &range, &retention);
        let mut history = ViewHistory::open(&[part], &range, retention).unwrap();
        let mut at = 0;
        while at < all.len() {
            if world.rng.one_in(3) {
                history.advance().unwrap();
                at += 1;
            } else {
                // To a row that is there, near or far, or between rows; backward goes nowhere.
                let there = all[world.rng.below(all.len() as u64) as usize];
                let near = all[(at + world.rng.below(3) as usize).min(all.len() - 1)];
                let (hash, key, _) = if world.rng.one_in(2) { near } else { there };
                let hash = hash.saturating_add(world.rng.below(2));
                history.seek(hash, &key).unwrap();
                at += all[at..].iter().take_while(|row| (row.0, row.1) < (hash, key)).count();
            }
            assert_eq!(history.peek().map(|entry| owned(&entry)), all.get(at).copied());
        }
    }
}

#[test]
fn a_read_that_fails_is_tried_again_and_leaves_out_and_doubles_nothing() {
    let mut failed = 0;
    for seed in 0..100 {
        let mut world = World::new(seed);
        let (part, newest, superseded) = world.part(400);
        let mut range = range(&mut world.rng);
        range.scan_bytes = 4096;
        range.event_times = i64::MIN..=i64::MAX;
        let retention = world.retention(History::Full);
        let expected = expected(&newest, &superseded, &range, &retention);
        let mut history = ViewHistory::open(&[part], &range, retention).unwrap();
        world.env.fail_randomly(SimOp::Read, 300_000);
        let (found, errors) = read_all(&mut history);
        assert_eq!(found, expected, "seed {seed}");
        failed += errors;
    }
    assert!(failed > 200, "{failed} reads failed");
}

#[test]
fn a_damaged_block_is_named_and_never_passed() {
    let mut world = World::new(1);
    let rows = world.rows(400, 400);
    let run = world.run(TableKind::History, &rows);
    let path = run.table.path().to_owned();
    let mut bytes = world.env.file_bytes(&path).unwrap();
    let blocks = run.table.blocks() as usize;
    let damaged = blocks / 2;
    bytes[4096 * (1 + damaged) + 100] ^= 1;
    world.env.set_file_bytes(&path, &bytes).unwrap();
    let table = Table::open(&world.env, &world.dir, &STORE, &run.table_ref).unwrap();
    let run = Run { table: Arc::new(table), ..run };
    let tree = Tree { latest: Vec::new(), history: vec![run] };
    let part = ShardPart { memtables: Vec::new(), tree: Arc::new(tree) };
    let retention = Retention {
        policy: TierPolicy::default(),
        watermarks: vec![None; PARTITIONS].into(),
        erases: Arc::default(),
    };
    let mut history =
        ViewHistory::open(&[part], &HistoryRange::all(VIEW, 4096), retention).unwrap();
    let mut passed = 0;
    let error = loop {
        assert_eq!(owned(&history.peek().unwrap()), rows[passed]);
        passed += 1;
        if let Err(error) = history.advance() {
            break error;
        }
    };
    let at = 4096 * (1 + damaged as u64);
    let WarmError::Damaged { path: named, offset_bytes, .. } = &error else { panic!("{error}") };
    assert_eq!((named, *offset_bytes), (&path, at));
    assert!(passed > 10 && passed < rows.len() - 10 && history.peek().is_none());
    assert!(history.advance().is_err() && history.seek(u64::MAX, &[]).is_ok());
}

#[test]
fn a_row_that_was_reset_does_not_disturb_the_order_of_the_versions() {
    let mut world = World::new(1);
    let key = 7_u64.to_le_bytes();
    let at = |event_time| (entity_hash(&key, SEED), key, (event_time, NO_TIME, 1));
    // The older run has the later event time: it was past its own expiry when the other came.
    let (now, reset) = (at(10), at(30));
    let latest = vec![world.run(TableKind::Latest, &[now]), world.run(TableKind::Latest, &[reset])];
    let part =
        ShardPart { memtables: Vec::new(), tree: Arc::new(Tree { latest, history: Vec::new() }) };
    for (history, expected) in [(History::Full, vec![reset, now]), (History::Latest, vec![now])] {
        let policy = TierPolicy { history, ..TierPolicy::default() };
        let retention = Retention {
            policy,
            watermarks: vec![Some(100); PARTITIONS].into(),
            erases: Arc::default(),
        };
        let range = HistoryRange::all(VIEW, 4096);
        let mut found = ViewHistory::open(std::slice::from_ref(&part), &range, retention).unwrap();
        assert_eq!(read_all(&mut found).0, expected, "{history:?}");
    }
}

/// Rows of a tier below, in their order.
struct Below {
    rows: Vec<(Row, Vec<u8>)>,
    at: usize,
}

impl Source for Below {
    type Error = WarmError;

    fn peek(&self) -> Option<Entry<'_>> {
        let (row, value) = self.rows.get(self.at)?;
        Some((VIEW, row.0, version(row, value)))
    }

    fn advance(&mut self) -> Result<(), WarmError> {
        self.at += 1;
        Ok(())
    }
}

impl SeekSource for Below {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), WarmError> {
        while self
            .rows
            .get(self.at)
            .is_some_and(|(row, _)| (row.0, &row.1[..]) < (entity_hash, key))
        {
            self.at += 1;
        }
        Ok(())
    }
}

/// A part with one run of these rows, every second of which is a stub.
fn half_stubs(world: &World, rows: &[Row]) -> ShardPart<SimEnv> {
    let spec = TableSpec {
        store_id: STORE,
        file_id: 99,
        kind: TableKind::Latest,
        hash_seed: SEED,
        may_hold_stubs: true,
    };
    let mut writer = TableWriter::create(&world.env, &world.dir, spec).unwrap();
    for (number, row) in rows.iter().enumerate() {
        let value = value(row);
        let whole = version(row, &value);
        let stub_value = whole.stub_value();
        let stub = whole.stub(&stub_value);
        writer.add(VIEW, row.0, if number % 2 == 0 { &stub } else { &whole }).unwrap();
    }
    let table_ref = writer.finish().unwrap();
    let table = Table::open(&world.env, Path::new("/warm"), &STORE, &table_ref).unwrap();
    let latest = vec![Run { table_ref, table: Arc::new(table) }];
    ShardPart { memtables: Vec::new(), tree: Arc::new(Tree { latest, history: Vec::new() }) }
}

#[test]
fn in_the_place_of_a_stub_its_row_of_the_tier_below_shows_and_that_it_lacks_one_is_an_error() {
    let world = World::new(3);
    let at = |key: u64, event_time| {
        let key = key.to_le_bytes();
        (entity_hash(&key, SEED), key, (event_time, NO_TIME, 1))
    };
    let mut newest: Vec<Row> = (0..40).map(|key| at(key, 20)).collect();
    let mut older: Vec<Row> = (0..40).map(|key| at(key, 5)).collect();
    sort(&mut newest);
    sort(&mut older);
    let part = half_stubs(&world, &newest);
    let below = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        sort(&mut rows);
        let rows = rows.into_iter().map(|row| (row, value(&row))).collect();
        vec![Box::new(Below { rows, at: 0 }) as OlderRows]
    };
    let open = |below, history, keep_for_us, range: &HistoryRange| {
        let policy = TierPolicy { history, keep_for_us, ..TierPolicy::default() };
        let watermarks = vec![Some(100); PARTITIONS].into();
        let retention = Retention { policy, watermarks, erases: Arc::default() };
        ViewHistory::open_over(std::slice::from_ref(&part), below, range, retention)
    };
    let range = HistoryRange::all(VIEW, 4096);
    let all: Vec<Row> = newest.iter().chain(&older).copied().collect();
    let mut every = all.clone();
    sort(&mut every);
    for (history, expected) in [(History::Full, &every), (History::Latest, &newest)] {
        let mut found = open(below(&all), history, 0, &range).unwrap();
        assert_eq!(read_all(&mut found).0, *expected, "{history:?}");
        // To each key, and to what lies behind it.
        for row in expected {
            let mut sought = open(below(&all), history, 0, &range).unwrap();
            sought.seek(row.0, &row.1).unwrap();
            let rest: Vec<Row> =
                expected.iter().filter(|r| (r.0, r.1) >= (row.0, row.1)).copied().collect();
            assert_eq!(read_all(&mut sought).0, rest, "{history:?}");
        }
        // One is missing below.
        let without: Vec<Row> = all.iter().filter(|row| **row != newest[10]).copied().collect();
        let lost = open(below(&without), history, 0, &range);
        let error = lost.and_then(|mut lost| {
            while lost.peek().is_some() {
                lost.advance()?;
            }
            Ok(())
        });
        let error = error.unwrap_err();
        assert!(error.is_damage() && error.to_string().contains("lacks"), "{history:?}: {error}");
        // Past `keep_for` both tiers may have ended it, or one of them.
        let mut past = open(below(&without), history, 50, &range).unwrap();
        assert_eq!(read_all(&mut past).0, [], "{history:?}");
    }
}
