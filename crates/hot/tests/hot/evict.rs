//! Eviction: whatever goes, what stays is right, and what was promised is kept.

use std::collections::HashMap;

use thermae_hot::{FullCause, HotReader, HotWriter, Lookup, Probe, Reservation, RowBuf, RowView};

use crate::support::{
    Random, VIEW, check, config, hash, hash_of_row, key, new_row, put_evicting, value,
};

fn write(writer: &mut HotWriter, reservation: Reservation, number: u64, seq: u64, words: usize) {
    let (key, value) = (key(number), value(number, seq, words));
    let row = new_row(&key, &value, seq);
    writer.upsert(reservation, hash(number), &VIEW, &row).expect("reserved");
}

/// Reads a row as a reader on another thread does, which marks it. Its sequence and length.
fn read(reader: &HotReader, number: u64) -> Option<(u64, usize)> {
    let (mut buffer, key) = (RowBuf::default(), key(number));
    let probe = Probe { table: 0, row_hash: hash(number), key: &key, schema_ids: &VIEW };
    match reader.get(&probe, &mut buffer) {
        Lookup::Found(row) => Some(check(&row, number)),
        Lookup::Absent => None,
        other => panic!("{number}: {other:?}"),
    }
}

/// Fills a table until it has evicted something; how many rows were written.
fn fill(writer: &mut HotWriter, words: usize) -> u64 {
    let (mut number, before) = (0, writer.stats().evictions);
    while writer.stats().evictions == before {
        put_evicting(writer, number, 1, words).unwrap();
        number += 1;
    }
    number
}

fn present(reader: &HotReader, numbers: std::ops::Range<u64>) -> u64 {
    numbers.filter(|&number| read(reader, number).is_some()).count() as u64
}

fn length(random: &mut Random) -> usize {
    match random.below(200) {
        0 => 8_200 + random.below(20_000) as usize,
        1..=4 => random.below(8_000) as usize,
        5..=30 => random.below(300) as usize,
        _ => random.below(12) as usize,
    }
}

#[test]
fn agrees_with_a_map_of_what_was_written_last() {
    for seed in 0..6 {
        let mut writer = HotWriter::create_on_heap(&config((1 + seed % 3) << 20)).unwrap();
        let reader = writer.reader();
        let (mut random, mut model) = (Random(seed), HashMap::new());
        let (mut sequence, numbers) = (0, 200 << (seed % 5));
        for _ in 0..200 {
            step(&mut writer, &reader, &mut random, &mut model, &mut sequence, numbers);
        }
        let rows = present(&reader, 0..numbers);
        let stats = writer.stats();
        assert!(stats.evictions > 100, "{stats:?}");
        assert_eq!((stats.rows, stats.reserved_rows), (rows, 0));
        assert_eq!(stats.slot_bytes, stats.body_bytes + stats.slack_bytes + stats.rows * 32);
        // From where the sweep is to the end, and then all of it.
        let evicted = [(); 2].map(|()| writer.sweep(usize::MAX, |_| false, hash_of_row) as u64);
        assert_eq!(evicted[0] + evicted[1], rows);
        let stats = writer.stats();
        assert_eq!((stats.rows, stats.slot_bytes, stats.free_slot_bytes), (0, 0, 0), "{stats:?}");
    }
}

/// A batch of writes that are reserved together, with other calls between.
fn step(
    writer: &mut HotWriter,
    reader: &HotReader,
    random: &mut Random,
    model: &mut HashMap<u64, (u64, usize)>,
    sequence: &mut u64,
    numbers: u64,
) {
    let mut batch = Vec::new();
    for _ in 0..1 + random.below(30) {
        let (number, words) = (random.below(numbers), length(random));
        let bytes = 16 + words * 8;
        let key = key(number);
        // What is reserved together may be more than the table; then the batch ends.
        match writer.reserve_evicting(hash(number), &VIEW, &key, bytes, hash_of_row) {
            Ok(reservation) => batch.push((reservation, number, words)),
            Err(full) => {
                assert!(!batch.is_empty() && full.cause == FullCause::Memory, "{full}");
                break;
            }
        }
    }
    for (reservation, number, words) in batch {
        *sequence += 1;
        match random.below(20) {
            0 => writer.release(reservation),
            _ => {
                write(writer, reservation, number, *sequence, words);
                model.insert(number, (*sequence, words));
                assert_eq!(read(reader, number), Some((*sequence, words)), "just written");
            }
        }
        let other = random.below(numbers);
        match random.below(12) {
            0 => drop(writer.remove(hash(other), &VIEW, &key(other)).unwrap()),
            1 => drop(writer.evict(hash(other), &VIEW, &key(other)).unwrap()),
            2 => drop(writer.sweep(20, |row| row.sequence() % 5 > 0, hash_of_row)),
            _ => {
                if let Some(found) = read(reader, other) {
                    assert_eq!(model[&other], found, "an older row of {other}");
                }
            }
        }
    }
}

