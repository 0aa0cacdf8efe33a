//! Flipped bits and dead writers, made by hand in the map's words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::WRITE_IN_PROGRESS;
use thermae_formats::hot_layout::header::DEPTH_WORD;
use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, LINK_LANE, SEGMENT_BUCKETS, entry_position,
};
use thermae_formats::{NO_TIME, ViewId, hash};

use crate::lookup::{Lookup, Place, Probe};
use crate::map::HotConfig;
use crate::row::{NewRow, RowBuf};
use crate::writer::{Applied, HotWriter};

const SCHEMAS: [u16; 1] = [5];

fn table(rows: u64, row_hash: impl Fn(u64) -> u64) -> HotWriter {
    let config = HotConfig {
        bytes: 1 << 20,
        hash_seed: 11,
        store_id: 1,
        epoch: 1,
        shard: 0,
        shards: 1,
        domain: 0,
    };
    let mut writer = HotWriter::create_on_heap(&config).unwrap();
    for number in 0..rows {
        put(&mut writer, row_hash(number), number, 1);
    }
    writer
}

fn put(writer: &mut HotWriter, row_hash: u64, number: u64, sequence: u64) -> Applied {
    let key = number.to_le_bytes();
    let row = NewRow {
        schema_id: SCHEMAS[0],
        flags: 0,
        sequence,
        event_time: 3,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        key: &key,
        value: &key,
    };
    let reservation = writer.reserve(row.body_bytes()).unwrap();
    writer.upsert(reservation, row_hash, &SCHEMAS, &row).unwrap()
}

