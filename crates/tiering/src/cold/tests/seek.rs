//! A scan that is sent forward stands where one stands that went there row by row.

use std::sync::Arc;

use thermae_formats::SchemaId;

use super::rows::*;
use crate::cold::ColdScan;
use crate::merge::{SeekSource, Source};
use crate::testing::Rng;

#[test]
fn seeking_is_skipping() {
    let view = small_view();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(1), &view, SchemaId(3), 15_000, 8_000, 40_000);
    let (file, bytes) = write(&columns, &rows);
    let objects = store_of(&file, bytes);
    let file = open(&objects, &file, &columns);
    let mut rng = Rng::new(2);
    for _ in 0..60 {
        let mut scan = ColdScan::new(Arc::clone(&objects), Arc::clone(&file)).unwrap();
        let mut at = 0;
        while at < rows.len() {
            let target = match rng.below(3) {
                // A row that is there, one between two rows, and one that lies behind.
                0 => (at as u64 + rng.below(20_000)).min(rows.len() as u64 - 1) as usize,
                1 => (at + rng.below(30) as usize).min(rows.len() - 1),
                _ => at.saturating_sub(5),
            };
            let (hash, key) = (rows[target].hash, rows[target].key.clone());
            let hash = if rng.one_in(2) { hash.wrapping_add(1).max(hash) } else { hash };
            scan.seek(hash, &key).unwrap();
            let skipped = rows[at..].partition_point(|row| (row.hash, &row.key) < (hash, &key));
            at += skipped;
            let expected = rows.get(at);
            let found = scan.peek().map(|(_, hash, version)| Owned::of(hash, &version));
            assert_eq!(found.as_ref(), expected);
            if found.is_some() {
                scan.advance().unwrap();
                at += 1;
            }
        }
        assert!(scan.peek().is_none());
    }
}

#[test]
fn a_file_never_denies_a_key_that_it_holds_and_seldom_affirms_another() {
    for view in [small_view(), view_of_all()] {
        let columns = columns(&view);
        let rows = rows(&mut Rng::new(1), &view, SchemaId(3), 15_000, 60, 600);
        let (file, bytes) = write(&columns, &rows);
        let objects = store_of(&file, bytes);
        let file = open(&objects, &file, &columns);
        for row in &rows {
            assert!(file.may_hold(row.hash, &row.key).unwrap());
        }
        let absent = (1_000..2_000).filter(|number| {
            let key = key(&view, *number);
            let hash = thermae_formats::hash::entity_hash(&key, STORE.hash_seed);
            let held = rows.iter().any(|row| row.key == key);
            !held && file.may_hold(hash, &key).unwrap()
        });
        assert!(absent.count() < 60, "of {}", view.name);
    }
}