#[test]
fn rows_whose_slots_are_counted_on_stay() {
    for words in [5, 9_000] {
        let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
        let rows = fill(&mut writer, words);
        let reader = writer.reader();
        let there: Vec<u64> = (0..rows).filter(|&n| read(&reader, n).is_some()).collect();
        let pinned: Vec<u64> = there.iter().copied().step_by(2).take(1_000).collect();
        let reserved: Vec<Reservation> = pinned
            .iter()
            .map(|&n| writer.reserve_for(hash(n), &VIEW, &key(n), 8 + words * 8).unwrap())
            .collect();
        for number in rows..rows * 3 {
            put_evicting(&mut writer, number, 1, words).unwrap();
        }
        for &number in &pinned {
            assert!(read(&reader, number).is_some(), "row {number} of {words} words went");
        }
        for (&number, reservation) in pinned.iter().zip(reserved) {
            write(&mut writer, reservation, number, 2, words);
        }
        assert_eq!(writer.stats().reserved_rows, 0);
    }
}

#[test]
fn full_only_if_everything_is_reserved_or_the_row_is_too_large() {
    let mut writer = HotWriter::create_on_heap(&config(1 << 20)).unwrap();
    let too_large = writer.reserve_evicting(1, &VIEW, &[], 524_281, hash_of_row).unwrap_err();
    assert_eq!(too_large.cause, FullCause::RowTooLarge);
    fill(&mut writer, 5);
    let mut reserved = Vec::new();
    let full = loop {
        match writer.reserve_evicting(1, &VIEW, &[], 48, hash_of_row) {
            Ok(reservation) => reserved.push(reservation),
            Err(full) => break full,
        }
    };
    assert_eq!((full.cause, writer.stats().rows), (FullCause::Memory, 0));
    assert!(reserved.len() > 5_000, "{}", reserved.len());
    reserved.into_iter().for_each(|reservation| writer.release(reservation));
    // A row of nine chunks fits a table of sixteen, and nobody's damage makes this loop.
    put_evicting(&mut writer, 1, 1, 65_000).unwrap();
    fill(&mut writer, 5);
    let stuck = writer.reserve_evicting(2, &VIEW, &key(2), 48, |_| None);
    assert!(stuck.is_err(), "no row's hash is known");
}

#[test]
fn a_class_takes_over_from_one_that_nobody_reads() {
    let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
    let reader = writer.reader();
    let old = fill(&mut writer, 5);
    // Three times as many rows as would fit, of another size.
    let new = 3 * old * 80 / 160;
    for number in 0..new {
        put_evicting(&mut writer, old + number, 1, 14).unwrap();
    }
    let (left, came) = (present(&reader, 0..old), present(&reader, old..old + new));
    println!("{left} of {old} old rows left, {came} of {new} new ones there");
    assert!(came * 160 > left * 80 * 4, "{left} old rows, {came} new ones");
}

#[test]
fn a_class_that_is_read_keeps_its_chunks() {
    let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
    let reader = writer.reader();
    let old = fill(&mut writer, 5);
    let (before, mut random) = (present(&reader, 0..old), Random(1));
    for number in 0..2 * old {
        put_evicting(&mut writer, old + number, 1, 14).unwrap();
        read(&reader, random.below(old));
    }
    let left = present(&reader, 0..old);
    println!("{left} of {before} rows left that are read");
    assert!(left * 10 > before * 9, "{left} of {before}");
}

