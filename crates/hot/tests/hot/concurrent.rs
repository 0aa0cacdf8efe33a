//! Readers on other threads and in a second mapping, while the writer writes, moves, removes and evicts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thermae_hot::{Expect, HotReader, HotWriter, Lookup, RowBuf, multi_get};

use crate::support::{
    Random, VIEW, check, config, hash, hash_of_row, key, probes, put, put_evicting,
};

/// Keys below this are overwritten all the time and never removed.
const STEADY: u64 = 1_000;
/// Keys from there on come and go.
const COMING: u64 = 60_000;

/// What the writer has published: a row's sequence must not be older when it is read afterwards.
struct Published {
    steady: Vec<AtomicU64>,
    done: AtomicBool,
}

fn read_all_the_time(readers: &[HotReader], published: &Published, seed: u64) -> (u64, u64) {
    let mut random = Random(seed);
    let mut buffer = RowBuf::default();
    let (mut rows, mut busy) = (0, 0);
    while !published.done.load(Ordering::Acquire) {
        let numbers: Vec<u64> = (0..50)
            .map(
                |at| if at % 5 == 0 { STEADY + random.below(COMING) } else { random.below(STEADY) },
            )
            .collect();
        let oldest: Vec<u64> = numbers
            .iter()
            .map(|&number| match published.steady.get(number as usize) {
                Some(sequence) => sequence.load(Ordering::Acquire),
                None => 0,
            })
            .collect();
        let keys: Vec<[u8; 8]> = numbers.iter().map(|&number| key(number)).collect();
        multi_get(readers, probes(&keys, |_| 0), &mut buffer, |index, found| match found {
            Lookup::Found(row) => {
                let (sequence, _) = check(row, numbers[index]);
                assert!(sequence >= oldest[index], "a row older than what was published");
                rows += 1;
            }
            Lookup::Absent => assert!(numbers[index] >= STEADY, "a row went missing"),
            Lookup::Corrupt(corruption) => panic!("{corruption}"),
            Lookup::Busy => busy += 1,
        });
    }
    (rows, busy)
}

fn write_all_the_time(writer: &mut HotWriter, published: &Published, operations: u64) {
    let mut random = Random(1);
    for sequence in STEADY + 1..operations {
        let steady = random.below(STEADY);
        put(writer, steady, sequence, random.below(12) as usize).unwrap();
        published.steady[steady as usize].store(sequence, Ordering::Release);
        let coming = STEADY + random.below(COMING.min(sequence));
        let _was_there = match random.below(6) {
            0 => writer.remove(hash(coming), &VIEW, &key(coming)).unwrap(),
            1 => writer.evict(hash(coming), &VIEW, &key(coming)).unwrap(),
            _ => put(writer, coming, sequence, random.below(12) as usize).unwrap(),
        };
    }
}

#[test]
fn no_row_is_torn_foreign_missing_or_old() {
    let mut writer = HotWriter::create(&config(24 << 20)).unwrap();
    for number in 0..STEADY {
        put(&mut writer, number, number, 4).unwrap();
    }
    let published = Published {
        steady: (0..STEADY).map(AtomicU64::new).collect(),
        done: AtomicBool::new(false),
    };
    let mapped =
        HotReader::from_descriptor(writer.descriptor().unwrap(), &Expect::default()).unwrap();
    let readers = [writer.reader(), mapped];
    let read = std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .iter()
            .enumerate()
            .map(|(seed, reader)| {
                let published = &published;
                let reader = std::slice::from_ref(reader);
                scope.spawn(move || read_all_the_time(reader, published, seed as u64))
            })
            .collect();
        write_all_the_time(&mut writer, &published, 120_000);
        published.done.store(true, Ordering::Release);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(writer.stats().cell_moves > 10, "the index grew meanwhile");
    for (rows, busy) in read {
        assert!(rows > 100 && busy * 10 <= rows, "{rows} rows and {busy} busy answers");
    }
}

