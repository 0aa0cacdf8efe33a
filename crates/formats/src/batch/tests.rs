#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{NO_TIME, SchemaId, golden};

const OFFSET: u64 = 8192;

fn segment() -> SegmentHeader {
    SegmentHeader {
        store_id: *b"0123456789abcdef",
        epoch: 3,
        shard: 1,
        number: 2,
        salt: 0x1122_3344_5566_7788,
        segment_bytes: 1 << 20,
    }
}

fn records() -> Vec<Record<'static>> {
    let put = Record {
        kind: RecordKind::Put,
        flags: 2,
        schema_id: SchemaId(7),
        partition: 63,
        sequence: MAX_SEQUENCE,
        event_time: 1_700_000_000_000_000,
        created_time: NO_TIME,
        producer_id: 0,
        producer_sequence: 0,
        expire_at: NO_TIME,
        key: b"user-1",
        value: b"\x01\x02\x03\x04",
    };
    vec![
        put,
        Record {
            kind: RecordKind::Tombstone,
            flags: 1,
            created_time: 5,
            producer_id: 9,
            producer_sequence: 10,
            value: b"",
            ..put
        },
        Record { expire_at: -1, producer_sequence: 1, key: b"", ..put },
        Record { kind: RecordKind::Catalogue, key: b"", value: b"{}", ..put },
        Record { kind: RecordKind::Mark, producer_id: u64::MAX, key: b"", value: b"", ..put },
    ]
}

fn seal() -> (SegmentHeader, Seal<'static>) {
    static SEGMENT: std::sync::OnceLock<SegmentHeader> = std::sync::OnceLock::new();
    let segment = SEGMENT.get_or_init(segment);
    let seal = Seal {
        segment,
        offset: OFFSET,
        flags: 0,
        number: 12,
        horizon: 10,
        first_record: 100,
        previous: 0xAABB_CCDD_EEFF_0011,
    };
    (*segment, seal)
}

