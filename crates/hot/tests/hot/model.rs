//! The table against a naive model.

use std::collections::HashMap;

use thermae_hot::{HotReader, HotWriter, Lookup, RowBuf, multi_get};

use crate::support::{Random, VIEW, check, config, hash, key, probes, put};

/// Value lengths in words, from nothing to a row of several chunks.
fn length(random: &mut Random) -> usize {
    match random.below(1000) {
        0 => 8_200 + random.below(30_000) as usize,
        1..=9 => random.below(8_000) as usize,
        10..=99 => random.below(200) as usize,
        _ => random.below(8) as usize,
    }
}

fn compare(reader: &HotReader, model: &HashMap<u64, (u64, usize)>, numbers: u64) {
    let keys: Vec<[u8; 8]> = (0..numbers).map(key).collect();
    let mut buffer = RowBuf::default();
    let mut next = 0;
    multi_get(std::slice::from_ref(reader), probes(&keys, |_| 0), &mut buffer, |index, found| {
        assert_eq!(index, next, "answers come in order, each once");
        next += 1;
        let number = index as u64;
        match (found, model.get(&number)) {
            (Lookup::Found(row), Some(expected)) => assert_eq!(check(row, number), *expected),
            (Lookup::Absent, None) => {}
            (found, expected) => panic!("{number}: {found:?} where {expected:?}"),
        }
    });
    assert_eq!(next as u64, numbers);
}

fn agree(writer: &mut HotWriter, numbers: u64, operations: u64, seed: u64) {
    let mut random = Random(seed);
    let mut model = HashMap::new();
    let mut buffer = RowBuf::default();
    let reader = writer.reader();
    for sequence in 1..=operations {
        let number = random.below(numbers);
        match random.below(10) {
            0..=5 => {
                let words = length(&mut random);
                match put(writer, number, sequence, words) {
                    Ok(replaced) => {
                        let before = model.insert(number, (sequence, words));
                        assert_eq!(replaced, before.is_some());
                    }
                    Err(full) => assert!(full.needed_bytes > words as u64 * 8, "{full}"),
                }
            }
            6 | 7 => {
                let removed = writer.remove(hash(number), &VIEW, &key(number)).unwrap();
                assert_eq!(removed, model.remove(&number).is_some());
            }
            _ => match writer.get(hash(number), &VIEW, &key(number), &mut buffer) {
                Lookup::Found(row) => assert_eq!(model[&number], check(&row, number)),
                Lookup::Absent => assert!(!model.contains_key(&number)),
                other => panic!("{other:?}"),
            },
        }
        assert_eq!(writer.stats().rows, model.len() as u64);
        if sequence % (operations / 5) == 0 {
            compare(&reader, &model, numbers);
        }
    }
    let stats = writer.stats();
    let body_words: usize =
        model.values().map(|&(seq, words)| 1 + words + usize::from(seq % 3 == 0)).sum();
    assert_eq!(stats.body_bytes, body_words as u64 * 8);
    assert_eq!(stats.slot_bytes, stats.body_bytes + stats.slack_bytes + stats.rows * 32);
    assert_eq!(stats.reserved_rows, 0);
}

#[test]
fn agrees_with_a_map_on_the_heap() {
    for seed in 0..8 {
        let mut writer = HotWriter::create_on_heap(&config(8 << 20)).unwrap();
        agree(&mut writer, 300 << seed, 5_000, seed);
    }
}

#[test]
fn agrees_with_a_map_in_shared_memory() {
    let mut writer = HotWriter::create(&config(64 << 20)).unwrap();
    agree(&mut writer, 20_000, 60_000, 99);
}

#[test]
fn all_memory_comes_back_when_rows_go() {
    let mut writer = HotWriter::create_on_heap(&config(16 << 20)).unwrap();
    let empty = writer.stats();
    for round in 1..4 {
        for number in 0..3_000 {
            put(&mut writer, number, round, (number % 600) as usize).unwrap();
        }
        for number in 0..3_000 {
            assert!(writer.evict(hash(number), &VIEW, &key(number)).unwrap());
        }
        let stats = writer.stats();
        assert_eq!((stats.rows, stats.slot_bytes, stats.free_slot_bytes), (0, 0, 0));
        let index_growth = stats.index_bytes - empty.index_bytes;
        assert!(empty.free_bytes - stats.free_bytes <= index_growth.next_multiple_of(65_536));
        assert_eq!(stats.evictions, round * 3_000);
    }
}

#[test]
fn two_hundred_thousand_rows_over_two_tables() {
    let mut writers: Vec<HotWriter> =
        (0..2).map(|_| HotWriter::create(&config(24 << 20)).unwrap()).collect();
    for number in 0..200_000 {
        let words = if number % 50 == 0 { 11 } else { 5 };
        put(&mut writers[(number % 2) as usize], number, number + 1, words).unwrap();
    }
    let readers: Vec<HotReader> = writers.iter().map(HotWriter::reader).collect();
    let keys: Vec<[u8; 8]> = (0..210_000).map(key).collect();
    let mut found_rows = 0;
    let mut buffer = RowBuf::default();
    multi_get(
        &readers,
        probes(&keys, |number| (number % 2) as u32),
        &mut buffer,
        |index, found| match found {
            Lookup::Found(row) => {
                assert_eq!(check(row, index as u64).0, index as u64 + 1);
                found_rows += 1;
            }
            Lookup::Absent => assert!(index >= 200_000, "{index}"),
            other => panic!("{index}: {other:?}"),
        },
    );
    assert_eq!(found_rows, 200_000);
    for writer in &writers {
        let stats = writer.stats();
        assert_eq!((stats.rows, stats.overflow_buckets), (100_000, 0));
        assert!(stats.index_load > 0.78, "{stats:?}");
    }
}
