//! A damaged file answers as before, or with an error that names it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thermae_env::{Env, SimEnv};
use thermae_formats::table::{TableKind, TableRef};

use super::support::*;
use crate::WarmError;
use crate::table::{Scratch, Table, table_path, verify_table};

fn small() -> (SimEnv, PathBuf, TableRef, Vec<OwnedRow>) {
    let (env, dir) = sim();
    let mut rng = Rng(11);
    let mut rows: Vec<_> =
        (0..60_u8).map(|n| OwnedRow::random(&mut rng, u32::from(n % 2), &[n], 100)).collect();
    sort(&mut rows);
    let what = build(&env, &dir, TableKind::Latest, &rows);
    (env, dir, what, rows)
}

/// Opens and reads everything: the rows, or the error.
fn read(env: &SimEnv, dir: &Path, what: &TableRef) -> Result<Vec<OwnedRow>, WarmError> {
    let table = Arc::new(Table::open(env, dir, &STORE, what)?);
    let mut scan = table.scan();
    let mut rows = Vec::new();
    while let Some(row) = scan.next()? {
        rows.push(owned(row.view, row.entity_hash, &row.version));
    }
    for row in &rows {
        let found = look_up(&table, row.view, row.hash, &row.key)?;
        assert_eq!(found.as_ref(), Some(row));
    }
    Ok(rows)
}

/// The damage is found, in the file and near the offset.
fn assert_damaged(found: Result<Vec<OwnedRow>, WarmError>, path: &Path, near: u64) {
    match found {
        Err(WarmError::Damaged { path: named, offset_bytes, .. }) => {
            assert_eq!(named, path);
            assert!(near.abs_diff(offset_bytes) < 4096, "{offset_bytes} named, damage at {near}");
        }
        other => panic!("damage at {near}: {other:?}"),
    }
}

#[test]
fn every_flipped_byte_is_found() {
    let (env, dir, what, rows) = small();
    let path = table_path(&dir, what.file_id);
    let bytes = env.file_bytes(&path).unwrap();
    assert_eq!(read(&env, &dir, &what).unwrap(), rows);
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        env.set_file_bytes(&path, &broken).unwrap();
        assert_damaged(read(&env, &dir, &what), &path, at as u64);
        if at % 512 == 0 {
            assert_eq!(verify_table(&env, &dir, &STORE, &what, &mut |_| ()).len(), 1, "byte {at}");
        }
    }
}

#[test]
fn every_cut_is_found() {
    let (env, dir, what, _) = small();
    let path = table_path(&dir, what.file_id);
    let bytes = env.file_bytes(&path).unwrap();
    for len in (0..bytes.len()).step_by(512).chain([1, 4095, 4097, bytes.len() - 1]) {
        env.set_file_bytes(&path, &bytes[..len]).unwrap();
        let found = read(&env, &dir, &what);
        assert!(matches!(found, Err(WarmError::Damaged { .. })), "{len}: {found:?}");
    }
    env.set_file_bytes(&path, &[&bytes[..], &[0; 4096]].concat()).unwrap();
    assert!(matches!(read(&env, &dir, &what), Err(WarmError::Damaged { .. })));
    env.remove(&path).unwrap();
    assert!(matches!(read(&env, &dir, &what), Err(WarmError::Io { what: "open", .. })));
}

#[test]
fn a_block_of_another_place_or_file_is_found() {
    let (env, dir, what, rows) = small();
    let path = table_path(&dir, what.file_id);
    let bytes = env.file_bytes(&path).unwrap();
    let page = |number: usize| number * 4096..(number + 1) * 4096;
    let mut moved = bytes.clone();
    moved.copy_within(page(1), page(2).start);
    env.set_file_bytes(&path, &moved).unwrap();
    assert_damaged(read(&env, &dir, &what), &path, 8192);
    // The same rows written again under the same number: every block is there, none is taken.
    env.remove(&path).unwrap();
    let again = build(&env, &dir, TableKind::Latest, &rows);
    let newer = env.file_bytes(&path).unwrap();
    assert_ne!(again.checksum, what.checksum);
    let mut stale = newer.clone();
    stale[page(1)].copy_from_slice(&bytes[page(1)]);
    env.set_file_bytes(&path, &stale).unwrap();
    assert_damaged(read(&env, &dir, &again), &path, 4096);
    env.set_file_bytes(&path, &bytes).unwrap();
    assert_damaged(read(&env, &dir, &again), &path, bytes.len() as u64 - 4096);
}

