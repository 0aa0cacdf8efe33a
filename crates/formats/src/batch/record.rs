//! One record of a log batch: a row, a tombstone, a catalogue entry, a mark or an erase.

use thiserror::Error;

use crate::bytes_at::{u16_at, u32_at, u64_at};
use crate::{NO_TIME, SchemaId};

/// Longest key of a record, in bytes.
pub const MAX_KEY_BYTES: usize = u16::MAX as usize;
/// Greatest sequence number: 48 bits.
pub const MAX_SEQUENCE: u64 = (1 << 48) - 1;

const FIXED_BYTES: usize = 40;
const PRODUCER: u8 = 1;
const EXPIRE: u8 = 2;

/// What a record is.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A row.
    Put = 1,
    /// A delete, with its event time.
    Tombstone = 2,
    /// A schema or a policy.
    Catalogue = 3,
    /// State without a row, such as a producer's high-water mark.
    Mark = 4,
    /// Everything of a row with a smaller sequence is gone. It has no value and no times.
    Erase = 5,
}

/// One record. Times are microseconds UTC; `NO_TIME` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub kind: RecordKind,
    /// Flags of the row, kept as given.
    pub flags: u8,
    /// Schema that the value is laid out by.
    pub schema_id: SchemaId,
    /// Partition that the record belongs to.
    pub partition: u16,
    /// Position in the partition, at most [`MAX_SEQUENCE`].
    pub sequence: u64,
    /// When the fact was true.
    pub event_time: i64,
    /// When it was learnt, or `NO_TIME`.
    pub created_time: i64,
    /// Who wrote it; 0 (with `producer_sequence` 0) for nobody in particular.
    pub producer_id: u64,
    /// The producer's own number of the write.
    pub producer_sequence: u64,
    /// When the row ends by itself, or `NO_TIME`.
    pub expire_at: i64,
    /// Encoded entity key, at most [`MAX_KEY_BYTES`].
    pub key: &'a [u8],
    /// Encoded values.
    pub value: &'a [u8],
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The payload ends inside the record.
    #[error("needs {needed} bytes, {found} are left")]
    Short {
        /// Bytes needed.
        needed: usize,
        /// Bytes left in the payload.
        found: usize,
    },
    /// A field holds what no writer writes.
    #[error("its {0} is impossible")]
    Field(&'static str),
    /// Bytes after the last record.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// Bytes that `record` takes in a payload.
pub fn record_bytes(record: &Record<'_>) -> usize {
    FIXED_BYTES
        + if has_producer(record) { 16 } else { 0 }
        + if record.expire_at == NO_TIME { 0 } else { 8 }
        + record.key.len()
        + record.value.len()
}

const fn has_producer(record: &Record<'_>) -> bool {
    record.producer_id != 0 || record.producer_sequence != 0
}

impl<'a> Record<'a> {
    /// Writes the record to the front of `out`, which has at least [`record_bytes`], and returns
    /// them. The caller has checked the limits.
    pub(super) fn write(&self, out: &mut [u8]) -> usize {
        let mut present = 0;
        let mut at = FIXED_BYTES;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if has_producer(self) {
            present |= PRODUCER;
            put(&self.producer_id.to_le_bytes());
            put(&self.producer_sequence.to_le_bytes());
        }
        if self.expire_at != NO_TIME {
            present |= EXPIRE;
            put(&self.expire_at.to_le_bytes());
        }
        put(self.key);
        put(self.value);
        out[..4].copy_from_slice(&[self.kind as u8, self.flags, present, 0]);
        out[4..6].copy_from_slice(&self.schema_id.0.to_le_bytes());
        out[6..8].copy_from_slice(&self.partition.to_le_bytes());
        out[8..10].copy_from_slice(&(self.key.len() as u16).to_le_bytes());
        out[10..12].fill(0);
        out[12..16].copy_from_slice(&(self.value.len() as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.event_time.to_le_bytes());
        out[32..40].copy_from_slice(&self.created_time.to_le_bytes());
        at
    }

    /// Nothing but a key and where it belongs: all that an erase may have.
    const fn is_bare(&self) -> bool {
        self.flags == 0
            && self.event_time == NO_TIME
            && self.created_time == NO_TIME
            && self.expire_at == NO_TIME
            && self.value.is_empty()
    }

    /// Reads one record from the front of a verified payload; returns it and what follows it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RecordError> {
        let found = bytes.len();
        if found < FIXED_BYTES {
            return Err(RecordError::Short { needed: FIXED_BYTES, found });
        }
        let kind = match bytes[0] {
            1 => RecordKind::Put,
            2 => RecordKind::Tombstone,
            3 => RecordKind::Catalogue,
            4 => RecordKind::Mark,
            5 => RecordKind::Erase,
            _ => return Err(RecordError::Field("kind")),
        };
        let present = bytes[2];
        if present & !(PRODUCER | EXPIRE) != 0 || bytes[3] != 0 || u16_at(bytes, 10) != 0 {
            return Err(RecordError::Field("presence"));
        }
        let (has_producer, has_expire) = (present & PRODUCER != 0, present & EXPIRE != 0);
        let (key_bytes, value_bytes) = (u16_at(bytes, 8) as usize, u32_at(bytes, 12) as usize);
        let key_at =
            FIXED_BYTES + if has_producer { 16 } else { 0 } + if has_expire { 8 } else { 0 };
        let needed = key_at + key_bytes + value_bytes;
        if needed > found {
            return Err(RecordError::Short { needed, found });
        }
        let (whole, rest) = bytes.split_at(needed);
        let word =
            |given: bool, at: usize, absent: u64| if given { u64_at(whole, at) } else { absent };
        let record = Self {
            kind,
            flags: whole[1],
            schema_id: SchemaId(u16_at(whole, 4)),
            partition: u16_at(whole, 6),
            sequence: u64_at(whole, 16),
            event_time: u64_at(whole, 24) as i64,
            created_time: u64_at(whole, 32) as i64,
            producer_id: word(has_producer, 40, 0),
            producer_sequence: word(has_producer, 48, 0),
            expire_at: word(has_expire, key_at - if has_expire { 8 } else { 0 }, NO_TIME as u64)
                as i64,
            key: &whole[key_at..key_at + key_bytes],
            value: &whole[key_at + key_bytes..],
        };
        if record.sequence > MAX_SEQUENCE {
            return Err(RecordError::Field("sequence"));
        }
        if has_producer && record.producer_id == 0 && record.producer_sequence == 0 {
            return Err(RecordError::Field("producer"));
        }
        if has_expire && record.expire_at == NO_TIME {
            return Err(RecordError::Field("expire_at"));
        }
        if kind == RecordKind::Erase && !record.is_bare() {
            return Err(RecordError::Field("erase"));
        }
        Ok((record, rest))
    }
}
