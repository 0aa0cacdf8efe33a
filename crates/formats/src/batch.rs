//! Log batches: the unit that the log writes, checks and cuts. Bytes: `docs/formats/log.md`.
//!
//! Bytes from a disk are [`Unchecked`] until [`BatchView::parse`] has verified them: no length in
//! them is used before its checksum holds.

mod build;
mod record;

pub use build::{BatchBuilder, BuildError, Seal, Sealed};
pub use record::{MAX_KEY_BYTES, MAX_SEQUENCE, Record, RecordError, RecordKind, record_bytes};

use thiserror::Error;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::bytes_at::{u16_at, u32_at, u64_at};
use crate::segment::SegmentHeader;

/// First bytes of every batch.
pub const BATCH_MAGIC: [u8; 8] = *b"THRMBTCH";
/// Version of the batch format.
pub const BATCH_VERSION: u16 = 2;
/// Version of a batch without an erase: builds that know no erases read it.
const PLAIN_BATCH_VERSION: u16 = 1;
/// Bytes of a batch's header.
pub const BATCH_HEADER_BYTES: usize = 96;
/// Batches start and end at multiples of this, in bytes.
pub const BATCH_ALIGN: usize = 4096;
/// Largest batch, in bytes with header and padding.
pub const MAX_BATCH_BYTES: usize = 16 << 20;
/// Flag: last batch of its segment; the payload is the next segment's salt.
pub const ROLL: u32 = 1;
/// Flag: last batch of a cleanly stopped log.
pub const FINAL: u32 = 2;

/// Bytes of the header that its own checksum covers.
const HEADER_CHECKED: usize = 88;

/// Why bytes are not the batch that should be there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Only zeroes where the header should be: nothing was written there.
    #[error("no batch: the header is all zeroes")]
    Blank,
    /// The bytes end before the batch does.
    #[error("the batch needs {needed} bytes, {found} are there")]
    Short {
        /// Bytes that the batch needs.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// Not a batch.
    #[error("no batch: wrong magic")]
    Magic,
    /// A batch of a later format.
    #[error(
        "batch format version {0}, this build knows {BATCH_VERSION}; open it with a newer build"
    )]
    NewerVersion(u16),
    /// The header is not what was written at this place.
    #[error("the batch header's checksum does not hold at this place")]
    HeaderChecksum,
    /// The header verifies but contradicts itself or its place.
    #[error("the batch header's {0} is impossible here")]
    Header(&'static str),
    /// Payload or padding is not what was written at this place.
    #[error("the batch body's checksum does not hold")]
    BodyChecksum,
    /// The payload verifies but does not hold the records that the header promises.
    #[error("record {index} of the batch: {source}")]
    Record {
        /// Position in the batch.
        index: u32,
        /// What is wrong with it.
        source: RecordError,
    },
}

/// Bytes as they came from a disk: nothing in them has been verified.
#[derive(Debug, Clone, Copy)]
pub struct Unchecked<'a>(&'a [u8]);

impl<'a> Unchecked<'a> {
    /// Marks `bytes` as unverified. They may be longer than the batch.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Verifies the header of a batch at `offset` of the segment; needs [`BATCH_HEADER_BYTES`].
    pub fn header(self, segment: &SegmentHeader, offset: u64) -> Result<BatchHeader, BatchError> {
        let found = self.0.len();
        let Some(bytes) = self.0.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::Short { needed: BATCH_HEADER_BYTES, found });
        };
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(BatchError::Blank);
        }
        if bytes[..8] != BATCH_MAGIC {
            return Err(BatchError::Magic);
        }
        let key = batch_key(segment, offset);
        if u64_at(bytes, 88) != xxh3_64_with_seed(&bytes[..HEADER_CHECKED], key) {
            return Err(BatchError::HeaderChecksum);
        }
        BatchHeader::read(bytes, segment, offset)
    }
}

/// A verified batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// [`ROLL`], [`FINAL`].
    pub flags: u32,
    /// 1 for the first batch of a log, then one more each.
    pub number: u64,
    /// All batches up to this one were durable when this one was built.
    pub horizon: u64,
    /// Records of the log before this batch.
    pub first_record: u64,
    /// Records in it.
    pub records: u32,
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// Bytes of the batch with header and padding.
    pub batch_bytes: u32,
    /// Hash of the previous batch of the log.
    pub previous: u64,
    /// Hash of this batch: what the next one names as its previous.
    pub hash: u64,
    /// It may hold erases.
    has_erases: bool,
    /// Checksum that the body must have under `key`.
    body_checksum: u64,
    key: u64,
}

