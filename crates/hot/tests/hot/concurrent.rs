//! Readers on other threads and in a second mapping, while the writer writes, moves, removes and evicts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thermae_hot::{Expect, HotReader, HotWriter, Lookup, RowBuf, multi_get};

use crate::support::{Random, VIEW, check, config, hash, key, probes, put};

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
