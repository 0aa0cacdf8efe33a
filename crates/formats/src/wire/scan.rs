//! SCAN: which part of a view's history, and where to go on.

use std::ops::RangeInclusive;

use super::cursor::{Cursor, flag, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::malformed::WireError;

const TOMBSTONES: u8 = 1;
const ONE_KEY: u8 = 2;
/// Version of the bytes of a place.
const PLACE_VERSION: u8 = 1;

/// A SCAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRequest<'a> {
    /// The plan, of this connection and of one view.
    pub plan_id: u32,
    /// Deletions too.
    pub tombstones: bool,
    /// Bytes of the answer, about.
    pub page_bytes: u32,
    /// Event times that are wanted, microseconds UTC.
    pub event_times: RangeInclusive<i64>,
    /// Entity hashes that are wanted.
    pub hashes: RangeInclusive<u64>,
    /// The encoded key of the one entity that is wanted.
    pub key: Option<&'a [u8]>,
    /// The place to go on from, as a page said; empty: from the start.
    pub place: &'a [u8],
}

impl<'a> ScanRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A key or a place that is too long, a frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::Scan, request_id);
        out.extend_from_slice(&self.plan_id.to_le_bytes());
        let flags = flag(self.tombstones, TOMBSTONES) | flag(self.key.is_some(), ONE_KEY);
        out.extend_from_slice(&[flags, 0, 0, 0]);
        out.extend_from_slice(&self.page_bytes.to_le_bytes());
        out.extend_from_slice(&self.event_times.start().to_le_bytes());
        out.extend_from_slice(&self.event_times.end().to_le_bytes());
        out.extend_from_slice(&self.hashes.start().to_le_bytes());
        out.extend_from_slice(&self.hashes.end().to_le_bytes());
        put_short(out, self.key.unwrap_or_default(), "a key")?;
        put_short(out, self.place, "a place")?;
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Scan)?);
        let plan_id = cursor.u32("a plan id")?;
        let flags = cursor.u8("scan flags")?;
        if flags & !(TOMBSTONES | ONE_KEY) != 0 {
            return Err(WireError::UnknownCode { what: "set of scan flags", code: flags.into() });
        }
        for byte in cursor.take(3, "a scan")? {
            cursor.zero(*byte, "a scan")?;
        }
        let page_bytes = cursor.u32("page bytes")?;
        let event_times = cursor.i64("an event time")?..=cursor.i64("an event time")?;
        let hashes = cursor.u64("an entity hash")?..=cursor.u64("an entity hash")?;
        let key = cursor.short_bytes("a key")?;
        if flags & ONE_KEY == 0 && !key.is_empty() {
            return Err(WireError::Trailing { what: "a scan of all keys", extra_bytes: key.len() });
        }
        let place = cursor.short_bytes("a place")?;
        cursor.finish("a scan")?;
        Ok(Self {
            plan_id,
            tombstones: flags & TOMBSTONES != 0,
            page_bytes,
            event_times,
            hashes,
            key: (flags & ONE_KEY != 0).then_some(key),
            place,
        })
    }
}

/// Where a scan is: behind this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanPlace<'a> {
    /// Event time, created time and sequence of the version.
    pub order: (i64, i64, u64),
    /// Its encoded key.
    pub key: &'a [u8],
}

impl<'a> ScanPlace<'a> {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (event_time, created_time, sequence) = self.order;
        let mut bytes = vec![PLACE_VERSION];
        bytes.extend_from_slice(&event_time.to_le_bytes());
        bytes.extend_from_slice(&created_time.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(self.key);
        bytes
    }

    /// Reads a place; the key is whatever follows, to be checked against the view.
    ///
    /// # Errors
    /// They are no place of this version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(bytes);
        let version = cursor.u8("a place")?;
        if version != PLACE_VERSION {
            let code = version.into();
            return Err(WireError::UnknownCode { what: "version of a place", code });
        }
        let order = (cursor.i64("a place")?, cursor.i64("a place")?, cursor.u64("a place")?);
        let key = cursor.take(cursor.remaining(), "a place")?;
        Ok(Self { order, key })
    }
}