impl BatchHeader {
    fn read(
        bytes: &[u8; BATCH_HEADER_BYTES],
        segment: &SegmentHeader,
        offset: u64,
    ) -> Result<Self, BatchError> {
        let wrong = |field| Err(BatchError::Header(field));
        let version = u16_at(bytes, 8);
        if version != BATCH_VERSION && version != PLAIN_BATCH_VERSION {
            return Err(BatchError::NewerVersion(version));
        }
        let header = Self {
            flags: u32_at(bytes, 20),
            number: u64_at(bytes, 32),
            horizon: u64_at(bytes, 40),
            first_record: u64_at(bytes, 48),
            records: u32_at(bytes, 56),
            payload_bytes: u32_at(bytes, 60),
            batch_bytes: u32_at(bytes, 64),
            previous: u64_at(bytes, 72),
            hash: batch_hash(bytes),
            has_erases: version == BATCH_VERSION,
            body_checksum: u64_at(bytes, 80),
            key: batch_key(segment, offset),
        };
        if u16_at(bytes, 10) != segment.shard {
            return wrong("shard");
        }
        if u32_at(bytes, 12) != segment.epoch {
            return wrong("epoch");
        }
        if u32_at(bytes, 16) != segment.number {
            return wrong("segment number");
        }
        if u64_at(bytes, 24) != offset {
            return wrong("offset");
        }
        if header.flags & !(ROLL | FINAL) != 0 || u32_at(bytes, 68) != 0 {
            return wrong("flags");
        }
        if header.number == 0 || header.horizon >= header.number {
            return wrong("horizon");
        }
        let (batch, payload) = (header.batch_bytes as usize, header.payload_bytes as usize);
        if batch > MAX_BATCH_BYTES
            || payload > MAX_BATCH_BYTES
            || batch != (BATCH_HEADER_BYTES + payload).next_multiple_of(BATCH_ALIGN)
        {
            return wrong("length");
        }
        if header.flags & ROLL != 0 && (header.records != 0 || payload != 8) {
            return wrong("payload of a roll");
        }
        Ok(header)
    }
}

/// A verified batch: every record in it is well-formed.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader,
    payload: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Verifies the batch at `offset` of `segment`, all of it. `bytes` may be longer than the batch.
    pub fn parse(
        bytes: Unchecked<'a>,
        segment: &SegmentHeader,
        offset: u64,
    ) -> Result<Self, BatchError> {
        Self::parse_body(bytes.header(segment, offset)?, bytes)
    }

    /// Verifies the rest of a batch whose header was verified at the start of the same bytes.
    pub fn parse_body(header: BatchHeader, bytes: Unchecked<'a>) -> Result<Self, BatchError> {
        let (needed, found) = (header.batch_bytes as usize, bytes.0.len());
        let Some(body) = bytes.0.get(BATCH_HEADER_BYTES..needed) else {
            return Err(BatchError::Short { needed, found });
        };
        if xxh3_64_with_seed(body, header.key) != header.body_checksum {
            return Err(BatchError::BodyChecksum);
        }
        // In bounds: `read` has checked that header and payload fit the batch.
        let view = Self { header, payload: &body[..header.payload_bytes as usize] };
        view.check_records()?;
        Ok(view)
    }

    /// The verified header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records, in the order in which they were appended.
    pub fn records(&self) -> Records<'a> {
        let is_roll = self.header.flags & ROLL != 0;
        Records { rest: if is_roll { &[] } else { self.payload }, left: self.header.records }
    }

    /// Salt of the next segment, when this is the last batch of its own.
    pub fn next_salt(&self) -> Option<u64> {
        (self.header.flags & ROLL != 0).then(|| u64_at(self.payload, 0))
    }

    fn check_records(&self) -> Result<(), BatchError> {
        if self.header.flags & ROLL != 0 {
            return match self.header.has_erases {
                true => Err(BatchError::Header("version")),
                false => Ok(()),
            };
        }
        let mut rest = self.payload;
        let mut has_erases = false;
        for index in 0..self.header.records {
            let (record, behind) =
                Record::read(rest).map_err(|source| BatchError::Record { index, source })?;
            has_erases |= record.kind == RecordKind::Erase;
            rest = behind;
        }
        if has_erases != self.header.has_erases {
            return Err(BatchError::Header("version"));
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(BatchError::Record {
                index: self.header.records,
                source: RecordError::Trailing(rest.len()),
            }),
        }
    }
}

/// Iterator over the records of a verified batch.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.left == 0 {
            return None;
        }
        // Never an error: `parse_body` has read every record of these bytes.
        let (record, rest) = Record::read(self.rest).ok()?;
        (self.rest, self.left) = (rest, self.left - 1);
        Some(record)
    }
}

/// What binds a batch's checksums to its place: file, use of the file, and offset.
fn batch_key(segment: &SegmentHeader, offset: u64) -> u64 {
    let mut place = [0; 34];
    place[..16].copy_from_slice(&segment.store_id);
    place[16..20].copy_from_slice(&segment.epoch.to_le_bytes());
    place[20..22].copy_from_slice(&segment.shard.to_le_bytes());
    place[22..26].copy_from_slice(&segment.number.to_le_bytes());
    place[26..].copy_from_slice(&offset.to_le_bytes());
    xxh3_64_with_seed(&place, segment.salt)
}

fn batch_hash(header: &[u8; BATCH_HEADER_BYTES]) -> u64 {
    xxh3_64(header)
}

/// The previous hash of a log's first batch.
pub fn genesis(store_id: &[u8; 16], epoch: u32, shard: u16) -> u64 {
    let mut name = [0; 22];
    name[..16].copy_from_slice(store_id);
    name[16..20].copy_from_slice(&epoch.to_le_bytes());
    name[20..].copy_from_slice(&shard.to_le_bytes());
    xxh3_64(&name)
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
