//! What was written is read, by look-up and by scan.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use thermae_env::{AlignedBuf, Env, File, RealEnv, SimOp};
use thermae_formats::ViewId;
use thermae_formats::hot_layout::FLAG_TOMBSTONE;
use thermae_formats::table::TableKind;

use super::support::*;
use crate::WarmError;
use crate::table::{Packing, Table, TableWriter, verify_table};

fn both(test: impl Fn(&dyn Fn(TableKind, &[OwnedRow]))) {
    let (env, dir) = sim();
    test(&|kind, rows| check(&env, &dir, kind, rows));
    let folder = tempfile::tempdir().unwrap();
    test(&|kind, rows| check(&RealEnv::new(), folder.path(), kind, rows));
}

/// Writes the rows, sorted, and reads them in every way.
fn check<E: Env>(env: &E, dir: &Path, kind: TableKind, rows: &[OwnedRow]) {
    let what = build(env, dir, kind, rows);
    assert_eq!(what.rows, rows.len() as u64);
    let tombstones = rows.iter().filter(|row| row.flags & FLAG_TOMBSTONE != 0).count();
    assert_eq!(what.tombstones, tombstones as u64);
    let times = rows.iter().map(|row| row.times.0);
    assert_eq!(Some(what.min_event_time), times.clone().min());
    assert_eq!(Some(what.max_event_time), times.max());
    let table = Arc::new(Table::open(env, dir, &STORE, &what).unwrap());
    assert_eq!((table.about(), table.hash_seed()), (&what, SEED));
    let mut newest = BTreeMap::new();
    for row in rows.iter().rev() {
        newest.insert((row.view, row.key.clone()), row);
    }
    for ((view, key), row) in &newest {
        let found = look_up(&table, *view, row.hash, key).unwrap();
        assert_eq!(found.as_ref(), Some(*row), "{view:?} {key:02x?}");
        let other = [&key[..], b"?"].concat();
        let found = look_up(&table, *view, row.hash, &other).unwrap();
        assert_eq!(found.is_some(), newest.contains_key(&(*view, other)), "another key");
        assert_eq!(look_up(&table, ViewId(view.0 ^ 77), row.hash, key).unwrap(), None);
    }
    let mut scan = table.scan();
    for row in rows {
        let read = scan.next().unwrap().unwrap();
        assert_eq!((read.view, read.version), (row.view, row.version()));
    }
    assert_eq!(scan.next().unwrap(), None);
    assert_eq!(scan.next().unwrap(), None);
    let are_hashed = rows.iter().all(|row| row.hash == entity_hash(row));
    if are_hashed {
        let findings = verify_table(env, dir, &STORE, &what, &mut |_| ());
        assert!(findings.is_empty(), "{findings:?}");
    }
    env.remove(table.path()).unwrap();
}

fn entity_hash(row: &OwnedRow) -> u64 {
    thermae_formats::hash::entity_hash(&row.key, SEED)
}

