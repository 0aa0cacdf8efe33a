//! The filter of a table: binary fuse fingerprints of 8 bits, in parts that cover ranges of rows.
//!
//! Built elsewhere; read here, where every field is checked before it leads anywhere.

use super::error::{TableError, impossible};
use super::footer::TableFooter;
use super::page::exactly;
use super::sizes::{FILTER_PART_BYTES, padded};
use crate::bits::bits_of;
use crate::bytes_at::{u32_at, u64_at};
use crate::catalogue::ViewId;
use crate::hash::row_hash;

/// Longest segment that the construction makes.
const MAX_SEGMENT_BYTES: u32 = 1 << 18;

const FILTER: &str = "table filter";

/// One part: the rows from `(view, first_hash)` up to the next part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterPart {
    /// View of the first row that it covers.
    pub first_view: ViewId,
    /// Entity hash of the first row that it covers.
    pub first_hash: u64,
    /// Seed of the construction.
    pub seed: u64,
    /// Fingerprints a segment, a power of two; 0 for a part without fingerprints, which may hold
    /// anything.
    pub segment_bytes: u32,
    /// Segments that a first fingerprint may lie in; two more follow.
    pub segments: u32,
    /// Distinct row hashes in it.
    pub hashes: u32,
}

impl FilterPart {
    /// Fingerprints, one byte each.
    pub const fn fingerprint_bytes(&self) -> u64 {
        match self.segment_bytes {
            0 => 0,
            length => (self.segments as u64 + 2) * length as u64,
        }
    }

    /// Whether `fingerprints`, which are this part's, admit a row hash.
    pub fn admits(&self, fingerprints: &[u8], row_hash: u64) -> bool {
        self.probe(fingerprints, row_hash).admits()
    }

    /// Where to look in `fingerprints` for a row hash, and what for.
    fn probe<'a>(&self, fingerprints: &'a [u8], row_hash: u64) -> Probe<'a> {
        if self.segment_bytes == 0 {
            return Probe::ADMITS;
        }
        let hash = mix(row_hash.wrapping_add(self.seed));
        let (length, mask) = (self.segment_bytes, self.segment_bytes - 1);
        let range = u128::from(self.segments) * u128::from(length);
        let first = ((u128::from(hash) * range) >> 64) as u32;
        let second = (first + length) ^ ((hash >> 18) as u32 & mask);
        let third = (first + 2 * length) ^ (hash as u32 & mask);
        // In range: `first` lies in one of the segments, the others in the two that follow it.
        Probe { fingerprints, at: [first, second, third], wanted: (hash ^ (hash >> 32)) as u8 }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first_view.0.to_le_bytes());
        out.extend_from_slice(&self.segment_bytes.to_le_bytes());
        out.extend_from_slice(&self.first_hash.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&self.segments.to_le_bytes());
        out.extend_from_slice(&self.hashes.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
    }

    fn read(entry: &[u8]) -> Self {
        Self {
            first_view: ViewId(u32_at(entry, 0)),
            segment_bytes: u32_at(entry, 4),
            first_hash: u64_at(entry, 8),
            seed: u64_at(entry, 16),
            segments: u32_at(entry, 24),
            hashes: u32_at(entry, 28),
        }
    }
}

/// What is to be compared for one row, before any of it is looked at.
#[derive(Clone, Copy)]
struct Probe<'a> {
    fingerprints: &'a [u8],
    at: [u32; 3],
    wanted: u8,
}

impl Probe<'_> {
    const ADMITS: Self = Self { fingerprints: &[], at: [0; 3], wanted: 0 };
    const REFUSES: Self = Self { fingerprints: &[], at: [0; 3], wanted: 1 };

    fn admits(&self) -> bool {
        let stored = |at: &u32| self.fingerprints.get(*at as usize).copied().unwrap_or(0);
        self.at.iter().fold(0, |sum, at| sum ^ stored(at)) == self.wanted
    }
}

/// The finaliser of MurmurHash3.
const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h ^= h >> 33;
    h = h.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

/// The bytes of a filter, padded to whole pages, and how many of them are used.
pub fn encode_filter(parts: &[(FilterPart, Box<[u8]>)]) -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    parts.iter().for_each(|(part, _)| part.write(&mut bytes));
    for (_, fingerprints) in parts {
        bytes.extend_from_slice(fingerprints);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let used = bytes.len() as u64;
    bytes.resize(padded(used) as usize, 0);
    (bytes, used)
}

