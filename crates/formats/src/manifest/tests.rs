#![allow(clippy::unwrap_used)]

use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::golden;
use crate::table::TableKind;

const STORE_ID: [u8; 16] = *b"0123456789abcdef";

fn sealed(epoch: u32, shard: u16) -> SealedLog {
    SealedLog {
        epoch,
        shard,
        start: LogStart::first(&STORE_ID, epoch, shard, 0xA0 + u64::from(shard)),
        segments: 2,
        end_offset: 12_288,
        batches: 7,
        records: 40,
        chain: 0x0123_4567_89AB_CDEF,
    }
}

fn current(shard: u16) -> CurrentLog {
    CurrentLog { shard, start: LogStart::first(&STORE_ID, 3, shard, 0x51 + u64::from(shard)) }
}

fn table(file_id: u64, kind: TableKind) -> TableRef {
    TableRef {
        file_id,
        kind,
        bytes: 8192,
        rows: 30,
        tombstones: 2,
        min_event_time: -5,
        max_event_time: 1_357_016_400_000_000,
        checksum: 0xC0 + file_id,
    }
}

/// Two shards with trees that share a table, logs that begin later, and logs that do not.
fn example() -> Manifest {
    let later = LogStart { segment: 4, salt: 0x61, batches: 90, records: 800, chain: 0x77 };
    let tree = |shard, latest: &[u64], history: &[u64], checkpoint| Tree {
        shard,
        latest: latest.to_vec(),
        history: history.to_vec(),
        checkpoint,
        checkpoint_checksum: checkpoint * 3,
    };
    Manifest {
        store_id: STORE_ID,
        hash_seed: 0x1111_2222_3333_4444,
        partitions: 64,
        segment_bytes: 64 << 20,
        epoch: 3,
        covered_epoch: 1,
        current: vec![CurrentLog { shard: 0, start: later }, current(1)],
        sealed: vec![
            SealedLog {
                start: LogStart { segment: 1, batches: 3, ..later },
                records: 900,
                ..sealed(2, 0)
            },
            sealed(2, 1),
        ],
        next_file_id: 12,
        tables: vec![
            table(3, TableKind::Latest),
            table(4, TableKind::History),
            table(9, TableKind::Latest),
        ],
        trees: vec![tree(0, &[9, 3], &[4], 11), tree(1, &[3], &[], 0)],
    }
}

fn sign(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_last_chunk_mut::<8>().unwrap();
    *checksum = xxh3_64(body).to_le_bytes();
}

#[test]
fn round_trips_and_every_flipped_bit_and_cut_is_noticed() {
    let bytes = example().to_bytes();
    assert_eq!(Manifest::parse(&bytes), Ok(example()));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            assert!(Manifest::parse(&broken).is_err(), "byte {at} bit {bit}");
        }
        assert!(Manifest::parse(&bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Manifest::parse(&longer).is_err());
}

#[test]
fn version_1_is_read_as_logs_from_their_beginning_and_no_trees() {
    let bytes = golden::undump(include_str!("../../golden/log-manifest-1.txt"));
    let log = SealedLog { start: LogStart::first(&STORE_ID, 1, 1, 0x42), ..sealed(1, 1) };
    let start = LogStart::first(&STORE_ID, 2, 0, 0x51);
    let expected = Manifest {
        epoch: 2,
        covered_epoch: 0,
        current: vec![CurrentLog { shard: 0, start }],
        sealed: vec![log],
        next_file_id: 1,
        tables: Vec::new(),
        trees: Vec::new(),
        ..example()
    };
    assert_eq!(Manifest::parse(&bytes), Ok(expected));
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        assert!(Manifest::parse(&broken).is_err(), "byte {at}");
        assert!(Manifest::parse(&bytes[..at]).is_err(), "cut at {at}");
    }
    // Its reserved space is zero in every manifest.
    for at in [58, 60, 78, 84] {
        let mut broken = bytes.clone();
        broken[at] = 1;
        sign(&mut broken);
        assert_eq!(Manifest::parse(&broken), Err(ManifestError::Field("reserved space")), "{at}");
    }
}

#[test]
fn an_epoch_that_is_closed_may_have_trees_of_any_number_of_shards() {
    let closed =
        Manifest { current: Vec::new(), covered_epoch: 3, sealed: Vec::new(), ..example() };
    assert_eq!(Manifest::parse(&closed.to_bytes()), Ok(closed));
    let none = Manifest { trees: Vec::new(), tables: Vec::new(), ..example() };
    assert_eq!(Manifest::parse(&none.to_bytes()), Ok(none));
}

#[test]
fn impossible_fields_are_refused_though_the_checksum_holds() {
    let broken: [fn(&mut Manifest); 29] = [
        |m| m.partitions = 0,
        |m| m.partitions = 4097,
        |m| m.segment_bytes = 5000,
        |m| m.current.swap(0, 1),
        |m| m.current[1].start.batches = 1,
        |m| m.current[1].start.chain ^= 1,
        |m| m.current[0].start.batches = 3,
        |m| m.sealed.swap(0, 1),
        |m| m.sealed[1].epoch = 3,
        |m| m.sealed[0].start.segment = 2,
        |m| m.sealed[0].start.batches = 8,
        |m| m.sealed[0].start.records = 901,
        |m| m.covered_epoch = 3,
        |m| m.next_file_id = 0,
        |m| m.next_file_id = 9,
        |m| m.next_file_id = 11,
        |m| m.tables.swap(0, 1),
        |m| m.tables[0].bytes = 8191,
        |m| m.tables[0].tombstones = 31,
        |m| m.tables[0].min_event_time = i64::MAX,
        |m| m.tables[0].file_id = 0,
        |m| m.trees.swap(0, 1),
        |m| m.trees[0].latest.push(9),
        |m| m.trees[0].latest.push(10),
        |m| m.trees[0].latest.push(4),
        |m| m.trees[0].history.clear(),
        |m| m.trees[1].checkpoint_checksum = 1,
        |m| m.trees[1].checkpoint = 11,
        |m| m.current.truncate(1),
    ];
    for (case, breaks) in broken.iter().enumerate() {
        let mut manifest = example();
        breaks(&mut manifest);
        let parsed = Manifest::parse(&manifest.to_bytes());
        assert!(matches!(parsed, Err(ManifestError::Field(_))), "case {case}: {parsed:?}");
    }
    // What no field holds: the kind of a table, the shares of the trees in the ids.
    for (at, byte) in [(80 + 2 * 40 + 2 * 80 + 8, 3), (80 + 80 + 160 + 192 + 8, 3)] {
        let mut bytes = example().to_bytes();
        bytes[at] = byte;
        sign(&mut bytes);
        assert!(matches!(Manifest::parse(&bytes), Err(ManifestError::Field(_))), "byte {at}");
    }
}

#[test]
fn a_huge_count_is_refused_by_length_without_allocating() {
    for at in [56, 60, 64, 68, 72] {
        let mut bytes = example().to_bytes();
        bytes[at..at + 4].fill(0xFF);
        sign(&mut bytes);
        assert!(matches!(Manifest::parse(&bytes), Err(ManifestError::Length { .. })), "{at}");
    }
}

#[test]
fn the_golden_file_holds() {
    golden::check("log-manifest-2.txt", &example().to_bytes());
}
