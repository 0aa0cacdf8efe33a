//! What is sorted: entries by entity and time, answers by row. Their bytes compare as they are to be ordered.

use thermae_formats::{Field, Projection, RowError};
use thermae_tiering::asof::Found;

use super::tally::Tally;

const SIGN: u64 = 1 << 63;

/// A row of the spine, seen through one set of join keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub entity_hash: u64,
    pub key_set: u16,
    pub key: &'a [u8],
    pub time_us: i64,
    pub row: u64,
}

impl<'a> Entry<'a> {
    /// Replaces `out` by the entry's record. Keys of one set are prefix-free, so that the bytes behind a key
    /// never decide between two different ones; a later time is the lesser one.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.entity_hash.to_be_bytes());
        out.extend_from_slice(&self.key_set.to_be_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(&(!(self.time_us as u64 ^ SIGN)).to_be_bytes());
        out.extend_from_slice(&self.row.to_be_bytes());
    }

    /// The entry of a record; `None` if it is none.
    pub fn decode(record: &'a [u8]) -> Option<Self> {
        let (entity_hash, rest) = record.split_first_chunk()?;
        let (key_set, rest) = rest.split_first_chunk()?;
        let (rest, row) = rest.split_last_chunk()?;
        let (key, time) = rest.split_last_chunk()?;
        Some(Self {
            entity_hash: u64::from_be_bytes(*entity_hash),
            key_set: u16::from_be_bytes(*key_set),
            key,
            time_us: (!u64::from_be_bytes(*time) ^ SIGN) as i64,
            row: u64::from_be_bytes(*row),
        })
    }
}

/// Begins the record of an answer, in place of what is in `out`.
pub(super) fn begin_answer(row: u64, key_set: u16, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&row.to_be_bytes());
    out.extend_from_slice(&key_set.to_be_bytes());
}

/// The row, the set of join keys, and what [`append_found`] appended.
pub(super) fn split_answer(record: &[u8]) -> Option<(u64, u16, &[u8])> {
    let (row, rest) = record.split_first_chunk()?;
    let (key_set, rest) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*row), u16::from_be_bytes(*key_set), rest))
}

/// A finding begins with what it is.
const PRESENT: u8 = 1;
const OUTSIDE_MAX_AGE: u8 = 2;
/// All of one that found nothing.
pub(super) const NOT_FOUND: [u8; 1] = [0];

/// What the first finding of some bytes counts as.
pub(super) fn count_found(found: &[u8], tally: &mut Tally) {
    match found.first() {
        Some(&PRESENT) => tally.present += 1,
        Some(&OUTSIDE_MAX_AGE) => tally.outside_max_age += 1,
        _ => {}
    }
}

/// Appends the features of what was found for one view: a byte that says whether there are any, a bitmap of
/// nulls, and the others in order, those of variable width after their length.
pub(super) fn append_found(
    found: &Found<'_>,
    projection: &Projection,
    out: &mut Vec<u8>,
) -> Result<(), RowError> {
    let version = match found {
        Found::Present(version) => version,
        Found::OutsideMaxAge(_) => {
            out.push(OUTSIDE_MAX_AGE);
            return Ok(());
        }
        Found::NotFound => {
            out.extend_from_slice(&NOT_FOUND);
            return Ok(());
        }
    };
    out.push(PRESENT);
    let bitmap_at = out.len();
    out.resize(bitmap_at + projection.len().div_ceil(8), 0);
    if let Some(all) = projection.run(version.schema_id, version.value, version.is_dense()) {
        out.extend_from_slice(all);
        return Ok(());
    }
    let row = projection.row(version.schema_id, version.value, version.is_dense())?;
    for column in 0..projection.len() {
        match row.field(column)? {
            Field::Null => out[bitmap_at + column / 8] |= 1 << (column % 8),
            Field::Fixed(bytes) => out.extend_from_slice(bytes),
            Field::Widened(bytes) => out.extend_from_slice(&bytes),
            Field::Variable(bytes) => {
                // A row value is bounded, far below 4 GiB.
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
    Ok(())
}

/// A place in a row's findings, which are taken column by column.
#[derive(Clone, Copy)]
pub(super) struct FoundCursor {
    at: usize,
    /// Where the nulls of the present view are told; nowhere if it has no features.
    bitmap: Option<usize>,
}

impl FoundCursor {
    /// Before the findings that begin at `at`; with nothing to find if that is nowhere.
    pub fn new(at: Option<usize>) -> Self {
        Self { at: at.unwrap_or(usize::MAX), bitmap: None }
    }

    /// Goes on to the next view's finding, which has so many columns. `None` if the bytes are no such thing.
    pub fn next_view(&mut self, bytes: &[u8], columns: usize) -> Option<()> {
        self.bitmap = None;
        if self.at == usize::MAX {
            return Some(());
        }
        let is_present = *bytes.get(self.at)? == PRESENT;
        self.at += 1;
        if is_present {
            self.bitmap = Some(self.at);
            self.at += columns.div_ceil(8);
        }
        Some(())
    }

    /// Takes the next column's value, of `width` bytes if that is fixed; an inner `None` is null. `None` if the
    /// bytes are no such thing.
    pub fn take<'b>(
        &mut self,
        bytes: &'b [u8],
        column: usize,
        width: Option<usize>,
    ) -> Option<Option<&'b [u8]>> {
        let Some(bitmap) = self.bitmap else { return Some(None) };
        if *bytes.get(bitmap + column / 8)? >> (column % 8) & 1 == 1 {
            return Some(None);
        }
        let width = match width {
            Some(width) => width,
            None => {
                let (length, _) = bytes.get(self.at..)?.split_first_chunk()?;
                self.at += 4;
                u32::from_le_bytes(*length) as usize
            }
        };
        let value = bytes.get(self.at..self.at + width)?;
        self.at += width;
        Some(Some(value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back_and_sort_by_entity_and_key_latest_time_first() {
        let mut sorted = Vec::new();
        for entity_hash in [0, 1, u64::MAX] {
            for key_set in [0, 1, 300] {
                for key in [&b""[..], b"a\0", b"a\xff", b"b"] {
                    for time_us in [i64::MAX, 1, 0, -1, i64::MIN] {
                        for row in [0, 255, 256] {
                            sorted.push(Entry { entity_hash, key_set, key, time_us, row });
                        }
                    }
                }
            }
        }
        // Empty keys are a set of their own: they are no prefix of another key of it.
        sorted.retain(|entry| entry.key.is_empty() == (entry.key_set == 1));
        let record = |entry: &Entry<'_>| {
            let mut record = vec![7];
            entry.encode(&mut record);
            record
        };
        let records: Vec<_> = sorted.iter().map(record).collect();
        assert!(records.is_sorted() && !records.is_empty());
        for (entry, record) in sorted.iter().zip(&records) {
            assert_eq!(Entry::decode(record).as_ref(), Some(entry));
        }
        assert_eq!(Entry::decode(&records[0][..25]), None);
    }
}