/// Rows of distinct keys and views, sorted.
fn random_latest(rng: &mut Rng, count: u64, most: usize) -> Vec<OwnedRow> {
    let mut rows = BTreeMap::new();
    for _ in 0..count {
        let view = rng.below(4) as u32 * 1000;
        let len = rng.below(20) as usize;
        let key = rng.bytes(len);
        let row = OwnedRow::random(rng, view, &key, most);
        rows.insert((view, key), row);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    sort(&mut rows);
    rows
}

#[test]
fn random_tables_hold_what_a_map_holds() {
    both(|check| {
        for seed in 0..40 {
            let mut rng = Rng(seed);
            let most = [3, 60, 700, 9000][seed as usize % 4];
            let count = 1 + rng.below(300);
            check(TableKind::Latest, &random_latest(&mut rng, count, most));
        }
    });
}

#[test]
fn histories_hold_every_version_and_find_the_newest() {
    both(|check| {
        for seed in 100..115 {
            let mut rng = Rng(seed);
            let mut rows = Vec::new();
            for row in random_latest(&mut rng, 20, 200) {
                // Some keys have more versions than one block holds.
                for age in 0..1 + rng.below(3) * rng.below(200) {
                    let mut version = OwnedRow::random(&mut rng, row.view.0, &row.key, 100);
                    version.times.0 = 1_000_000 - age as i64;
                    rows.push(version);
                }
            }
            sort(&mut rows);
            check(TableKind::History, &rows);
        }
    });
}

#[test]
fn corners() {
    both(|check| {
        check(TableKind::Latest, &[OwnedRow::new(0, b"", b"")]);
        let mut tombstone = OwnedRow::new(u32::MAX, b"", b"");
        tombstone.flags = FLAG_TOMBSTONE;
        check(TableKind::Latest, &[tombstone]);
        let noise = Rng(1).bytes(500_000);
        let large = OwnedRow::new(2, b"large", &noise);
        check(TableKind::Latest, std::slice::from_ref(&large));
        let mut mixed: Vec<_> =
            (0..300_u32).map(|n| OwnedRow::new(2, &n.to_le_bytes(), b"small")).collect();
        mixed.extend([large, OwnedRow::new(2, b"zeroes", &[0; 500_000])]);
        mixed.push(OwnedRow::new(2, b"exact", &noise[..4096 - 24 - 24 - 5]));
        mixed.push(OwnedRow::new(2, b"above", &noise[..4096 - 24 - 24 - 4]));
        mixed.push(OwnedRow::new(3, b"above", &noise[..5000]));
        sort(&mut mixed);
        check(TableKind::Latest, &mixed);
    });
}

#[test]
fn rows_of_one_hash_share_a_block_and_are_told_by_their_keys() {
    both(|check| {
        let mut rng = Rng(3);
        let mut rows = Vec::new();
        for n in 0..3000_u32 {
            let mut row = OwnedRow::random(&mut rng, 1, &n.to_be_bytes(), 120);
            // One group larger than a page, some of a few rows, and single rows.
            row.hash = match n {
                1000..1200 => 1000,
                _ => u64::from(n - n % 7 % 3),
            } << 40;
            rows.push(row);
        }
        sort(&mut rows);
        check(TableKind::Latest, &rows);
    });
}

#[test]
fn a_hundred_thousand_rows_of_several_views() {
    let (env, dir) = sim();
    let mut rows: Vec<_> = (0..100_000_u32)
        .map(|n| OwnedRow::new(n % 3, &(n / 3).to_le_bytes(), &n.to_be_bytes()))
        .collect();
    sort(&mut rows);
    let what = build(&env, &dir, TableKind::Latest, &rows);
    let table = Arc::new(Table::open(&env, &dir, &STORE, &what).unwrap());
    for row in rows.iter().step_by(97) {
        let found = look_up(&table, row.view, row.hash, &row.key).unwrap();
        assert_eq!(found.as_ref(), Some(row));
    }
    let mut scan = table.scan();
    for row in &rows {
        assert_eq!(scan.next().unwrap().unwrap().version, row.version());
    }
    assert_eq!(scan.next().unwrap(), None);
    let mut rng = Rng(9);
    let wrong = (0..10_000).filter(|_| table.may_hold(ViewId(1), rng.next())).count();
    assert!(wrong < 100, "{wrong} of 10000 false positives");
    assert!(what.bytes < 100_000 * 40, "{} bytes", what.bytes);
}

#[test]
fn a_look_up_is_one_read_of_one_page() {
    let (env, dir) = sim();
    let mut rows: Vec<_> =
        (0..2000_u32).map(|n| OwnedRow::new(0, &n.to_le_bytes(), &[n as u8; 40])).collect();
    sort(&mut rows);
    let what = build(&env, &dir, TableKind::Latest, &rows);
    let table = Table::open(&env, &dir, &STORE, &what).unwrap();
    assert!(table.blocks() > 2);
    for row in &rows {
        // The second read from here on would fail: the look-up makes but one.
        env.fail(SimOp::Read, 1);
        assert!(look_up(&table, row.view, row.hash, &row.key).unwrap().is_some());
        assert!(table.file().read_at(&mut AlignedBuf::zeroed(4096), 0).is_err());
        assert_eq!(table.locate(row.view, row.hash).unwrap().bytes, 4096);
    }
}

#[test]
fn rows_out_of_order_are_refused() {
    let (env, dir) = sim();
    let row = |view: u32, hash: u64, key: &[u8], event_time: i64| {
        let mut row = OwnedRow::new(view, key, b"value");
        (row.hash, row.times.0) = (hash, event_time);
        row
    };
    let first = row(1, 5, b"k", 9);
    let later = [row(0, 6, b"k", 9), row(1, 4, b"k", 9), row(1, 5, b"j", 9)];
    for kind in [TableKind::Latest, TableKind::History] {
        let again = [first.clone(), row(1, 5, b"k", 10)];
        for second in later.iter().chain(&again) {
            let mut writer = TableWriter::create(&env, &dir, spec(kind, 1)).unwrap();
            writer.add(first.view, first.hash, &first.version()).unwrap();
            let refused = writer.add(second.view, second.hash, &second.version());
            assert!(matches!(refused, Err(WarmError::Order { .. })), "{kind:?} {second:?}");
        }
    }
    let older = row(1, 5, b"k", 8);
    for (kind, is_taken) in [(TableKind::Latest, false), (TableKind::History, true)] {
        let mut writer = TableWriter::create(&env, &dir, spec(kind, 1)).unwrap();
        writer.add(first.view, first.hash, &first.version()).unwrap();
        assert_eq!(writer.add(older.view, older.hash, &older.version()).is_ok(), is_taken);
    }
    let empty = TableWriter::create(&env, &dir, spec(TableKind::Latest, 1)).unwrap();
    assert!(matches!(empty.finish(), Err(WarmError::Order { .. })));
    assert_eq!(env.list(&dir).unwrap(), []);
}

#[test]
fn other_packings_read_the_same() {
    let (env, dir) = sim();
    let rows = random_latest(&mut Rng(5), 500, 300);
    for packing in
        [Packing { block_pages: 4, level: 3 }, Packing { block_pages: 2, ..Packing::default() }]
    {
        let spec = spec(TableKind::Latest, 1);
        let mut writer = TableWriter::create_with(&env, &dir, spec, packing).unwrap();
        for row in &rows {
            writer.add(row.view, row.hash, &row.version()).unwrap();
        }
        let what = writer.finish().unwrap();
        assert!(verify_table(&env, &dir, &STORE, &what, &mut |_| ()).is_empty());
        let table = Table::open(&env, &dir, &STORE, &what).unwrap();
        for row in &rows {
            let found = look_up(&table, row.view, row.hash, &row.key).unwrap();
            assert_eq!(found.as_ref(), Some(row));
        }
        env.remove(table.path()).unwrap();
    }
}
