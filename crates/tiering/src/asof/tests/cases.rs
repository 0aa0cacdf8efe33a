//! The corners of SEMANTICS, one by one.

use thermae_formats::NO_TIME;

use super::super::*;
use super::history::{Answer, Row, Rows, find_all};

const HOUR: i64 = 3_600_000_000;
const TTL: i64 = 24 * HOUR;
/// The time of the spine's row.
const T: i64 = 1_700_000_000_000_000;

/// What a spine row at `time_us` finds among `rows`: the number in the value.
fn find_at(rows: &[Row], ttl_us: i64, as_of_known: bool, time_us: i64) -> Option<u64> {
    let terms = Terms { ttl_us, as_of_known };
    // In one part, and each row in a part of its own, from either end.
    let mut each = Rows::new(rows.to_vec()).in_parts(rows.len().max(1));
    let [whole, apart] = [
        find_all(&mut Rows::new(rows.to_vec()), &[(7, b"k".to_vec(), time_us)], terms),
        find_all(&mut each, &[(7, b"k".to_vec(), time_us)], terms),
    ]
    .map(|found| found.unwrap().swap_remove(0));
    assert_eq!(whole, apart);
    match whole {
        Answer::Present(value) => Some(value),
        _ => None,
    }
}

/// The same with a TTL of 24 h at T: without `as_of_known`, and with it.
fn both(rows: &[Row]) -> (Option<u64>, Option<u64>) {
    (find_at(rows, TTL, false, T), find_at(rows, TTL, true, T))
}

#[test]
fn the_table_of_the_semantics() {
    let known = T - 20 * HOUR;
    assert_eq!(both(&[Row::new(T - TTL, known, 1)]), (Some(1), Some(1)), "both ends inclusive");
    assert_eq!(both(&[Row::new(T - TTL - 1, known, 1)]), (None, None), "a microsecond too old");
    assert_eq!(both(&[Row::new(T, known, 1)]), (Some(1), Some(1)), "at the time itself");
    assert_eq!(both(&[Row::new(T + 1, known, 1)]), (None, None), "a microsecond too new");
    let event = T - 5 * HOUR;
    let tie = [(2, 10), (1, 11), (3, 12)].map(|(h, value)| Row::new(event, T - h * HOUR, value));
    assert_eq!(both(&tie), (Some(11), Some(11)), "the greatest created time wins a tie");
    let unknown = [Row::new(event, NO_TIME, 30), Row::new(event, T - HOUR, 31)];
    assert_eq!(both(&unknown), (Some(31), Some(31)), "no created time loses a tie");
    assert_eq!(both(&[Row::new(event, NO_TIME, 40)]), (Some(40), None), "never known");
    let late = [Row::new(event, T - HOUR, 60), Row::new(event + 1, T - 4 * HOUR, 61)];
    assert_eq!(both(&late), (Some(61), Some(61)), "event time dominates created time");
    let back_filled = [Row::new(event + 1, T + 1, 70), Row::new(event, T - HOUR, 71)];
    assert_eq!(both(&back_filled), (Some(70), Some(71)), "known only later");
}

#[test]
fn a_null_in_the_winning_row_hides_the_value_below_it() {
    // The join knows rows, not features: the newest row answers whatever is in it.
    let nulls = Row { value: 0_u64.to_le_bytes().to_vec(), ..Row::new(T - 1, T - 1, 2) };
    assert_eq!(both(&[nulls, Row::new(T - 2, T - 2, 1)]), (Some(0), Some(0)));
}

#[test]
fn a_full_tie_goes_to_the_greatest_sequence_and_known_to_the_microsecond() {
    assert_eq!(both(&[Row::new(T, T, 1), Row::new(T, T, 2)]), (Some(2), Some(2)));
    assert_eq!(both(&[Row::new(T - 1, T, 1)]), (Some(1), Some(1)), "learnt at the time itself");
    assert_eq!(both(&[Row::new(T - 1, T + 1, 1)]), (Some(1), None), "a microsecond later");
}

#[test]
fn a_winner_that_is_deleted_or_past_its_expiry_gives_nothing() {
    let below = Row::new(T - 9, T - 9, 1);
    let tombstone = Row { is_tombstone: true, ..Row::new(T - 3, T - 3, 2) };
    let rows = [below.clone(), tombstone];
    assert_eq!(both(&rows), (None, None));
    assert_eq!(find_at(&rows, TTL, false, T - 4), Some(1), "not deleted yet");
    let expiring = |at| [below.clone(), Row { expire_at: at, ..Row::new(T - 3, T - 3, 3) }];
    assert_eq!(both(&expiring(T)), (None, None), "expired at the time itself, as online");
    assert_eq!(both(&expiring(T + 1)), (Some(3), Some(3)));
}

#[test]
fn what_is_too_old_is_told_apart_from_what_is_not_there() {
    let terms = Terms { ttl_us: 10, as_of_known: false };
    let old = Row::new(T - 11, NO_TIME, 5);
    let asked = [(7, b"k".to_vec(), T), (7, b"k".to_vec(), T - 12)];
    let found = find_all(&mut Rows::new(vec![old]), &asked, terms);
    assert_eq!(found, Ok(vec![Answer::OutsideMaxAge, Answer::NotFound]));
}

#[test]
fn the_ends_of_time_overflow_nowhere() {
    let least = [Row::new(i64::MIN + 1, NO_TIME, 1)];
    for ttl_us in [0, 1, i64::MAX] {
        assert_eq!(find_at(&least, ttl_us, false, i64::MIN + 1), Some(1));
        assert_eq!(find_at(&least, ttl_us, false, i64::MIN), None);
    }
    assert_eq!(find_at(&least, i64::MAX, false, 0), Some(1));
    assert_eq!(find_at(&least, i64::MAX, false, 1), None, "older by one than the TTL");
    assert_eq!(find_at(&least, 0, false, i64::MAX), Some(1));
    assert_eq!(find_at(&[Row::new(i64::MAX, i64::MAX, 2)], 1, true, i64::MAX), Some(2));
}
