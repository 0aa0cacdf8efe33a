//! Memory: refused before anything is touched, and never refused once reserved.

use thermae_formats::NO_TIME;
use thermae_hot::{FullCause, HotError, HotWriter, Lookup, NewRow, Reservation, RowBuf};

use crate::support::{Random, VIEW, check, config, hash, key, put, put_hashed, value};

#[test]
fn what_was_reserved_is_taken_however_full_the_table_is() {
    for seed in 0..4 {
        let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
        let mut random = Random(seed);
        let mut number = 0;
        loop {
            let lengths: Vec<usize> = (0..1 + random.below(200))
                .map(|_| {
                    let large = if seed < 2 { 50 } else { 6 };
                    let bound = if random.below(large) == 0 { 9_000 } else { 40 };
                    random.below(bound) as usize
                })
                .collect();
            let reserved: Vec<(Reservation, usize)> = lengths
                .iter()
                .map_while(|&words| Some((writer.reserve(8 + words * 8).ok()?, words)))
                .collect();
            let refused = reserved.len() < lengths.len();
            for (reservation, words) in reserved {
                let (key, value) = (key(number), value(number, 1, words));
                let row = new_row(&key, &value, 1);
                // The other half of the seeds collides in all bits: the index must chain.
                let row_hash = if seed < 2 { hash(number) } else { 42 };
                writer.upsert(reservation, row_hash, &VIEW, &row).unwrap();
                number += 1;
            }
            if refused && (number > 1_000 || random.below(20) == 0) {
                break;
            }
        }
        let mut buffer = RowBuf::default();
        for number in 0..number {
            let row_hash = if seed < 2 { hash(number) } else { 42 };
            match writer.get(row_hash, &VIEW, &key(number), &mut buffer) {
                Lookup::Found(row) => drop(check(&row, number)),
                other => panic!("seed {seed}, {number}: {other:?}"),
            }
        }
        assert_eq!(writer.stats().rows, number);
    }
}

#[test]
fn more_rows_of_one_size_than_a_chunk_holds_are_reserved_together() {
    let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
    let reserved: Vec<Reservation> = (0..2_000).map(|_| writer.reserve(48).unwrap()).collect();
    for (number, reservation) in (0..).zip(reserved) {
        let (key, value) = (key(number), value(number, 1, 5));
        let row = new_row(&key, &value, 1);
        writer.upsert(reservation, hash(number), &VIEW, &row).expect("reserved");
    }
    assert_eq!(writer.stats().rows, 2_000);
}

#[test]
fn full_is_told_before_and_space_comes_back() {
    let mut writer = HotWriter::create_on_heap(&config(1 << 20)).unwrap();
    let mut rows = 0;
    let full = loop {
        match put(&mut writer, rows, 1, 5) {
            Ok(_) => rows += 1,
            Err(full) => break full,
        }
    };
    assert_eq!((full.cause, full.needed_bytes), (FullCause::Memory, 80));
    assert!(rows > 6_000, "{rows} rows of 80 bytes in 1 MiB");
    put(&mut writer, 0, 2, 5).expect_err("an overwrite is reserved like any row");
    assert!(writer.remove(hash(1), &VIEW, &key(1)).unwrap());
    assert!(put(&mut writer, 0, 2, 5).expect("one slot is free"));
    assert!(!put(&mut writer, rows, 1, 5).expect("an overwrite in place gives its slot back"));
    put(&mut writer, rows + 1, 1, 5).expect_err("full again");
}

#[test]
fn a_full_table_still_takes_overwrites_and_tombstones() {
    for words in [5, 60, 9_000] {
        let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
        let mut rows = 0;
        while put(&mut writer, rows, 1, words).is_ok() {
            rows += 1;
        }
        let body = |words: usize| 8 + words * 8;
        let full = writer.reserve_for(hash(rows), &VIEW, &key(rows), body(words));
        assert!(full.is_err(), "a new row is refused");
        for first in (0..rows).step_by(500) {
            overwrite_together(&mut writer, first..rows.min(first + 500), words);
        }
        let mut buffer = RowBuf::default();
        for number in 0..rows {
            match writer.get(hash(number), &VIEW, &key(number), &mut buffer) {
                Lookup::Found(row) => assert!(row.key() == key(number) && row.sequence() > 0),
                other => panic!("{words} words, row {number}: {other:?}"),
            }
        }
        let stats = writer.stats();
        assert_eq!((stats.rows, stats.reserved_rows), (rows, 0));
        assert_eq!(stats.slot_bytes, stats.body_bytes + stats.slack_bytes + stats.rows * 32);
        for number in 0..rows {
            assert!(writer.remove(hash(number), &VIEW, &key(number)).unwrap());
        }
        put(&mut writer, 0, 1, 2_000).expect("all promises were kept or given back");
        writer.remove(hash(0), &VIEW, &key(0)).unwrap();
        let stats = writer.stats();
        assert_eq!((stats.slot_bytes, stats.free_slot_bytes), (0, 0), "{stats:?}");
    }
}

