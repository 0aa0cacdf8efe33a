//! Memory: refused before anything is touched, and never refused once reserved.

use thermae_formats::NO_TIME;
use thermae_hot::{FullCause, HotError, HotWriter, Lookup, NewRow, Reservation, RowBuf};

use crate::support::{Random, VIEW, check, config, hash, key, put, put_hashed, value};

#[test]
fn what_was_reserved_is_taken_however_full_the_table_is() {
    for seed in 0..6 {
        let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
        let mut random = Random(seed);
        let mut number = 0;
        loop {
            let lengths: Vec<usize> = (0..1 + random.below(200))
                .map(|_| {
                    let bound = if random.below(50) == 0 { 9_000 } else { 40 };
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
                let row = NewRow {
                    schema_id: 4,
                    flags: 0,
                    sequence: 1,
                    event_time: 1,
                    created_time: NO_TIME,
                    expire_at: NO_TIME,
                    key: &key,
                    value: &value,
                };
                // The second half of the seeds collides in all bits: the index must chain.
                let row_hash = if seed < 3 { hash(number) } else { 42 };
                writer.upsert(reservation, row_hash, &VIEW, &row).unwrap();
                number += 1;
            }
            if refused && (number > 3_000 || random.below(20) == 0) {
                break;
            }
        }
        let mut buffer = RowBuf::default();
        for number in 0..number {
            let row_hash = if seed < 3 { hash(number) } else { 42 };
            match writer.get(row_hash, &VIEW, &key(number), &mut buffer) {
                Lookup::Found(row) => drop(check(&row, number)),
                other => panic!("seed {seed}, {number}: {other:?}"),
            }
        }
        assert_eq!(writer.stats().rows, number);
    }
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
fn sizes_have_limits() {
    let mut writer = HotWriter::create_on_heap(&config(4 << 20)).unwrap();
    let largest = writer.reserve(524_280).expect("the largest row");
    assert_eq!(writer.reserve(524_281).unwrap_err().cause, FullCause::RowTooLarge);
    assert_eq!(writer.reserve(usize::MAX).unwrap_err().cause, FullCause::RowTooLarge);
    writer.release(largest);
    let small = writer.reserve(16).unwrap();
    let (key, value) = (key(1), value(1, 1, 5));
    let row = NewRow {
        schema_id: 4,
        flags: 0,
        sequence: 1,
        event_time: 1,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        key: &key,
        value: &value,
    };
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
