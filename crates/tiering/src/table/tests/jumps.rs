//! A view's rows by steps and by jumps over what is not wanted.

use std::sync::Arc;

use thermae_formats::ViewId;
use thermae_formats::table::TableKind;

use super::support::*;
use crate::table::{Scratch, Table};

/// Rows that lie alike, that lie as they like, and that are compressed.
fn rows(case: usize, rng: &mut Rng) -> Vec<OwnedRow> {
    let row = |number: u64| {
        let key = rng.below(700).to_le_bytes();
        let mut row = match case {
            0 => OwnedRow::new(1, &key, &rng.bytes(40)),
            1 => {
                let key_bytes = 2 + rng.below(9) as usize;
                OwnedRow::random(rng, 1, &key.repeat(2)[..key_bytes], 90)
            }
            _ => OwnedRow::new(1, &key, &[key[0]; 900]),
        };
        (row.sequence, row.times.0) = (number, rng.next() as i64);
        row
    };
    let mut rows: Vec<_> = (0..4_000).map(row).collect();
    sort(&mut rows);
    rows
}

#[test]
fn whatever_is_left_out_the_present_row_is_the_one_that_was_written() {
    let mut rng = Rng(11);
    for case in 0..3 {
        let (env, dir) = sim();
        let rows = rows(case, &mut rng);
        let table_ref = build(&env, &dir, TableKind::History, &rows);
        let table = Arc::new(Table::open(&env, &dir, &STORE, &table_ref).unwrap());
        for _ in 0..8 {
            let (mut scratch, mut at) = (Scratch::new(), 0);
            let mut place = table.view_rows(ViewId(1), &(0..=u64::MAX), 8192).unwrap();
            place.seek(0, &[], &mut scratch).unwrap();
            while let Some((hash, version)) = place.peek() {
                assert_eq!(owned(ViewId(1), hash, &version), rows[at], "case {case}, row {at}");
                let known = place.hashes().len();
                let hashes = rows[at..at + known].iter().map(|row| row.hash);
                assert!(place.hashes().iter().copied().eq(hashes), "case {case}, row {at}");
                let other = rng.below(known as u64) as usize;
                assert_eq!(place.event_time(other), Some(rows[at + other].times.0));
                assert_eq!(place.event_time(known), None);
                match rng.below(8) {
                    0 => place.leave_out(other).map(|()| at += other).unwrap(),
                    1 => {
                        place.leave_out(known - 1).unwrap();
                        at += known - 1;
                    }
                    _ => place.advance(&mut scratch).map(|()| at += 1).unwrap(),
                }
            }
            assert_eq!(at, rows.len(), "case {case}");
        }
    }
}
