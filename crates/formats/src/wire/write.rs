//! PUT, PUT_PARTIAL, DELETE and ERASE: rows to be written.

use super::cursor::{Cursor, count16, count32};
use super::frame::{Frame, FrameStart, Kind, begin_frame, finish_frame};
use super::limits::{Limits, MAX_COLUMNS_PER_PLAN};
use super::malformed::WireError;
use crate::NO_TIME;

/// The row has no value (every row of DELETE and ERASE, none of another kind).
pub const ROW_TOMBSTONE: u8 = 1;
/// The value bytes carry no null bitmap: every feature has a value.
pub const ROW_DENSE: u8 = 2;
/// The row carries its own expiry.
pub const ROW_HAS_EXPIRE: u8 = 4;
const ROW_HEAD_BYTES: usize = 24;

/// What an acknowledgement is to mean; also the level that a write reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Ack {
    /// Written to the disk, its flush follows within 100 ms.
    Logged = 1,
    /// Survives power loss.
    #[default]
    Durable = 2,
    /// As durable, on a quorum.
    Replicated = 3,
}

impl Ack {
    pub(super) fn from_code(code: u8) -> Result<Self, WireError> {
        match code {
            1 => Ok(Self::Logged),
            2 => Ok(Self::Durable),
            3 => Ok(Self::Replicated),
            _ => Err(WireError::UnknownCode { what: "acknowledgement mode", code: code.into() }),
        }
    }
}

/// What the rows of a write have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteHead {
    /// The view, from a plan.
    pub view_id: u32,
    /// The schema that the value bytes are laid out by, from a plan.
    pub schema_id: u16,
    /// What the acknowledgement is to mean.
    pub ack: Ack,
    /// Every row states its producer sequence; otherwise row i has `first_sequence + i`.
    pub explicit_sequences: bool,
    /// Who writes; 0 = nobody in particular: a repeat is then not recognised.
    pub producer_id: u64,
    /// Producer sequence of the first row; from 1, rising within a producer.
    pub first_sequence: u64,
}

/// One row to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRow<'a> {
    /// When the fact was true, microseconds UTC.
    pub event_time: i64,
    /// When it was learnt, microseconds UTC, or `NO_TIME`.
    pub created_time: i64,
    /// When the row ends by itself, microseconds UTC, or `NO_TIME`.
    pub expire_at: i64,
    /// Its producer sequence; encoded only with `explicit_sequences`, computed otherwise.
    pub producer_sequence: u64,
    /// The encoded key.
    pub key: &'a [u8],
    /// The value bytes, without null bitmap?
    pub dense: bool,
    /// The encoded values; empty in a DELETE or ERASE.
    pub value: &'a [u8],
}

/// Appends a write frame row by row.
#[derive(Debug)]
#[must_use = "the frame is complete only after finish"]
pub struct WriteEncoder<'o> {
    out: &'o mut Vec<u8>,
    start: FrameStart,
    explicit_sequences: bool,
    /// No row has a value.
    is_bare: bool,
    /// No row has a time.
    is_erase: bool,
    rows_at: usize,
    rows: u32,
}

impl<'o> WriteEncoder<'o> {
    /// Begins a PUT.
    pub fn put(out: &'o mut Vec<u8>, request_id: u64, head: &WriteHead) -> Self {
        Self::begin(out, Kind::Put, request_id, head)
    }

    /// Begins a DELETE; its rows carry no values.
    pub fn delete(out: &'o mut Vec<u8>, request_id: u64, head: &WriteHead) -> Self {
        Self::begin(out, Kind::Delete, request_id, head)
    }

    /// Begins an ERASE; its rows carry neither values nor times: those given are left out.
    pub fn erase(out: &'o mut Vec<u8>, request_id: u64, head: &WriteHead) -> Self {
        Self::begin(out, Kind::Erase, request_id, head)
    }

    /// Begins a PUT_PARTIAL of these features: positions in the schema's declared order, rising.
    /// Values are laid out by a row layout over these features alone.
    ///
    /// # Errors
    /// More features than 65,535.
    pub fn put_partial(
        out: &'o mut Vec<u8>,
        request_id: u64,
        head: &WriteHead,
        features: &[u16],
    ) -> Result<Self, WireError> {
        let count = count16(features.len(), "features")?;
        let this = Self::begin(out, Kind::PutPartial, request_id, head);
        this.out.extend_from_slice(&count.to_le_bytes());
        for feature in features {
            this.out.extend_from_slice(&feature.to_le_bytes());
        }
        Ok(this)
    }

