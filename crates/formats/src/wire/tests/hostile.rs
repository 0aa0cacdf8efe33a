//! Bytes that must be refused, and must neither panic nor make a decoder allocate.

use super::samples;
use super::*;

const MAX: u32 = DEFAULT_MAX_FRAME_BYTES;

#[test]
fn every_flipped_bit_of_a_frame_is_noticed() {
    for (_, name, frame) in samples::all() {
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut flipped = frame.clone();
                flipped[at] ^= 1 << bit;
                // A longer length waits for bytes that never come; everything else is an error.
                let found = split_frame(&flipped, MAX);
                assert!(!matches!(found, Ok(Some(_))), "{name}: bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn a_cut_frame_waits_for_its_rest() {
    for (_, name, frame) in samples::all() {
        for len in 0..frame.len() {
            assert_eq!(split_frame(&frame[..len], MAX), Ok(None), "{name} cut to {len}");
        }
        let mut two = frame.clone();
        two.extend_from_slice(&frame);
        let (first, rest) = split_frame(&two, MAX).unwrap().unwrap();
        assert_eq!((first.bytes, rest), (&frame[..], &frame[..]), "{name}");
    }
}

#[test]
fn a_frame_beyond_the_limit_is_refused_before_it_has_come() {
    let mut head = samples::columns();
    head.truncate(HEADER_BYTES);
    head[..4].copy_from_slice(&4097_u32.to_le_bytes());
    let refused = WireError::FrameSize { frame_bytes: 4097, max_bytes: 4096 };
    assert_eq!(split_frame(&head, 4096), Err(refused));
    head[..4].copy_from_slice(&23_u32.to_le_bytes());
    let refused = WireError::FrameSize { frame_bytes: 23, max_bytes: 4096 };
    assert_eq!(split_frame(&head, 4096), Err(refused));
}

#[test]
fn a_changed_payload_is_decoded_or_refused_never_more() {
    for (_, _, frame) in samples::all() {
        let payload = &frame[HEADER_BYTES..];
        for at in 0..payload.len() {
            for value in [0, 1, 2, 0x7F, 0x80, 0xFF, payload[at] ^ 1, payload[at] ^ 64] {
                let mut changed = payload.to_vec();
                changed[at] = value;
                let changed = reseal(&frame, &changed);
                let (whole, _) = split_frame(&changed, MAX).unwrap().unwrap();
                let _ = decode_any(&whole);
            }
        }
    }
}

#[test]
fn a_shorter_or_longer_payload_is_refused() {
    for (_, name, frame) in samples::all() {
        let payload = &frame[HEADER_BYTES..];
        let json = matches!(name, "describe" | "apply" | "stats" | "backup" | "json");
        for len in (0..payload.len()).filter(|_| !json) {
            let cut = reseal(&frame, &payload[..len]);
            let (whole, _) = split_frame(&cut, MAX).unwrap().unwrap();
            assert!(decode_any(&whole).is_err(), "{name} was accepted with {len} bytes of payload");
        }
        for extra in [1, 2, 8, 64].into_iter().filter(|_| !json) {
            let mut longer = payload.to_vec();
            longer.resize(payload.len() + extra, 0);
            let longer = reseal(&frame, &longer);
            let (whole, _) = split_frame(&longer, MAX).unwrap().unwrap();
            assert!(decode_any(&whole).is_err(), "{name} was accepted with {extra} bytes more");
        }
    }
}

#[test]
fn lying_counts_are_refused_before_anything_is_sized_by_them() {
    let mut frame = Vec::new();
    let start = begin_frame(&mut frame, Kind::Mapped, 1);
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&u32::MAX.to_le_bytes());
    finish_frame(&mut frame, start, MAX).unwrap();
    let (whole, _) = split_frame(&frame, MAX).unwrap().unwrap();
    assert!(matches!(MapReply::decode(&whole), Err(WireError::Count { .. })));

    // An entity-less view's keys take no bytes, so their count is bounded by the limit alone.
    let head = ReadHead { plan_id: 0, flags: ReadFlags::default(), read_time: 0, deadline_us: 0 };
    let half = PackedKeys { count: u32::MAX, bytes: b"" };
    let mut frame = Vec::new();
    encode_read(&mut frame, 1, &head, &[], [half, half].into_iter(), MAX).unwrap();
    let (whole, _) = split_frame(&frame, MAX).unwrap().unwrap();
    let limits = Limits::default();
    let refused = ReadRequest::decode(&whole, &limits).unwrap_err();
    let max = u64::from(limits.max_batch_keys);
    let count = u64::from(u32::MAX);
    assert_eq!(refused, WireError::Count { what: "keys", count, max });
}

#[test]
fn another_kind_and_an_unknown_kind_are_told_apart() {
    let frame = samples::columns();
    let (whole, _) = split_frame(&frame, MAX).unwrap().unwrap();
    let wrong = WireError::WrongKind { expected: "Hello", found: 0x83 };
    assert_eq!(HelloRequest::decode(&whole).unwrap_err(), wrong);
    let unknown = Frame { kind_code: 0x42, ..whole };
    assert_eq!(decode_any(&unknown), Err(WireError::UnknownKind(0x42)));
}