#[test]
fn another_table_than_the_named_one_is_refused() {
    let (env, dir, what, _) = small();
    let path = table_path(&dir, what.file_id);
    let bytes = env.file_bytes(&path).unwrap();
    let other_store = Table::open(&env, &dir, &[9; 16], &what);
    assert!(matches!(other_store, Err(WarmError::Damaged { offset_bytes: 0, .. })));
    let other_kind = TableRef { kind: TableKind::History, ..what };
    assert!(matches!(read(&env, &dir, &other_kind), Err(WarmError::Damaged { .. })));
    let named_otherwise = TableRef { file_id: 2, ..what };
    env.set_file_bytes(&table_path(&dir, 2), &bytes).unwrap();
    assert!(matches!(read(&env, &dir, &named_otherwise), Err(WarmError::Damaged { .. })));
    for change in [
        |what: &mut TableRef| what.rows += 1,
        |what: &mut TableRef| what.tombstones += 1,
        |what: &mut TableRef| what.min_event_time -= 1,
        |what: &mut TableRef| what.max_event_time -= 1,
        |what: &mut TableRef| what.checksum ^= 1,
    ] {
        let mut changed = what;
        change(&mut changed);
        assert_damaged(read(&env, &dir, &changed), &path, bytes.len() as u64 - 4096);
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let (env, dir, what, _) = small();
    let path = table_path(&dir, what.file_id);
    for (other, build) in [(6, "later"), (3, "former"), (1, "former")] {
        let mut bytes = env.file_bytes(&path).unwrap();
        bytes[8] = other;
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..4088]);
        bytes[4088..4096].copy_from_slice(&checksum.to_le_bytes());
        env.set_file_bytes(&path, &bytes).unwrap();
        let found = read(&env, &dir, &what).unwrap_err();
        let (WarmError::Version { version, .. }, text) = (&found, found.to_string()) else {
            panic!("{found}");
        };
        assert!(*version == u16::from(other) && text.contains(build), "{text}");
    }
}

#[test]
fn a_scan_goes_on_behind_a_damaged_block() {
    let (env, dir, what, rows) = small();
    let path = table_path(&dir, what.file_id);
    let mut bytes = env.file_bytes(&path).unwrap();
    bytes[4096 + 100] ^= 1;
    env.set_file_bytes(&path, &bytes).unwrap();
    let table = Arc::new(Table::open(&env, &dir, &STORE, &what).unwrap());
    let mut scan = table.scan();
    let first = scan.next();
    assert!(first.is_err_and(|error| error.is_damage()));
    let mut left = 0;
    while let Some(row) = scan.next().unwrap() {
        left += 1;
        assert!(rows.contains(&owned(row.view, row.entity_hash, &row.version)));
    }
    assert!(left > 0 && left < rows.len());
}

#[test]
fn hostile_blocks_under_a_right_checksum_do_no_harm() {
    let (env, dir, what, rows) = small();
    let table = Table::open(&env, &dir, &STORE, &what).unwrap();
    let bytes = env.file_bytes(table.path()).unwrap();
    let mut rng = Rng(31);
    let mut scratch = Scratch::new();
    let mut refused = 0;
    for round in 0..20_000 {
        let row = &rows[round % rows.len()];
        let extent = table.locate(row.view, row.hash).unwrap();
        let at = extent.offset_bytes as usize;
        let mut block = bytes[at..at + extent.bytes as usize].to_vec();
        for _ in 0..1 + rng.below(4) {
            // Half of them in the header and the head of the frame.
            let end = [60, block.len() as u64][rng.below(2) as usize];
            block[8 + rng.below(end - 8) as usize] = rng.next() as u8;
        }
        let checksum = table.id.checksum(&block[8..], extent.offset_bytes);
        block[..8].copy_from_slice(&checksum.to_le_bytes());
        refused += usize::from(table.search(extent, &block, &row.key, &mut scratch).is_err());
        assert!(scratch.raw.capacity() <= 64 << 20);
    }
    assert!(refused > 2_000, "{refused}");
}