    fn begin(out: &'o mut Vec<u8>, kind: Kind, request_id: u64, head: &WriteHead) -> Self {
        let start = begin_frame(out, kind, request_id);
        out.extend_from_slice(&head.view_id.to_le_bytes());
        out.extend_from_slice(&head.schema_id.to_le_bytes());
        out.extend_from_slice(&[head.ack as u8, u8::from(head.explicit_sequences)]);
        out.extend_from_slice(&head.producer_id.to_le_bytes());
        out.extend_from_slice(&head.first_sequence.to_le_bytes());
        let rows_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let explicit_sequences = head.explicit_sequences;
        let is_erase = kind == Kind::Erase;
        let is_bare = is_erase || kind == Kind::Delete;
        Self { out, start, explicit_sequences, is_bare, is_erase, rows_at, rows: 0 }
    }

    /// Appends one row.
    ///
    /// # Errors
    /// A key beyond 65,535 bytes or a value beyond 4 GiB; the frame is left as it was.
    pub fn push(&mut self, row: &WriteRow<'_>) -> Result<(), WireError> {
        let key_bytes = count16(row.key.len(), "key bytes")?;
        let none =
            WriteRow { event_time: NO_TIME, created_time: NO_TIME, expire_at: NO_TIME, ..*row };
        let row = if self.is_erase { &none } else { row };
        let value: &[u8] = if self.is_bare { &[] } else { row.value };
        let value_bytes = count32(value.len(), "value bytes")?;
        let mut flags = if self.is_bare { ROW_TOMBSTONE } else { 0 };
        flags |= if row.dense && !self.is_bare { ROW_DENSE } else { 0 };
        flags |= if row.expire_at != NO_TIME { ROW_HAS_EXPIRE } else { 0 };
        self.out.extend_from_slice(&[flags, 0]);
        self.out.extend_from_slice(&key_bytes.to_le_bytes());
        self.out.extend_from_slice(&value_bytes.to_le_bytes());
        self.out.extend_from_slice(&row.event_time.to_le_bytes());
        self.out.extend_from_slice(&row.created_time.to_le_bytes());
        if self.explicit_sequences {
            self.out.extend_from_slice(&row.producer_sequence.to_le_bytes());
        }
        if row.expire_at != NO_TIME {
            self.out.extend_from_slice(&row.expire_at.to_le_bytes());
        }
        self.out.extend_from_slice(row.key);
        self.out.extend_from_slice(value);
        self.rows += 1;
        Ok(())
    }

    /// Bytes of the frame so far, header included.
    pub fn len_bytes(&self) -> usize {
        self.out.len() - self.start.0
    }

    /// Completes the frame.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] beyond `max_frame_bytes`.
    pub fn finish(self, max_frame_bytes: u32) -> Result<(), WireError> {
        self.out[self.rows_at..self.rows_at + 4].copy_from_slice(&self.rows.to_le_bytes());
        finish_frame(self.out, self.start, max_frame_bytes)
    }
}

/// A decoded write. Keys and values are not looked at: that needs the schema
/// (`formats::key::split_key`, `formats::row::RowLayout::validate`).
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// Put, PutPartial, Delete or Erase.
    pub kind: Kind,
    /// What the rows have in common.
    pub head: WriteHead,
    features: &'a [u8],
    row_count: u32,
    rows: Cursor<'a>,
}

