//! SCANNED: a page of a view's history.

use super::cursor::{Cursor, count16, count32, flag, put_short};
use super::frame::{Frame, FrameStart, Kind, begin_frame, finish_frame};
use super::malformed::WireError;
use super::write::{ROW_DENSE, ROW_HAS_EXPIRE, ROW_TOMBSTONE};
use crate::NO_TIME;

const MORE: u8 = 1;
const ROW_HEAD_BYTES: usize = 32;

/// One row of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRow<'a> {
    /// When the fact was true, microseconds UTC.
    pub event_time: i64,
    /// When it was learnt, microseconds UTC, or `NO_TIME`.
    pub created_time: i64,
    /// When the row ends by itself, microseconds UTC, or `NO_TIME`.
    pub expire_at: i64,
    /// Its place in the log of its partition.
    pub sequence: u64,
    /// The entity was deleted as of the event time; there is no value.
    pub tombstone: bool,
    /// The encoded key.
    pub key: &'a [u8],
    /// The value bytes have no null bitmap.
    pub dense: bool,
    /// The encoded values of the plan's columns.
    pub value: &'a [u8],
}

/// Appends a SCANNED frame row by row. The place is known when the rows are: they are collected beside
/// the frame.
#[derive(Debug, Default)]
pub struct ScanEncoder {
    rows: Vec<u8>,
    count: u32,
}

impl ScanEncoder {
    /// Appends one row.
    ///
    /// # Errors
    /// A key beyond 65,535 bytes or a value beyond 4 GiB; the page is left as it was.
    pub fn push(&mut self, row: &ScanRow<'_>) -> Result<(), WireError> {
        let key_bytes = count16(row.key.len(), "key bytes")?;
        let value: &[u8] = if row.tombstone { &[] } else { row.value };
        let value_bytes = count32(value.len(), "value bytes")?;
        let flags = flag(row.tombstone, ROW_TOMBSTONE)
            | flag(row.dense && !row.tombstone, ROW_DENSE)
            | flag(row.expire_at != NO_TIME, ROW_HAS_EXPIRE);
        self.rows.extend_from_slice(&[flags, 0]);
        self.rows.extend_from_slice(&key_bytes.to_le_bytes());
        self.rows.extend_from_slice(&value_bytes.to_le_bytes());
        self.rows.extend_from_slice(&row.event_time.to_le_bytes());
        self.rows.extend_from_slice(&row.created_time.to_le_bytes());
        self.rows.extend_from_slice(&row.sequence.to_le_bytes());
        if row.expire_at != NO_TIME {
            self.rows.extend_from_slice(&row.expire_at.to_le_bytes());
        }
        self.rows.extend_from_slice(row.key);
        self.rows.extend_from_slice(value);
        self.count += 1;
        Ok(())
    }

    /// Rows so far.
    pub fn row_count(&self) -> u32 {
        self.count
    }

    /// Bytes of the rows so far.
    pub fn len_bytes(&self) -> usize {
        self.rows.len()
    }

    /// Bytes that a row takes.
    pub fn row_bytes(key_bytes: usize, value_bytes: usize) -> usize {
        ROW_HEAD_BYTES + 8 + key_bytes + value_bytes
    }

    /// Appends the frame; `place` is where to go on, if there is more.
    ///
    /// # Errors
    /// A place that is too long, a frame beyond `max_frame_bytes`.
    pub fn finish(
        self,
        out: &mut Vec<u8>,
        request_id: u64,
        place: Option<&[u8]>,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start: FrameStart = begin_frame(out, Kind::Scanned, request_id);
        out.extend_from_slice(&[if place.is_some() { MORE } else { 0 }, 0, 0, 0]);
        out.extend_from_slice(&self.count.to_le_bytes());
        put_short(out, place.unwrap_or_default(), "a place")?;
        out.extend_from_slice(&self.rows);
        finish_frame(out, start, max_frame_bytes)
    }
}

/// A decoded SCANNED. Keys and values are not looked at: that needs the plan.
#[derive(Debug, Clone, Copy)]
pub struct ScanReply<'a> {
    /// Where to go on; `None`: there are no more rows.
    pub place: Option<&'a [u8]>,
    count: u32,
    rows: Cursor<'a>,
}

impl<'a> ScanReply<'a> {
    /// Decodes the frame and checks every row's frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Scanned)?);
        let flags = cursor.u8("scan flags")?;
        if flags > MORE {
            return Err(WireError::UnknownCode { what: "set of scan flags", code: flags.into() });
        }
        for byte in cursor.take(3, "a scanned page")? {
            cursor.zero(*byte, "a scanned page")?;
        }
        let count = cursor.u32("rows")?;
        let place = cursor.short_bytes("a place")?;
        if place.is_empty() != (flags == 0) {
            return Err(WireError::UnknownCode { what: "set of scan flags", code: flags.into() });
        }
        cursor.count(count as usize, u32::MAX as usize, ROW_HEAD_BYTES, "rows")?;
        let reply = Self { place: (flags == MORE).then_some(place), count, rows: cursor };
        for _ in 0..count {
            row(&mut cursor)?;
        }
        cursor.finish("a scanned page")?;
        Ok(reply)
    }

    /// How many rows.
    pub fn row_count(&self) -> usize {
        self.count as usize
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = ScanRow<'a>> + use<'a> {
        let mut cursor = self.rows;
        // Decoding went over the same bytes already, so nothing is cut short here.
        (0..self.count).map_while(move |_| row(&mut cursor).ok())
    }
}

fn row<'a>(cursor: &mut Cursor<'a>) -> Result<ScanRow<'a>, WireError> {
    let flags = cursor.u8("row flags")?;
    let reserved = cursor.u8("a row")?;
    cursor.zero(reserved, "a row")?;
    let key_bytes = usize::from(cursor.u16("key bytes")?);
    let value_bytes = cursor.u32("value bytes")? as usize;
    let tombstone = flags & ROW_TOMBSTONE != 0;
    let is_known = match tombstone {
        true => flags & !(ROW_TOMBSTONE | ROW_HAS_EXPIRE) == 0 && value_bytes == 0,
        false => flags & !(ROW_DENSE | ROW_HAS_EXPIRE) == 0,
    };
    if !is_known {
        return Err(WireError::UnknownCode { what: "set of row flags", code: flags.into() });
    }
    let event_time = cursor.i64("an event time")?;
    let created_time = cursor.i64("a created time")?;
    let sequence = cursor.u64("a sequence")?;
    let has_expire = flags & ROW_HAS_EXPIRE != 0;
    let expire_at = if has_expire { cursor.i64("expire_at")? } else { NO_TIME };
    Ok(ScanRow {
        event_time,
        created_time,
        expire_at,
        sequence,
        tombstone,
        key: cursor.take(key_bytes, "a key")?,
        dense: flags & ROW_DENSE != 0,
        value: cursor.take(value_bytes, "a value")?,
    })
}