/// Reserves, as for one log batch, a shorter row and then the full length again for each number; then
/// removes every third row, so that its reservations must find another place; then writes them.
fn overwrite_together(writer: &mut HotWriter, numbers: std::ops::Range<u64>, words: usize) {
    let mut reserved = Vec::new();
    for number in numbers.clone() {
        for (sequence, length) in [(2, 0), (4, words)] {
            let bytes = 8 + length * 8;
            let reservation = writer.reserve_for(hash(number), &VIEW, &key(number), bytes);
            reserved.push((reservation.expect("an overwrite"), number, sequence, length));
        }
    }
    for number in numbers.step_by(3) {
        assert!(writer.remove(hash(number), &VIEW, &key(number)).unwrap());
    }
    for (at, (reservation, number, sequence, length)) in reserved.into_iter().enumerate() {
        if at % 7 == 6 {
            writer.release(reservation);
            continue;
        }
        let (key, value) = (key(number), value(number, sequence, length));
        let row = new_row(&key, &value, sequence);
        writer.upsert(reservation, hash(number), &VIEW, &row).expect("reserved");
    }
}

fn new_row<'a>(key: &'a [u8], value: &'a [u8], sequence: u64) -> NewRow<'a> {
    NewRow {
        schema_id: VIEW[(sequence % 2) as usize],
        flags: 0,
        sequence,
        event_time: sequence as i64,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        key,
        value,
    }
}

#[test]
fn sizes_have_limits() {
    let mut writer = HotWriter::create_on_heap(&config(4 << 20)).unwrap();
    let largest = writer.reserve(524_280).expect("the largest row");
    assert_eq!(writer.reserve(524_281).unwrap_err().cause, FullCause::RowTooLarge);
    assert_eq!(writer.reserve(usize::MAX).unwrap_err().cause, FullCause::RowTooLarge);
    writer.release(largest);
    let small = writer.reserve(16).unwrap();
    let (key, value) = (key(1), value(1, 1, 5));
    let row = new_row(&key, &value, 1);
    let refused = writer.upsert(small, hash(1), &VIEW, &row);
    assert!(matches!(refused, Err(HotError::ReservationTooSmall { .. })), "{refused:?}");
    assert_eq!(writer.stats().reserved_rows, 0);
    assert!(HotWriter::create_on_heap(&config(0)).is_err());
    assert!(HotWriter::create(&config(1 << 37)).is_err(), "larger than any memory here");
}

#[test]
fn released_reservations_leave_nothing_behind() {
    let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
    let before = writer.stats();
    for _ in 0..3 {
        let reserved: Vec<Reservation> =
            (0..100_000).map_while(|step| writer.reserve((step * 37) % 20_000).ok()).collect();
        assert!(reserved.len() > 20);
        for reservation in reserved {
            writer.release(reservation);
        }
        assert_eq!(writer.stats().reserved_rows, 0);
        let claimed = before.free_bytes - writer.stats().free_bytes;
        assert_eq!((claimed, writer.stats().free_slot_bytes), (0, 0));
    }
}

#[test]
fn keys_that_collide_in_every_bit_are_all_found() {
    let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
    for number in 0..500 {
        put_hashed(&mut writer, u64::MAX, number, number + 1, 2).unwrap();
    }
    assert!(writer.stats().overflow_buckets > 50);
    assert_eq!(writer.stats().segments, 1, "colliding keys do not make the index grow");
    let mut buffer = RowBuf::default();
    for number in (0..500).step_by(3) {
        assert!(writer.remove(u64::MAX, &VIEW, &key(number)).unwrap());
    }
    let used = writer.stats().overflow_buckets;
    for number in 0..500 {
        match writer.get(u64::MAX, &VIEW, &key(number), &mut buffer) {
            Lookup::Found(row) => assert_eq!(check(&row, number).0, number + 1),
            Lookup::Absent => assert_eq!(number % 3, 0),
            other => panic!("{other:?}"),
        }
    }
    for number in (0..500).step_by(3) {
        assert!(!put_hashed(&mut writer, u64::MAX, number, 1, 2).unwrap());
    }
    assert_eq!(writer.stats().overflow_buckets, used, "free lanes are used again");
}
