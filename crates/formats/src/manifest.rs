//! The manifest of a data directory. Bytes: `docs/formats/log.md`.

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::bytes_at::{u16_at, u32_at, u64_at};
use crate::segment::{SEGMENT_HEADER_BYTES, valid_segment_bytes};

/// First bytes of every manifest.
pub const MANIFEST_MAGIC: [u8; 8] = *b"THRMMANI";
/// Version of the manifest format.
pub const MANIFEST_VERSION: u16 = 1;
/// Most partitions of a store.
pub const MAX_PARTITIONS: u16 = 4096;

const FIXED_BYTES: usize = 56;
const CURRENT_BYTES: usize = 16;
const SEALED_BYTES: usize = 56;

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Random name of the store.
    pub store_id: [u8; 16],
    /// Seed of the entity hash.
    pub hash_seed: u64,
    /// Partitions, fixed when the store is created.
    pub partitions: u16,
    /// Length of new segment files.
    pub segment_bytes: u64,
    /// The present epoch; 0 before the first.
    pub epoch: u32,
    /// Logs of the present epoch, one a shard, in shard order; none when that epoch was closed (its
    /// logs are sealed then) and in epoch 0.
    pub current: Vec<CurrentLog>,
    /// Logs of older epochs, ascending by (epoch, shard); those that nothing was written to are not
    /// kept.
    pub sealed: Vec<SealedLog>,
}

/// One log of the present epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLog {
    /// Shard that writes it.
    pub shard: u16,
    /// Salt of its segment 0.
    pub first_salt: u64,
}

/// One log of an older epoch, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedLog {
    /// Epoch of the log.
    pub epoch: u32,
    /// Shard that wrote it.
    pub shard: u16,
    /// Salt of its segment 0.
    pub first_salt: u64,
    /// Segments that belong to it.
    pub segments: u32,
    /// End of its last batch in the last of them.
    pub end_offset: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in it.
    pub records: u64,
    /// Hash of its last batch.
    pub chain: u64,
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The length is not what the counts in it ask for, or below the smallest.
    #[error("the file has {found} bytes, a manifest like this has {needed}")]
    Length {
        /// Bytes that it should have.
        needed: u64,
        /// Bytes that it has.
        found: usize,
    },
    /// Not a manifest.
    #[error("no manifest: wrong magic")]
    Magic,
    /// A manifest of a later format.
    #[error("manifest format version {0}, this build knows {MANIFEST_VERSION}")]
    NewerVersion(u16),
    /// The bytes are not what was written.
    #[error("the manifest's checksum does not hold")]
    Checksum,
    /// The checksum holds but a field is what no writer writes.
    #[error("the manifest's {0} is impossible")]
    Field(&'static str),
}

impl Manifest {
    /// The manifest's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            FIXED_BYTES + CURRENT_BYTES * self.current.len() + SEALED_BYTES * self.sealed.len() + 8,
        );
        out.extend_from_slice(&MANIFEST_MAGIC);
        out.extend_from_slice(&MANIFEST_VERSION.to_le_bytes());
        out.extend_from_slice(&self.partitions.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.hash_seed.to_le_bytes());
        out.extend_from_slice(&self.segment_bytes.to_le_bytes());
        out.extend_from_slice(&(self.current.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.sealed.len() as u32).to_le_bytes());
        for log in &self.current {
            out.extend_from_slice(&u64::from(log.shard).to_le_bytes());
            out.extend_from_slice(&log.first_salt.to_le_bytes());
        }
        for log in &self.sealed {
            out.extend_from_slice(&log.epoch.to_le_bytes());
            out.extend_from_slice(&u32::from(log.shard).to_le_bytes());
            out.extend_from_slice(&u64::from(log.segments).to_le_bytes());
            for word in [log.first_salt, log.end_offset, log.batches, log.records, log.chain] {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Verifies and reads a manifest: `bytes` is the whole file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let found = bytes.len();
        if found < FIXED_BYTES + 8 {
            return Err(ManifestError::Length { needed: FIXED_BYTES as u64 + 8, found });
        }
        if bytes[..8] != MANIFEST_MAGIC {
            return Err(ManifestError::Magic);
        }
        if u16_at(bytes, 8) > MANIFEST_VERSION {
            return Err(ManifestError::NewerVersion(u16_at(bytes, 8)));
        }
        let (body, checksum) = bytes.split_at(found - 8);
        if xxh3_64(body) != u64_at(checksum, 0) {
            return Err(ManifestError::Checksum);
        }
        let (current, sealed) = (u32_at(body, 48) as usize, u32_at(body, 52) as usize);
        let needed = FIXED_BYTES as u64
            + CURRENT_BYTES as u64 * current as u64
            + SEALED_BYTES as u64 * sealed as u64
            + 8;
        if needed != found as u64 {
            return Err(ManifestError::Length { needed, found });
        }
        let (fixed, lists) = body.split_at(FIXED_BYTES);
        let (current, sealed) = lists.split_at(CURRENT_BYTES * current);
        let mut store_id = [0; 16];
        store_id.copy_from_slice(&fixed[16..32]);
        let manifest = Self {
            store_id,
            hash_seed: u64_at(fixed, 32),
            partitions: u16_at(fixed, 10),
            segment_bytes: u64_at(fixed, 40),
            epoch: u32_at(fixed, 12),
            current: current.chunks_exact(CURRENT_BYTES).map(CurrentLog::read).collect(),
            sealed: sealed.chunks_exact(SEALED_BYTES).map(SealedLog::read).collect(),
        };
        manifest.check(u16_at(fixed, 8))?;
        match manifest.to_bytes() == bytes {
            true => Ok(manifest),
            false => Err(ManifestError::Field("reserved space")),
        }
    }

    fn check(&self, version: u16) -> Result<(), ManifestError> {
        let wrong = |field| Err(ManifestError::Field(field));
        if version != MANIFEST_VERSION {
            return wrong("version");
        }
        if self.partitions == 0 || self.partitions > MAX_PARTITIONS {
            return wrong("number of partitions");
        }
        if !valid_segment_bytes(self.segment_bytes) {
            return wrong("segment length");
        }
        let in_order = self.current.iter().enumerate().all(|(i, log)| usize::from(log.shard) == i);
        if !in_order || (self.epoch == 0 && !self.current.is_empty()) {
            return wrong("list of present logs");
        }
        let place = |log: &SealedLog| (log.epoch, log.shard);
        let ascending = self.sealed.windows(2).all(|two| place(&two[0]) < place(&two[1]));
        let is_closed = self.current.is_empty();
        let sound = self.sealed.iter().all(|log| {
            log.epoch > 0
                && (log.epoch < self.epoch || (is_closed && log.epoch == self.epoch))
                && log.segments > 0
                && log.end_offset >= SEGMENT_HEADER_BYTES as u64
                && log.end_offset.is_multiple_of(SEGMENT_HEADER_BYTES as u64)
        });
        if !ascending || !sound {
            return wrong("list of sealed logs");
        }
        Ok(())
    }
}

