//! Building a batch in a buffer of the caller's.

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    BATCH_ALIGN, BATCH_HEADER_BYTES, BATCH_MAGIC, BATCH_VERSION, HEADER_CHECKED, MAX_BATCH_BYTES,
    MAX_KEY_BYTES, MAX_SEQUENCE, PLAIN_BATCH_VERSION, ROLL, Record, RecordKind, batch_hash,
    batch_key, record_bytes,
};
use crate::segment::SegmentHeader;

/// Why a record or a batch cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// The buffer is shorter than the batch.
    #[error("the buffer has {found} bytes, the batch needs {needed}")]
    Buffer {
        /// Bytes that the batch needs, with padding.
        needed: usize,
        /// Bytes of the buffer.
        found: usize,
    },
    /// The batch would pass [`MAX_BATCH_BYTES`].
    #[error("the batch would be {0} bytes, the limit is {MAX_BATCH_BYTES}")]
    BatchTooLarge(usize),
    /// The key does not fit its length field.
    #[error("the key is {0} bytes, the limit is {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
    /// The sequence number has more than 48 bits.
    #[error("sequence {0} is above the limit {MAX_SEQUENCE}")]
    Sequence(u64),
}

/// Where a finished batch goes, and what it continues.
#[derive(Debug, Clone, Copy)]
pub struct Seal<'a> {
    /// Segment that it is written into.
    pub segment: &'a SegmentHeader,
    /// Where in the file.
    pub offset: u64,
    /// `ROLL`, `FINAL` or 0.
    pub flags: u32,
    /// Its number in the log, from 1.
    pub number: u64,
    /// All batches up to this one are durable; below `number`.
    pub horizon: u64,
    /// Records of the log before it.
    pub first_record: u64,
    /// Hash of the previous batch, or the genesis.
    pub previous: u64,
}

/// A finished batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Its bytes at the front of the buffer, a multiple of [`BATCH_ALIGN`].
    pub batch_bytes: usize,
    /// Its hash, for the next batch.
    pub hash: u64,
}

/// Collects the records of one batch at the front of a buffer that the caller owns and may grow.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    used: usize,
    records: u32,
    has_erases: bool,
}

impl BatchBuilder {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { used: BATCH_HEADER_BYTES, records: 0, has_erases: false }
    }

    /// Records in it.
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of the batch as it is, with padding.
    pub const fn batch_bytes(&self) -> usize {
        self.used.next_multiple_of(BATCH_ALIGN)
    }

    /// Bytes of the batch, with padding, after `record` would be added.
    pub fn bytes_with(&self, record: &Record<'_>) -> usize {
        (self.used + record_bytes(record)).next_multiple_of(BATCH_ALIGN)
    }

    /// Adds a record. `out` must have [`BatchBuilder::bytes_with`] bytes and hold, at its front,
    /// what was added before. On an error nothing has changed.
    pub fn push(&mut self, out: &mut [u8], record: &Record<'_>) -> Result<(), BuildError> {
        if record.key.len() > MAX_KEY_BYTES {
            return Err(BuildError::KeyTooLong(record.key.len()));
        }
        if record.sequence > MAX_SEQUENCE {
            return Err(BuildError::Sequence(record.sequence));
        }
        let needed = self.bytes_with(record);
        if needed > MAX_BATCH_BYTES {
            return Err(BuildError::BatchTooLarge(needed));
        }
        if needed > out.len() {
            return Err(BuildError::Buffer { needed, found: out.len() });
        }
        self.used += record.write(&mut out[self.used..]);
        self.records += 1;
        self.has_erases |= record.kind == RecordKind::Erase;
        Ok(())
    }

    /// A batch of flag [`ROLL`] that names the next segment's salt; seal it with that flag.
    pub fn roll(out: &mut [u8], next_salt: u64) -> Result<Self, BuildError> {
        let builder = Self { used: BATCH_HEADER_BYTES + 8, records: 0, has_erases: false };
        let needed = builder.batch_bytes();
        match out.get_mut(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + 8) {
            Some(payload) => payload.copy_from_slice(&next_salt.to_le_bytes()),
            None => return Err(BuildError::Buffer { needed, found: out.len() }),
        }
        Ok(builder)
    }

    /// Pads the batch and writes its header: the front of `out` is then what goes to the disk.
    pub fn seal(self, out: &mut [u8], seal: &Seal<'_>) -> Result<Sealed, BuildError> {
        let batch_bytes = self.batch_bytes();
        if out.len() < batch_bytes {
            return Err(BuildError::Buffer { needed: batch_bytes, found: out.len() });
        }
        debug_assert!(seal.horizon < seal.number && (seal.flags & ROLL == 0 || self.records == 0));
        let (header, body) = out[..batch_bytes].split_at_mut(BATCH_HEADER_BYTES);
        body[self.used - BATCH_HEADER_BYTES..].fill(0);
        let key = batch_key(seal.segment, seal.offset);
        let payload_bytes = (self.used - BATCH_HEADER_BYTES) as u32;
        let version = if self.has_erases { BATCH_VERSION } else { PLAIN_BATCH_VERSION };
        let mut whole = [0; BATCH_HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| whole[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &BATCH_MAGIC);
        put(8, &version.to_le_bytes());
        put(10, &seal.segment.shard.to_le_bytes());
        put(12, &seal.segment.epoch.to_le_bytes());
        put(16, &seal.segment.number.to_le_bytes());
        put(20, &seal.flags.to_le_bytes());
        put(24, &seal.offset.to_le_bytes());
        put(32, &seal.number.to_le_bytes());
        put(40, &seal.horizon.to_le_bytes());
        put(48, &seal.first_record.to_le_bytes());
        put(56, &self.records.to_le_bytes());
        put(60, &payload_bytes.to_le_bytes());
        put(64, &(batch_bytes as u32).to_le_bytes());
        put(72, &seal.previous.to_le_bytes());
        put(80, &xxh3_64_with_seed(body, key).to_le_bytes());
        let checksum = xxh3_64_with_seed(&whole[..HEADER_CHECKED], key);
        whole[HEADER_CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        header.copy_from_slice(&whole);
        Ok(Sealed { batch_bytes, hash: batch_hash(&whole) })
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}
