//! Frames of scans.

use thermae_formats::NO_TIME;
use thermae_formats::wire::{ScanEncoder, ScanPlace, ScanRequest, ScanRow};

use super::{Frames, MAX_BYTES, TIME, frame};

/// Requests from the start and from a place, pages with rows of every kind.
pub(super) fn scans() -> Frames {
    let place = ScanPlace { order: (TIME, NO_TIME, 9), key: b"\x03\0JFK" }.to_bytes();
    let all = ScanRequest {
        plan_id: 5,
        tombstones: false,
        page_bytes: 1 << 16,
        event_times: i64::MIN..=i64::MAX,
        hashes: 0..=u64::MAX,
        key: None,
        place: &[],
    };
    let one = ScanRequest {
        tombstones: true,
        event_times: 0..=TIME,
        key: Some(b"\x03\0JFK"),
        place: &place,
        ..all.clone()
    };
    let row = ScanRow {
        event_time: TIME,
        created_time: NO_TIME,
        expire_at: TIME,
        sequence: 9,
        tombstone: false,
        key: b"\x03\0JFK",
        dense: true,
        value: &[1; 12],
    };
    let page = |out: &mut Vec<u8>| {
        let mut encoder = ScanEncoder::default();
        encoder.push(&row)?;
        encoder.push(&ScanRow { tombstone: true, expire_at: NO_TIME, ..row })?;
        encoder.finish(out, 8, Some(&place), MAX_BYTES)
    };
    [
        frame("scan", |out| all.encode(out, 8, MAX_BYTES)),
        frame("scan-one", |out| one.encode(out, 8, MAX_BYTES)),
        frame("scanned", page),
        frame("scanned-none", |out| ScanEncoder::default().finish(out, 8, None, MAX_BYTES)),
    ]
    .concat()
}