impl CurrentLog {
    fn read(bytes: &[u8]) -> Self {
        Self { shard: u16_at(bytes, 0), first_salt: u64_at(bytes, 8) }
    }
}

impl SealedLog {
    fn read(bytes: &[u8]) -> Self {
        Self {
            epoch: u32_at(bytes, 0),
            shard: u16_at(bytes, 4),
            segments: u32_at(bytes, 8),
            first_salt: u64_at(bytes, 16),
            end_offset: u64_at(bytes, 24),
            batches: u64_at(bytes, 32),
            records: u64_at(bytes, 40),
            chain: u64_at(bytes, 48),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    pub(super) fn example() -> Manifest {
        let sealed = |epoch, shard| SealedLog {
            epoch,
            shard,
            first_salt: 0xA0 + u64::from(shard),
            segments: 2,
            end_offset: 12_288,
            batches: 7,
            records: 40,
            chain: 0x0123_4567_89AB_CDEF,
        };
        Manifest {
            store_id: *b"0123456789abcdef",
            hash_seed: 0x1111_2222_3333_4444,
            partitions: 64,
            segment_bytes: 64 << 20,
            epoch: 3,
            current: vec![
                CurrentLog { shard: 0, first_salt: 0x51 },
                CurrentLog { shard: 1, first_salt: 0x52 },
            ],
            sealed: vec![sealed(1, 0), sealed(2, 0), sealed(2, 1)],
        }
    }

    #[test]
    fn round_trips_and_every_flipped_bit_and_cut_is_noticed() {
        let bytes = example().to_bytes();
        assert_eq!(Manifest::parse(&bytes), Ok(example()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert!(Manifest::parse(&broken).is_err(), "byte {at} bit {bit}");
            }
            assert!(Manifest::parse(&bytes[..at]).is_err(), "cut at {at}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Manifest::parse(&longer).is_err());
    }

    #[test]
    fn impossible_fields_are_refused_though_the_checksum_holds() {
        let broken: [fn(&mut Manifest); 6] = [
            |m| m.partitions = 0,
            |m| m.partitions = 4097,
            |m| m.segment_bytes = 5000,
            |m| m.current.swap(0, 1),
            |m| m.sealed.swap(0, 1),
            |m| m.sealed[2].epoch = 3,
        ];
        for (case, breaks) in broken.iter().enumerate() {
            let mut manifest = example();
            breaks(&mut manifest);
            let parsed = Manifest::parse(&manifest.to_bytes());
            assert!(matches!(parsed, Err(ManifestError::Field(_))), "case {case}: {parsed:?}");
        }
    }

    #[test]
    fn a_huge_count_is_refused_by_length_without_allocating() {
        let mut bytes = example().to_bytes();
        bytes[52..56].fill(0xFF);
        let end = bytes.len() - 8;
        let checksum = xxh3_64(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(Manifest::parse(&bytes), Err(ManifestError::Length { .. })));
    }
}
