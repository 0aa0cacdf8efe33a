//! What is sorted: entries by entity and time, answers by row. Their bytes compare as they are to be ordered.

use thermae_formats::{Field, Projection, RowError};
use thermae_tiering::asof::Found;

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

/// Appends the features of what was found for one view: a byte that says whether there are any, a bitmap of
/// nulls, and the others in order, those of variable width after their length.
pub(super) fn append_found(
    found: &Found<'_>,
    projection: &Projection,
    out: &mut Vec<u8>,
) -> Result<(), RowError> {
    let Found::Present(version) = found else {
        out.push(0);
        return Ok(());
    };
    out.push(1);
    let row = projection.row(version.schema_id, version.value, version.is_dense())?;
    let bitmap_at = out.len();
    out.resize(bitmap_at + projection.len().div_ceil(8), 0);
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

/// Takes what one view found off the front of `rest`: hands each column's bytes on, `None` for null. `None` if
/// the bytes are no such thing.
pub(super) fn split_found<E>(
    projection: &Projection,
    rest: &mut &[u8],
    mut take: impl FnMut(usize, Option<&[u8]>) -> Result<(), E>,
) -> Option<Result<(), E>> {
    let (&is_present, mut bytes) = rest.split_first()?;
    let mut bitmap: &[u8] = &[];
    if is_present == 1 {
        (bitmap, bytes) = bytes.split_at_checked(projection.len().div_ceil(8))?;
    }
    for column in 0..projection.len() {
        let is_null = bitmap.get(column / 8).is_none_or(|byte| byte >> (column % 8) & 1 == 1);
        let mut value = None;
        if !is_null {
            let width = match projection.width_bytes(column) {
                Some(width) => width,
                None => {
                    let (length, after) = bytes.split_first_chunk()?;
                    bytes = after;
                    u32::from_le_bytes(*length) as usize
                }
            };
            let (field, after) = bytes.split_at_checked(width)?;
            (value, bytes) = (Some(field), after);
        }
        if let Err(error) = take(column, value) {
            return Some(Err(error));
        }
    }
    *rest = bytes;
    Some(Ok(()))
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
