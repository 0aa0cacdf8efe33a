//! Log segments: the header block and the name of a segment file. Bytes: `docs/formats/log.md`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::bytes_at::{u16_at, u32_at, u64_at};

/// First bytes of every segment file.
pub const SEGMENT_MAGIC: [u8; 8] = *b"THRMSEG1";
/// Version of the segment format.
pub const SEGMENT_VERSION: u16 = 1;
/// Bytes of the header block: where the first batch starts.
pub const SEGMENT_HEADER_BYTES: usize = 4096;
/// Smallest segment file, in bytes.
pub const MIN_SEGMENT_BYTES: u64 = 16 << 10;
/// Largest segment file, in bytes.
pub const MAX_SEGMENT_BYTES: u64 = 4 << 30;

const CHECKSUM_AT: usize = SEGMENT_HEADER_BYTES - 8;

/// Which segment a file is: what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Epoch of the log, from 1.
    pub epoch: u32,
    /// Shard that wrote it.
    pub shard: u16,
    /// Position in the log, from 0.
    pub number: u32,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:04x}-{:08x}.log", self.epoch, self.shard, self.number)
    }
}

/// A file name that names no segment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a segment name (EEEEEEEE-SSSS-NNNNNNNN.log)")]
pub struct NotASegment(pub String);

impl FromStr for SegmentName {
    type Err = NotASegment;

    fn from_str(text: &str) -> Result<Self, NotASegment> {
        let parse = || {
            let mut parts = text.strip_suffix(".log")?.split('-');
            let name = Self {
                epoch: u32::from_str_radix(parts.next()?, 16).ok()?,
                shard: u16::from_str_radix(parts.next()?, 16).ok()?,
                number: u32::from_str_radix(parts.next()?, 16).ok()?,
            };
            // The only spelling: rejects signs, upper case, other widths and further parts.
            (name.to_string() == text).then_some(name)
        };
        parse().ok_or_else(|| NotASegment(text.chars().take(80).collect()))
    }
}

/// Header of one use of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Store that the file belongs to.
    pub store_id: [u8; 16],
    /// Epoch of the log.
    pub epoch: u32,
    /// Shard that writes it.
    pub shard: u16,
    /// Position in the log, from 0.
    pub number: u32,
    /// Random, new for every use of the file.
    pub salt: u64,
    /// Length of the file when it is made.
    pub segment_bytes: u64,
}

/// Why a block is no segment header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// Fewer bytes than the header block.
    #[error("the file has {0} bytes, a segment starts with a header of {SEGMENT_HEADER_BYTES}")]
    Short(usize),
    /// Not a segment.
    #[error("no segment file: wrong magic")]
    Magic,
    /// A segment of a later format.
    #[error("segment format version {0}, this build knows {SEGMENT_VERSION}")]
    NewerVersion(u16),
    /// The header is not what was written.
    #[error("the segment header's checksum does not hold")]
    Checksum,
    /// The header verifies but holds what no writer writes.
    #[error("the segment header's {0} is impossible")]
    Field(&'static str),
}

impl SegmentHeader {
    /// The name that the file must have.
    pub const fn name(&self) -> SegmentName {
        SegmentName { epoch: self.epoch, shard: self.shard, number: self.number }
    }

    /// The header block.
    pub fn to_bytes(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut block = [0; SEGMENT_HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &SEGMENT_MAGIC);
        put(8, &SEGMENT_VERSION.to_le_bytes());
        put(10, &self.shard.to_le_bytes());
        put(12, &self.epoch.to_le_bytes());
        put(16, &self.store_id);
        put(32, &self.number.to_le_bytes());
        put(40, &self.salt.to_le_bytes());
        put(48, &self.segment_bytes.to_le_bytes());
        let checksum = xxh3_64(&block[..CHECKSUM_AT]);
        block[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    /// Verifies and reads a header block at the front of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let Some(block) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(SegmentError::Short(bytes.len()));
        };
        if block[..8] != SEGMENT_MAGIC {
            return Err(SegmentError::Magic);
        }
        let version = u16_at(block, 8);
        if version > SEGMENT_VERSION {
            return Err(SegmentError::NewerVersion(version));
        }
        if u64_at(block, CHECKSUM_AT) != xxh3_64(&block[..CHECKSUM_AT]) {
            return Err(SegmentError::Checksum);
        }
        let mut store_id = [0; 16];
        store_id.copy_from_slice(&block[16..32]);
        let header = Self {
            store_id,
            epoch: u32_at(block, 12),
            shard: u16_at(block, 10),
            number: u32_at(block, 32),
            salt: u64_at(block, 40),
            segment_bytes: u64_at(block, 48),
        };
        if version != SEGMENT_VERSION {
            return Err(SegmentError::Field("version"));
        }
        if !valid_segment_bytes(header.segment_bytes) {
            return Err(SegmentError::Field("length"));
        }
        if block[36..40] != [0; 4] || block[56..CHECKSUM_AT].iter().any(|&byte| byte != 0) {
            return Err(SegmentError::Field("reserved space"));
        }
        Ok(header)
    }
}

/// Whether a segment file may have this length.
pub const fn valid_segment_bytes(bytes: u64) -> bool {
    bytes.is_multiple_of(SEGMENT_HEADER_BYTES as u64)
        && bytes >= MIN_SEGMENT_BYTES
        && bytes <= MAX_SEGMENT_BYTES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store_id: *b"0123456789abcdef",
            epoch: 0x0102_0304,
            shard: 0x0506,
            number: 0x0708_090A,
            salt: 0x1112_1314_1516_1718,
            segment_bytes: 64 << 20,
        }
    }

    #[test]
    fn names_have_one_spelling() {
        let name = SegmentName { epoch: 1, shard: 0xAB, number: 0xDEAD_BEEF };
        assert_eq!(name.to_string(), "00000001-00ab-deadbeef.log");
        assert_eq!("00000001-00ab-deadbeef.log".parse(), Ok(name));
        for other in [
            "",
            ".log",
            "1-ab-deadbeef.log",
            "00000001-00AB-deadbeef.log",
            "+0000001-00ab-deadbeef.log",
            "00000001-00ab-deadbeef.log.tmp",
            "00000001-00ab-deadbeef-0.log",
            "00000001-00ab.log",
        ] {
            assert!(other.parse::<SegmentName>().is_err(), "{other}");
        }
    }

    #[test]
    fn header_round_trips_and_every_flipped_bit_is_noticed() {
        let bytes = header().to_bytes();
        assert_eq!(SegmentHeader::parse(&bytes), Ok(header()));
        for at in 0..bytes.len() {
            let mut broken = bytes;
            broken[at] ^= 1 << (at % 8);
            assert!(SegmentHeader::parse(&broken).is_err(), "byte {at}");
        }
        assert_eq!(SegmentHeader::parse(&bytes[..4095]), Err(SegmentError::Short(4095)));
    }

    #[test]
    fn newer_versions_are_told_from_damage() {
        let mut bytes = header().to_bytes();
        bytes[8] = 2;
        assert_eq!(SegmentHeader::parse(&bytes), Err(SegmentError::NewerVersion(2)));
    }
}
