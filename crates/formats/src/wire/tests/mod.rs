//! Every frame: round trips, bytes that must never change, and bytes that must be refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;
mod hostile;
mod round_trip;
mod samples;

use super::*;

/// Decodes a frame with the decoder of its kind, throws the result away.
fn decode_any(frame: &Frame<'_>) -> Result<(), WireError> {
    let limits = Limits::default();
    match frame.kind()? {
        Kind::Hello => HelloRequest::decode(frame).map(drop),
        Kind::HelloReply => HelloReply::decode(frame).map(drop),
        Kind::Prepare => PrepareRequest::decode(frame).map(drop),
        Kind::Plan => decode_plan(frame).map(drop),
        Kind::Read => {
            let read = ReadRequest::decode(frame, &limits)?;
            assert_eq!(read.views().map(|keys| keys.count).sum::<u32>(), read.key_count);
            assert_eq!(read.views().count(), read.view_count());
            Ok(())
        }
        Kind::Columns => {
            touch(&ReadReply::decode(frame)?);
            Ok(())
        }
        Kind::Put | Kind::PutPartial | Kind::Delete | Kind::Erase => {
            let write = WriteRequest::decode(frame, &limits)?;
            assert_eq!(write.rows().count(), write.row_count());
            Ok(())
        }
        Kind::Written => {
            let reply = WriteReply::decode(frame)?;
            assert_eq!(reply.outcomes().count(), reply.row_count());
            Ok(())
        }
        Kind::Scan => {
            let scan = ScanRequest::decode(frame)?;
            let _ = ScanPlace::parse(scan.place);
            Ok(())
        }
        Kind::Scanned => {
            let reply = ScanReply::decode(frame)?;
            assert_eq!(reply.rows().count(), reply.row_count());
            Ok(())
        }
        Kind::Compute => ComputeRequest::decode(frame, &limits).map(drop),
        Kind::EraseStatus => EraseStatusRequest::decode(frame, &limits).map(drop),
        Kind::Describe | Kind::Apply | Kind::Stats | Kind::Backup | Kind::Json => {
            decode_json(frame).map(drop)
        }
        Kind::History => HistoryRequest::decode(frame).map(drop),
        Kind::HistoryPut => HistoryPut::decode(frame).map(drop),
        kind @ (Kind::HistoryNext | Kind::HistoryEnd) => decode_history_step(frame, kind),
        Kind::HistoryReply => HistoryReply::decode(frame).map(drop),
        Kind::Map => MapRequest::decode(frame).map(drop),
        Kind::Mapped => MapReply::decode(frame).map(drop),
        Kind::Ping if frame.payload.is_empty() => Ok(()),
        Kind::Ping => Err(WireError::Trailing { what: "a PING", extra_bytes: frame.payload.len() }),
        Kind::Pong => decode_pong(frame).map(drop),
        Kind::Error => ErrorReply::decode(frame).map(drop),
    }
}

/// Reads everything that an accepted answer offers, a bounded number of times.
fn touch(reply: &ReadReply<'_>) {
    for view in (0..reply.view_count()).map(|index| reply.view(index).unwrap()) {
        assert_eq!(view.statuses().len(), view.rows());
        for row in 0..view.rows().min(100) {
            view.event_time(row);
            for column in (0..view.columns().min(100)).filter_map(|index| view.column(index)) {
                column.value(row);
                column.data();
                column.values();
            }
        }
    }
}

/// A frame built elsewhere with another payload, its length and checksum made to hold again.
fn reseal(frame: &[u8], payload: &[u8]) -> Vec<u8> {
    let kind = Kind::from_code(frame[4]).unwrap();
    let id = u64::from_le_bytes(frame[8..16].try_into().unwrap());
    let mut out = Vec::new();
    let start = begin_frame(&mut out, kind, id);
    out.extend_from_slice(payload);
    finish_frame(&mut out, start, u32::MAX).unwrap();
    out
}