fn spread(number: u64) -> u64 {
    hash::row_hash(hash::entity_hash(&number.to_le_bytes(), 11), ViewId(9))
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Answer {
    Right,
    Absent,
    Corrupt,
    Busy,
}

fn ask(writer: &HotWriter, row_hash: u64, number: u64, buffer: &mut RowBuf) -> Answer {
    let key = number.to_le_bytes();
    match writer.get(row_hash, &SCHEMAS, &key, buffer) {
        Lookup::Found(row) => {
            assert_eq!((row.key(), row.value(), row.event_time()), (&key[..], &key[..], 3));
            assert_eq!((row.schema_id(), row.sequence(), row.flags()), (5, 1, 0));
            Answer::Right
        }
        Lookup::Absent => Answer::Absent,
        Lookup::Corrupt(_) => Answer::Corrupt,
        Lookup::Busy => Answer::Busy,
    }
}

fn row_position(writer: &HotWriter, row_hash: u64, number: u64) -> usize {
    let probe = Probe { table: 0, row_hash, key: &number.to_le_bytes(), schema_ids: &SCHEMAS };
    let located = writer.index.locate(&writer.map, &probe, &mut Vec::new()).unwrap().unwrap();
    entry_position(located.entry) as usize
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    // Enough rows that many are guests, and that the directory has several segments.
    let writer = table(5_000, spread);
    let words = writer.map.words();
    let mut buffer = RowBuf::default();
    let (mut corrupt, mut right) = (0, 0);
    for number in (0..5_000).step_by(if cfg!(miri) { 2_500 } else { 250 }) {
        let place = Place::find(&writer.map, spread(number)).unwrap();
        let row = row_position(&writer, spread(number), number);
        let home = place.home_bucket()..place.home_bucket() + BUCKET_WORDS;
        let alternate = place.alternate_bucket()..place.alternate_bucket() + BUCKET_WORDS;
        let touched = [DEPTH_WORD, place.cell].into_iter();
        for word in touched.chain(home).chain(alternate).chain(row..row + 6) {
            for bit in 0..64 {
                words[word].fetch_xor(1 << bit, Ordering::Relaxed);
                let answer = ask(&writer, spread(number), number, &mut buffer);
                assert_ne!(answer, Answer::Absent, "row {number}, word {word}, bit {bit}");
                corrupt += u32::from(answer == Answer::Corrupt);
                right += u32::from(answer == Answer::Right);
                let absent = ask(&writer, spread(number), u64::MAX - number, &mut buffer);
                assert_ne!(absent, Answer::Right);
                words[word].fetch_xor(1 << bit, Ordering::Relaxed);
            }
        }
        assert_eq!(ask(&writer, spread(number), number, &mut buffer), Answer::Right);
    }
    assert!(corrupt > 100 && right > 100, "{corrupt} found out, {right} harmless");
}

#[test]
fn a_flipped_bit_in_an_overflow_chain_is_found_out() {
    let writer = table(100, |_| 77);
    let words = writer.map.words();
    let place = Place::find(&writer.map, 77).unwrap();
    let mut buffer = RowBuf::default();
    let mut bucket = place.home_bucket();
    let mut buckets = 0;
    loop {
        buckets += 1;
        for word in &words[bucket..bucket + BUCKET_WORDS] {
            for bit in (0..64).step_by(3) {
                word.fetch_xor(1 << bit, Ordering::Relaxed);
                for number in [0, 50, 99] {
                    let answer = ask(&writer, 77, number, &mut buffer);
                    assert_ne!(answer, Answer::Absent, "row {number}, bucket {bucket}, bit {bit}");
                }
                word.fetch_xor(1 << bit, Ordering::Relaxed);
            }
        }
        let header = words[bucket].load(Ordering::Relaxed);
        if !thermae_formats::hot_layout::index::BucketHeader(header).is_chained() {
            break;
        }
        bucket = words[bucket + 1 + LINK_LANE].load(Ordering::Relaxed) as usize;
    }
    assert!(buckets > 10);
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let writer = table(100, |_| 77);
    let words = writer.map.words();
    let home = Place::find(&writer.map, 77).unwrap().home_bucket();
    // The link of the home bucket, and its parity, are made to name the home bucket itself.
    let link = words[home + 1 + LINK_LANE].swap(home as u64, Ordering::Relaxed);
    let header =
        thermae_formats::hot_layout::index::BucketHeader(words[home].load(Ordering::Relaxed));
    words[home].store(header.with_lane_changed(link, home as u64).0, Ordering::Relaxed);
    let answer = ask(&writer, 77, u64::MAX, &mut RowBuf::default());
    assert_eq!(answer, Answer::Corrupt);
}

#[test]
fn a_damaged_row_can_be_discarded_and_loaded_again() {
    let mut writer = table(300, spread);
    let mut buffer = RowBuf::default();
    let position = row_position(&writer, spread(7), 7);
    writer.map.words()[position + 5].fetch_xor(1, Ordering::Relaxed);
    assert_eq!(ask(&writer, spread(7), 7, &mut buffer), Answer::Corrupt);
    assert_eq!(writer.discard_corrupt(spread(8)), Ok(0));
    assert_eq!(writer.discard_corrupt(spread(7)), Ok(1));
    assert_eq!(ask(&writer, spread(7), 7, &mut buffer), Answer::Absent);
    assert!(!put(&mut writer, spread(7), 7, 1).replaced);
    assert_eq!(ask(&writer, spread(7), 7, &mut buffer), Answer::Right);
    assert_ne!(row_position(&writer, spread(7), 7), position, "the damaged slot is not used again");
    assert_eq!(writer.stats().rows, 300);
}

#[test]
fn a_dead_writer_leaves_readers_busy_or_right() {
    let writer = table(400, spread);
    let words = writer.map.words();
    let mut buffer = RowBuf::default();
    let position = row_position(&writer, spread(7), 7);
    words[position].fetch_or(WRITE_IN_PROGRESS, Ordering::Relaxed);
    words[position + 5].store(0, Ordering::Relaxed);
    assert_eq!(ask(&writer, spread(7), 7, &mut buffer), Answer::Busy);
    assert_eq!(ask(&writer, spread(8), 8, &mut buffer), Answer::Right);
    // It died while it changed a bucket: what is in it is still found, what is not cannot be told.
    let place = Place::find(&writer.map, spread(8)).unwrap();
    let open = crate::bucket::Open::new(words, place.home_bucket());
    assert_eq!(ask(&writer, spread(8), 8, &mut buffer), Answer::Right);
    assert_eq!(ask(&writer, spread(8), 1_000_000, &mut buffer), Answer::Busy);
    assert!(open.is_some());
}

#[test]
fn every_entry_stands_where_a_reader_looks_for_it() {
    let writer = table(6_000, spread);
    let words = writer.map.words();
    let mut entries = 0;
    let mut segments = std::collections::BTreeSet::new();
    for cell in 0..1usize << writer.index.depth {
        let word = words[writer.map.geometry.directory_word + cell].load(Ordering::Relaxed);
        segments.insert(thermae_formats::hot_layout::index::unseal_word(word).unwrap() as usize);
    }
    assert_eq!(segments.len(), writer.index.segments);
    for &segment in &segments {
        let mut here = 0;
        for bucket in 0..SEGMENT_BUCKETS {
            let first = segment + bucket * BUCKET_WORDS;
            let snapshot = crate::bucket::Snapshot::load(words, first).unwrap();
            assert_eq!(snapshot.standing(words, first), crate::bucket::Standing::Whole);
            here += snapshot.entries().iter().filter(|&&lane| lane != 0).count();
        }
        assert_eq!(here, writer.index.entries(&writer.map, segment));
        entries += here;
    }
    assert_eq!(entries, 6_000);
}