#[test]
fn large_rows_come_and_go() {
    let mut writer = HotWriter::create_on_heap(&config(4 << 20)).unwrap();
    let reader = writer.reader();
    let mut number = 0;
    for _ in 0..2 {
        for words in [5, 60_000, 5, 9_000, 40, 65_000, 20_000] {
            let rows = if words > 8_000 { 20 } else { 150_000 / words as u64 };
            for _ in 0..rows {
                number += 1;
                put_evicting(&mut writer, number, number, words).unwrap();
                assert_eq!(read(&reader, number), Some((number, words)));
            }
        }
    }
    assert!(writer.stats().evictions > 5_000);
}

#[test]
fn a_row_goes_even_if_all_were_read() {
    let mut writer = HotWriter::create_on_heap(&config(1 << 20)).unwrap();
    let reader = writer.reader();
    let first = fill(&mut writer, 5);
    for next in first..first + 20 {
        let before = present(&reader, 0..next);
        put_evicting(&mut writer, next, 1, 5).unwrap();
        let after = present(&reader, 0..next + 1);
        assert!(after >= before, "one came and one went: {before} and then {after}");
    }
}

#[test]
fn a_scan_of_writes_leaves_what_is_read() {
    let mut writer = HotWriter::create_on_heap(&config(1 << 20)).unwrap();
    let reader = writer.reader();
    let rows = fill(&mut writer, 5);
    let read_set: Vec<u64> =
        (0..rows).filter(|&number| number % 2 == 0 && read(&reader, number).is_some()).collect();
    let (mut hits, mut reads) = (0, 0);
    for number in 0..rows * 10 {
        put_evicting(&mut writer, rows + number, 1, 5).unwrap();
        // Each is read some five times while the table is written through once.
        for at in 0..3 {
            let number = read_set[((number * 3 + at) % read_set.len() as u64) as usize];
            hits += u64::from(read(&reader, number).is_some());
            reads += 1;
        }
    }
    let rate = hits as f64 / reads as f64;
    println!("hit rate of the rows that are read, while ten tables of new rows came: {rate:.4}");
    assert!(rate > 0.98, "{rate}");
}

#[test]
fn a_sweep_evicts_what_is_not_kept_and_stops_where_it_was_told() {
    let mut writer = HotWriter::create_on_heap(&config(4 << 20)).unwrap();
    for number in 0..1_000 {
        put_evicting(&mut writer, number, number + 1, (number % 40) as usize).unwrap();
    }
    put_evicting(&mut writer, 1_000, 1_001, 9_000).unwrap();
    writer.set_complete(true);
    let reader = writer.reader();
    assert_eq!(writer.sweep(5_000, |_| true, hash_of_row), 0);
    assert!(reader.is_complete(), "nothing was evicted");
    let old = |row: &RowView<'_>| row.event_time() > 500;
    let mut seen = 0;
    writer.sweep(
        10,
        |_| {
            seen += 1;
            true
        },
        hash_of_row,
    );
    assert!(seen <= 10);
    let mut evicted = 0;
    for _ in 0..300 {
        evicted += writer.sweep(10, old, hash_of_row);
    }
    assert_eq!((evicted, present(&reader, 0..500), present(&reader, 500..1_001)), (500, 0, 501));
    assert!(!reader.is_complete());
    assert_eq!(writer.stats().evictions, 500);
}

#[test]
fn completeness_ends_with_the_first_eviction_and_is_not_mistaken_when_it_returns() {
    let mut writer = HotWriter::create_on_heap(&config(1 << 20)).unwrap();
    let reader = writer.reader();
    let before = reader.completeness();
    assert!(!reader.is_complete() && !reader.stayed_complete(before), "a new table lacks rows");
    put_evicting(&mut writer, 1, 1, 5).unwrap();
    writer.set_complete(true);
    writer.set_complete(true);
    let before = reader.completeness();
    assert!(reader.is_complete() && reader.stayed_complete(before));
    assert!(writer.remove(hash(1), &VIEW, &key(1)).unwrap());
    assert!(reader.stayed_complete(before), "a row that was removed exists nowhere");
    put_evicting(&mut writer, 1, 2, 5).unwrap();
    assert!(writer.evict(hash(1), &VIEW, &key(1)).unwrap());
    assert!(!reader.is_complete() && !reader.stayed_complete(before));
    put_evicting(&mut writer, 1, 2, 5).unwrap();
    writer.set_complete(true);
    assert!(reader.is_complete() && !reader.stayed_complete(before), "not all the time");
}