impl<'a> WriteRequest<'a> {
    /// Decodes the frame, at most `limits.max_rows_per_write` rows, and checks every row's frame.
    ///
    /// # Errors
    /// [`WireError::Count`] beyond a limit, or any other [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>, limits: &Limits) -> Result<Self, WireError> {
        let kind = frame.kind()?;
        if !matches!(kind, Kind::Put | Kind::PutPartial | Kind::Delete | Kind::Erase) {
            let (expected, found) = ("Put, PutPartial, Delete or Erase", frame.kind_code);
            return Err(WireError::WrongKind { expected, found });
        }
        let mut cursor = Cursor::new(frame.payload);
        let view_id = cursor.u32("a view id")?;
        let schema_id = cursor.u16("a schema id")?;
        let ack = Ack::from_code(cursor.u8("an acknowledgement mode")?)?;
        let explicit = cursor.u8("write flags")?;
        if explicit > 1 {
            return Err(WireError::UnknownCode {
                what: "set of write flags",
                code: explicit.into(),
            });
        }
        let head = WriteHead {
            view_id,
            schema_id,
            ack,
            explicit_sequences: explicit == 1,
            producer_id: cursor.u64("a producer id")?,
            first_sequence: cursor.u64("a producer sequence")?,
        };
        let row_count = cursor.u32("rows")?;
        let mut features: &[u8] = &[];
        if kind == Kind::PutPartial {
            let count = usize::from(cursor.u16("features")?);
            let count = cursor.count(count, MAX_COLUMNS_PER_PLAN, 2, "features")?;
            features = cursor.take(count * 2, "features")?;
            rising(features)?;
        }
        let max = limits.max_rows_per_write as usize;
        cursor.count(row_count as usize, max, ROW_HEAD_BYTES, "rows")?;
        let request = Self { kind, head, features, row_count, rows: cursor };
        for index in 0..row_count {
            request.row(&mut cursor, index)?;
        }
        cursor.finish("a write")?;
        Ok(request)
    }

    fn row(&self, cursor: &mut Cursor<'a>, index: u32) -> Result<WriteRow<'a>, WireError> {
        let flags = cursor.u8("row flags")?;
        let reserved = cursor.u8("a row")?;
        cursor.zero(reserved, "a row")?;
        let key_bytes = usize::from(cursor.u16("key bytes")?);
        let value_bytes = cursor.u32("value bytes")? as usize;
        let known = match self.kind {
            Kind::Delete => flags & !ROW_HAS_EXPIRE == ROW_TOMBSTONE && value_bytes == 0,
            Kind::Erase => flags == ROW_TOMBSTONE && value_bytes == 0,
            _ => flags & !(ROW_DENSE | ROW_HAS_EXPIRE) == 0,
        };
        if !known {
            return Err(WireError::UnknownCode {
                what: "set of row flags here",
                code: flags.into(),
            });
        }
        let event_time = cursor.i64("an event time")?;
        let created_time = cursor.i64("a created time")?;
        if self.kind == Kind::Erase {
            let times = (event_time ^ NO_TIME) | (created_time ^ NO_TIME);
            cursor.zero(times.cast_unsigned(), "the times of an erase")?;
        }
        let producer_sequence = if self.head.explicit_sequences {
            cursor.u64("a producer sequence")?
        } else {
            self.head.first_sequence.wrapping_add(u64::from(index))
        };
        let has_expire = flags & ROW_HAS_EXPIRE != 0;
        let expire_at = if has_expire { cursor.i64("expire_at")? } else { NO_TIME };
        Ok(WriteRow {
            event_time,
            created_time,
            expire_at,
            producer_sequence,
            key: cursor.take(key_bytes, "a key")?,
            dense: flags & ROW_DENSE != 0,
            value: cursor.take(value_bytes, "a value")?,
        })
    }

    /// Features of a PUT_PARTIAL, positions in the schema's declared order, rising.
    pub fn features(&self) -> impl ExactSizeIterator<Item = u16> + use<'a> {
        self.features.as_chunks::<2>().0.iter().map(|index| u16::from_le_bytes(*index))
    }

    /// How many rows.
    pub fn row_count(&self) -> usize {
        self.row_count as usize
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = WriteRow<'a>> + use<'a> {
        let this = *self;
        let mut cursor = self.rows;
        // Decoding went over the same bytes already, so nothing is cut short here.
        (0..self.row_count).map_while(move |index| this.row(&mut cursor, index).ok())
    }
}

fn rising(features: &[u8]) -> Result<(), WireError> {
    let (indices, _) = features.as_chunks::<2>();
    let mut last = None;
    for index in indices.iter().map(|index| u16::from_le_bytes(*index)) {
        if last.is_some_and(|last| last >= index) {
            return Err(WireError::UnknownCode {
                what: "feature position in rising order",
                code: u32::from(index),
            });
        }
        last = Some(index);
    }
    Ok(())
}