/// A filter in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFilter {
    parts: Vec<(FilterPart, Box<[u8]>)>,
}

impl TableFilter {
    /// Verifies and reads the whole pages of a filter, as `footer` describes it.
    ///
    /// # Errors
    /// They are not what was written, or contradict themselves.
    pub fn parse(bytes: &[u8], footer: &TableFooter) -> Result<Self, TableError> {
        exactly(FILTER, bytes, padded(footer.filter.bytes))?;
        if footer.id.checksum(bytes, footer.filter.offset_bytes) != footer.filter.checksum {
            return Err(TableError::Checksum(FILTER));
        }
        let heads_bytes = footer.filter_parts as usize * FILTER_PART_BYTES;
        let Some((heads, mut rest)) = bytes.split_at_checked(heads_bytes) else {
            return Err(impossible(FILTER, "length", 0));
        };
        let (mut parts, mut hashes) = (Vec::new(), 0_u64);
        for (number, entry) in heads.chunks_exact(FILTER_PART_BYTES).enumerate() {
            let part = FilterPart::read(entry);
            let at = number * FILTER_PART_BYTES;
            check_part(&part, parts.last().map(|(before, _)| before), at)?;
            let length = part.fingerprint_bytes() as usize;
            let Some((own, after)) = rest.split_at_checked(length.next_multiple_of(8)) else {
                return Err(impossible(FILTER, "number of segments", at + 24));
            };
            parts.push((part, own[..length].into()));
            hashes += u64::from(part.hashes);
            rest = after;
        }
        if hashes != footer.entities {
            return Err(impossible(FILTER, "number of hashes", 28));
        }
        let (again, used) = encode_filter(&parts);
        match again == bytes && used == footer.filter.bytes {
            true => Ok(Self { parts }),
            false => Err(impossible(FILTER, "reserved space", 32)),
        }
    }

    /// Whether the table may hold a row of this view and entity hash; if it does, always true.
    pub fn may_hold(&self, view: ViewId, entity_hash: u64) -> bool {
        self.probe(view, entity_hash).admits()
    }

    /// Which of some rows the table lacks for certain: a bit for each of the first 64. All is worked out before the
    /// first fingerprint is looked at, so that the waits for their memory overlap.
    pub fn lacks(&self, rows: impl Iterator<Item = (ViewId, u64)>) -> u64 {
        let (mut probes, mut count) = ([Probe::REFUSES; u64::BITS as usize], 0);
        for (probe, (view, entity_hash)) in probes.iter_mut().zip(rows) {
            *probe = self.probe(view, entity_hash);
            count += 1;
        }
        bits_of(probes.iter().take(count).map(|probe| !probe.admits()))
    }

    fn probe(&self, view: ViewId, entity_hash: u64) -> Probe<'_> {
        let place = (view, entity_hash);
        let end =
            self.parts.partition_point(|(part, _)| (part.first_view, part.first_hash) <= place);
        match end.checked_sub(1).and_then(|at| self.parts.get(at)) {
            Some((part, own)) => part.probe(own, row_hash(entity_hash, view)),
            None => Probe::REFUSES,
        }
    }

    /// Bytes that it takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        let part = |(_, own): &(FilterPart, Box<[u8]>)| (own.len() + FILTER_PART_BYTES) as u64;
        self.parts.iter().map(part).sum()
    }
}

fn check_part(part: &FilterPart, before: Option<&FilterPart>, at: usize) -> Result<(), TableError> {
    let wrong = |field, offset| Err(impossible(FILTER, field, at + offset));
    let place = |part: &FilterPart| (part.first_view, part.first_hash);
    if before.is_some_and(|before| place(before) >= place(part)) {
        return wrong("order of parts", 0);
    }
    let length = part.segment_bytes;
    if length > MAX_SEGMENT_BYTES || (length > 0 && !length.is_power_of_two()) {
        return wrong("length of segments", 4);
    }
    // Places in a part are counted in 32 bits.
    let fits = part.fingerprint_bytes() <= u64::from(u32::MAX);
    if !fits || (length == 0) != (part.segments == 0) {
        return wrong("number of segments", 24);
    }
    if part.hashes == 0 {
        return wrong("number of hashes", 28);
    }
    Ok(())
}