fn batch_of(records: &[Record<'_>]) -> (Vec<u8>, Sealed) {
    let mut out = vec![0xEE; 64 << 10];
    let mut builder = BatchBuilder::new();
    for record in records {
        let expected = builder.bytes_with(record);
        builder.push(&mut out, record).unwrap();
        assert_eq!(builder.batch_bytes(), expected);
    }
    let sealed = builder.seal(&mut out, &seal().1).unwrap();
    out.truncate(sealed.batch_bytes);
    (out, sealed)
}

/// Makes both checksums of a changed batch hold again.
fn sign(bytes: &mut [u8]) {
    let key = batch_key(&segment(), OFFSET);
    let body = xxh3_64_with_seed(&bytes[BATCH_HEADER_BYTES..], key);
    bytes[80..88].copy_from_slice(&body.to_le_bytes());
    let header = xxh3_64_with_seed(&bytes[..HEADER_CHECKED], key);
    bytes[88..96].copy_from_slice(&header.to_le_bytes());
}

#[test]
fn records_come_back_as_they_were() {
    let (bytes, sealed) = batch_of(&records());
    let view = BatchView::parse(Unchecked::new(&bytes), &segment(), OFFSET).unwrap();
    assert_eq!(view.records().collect::<Vec<_>>(), records());
    let header = view.header();
    assert_eq!((header.number, header.horizon, header.first_record), (12, 10, 100));
    assert_eq!((header.records, header.hash), (5, sealed.hash));
    assert_eq!((header.previous, view.next_salt()), (0xAABB_CCDD_EEFF_0011, None));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (bytes, _) = batch_of(&records());
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        assert!(
            BatchView::parse(Unchecked::new(&broken), &segment(), OFFSET).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn every_cut_is_noticed() {
    let (bytes, _) = batch_of(&records());
    for len in 0..bytes.len() {
        let cut = BatchView::parse(Unchecked::new(&bytes[..len]), &segment(), OFFSET);
        assert!(matches!(cut, Err(BatchError::Short { .. })), "{len}: {cut:?}");
    }
}

#[test]
fn a_batch_verifies_at_its_own_place_only() {
    let (bytes, _) = batch_of(&records());
    let parse = |segment: &SegmentHeader, offset| {
        BatchView::parse(Unchecked::new(&bytes), segment, offset).map(|_| ())
    };
    assert_eq!(parse(&segment(), OFFSET), Ok(()));
    let elsewhere: [fn(&mut SegmentHeader); 5] = [
        |s| s.store_id[15] ^= 1,
        |s| s.epoch += 1,
        |s| s.shard += 1,
        |s| s.number += 1,
        |s| s.salt ^= 1,
    ];
    for moves in elsewhere {
        let mut other = segment();
        moves(&mut other);
        assert_eq!(parse(&other, OFFSET), Err(BatchError::HeaderChecksum));
    }
    assert_eq!(parse(&segment(), OFFSET + 4096), Err(BatchError::HeaderChecksum));
}

#[test]
fn blank_foreign_and_newer_bytes_are_told_apart() {
    let (mut bytes, _) = batch_of(&records());
    let parse = |bytes: &[u8]| {
        BatchView::parse(Unchecked::new(bytes), &segment(), OFFSET).map(|_| ()).unwrap_err()
    };
    assert_eq!(parse(&[0; 4096]), BatchError::Blank);
    assert_eq!(parse(&[1; 4096]), BatchError::Magic);
    bytes[8] = 9;
    assert_eq!(parse(&bytes), BatchError::HeaderChecksum);
    sign(&mut bytes);
    assert_eq!(parse(&bytes), BatchError::NewerVersion(9));
}

#[test]
fn a_verified_header_still_cannot_lie_about_its_records() {
    let (bytes, _) = batch_of(&records());
    // (offset in the batch, byte): each with both checksums made to hold again.
    let lies = [
        (56, 4_u8),       // one record less than there are
        (56, 6),          // one more
        (96, 5),          // a kind that is none
        (96 + 2, 4),      // presence of what is not defined
        (96 + 3, 1),      // reserved
        (96 + 10, 1),     // reserved
        (96 + 12, 0xFF),  // a value that ends behind the payload
        (96 + 16 + 6, 1), // a sequence above 48 bits
    ];
    for (at, byte) in lies {
        let mut lying = bytes.clone();
        lying[at] = byte;
        sign(&mut lying);
        let parsed = BatchView::parse(Unchecked::new(&lying), &segment(), OFFSET).map(|_| ());
        assert!(matches!(parsed, Err(BatchError::Record { .. })), "{at}: {parsed:?}");
    }
}

#[test]
fn a_verified_header_cannot_lie_about_itself() {
    let (bytes, _) = batch_of(&records());
    let lies = [
        (10, 9_u8),
        (12, 9),
        (16, 9),
        (20, 4),
        (24, 9),
        (32, 0),
        (40, 12),
        (60, 0),
        (64, 1),
        (68, 1),
        (67, 0xFF),
    ];
    for (at, byte) in lies {
        let mut lying = bytes.clone();
        lying[at] = byte;
        if at == 60 {
            lying[60..64].fill(0xFF);
        }
        sign(&mut lying);
        let parsed = BatchView::parse(Unchecked::new(&lying), &segment(), OFFSET).map(|_| ());
        assert!(matches!(parsed, Err(BatchError::Header(_))), "{at}: {parsed:?}");
    }
}

#[test]
fn limits_are_refused_before_anything_changes() {
    let record = records()[0];
    let mut builder = BatchBuilder::new();
    let mut out = vec![0; 4096];
    let key = vec![0; MAX_KEY_BYTES + 1];
    assert_eq!(
        builder.push(&mut out, &Record { key: &key, ..record }),
        Err(BuildError::KeyTooLong(MAX_KEY_BYTES + 1))
    );
    let over = Record { sequence: MAX_SEQUENCE + 1, ..record };
    assert_eq!(builder.push(&mut out, &over), Err(BuildError::Sequence(MAX_SEQUENCE + 1)));
    let value = vec![0; 4096];
    let long = Record { value: &value, ..record };
    assert_eq!(
        builder.push(&mut out, &long),
        Err(BuildError::Buffer { needed: 8192, found: 4096 })
    );
    let value = vec![0; MAX_BATCH_BYTES];
    let huge = Record { value: &value, ..record };
    assert!(matches!(builder.push(&mut out, &huge), Err(BuildError::BatchTooLarge(_))));
    assert_eq!((builder.records(), builder.batch_bytes()), (0, 4096));
    builder.push(&mut out, &record).unwrap();
}

#[test]
fn a_roll_names_the_next_salt_and_has_no_records() {
    let mut out = vec![0xEE; 4096];
    let builder = BatchBuilder::roll(&mut out, 0x77).unwrap();
    builder.seal(&mut out, &Seal { flags: ROLL, ..seal().1 }).unwrap();
    let view = BatchView::parse(Unchecked::new(&out), &segment(), OFFSET).unwrap();
    assert_eq!((view.next_salt(), view.records().count()), (Some(0x77), 0));
    assert!(BatchBuilder::roll(&mut [0; 100], 1).is_err());
}

#[test]
fn golden_files_hold() {
    golden::check("log-batch.txt", &batch_of(&records()).0);
    golden::check("log-batch-empty.txt", &batch_of(&[]).0);
    golden::check("log-segment.txt", &segment().to_bytes());
}

fn erase() -> Record<'static> {
    let put = records()[0];
    let (kind, event_time) = (RecordKind::Erase, NO_TIME);
    Record { kind, flags: 0, event_time, value: b"", ..put }
}

#[test]
fn a_batch_with_an_erase_is_of_a_version_that_older_builds_refuse_by_name() {
    let (plain, _) = batch_of(&records());
    let (mut bytes, _) = batch_of(&[records()[0], erase()]);
    assert_eq!((plain[8], bytes[8]), (1, 2));
    golden::check("log-batch-2.txt", &bytes);
    let view = BatchView::parse(Unchecked::new(&bytes), &segment(), OFFSET).unwrap();
    assert_eq!(view.records().collect::<Vec<_>>(), [records()[0], erase()]);
    // The version says what there is, in both directions.
    for (mut wrong, version) in [(plain, 2), (bytes.clone(), 1)] {
        wrong[8] = version;
        sign(&mut wrong);
        let parsed = BatchView::parse(Unchecked::new(&wrong), &segment(), OFFSET);
        assert_eq!(parsed.unwrap_err(), BatchError::Header("version"));
    }
    bytes[8] = 3;
    sign(&mut bytes);
    let parsed = BatchView::parse(Unchecked::new(&bytes), &segment(), OFFSET);
    assert_eq!(parsed.unwrap_err(), BatchError::NewerVersion(3));
}

#[test]
fn an_erase_has_a_key_and_nothing_else() {
    let broken = [
        Record { value: b"v", ..erase() },
        Record { event_time: 0, ..erase() },
        Record { created_time: 0, ..erase() },
        Record { expire_at: 0, ..erase() },
        Record { flags: 1, ..erase() },
    ];
    for record in broken {
        let (bytes, _) = batch_of(&[record]);
        let parsed = BatchView::parse(Unchecked::new(&bytes), &segment(), OFFSET);
        let source = RecordError::Field("erase");
        assert_eq!(parsed.unwrap_err(), BatchError::Record { index: 0, source });
    }
}