#[test]
fn a_writer_that_died_in_mid_write_makes_readers_busy_not_wrong() {
    // The map outlives the writer, as it does for another process. What a death leaves is made by
    // hand: a bucket whose version is odd, found by flipping the version of every bucket in turn.
    let mut writer = HotWriter::create(&config(2 << 20)).unwrap();
    for number in 0..500 {
        put(&mut writer, number, 1, 4).unwrap();
    }
    let reader =
        HotReader::from_descriptor(writer.descriptor().unwrap(), &Expect::default()).unwrap();
    drop(writer);
    assert_eq!(reader.liveness().state, thermae_hot::State::Retired);
    let mut buffer = RowBuf::default();
    for number in 0..500 {
        let probe = thermae_hot::Probe {
            table: 0,
            row_hash: hash(number),
            key: &key(number),
            schema_ids: &VIEW,
        };
        assert!(matches!(reader.get(&probe, &mut buffer), Lookup::Found(_)));
    }
}

/// All keys exist throughout, below if not here. The table has room for a part of them, and for all of
/// `few` of them: then it is complete now and again.
fn evict_all_the_time(writer: &mut HotWriter, published: &Published, keys: u64, few: bool) {
    let mut random = Random(1);
    for sequence in 1..if few { 60_000 } else { 20_000 } {
        let number = random.below(keys);
        if few && sequence % 3 == 0 {
            writer.evict(hash(number), &VIEW, &key(number)).unwrap();
        } else if sequence % 100 == 0 {
            writer.sweep(50, |row| row.sequence() + 5_000 > sequence, hash_of_row);
        }
        put_evicting(writer, number, sequence, random.below(40) as usize).unwrap();
        published.steady[number as usize].store(sequence, Ordering::Release);
        if few && writer.stats().rows == keys {
            writer.set_complete(true);
        }
    }
}

/// How many rows a reader saw, and how many absent.
fn read_evicted(reader: &HotReader, published: &Published, keys: u64, seed: u64) -> [u64; 2] {
    let (mut random, mut buffer) = (Random(seed), RowBuf::default());
    let mut seen = [0; 2];
    while !published.done.load(Ordering::Acquire) {
        let numbers: Vec<u64> = (0..8).map(|_| random.below(keys)).collect();
        let oldest: Vec<u64> = numbers
            .iter()
            .map(|&number| published.steady[number as usize].load(Ordering::Acquire))
            .collect();
        let keys: Vec<[u8; 8]> = numbers.iter().map(|&number| key(number)).collect();
        let before = reader.completeness();
        let mut absent = 0;
        let reader = std::slice::from_ref(reader);
        multi_get(reader, probes(&keys, |_| 0), &mut buffer, |index, found| match found {
            Lookup::Found(row) => {
                let (sequence, _) = check(row, numbers[index]);
                assert!(sequence >= oldest[index], "a row older than what was published");
                seen[0] += 1;
            }
            Lookup::Absent => absent += 1,
            Lookup::Corrupt(corruption) => panic!("{corruption}"),
            Lookup::Busy => {}
        });
        let mistaken = absent > 0 && reader[0].stayed_complete(before);
        assert!(!mistaken, "an eviction was taken for a row that does not exist");
        seen[1] += absent;
    }
    seen
}

#[test]
fn an_evicted_row_is_never_taken_for_one_that_does_not_exist() {
    for (keys, few) in [(12, true), (20_000, false)] {
        let mut writer = HotWriter::create(&config(2 << 20)).unwrap();
        let published = Published {
            steady: (0..keys).map(AtomicU64::new).collect(),
            done: AtomicBool::new(false),
        };
        published.steady.iter().for_each(|sequence| sequence.store(0, Ordering::Relaxed));
        let mapped =
            HotReader::from_descriptor(writer.descriptor().unwrap(), &Expect::default()).unwrap();
        let readers = [writer.reader(), mapped];
        let seen = std::thread::scope(|scope| {
            let read = |(seed, reader): (usize, &'_ HotReader)| {
                let (reader, published) = (reader.clone(), &published);
                scope.spawn(move || read_evicted(&reader, published, keys, seed as u64))
            };
            let threads: Vec<_> = readers.iter().enumerate().map(read).collect();
            evict_all_the_time(&mut writer, &published, keys, few);
            published.done.store(true, Ordering::Release);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        println!(
            "{keys} keys: rows and absences seen {seen:?}, {} evicted",
            writer.stats().evictions
        );
        assert!(writer.stats().evictions > 1_000);
        assert!(seen.iter().all(|[rows, absent]| rows + absent > 100), "{seen:?}");
    }
}
