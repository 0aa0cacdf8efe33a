//! Bytes of a file as the Parquet reader asks for them: all fetched and verified beforehand.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::ColdError;
use super::checked::{CHUNK_BYTES, chunk_checksum, chunk_range};
use super::objects::Objects;

/// A gap between two ranges that costs less to read than to ask twice: four chunks.
const COALESCE_BYTES: u64 = 4 * CHUNK_BYTES;

/// Parts of a file, verified.
#[derive(Clone)]
pub(super) struct Parts {
    file_bytes: u64,
    /// Where each part begins in the file, and its bytes.
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    pub fn new(file_bytes: u64, parts: Vec<(u64, Bytes)>) -> Self {
        Self { file_bytes, parts }
    }

    /// Bytes held.
    pub fn held_bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    fn from(&self, start: u64) -> Option<Bytes> {
        self.parts.iter().find_map(|(begin, bytes)| {
            let at = usize::try_from(start.checked_sub(*begin)?).ok()?;
            (at < bytes.len()).then(|| bytes.slice(at..))
        })
    }

    fn missing(start: u64) -> ParquetError {
        ParquetError::EOF(format!("nothing was to be read at offset {start}"))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Parts {
    type T = PartReader;

    fn get_read(&self, start: u64) -> Result<PartReader, ParquetError> {
        self.from(start).map(PartReader).ok_or_else(|| Self::missing(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let part = self.from(start).filter(|part| length <= part.len());
        part.map(|part| part.slice(..length)).ok_or_else(|| Self::missing(start))
    }
}

/// Reads a part on.
pub(super) struct PartReader(Bytes);

impl Read for PartReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.0.len());
        out[..count].copy_from_slice(&self.0.split_to(count));
        Ok(count)
    }
}

/// Fetches and verifies what holds `ranges` of an object whose first `data_bytes` have these `checksums`.
///
/// # Errors
/// The object store fails, or a chunk is not what was written.
pub(super) fn fetch(
    objects: &dyn Objects,
    object: &str,
    file_bytes: u64,
    data_bytes: u64,
    checksums: &[u64],
    ranges: Vec<Range<u64>>,
) -> Result<Parts, ColdError> {
    let mut parts = Vec::new();
    for range in coalesce(ranges, data_bytes) {
        let bytes = objects
            .get_range(object, range.clone())
            .map_err(|error| ColdError::objects("read", object, error))?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(cut(object, range.start, &bytes, range.end - range.start));
        }
        verify(object, range.start, data_bytes, checksums, &bytes)?;
        parts.push((range.start, bytes));
    }
    Ok(Parts::new(file_bytes, parts))
}

/// An answer that is shorter than asked: of an object that was cut, or of an answer that was. Which one it is
/// the length of the object tells; until then it is an answer that did not come.
pub(super) fn cut(object: &str, begin: u64, bytes: &Bytes, expected: u64) -> ColdError {
    let what = format!("{} bytes of {expected} at offset {begin}", bytes.len());
    ColdError::objects("read", object, super::ObjectError::NoAnswer(what))
}

/// Ranges in their order as whole chunks, those that lie close together as one.
fn coalesce(mut ranges: Vec<Range<u64>>, data_bytes: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().filter(|range| range.start < range.end) {
        let begin = chunk_range(range.start / CHUNK_BYTES, data_bytes).start;
        let end = chunk_range((range.end - 1) / CHUNK_BYTES, data_bytes).end;
        match merged.last_mut() {
            Some(last) if begin <= last.end.saturating_add(COALESCE_BYTES) => {
                last.end = last.end.max(end);
            }
            _ => merged.push(begin..end),
        }
    }
    merged.retain(|range| range.start < range.end);
    merged
}

fn verify(
    object: &str,
    begin: u64,
    data_bytes: u64,
    checksums: &[u64],
    bytes: &Bytes,
) -> Result<(), ColdError> {
    let first = begin / CHUNK_BYTES;
    for (number, chunk) in (first..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
        let expected = usize::try_from(number).ok().and_then(|number| checksums.get(number));
        if expected != Some(&chunk_checksum(number, chunk)) {
            let offset = chunk_range(number, data_bytes).start;
            return Err(ColdError::damaged(object, offset, "a chunk's checksum does not match"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_whole_chunks_and_near_ones_become_one() {
        let (chunk, data) = (CHUNK_BYTES, 100 * CHUNK_BYTES + 7);
        let found = coalesce(vec![10..20, 99 * chunk..data, 5 * chunk..5 * chunk + 1, 3..3], data);
        assert_eq!(found, [0..6 * chunk, 99 * chunk..data]);
        let beyond = std::iter::once(data + chunk..data + 2 * chunk).collect();
        assert_eq!(coalesce(beyond, data), []);
    }
}
