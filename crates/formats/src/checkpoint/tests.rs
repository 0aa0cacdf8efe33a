#![allow(clippy::unwrap_used)]

use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::golden;

fn example() -> Checkpoint {
    let schema = |schema_id, view_id, json: &str| CheckpointSchema {
        schema_id: SchemaId(schema_id),
        view_id: ViewId(view_id),
        json: json.as_bytes().to_vec(),
    };
    let view = |view_id, rows, bytes| CheckpointView { view_id: ViewId(view_id), rows, bytes };
    let used = CheckpointPartition {
        number: 3,
        applied: 1000,
        watermark: Some(1_357_016_400_000_000),
        rows_digest: 0x0123_4567_89AB_CDEF,
        marks: vec![(4, 8), (7, u64::MAX)],
        views: vec![view(1, 40, 4000), view(2, -1, -72)],
        erases: Vec::new(),
    };
    let erase = |sequence, key: &str| CheckpointErase {
        view_id: ViewId(1),
        sequence,
        key: key.as_bytes().to_vec(),
    };
    let unused = CheckpointPartition {
        number: 5,
        applied: 0,
        watermark: None,
        rows_digest: 0,
        marks: Vec::new(),
        views: Vec::new(),
        erases: Vec::new(),
    };
    let used = CheckpointPartition { erases: vec![erase(7, "a key"), erase(1000, "")], ..used };
    Checkpoint {
        store_id: *b"0123456789abcdef",
        file_id: 9,
        generation: 3,
        catalogue: vec![schema(2, 1, "{\"project\":\"p\"}"), schema(1, 1, "{}")],
        partitions: vec![used, unused],
    }
}

/// The same with no erase pending.
fn plain() -> Checkpoint {
    let mut checkpoint = example();
    checkpoint.partitions.iter_mut().for_each(|partition| partition.erases.clear());
    checkpoint
}

fn sign(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_last_chunk_mut::<8>().unwrap();
    *checksum = xxh3_64(body).to_le_bytes();
}

#[test]
fn round_trips_and_every_flipped_bit_and_cut_is_noticed() {
    let (bytes, checksum) = example().to_bytes();
    assert_eq!(Checkpoint::parse(&bytes), Ok((example(), checksum)));
    assert_eq!(bytes[bytes.len() - 8..], checksum.to_le_bytes());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            assert!(Checkpoint::parse(&broken).is_err(), "byte {at} bit {bit}");
        }
        let mut cut = bytes[..at].to_vec();
        assert!(Checkpoint::parse(&cut).is_err(), "cut at {at}");
        if at >= 8 {
            sign(&mut cut);
            assert!(Checkpoint::parse(&cut).is_err(), "cut at {at} and signed");
        }
    }
    let mut longer = [&bytes[..], &[0]].concat();
    sign(&mut longer);
    assert!(matches!(Checkpoint::parse(&longer), Err(CheckpointError::Length { .. })));
}

#[test]
fn impossible_fields_are_refused_though_the_checksum_holds() {
    let broken: [fn(&mut Checkpoint); 14] = [
        |c| c.file_id = 0,
        |c| c.partitions.swap(0, 1),
        |c| c.partitions[1].number = 3,
        |c| c.partitions[1].number = 4096,
        |c| c.partitions[0].applied = 1 << 48,
        |c| c.partitions[0].marks.swap(0, 1),
        |c| c.partitions[0].marks[0].0 = 0,
        |c| c.partitions[0].views.swap(0, 1),
        |c| c.partitions[0].views[1].view_id = ViewId(65_536),
        |c| c.catalogue[1].schema_id = SchemaId(2),
        |c| c.partitions[0].erases.swap(0, 1),
        |c| c.partitions[0].erases[1].sequence = 1001,
        |c| c.partitions[0].erases[1].view_id = ViewId(65_536),
        |c| c.partitions[0].erases[1].key = vec![0; 65_536],
    ];
    for (case, breaks) in broken.iter().enumerate() {
        let mut checkpoint = example();
        breaks(&mut checkpoint);
        let parsed = Checkpoint::parse(&checkpoint.to_bytes().0);
        assert!(matches!(parsed, Err(CheckpointError::Field(_))), "case {case}: {parsed:?}");
    }
    // A watermark without its flag, and a schema id beyond its width.
    let partition = 48 + 12 + 15 + 12 + 2;
    for (at, byte) in [(partition + 2, 0), (partition + 2, 2), (50, 1)] {
        let mut bytes = example().to_bytes().0;
        bytes[at] = byte;
        sign(&mut bytes);
        assert!(matches!(Checkpoint::parse(&bytes), Err(CheckpointError::Field(_))), "byte {at}");
    }
}

#[test]
fn a_huge_count_is_refused_by_length_without_allocating() {
    let partition = 48 + 12 + 15 + 12 + 2;
    for (at, bytes_of) in [(10, 2), (12, 4), (partition + 4, 4), (partition + 8, 8)] {
        let mut bytes = example().to_bytes().0;
        bytes[at..at + bytes_of].fill(0xFF);
        sign(&mut bytes);
        let parsed = Checkpoint::parse(&bytes);
        assert!(matches!(parsed, Err(CheckpointError::Length { .. } | CheckpointError::Field(_))));
    }
}

#[test]
fn the_golden_file_holds() {
    golden::check("checkpoint.txt", &plain().to_bytes().0);
    golden::check("checkpoint-2.txt", &example().to_bytes().0);
}

#[test]
fn a_checkpoint_has_the_version_that_it_needs_and_no_other() {
    let (bytes, checksum) = plain().to_bytes();
    assert_eq!((bytes[8], Checkpoint::parse(&bytes)), (1, Ok((plain(), checksum))));
    let mut newer = [&bytes[..bytes.len() - 8], &[0; 16], &bytes[bytes.len() - 8..]].concat();
    // The second partition's count of erases lies at the end, the first one's before that partition.
    let second = newer.len() - 8 - 16 - 40;
    newer.copy_within(second..second + 40, second + 8);
    newer[second..second + 8].fill(0);
    newer[8] = 2;
    sign(&mut newer);
    assert_eq!(Checkpoint::parse(&newer), Err(CheckpointError::Field("version")));
}

#[test]
fn newer_versions_are_told_from_damage() {
    let mut bytes = example().to_bytes().0;
    bytes[8] = 3;
    assert_eq!(Checkpoint::parse(&bytes), Err(CheckpointError::NewerVersion(3)));
}
