//! The rows of a block, column by column: what compresses well, and a row is found in it without
//! restoring the others. Bytes: `docs/formats/warm.md`.

use super::error::{TableError, impossible};
use crate::bytes_at::{u16_at, u32_at, u64_at};
use crate::hot_layout::FLAG_HAS_EXPIRE;
use crate::version::{HAS_CREATED, VERSION_FIXED_BYTES};

const PART: &str = "block's rows";
/// Where in a version its flags and the lengths of its key and value are.
const FLAGS_AT: usize = 0;
const KEY_BYTES_AT: usize = 4;
const VALUE_BYTES_AT: usize = 12;
const TIME_BYTES: usize = 8;
/// Bytes of a word, and rows that are restored together: a square of bytes is turned at a time.
const WORD_BYTES: usize = 8;
const LANES: usize = 8;

/// Appends the columns of `rows`, which are exactly `count` encoded versions.
pub fn append_columns(rows: &[u8], count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + rows.len(), 0);
    let columns = &mut out[start..];
    let starts = row_starts(rows, count);
    // Planes of the heads, and after them what rows have each for itself.
    let (heads, mut rest) = columns.split_at_mut(count * VERSION_FIXED_BYTES);
    for (row, at) in starts.iter().enumerate() {
        for byte in 0..VERSION_FIXED_BYTES {
            heads[byte * count + row] = rows[at + byte];
        }
    }
    for flag in [HAS_CREATED, FLAG_HAS_EXPIRE] {
        let times = starts.iter().filter(|at| rows[**at] & flag != 0).map(|at| {
            let before = usize::from(flag == FLAG_HAS_EXPIRE && rows[*at] & HAS_CREATED != 0);
            at + VERSION_FIXED_BYTES + before * TIME_BYTES
        });
        rest = transpose(times, rows, TIME_BYTES, rest);
    }
    let keys: Vec<_> =
        starts.iter().map(|at| (key_start(rows, *at), key_bytes(rows, *at))).collect();
    match equal(keys.iter().map(|(_, bytes)| *bytes)) {
        Some(bytes) => rest = transpose(keys.iter().map(|(at, _)| *at), rows, bytes, rest),
        None => {
            for (at, bytes) in &keys {
                let (key, after) = rest.split_at_mut(*bytes);
                key.copy_from_slice(&rows[*at..at + bytes]);
                rest = after;
            }
        }
    }
    for ((at, bytes), row) in keys.iter().zip(&starts) {
        let (value, after) = rest.split_at_mut(u32_at(rows, row + VALUE_BYTES_AT) as usize);
        value.copy_from_slice(&rows[at + bytes..at + bytes + value.len()]);
        rest = after;
    }
}

fn row_starts(rows: &[u8], count: usize) -> Vec<usize> {
    let mut at = 0;
    let next = |_| {
        let start = at;
        at = key_start(rows, at) + key_bytes(rows, at) + u32_at(rows, at + VALUE_BYTES_AT) as usize;
        start
    };
    (0..count).map(next).collect()
}

fn key_start(rows: &[u8], row: usize) -> usize {
    let flags = rows[row + FLAGS_AT];
    let times = usize::from(flags & HAS_CREATED != 0) + usize::from(flags & FLAG_HAS_EXPIRE != 0);
    row + VERSION_FIXED_BYTES + times * TIME_BYTES
}

fn key_bytes(rows: &[u8], row: usize) -> usize {
    usize::from(u16_at(rows, row + KEY_BYTES_AT))
}

/// What all of them are, if there are any.
fn equal(mut lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let first = lengths.next()?;
    lengths.all(|bytes| bytes == first).then_some(first)
}

/// Writes byte 0 of every field, then byte 1 of every field, and so on; returns what follows.
fn transpose<'a>(
    fields: impl Iterator<Item = usize> + Clone,
    rows: &[u8],
    bytes: usize,
    mut out: &'a mut [u8],
) -> &'a mut [u8] {
    for byte in 0..bytes {
        let mut written = 0;
        for (at, to) in fields.clone().zip(out.iter_mut()) {
            *to = rows[at + byte];
            written += 1;
        }
        out = &mut out[written..];
    }
    out
}

/// The rows of a block as [`append_columns`] wrote them.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    rows: usize,
    heads: &'a [u8],
    created_times: &'a [u8],
    expiries: &'a [u8],
    keys: &'a [u8],
    values: &'a [u8],
    /// Bytes of every key, if all have as many: then they are in planes.
    equal_key_bytes: Option<usize>,
}

impl<'a> Columns<'a> {
    /// Of `bytes`, which must be exactly `rows` rows.
    ///
    /// # Errors
    /// The lengths that the rows name do not add up to the bytes given.
    pub fn parse(bytes: &'a [u8], rows: u32) -> Result<Self, TableError> {
        let rows = rows as usize;
        let wrong = || impossible(PART, "number or length", 0);
        let head_bytes = rows.checked_mul(VERSION_FIXED_BYTES).ok_or_else(wrong)?;
        let (heads, rest) = bytes.split_at_checked(head_bytes).ok_or_else(wrong)?;
        let none = Self {
            rows,
            heads,
            created_times: &[],
            expiries: &[],
            keys: &[],
            values: &[],
            equal_key_bytes: None,
        };
        let split = |rest: &'a [u8], bytes: usize| rest.split_at_checked(bytes).ok_or_else(wrong);
        let (created_times, rest) = split(rest, none.flagged(HAS_CREATED, rows) * TIME_BYTES)?;
        let (expiries, rest) = split(rest, none.flagged(FLAG_HAS_EXPIRE, rows) * TIME_BYTES)?;
        let (keys, values) = split(rest, none.key_bytes_before(rows))?;
        if values.len() != none.value_bytes_before(rows) {
            return Err(wrong());
        }
        let is_even = |byte| {
            let plane = &heads[byte * rows..][..rows];
            plane
                .first()
                .is_none_or(|first| plane.iter().fold(0, |all, one| all | one ^ first) == 0)
        };
        let are_equal = rows > 0 && is_even(KEY_BYTES_AT) && is_even(KEY_BYTES_AT + 1);
        let equal_key_bytes = are_equal.then(|| none.key_bytes(0));
        Ok(Self { created_times, expiries, keys, values, equal_key_bytes, ..none })
    }

    /// The first row of `key`.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        let Some(bytes) = self.equal_key_bytes else { return self.find_among(key) };
        let Some((last, before)) = key.split_last().filter(|_| key.len() == bytes) else {
            return (key.is_empty() && bytes == 0 && self.rows > 0).then_some(0);
        };
        // From the last byte on: neighbours differ there.
        let has = |row: &usize| {
            before
                .iter()
                .enumerate()
                .rev()
                .all(|(byte, is)| self.keys[byte * self.rows + row] == *is)
        };
        let last_bytes = &self.keys[before.len() * self.rows..];
        let alike = last_bytes.iter().enumerate().filter(|(_, byte)| *byte == last);
        alike.map(|(row, _)| row).find(has)
    }

    /// As [`Self::find`], among keys of several lengths.
    fn find_among(&self, key: &[u8]) -> Option<usize> {
        let mut rest = self.keys;
        (0..self.rows).find(|row| {
            let (one, after) = rest.split_at(self.key_bytes(*row));
            rest = after;
            one == key
        })
    }

    /// Appends row `row` as the encoded version it was; it must be one of the block.
    pub fn append_row(&self, row: usize, out: &mut Vec<u8>) {
        let mut starts = Starts {
            created: self.flagged(HAS_CREATED, row),
            expiry: self.flagged(FLAG_HAS_EXPIRE, row),
            key: self.key_bytes_before(row),
            value: self.value_bytes_before(row),
        };
        self.append_from(row, &mut starts, out);
    }

    /// Appends all rows as the encoded versions they were.
    pub fn append_rows(&self, out: &mut Vec<u8>) {
        let parts = [self.heads, self.created_times, self.expiries, self.keys, self.values];
        out.reserve(parts.iter().map(|part| part.len()).sum());
        let mut starts = Starts::default();
        let mut heads = [[0; VERSION_FIXED_BYTES]; LANES];
        let mut keys = [[0; WORD_BYTES]; LANES];
        let has_words = self.equal_key_bytes == Some(WORD_BYTES);
        let whole = self.rows - self.rows % LANES;
        for first in (0..whole).step_by(LANES) {
            together(self.heads, self.rows, first, &mut heads);
            if has_words {
                together(self.keys, self.rows, first, &mut keys);
            }
            for (lane, head) in heads.iter().enumerate() {
                out.extend_from_slice(head);
                self.append_times(head[FLAGS_AT], &mut starts, out);
                let key_bytes = usize::from(u16_at(head, KEY_BYTES_AT));
                match (has_words, self.equal_key_bytes) {
                    (true, _) => out.extend_from_slice(&keys[lane]),
                    (_, Some(bytes)) => out.extend(of_planes(self.keys, bytes, first + lane)),
                    _ => out.extend_from_slice(&self.keys[starts.key..][..key_bytes]),
                }
                let value_bytes = u32_at(head, VALUE_BYTES_AT) as usize;
                out.extend_from_slice(&self.values[starts.value..][..value_bytes]);
                starts.key += key_bytes;
                starts.value += value_bytes;
            }
        }
        for row in whole..self.rows {
            self.append_from(row, &mut starts, out);
            starts.key += self.key_bytes(row);
            starts.value += self.value_bytes(row);
        }
    }

    /// Appends the times that a row has by its flags, and counts them.
    fn append_times(&self, flags: u8, starts: &mut Starts, out: &mut Vec<u8>) {
        if flags & HAS_CREATED != 0 {
            out.extend(of_planes(self.created_times, TIME_BYTES, starts.created));
            starts.created += 1;
        }
        if flags & FLAG_HAS_EXPIRE != 0 {
            out.extend(of_planes(self.expiries, TIME_BYTES, starts.expiry));
            starts.expiry += 1;
        }
    }

    fn append_from(&self, row: usize, starts: &mut Starts, out: &mut Vec<u8>) {
        out.extend((0..VERSION_FIXED_BYTES).map(|byte| self.head(byte, row)));
        self.append_times(self.head(FLAGS_AT, row), starts, out);
        match self.equal_key_bytes {
            Some(bytes) => out.extend(of_planes(self.keys, bytes, row)),
            None => out.extend_from_slice(&self.keys[starts.key..][..self.key_bytes(row)]),
        }
        out.extend_from_slice(&self.values[starts.value..][..self.value_bytes(row)]);
    }

    fn head(&self, byte: usize, row: usize) -> u8 {
        self.heads[byte * self.rows + row]
    }

    fn key_bytes(&self, row: usize) -> usize {
        let byte = |at| usize::from(self.head(KEY_BYTES_AT + at, row));
        byte(0) | byte(1) << 8
    }

    fn value_bytes(&self, row: usize) -> usize {
        let byte = |at| usize::from(self.head(VALUE_BYTES_AT + at, row));
        byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24
    }

    /// How many of the first `rows` rows have `flag`.
    fn flagged(&self, flag: u8, rows: usize) -> usize {
        self.heads[FLAGS_AT * self.rows..][..rows]
            .iter()
            .filter(|flags| **flags & flag != 0)
            .count()
    }

    fn key_bytes_before(&self, row: usize) -> usize {
        self.sum_before(row, KEY_BYTES_AT, 2)
    }

    fn value_bytes_before(&self, row: usize) -> usize {
        self.sum_before(row, VALUE_BYTES_AT, 4)
    }

    /// Sum of a number of `bytes` bytes at `at`, over the first `rows` rows.
    fn sum_before(&self, rows: usize, at: usize, bytes: usize) -> usize {
        let plane = |byte: usize| &self.heads[(at + byte) * self.rows..][..rows];
        let sum = |byte| plane(byte).iter().map(|byte| usize::from(*byte)).sum::<usize>();
        (0..bytes).map(|byte| sum(byte) << (8 * byte)).sum()
    }
}

/// The bytes of field `at`, out of planes of `bytes` bytes.
fn of_planes(planes: &[u8], bytes: usize, at: usize) -> impl Iterator<Item = u8> {
    let fields = planes.len().checked_div(bytes).unwrap_or_default();
    (0..bytes).map(move |byte| planes[byte * fields + at])
}

/// Puts the bytes of [`LANES`] fields from `first` on together, out of planes of `fields` bytes.
fn together<const BYTES: usize>(
    planes: &[u8],
    fields: usize,
    first: usize,
    out: &mut [[u8; BYTES]; LANES],
) {
    for begin in (0..BYTES).step_by(WORD_BYTES) {
        let mut words = [0; LANES];
        for (byte, word) in words.iter_mut().enumerate() {
            *word = u64_at(planes, (begin + byte) * fields + first);
        }
        transpose_words(&mut words);
        for (field, word) in out.iter_mut().zip(words) {
            field[begin..begin + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Byte `a` of word `b` and byte `b` of word `a` change places: single bytes first, then pairs, then fours.
fn transpose_words(words: &mut [u64; LANES]) {
    const STEPS: [(usize, u64); 3] =
        [(1, 0x00ff_00ff_00ff_00ff), (2, 0x0000_ffff_0000_ffff), (4, 0x0000_0000_ffff_ffff)];
    for (step, mask) in STEPS {
        for at in (0..LANES).filter(|at| at & step == 0) {
            let shift = 8 * step;
            let swapped = (words[at] >> shift ^ words[at + step]) & mask;
            words[at + step] ^= swapped;
            words[at] ^= swapped << shift;
        }
    }
}

/// Where what a row has for itself begins: times in fields, the others in bytes.
#[derive(Default)]
struct Starts {
    created: usize,
    expiry: usize,
    key: usize,
    value: usize,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::version::Version;
    use crate::{NO_TIME, SchemaId};

    /// Rows whose keys have as many bytes as `key_bytes` says of each, with and without times.
    fn rows(count: u64, key_bytes: fn(u64) -> usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        for n in 0..count {
            let key: Vec<u8> = (0..key_bytes(n)).map(|byte| (n >> (byte % 2 * 8)) as u8).collect();
            let time = |is_there: bool| if is_there { -1 - n as i64 } else { NO_TIME };
            let version = Version {
                schema_id: SchemaId(n as u16),
                flags: if n % 3 == 1 { FLAG_HAS_EXPIRE } else { 2 },
                sequence: n << 40,
                event_time: n as i64 * 1_000_003,
                created_time: time(n % 2 == 1),
                expire_at: time(n % 3 == 1),
                key: &key,
                value: &vec![n as u8; n as usize * 7 % 300],
            };
            version.encode(&mut rows);
            keys.push(key);
        }
        (rows, keys)
    }

    #[test]
    fn rows_are_restored_and_each_is_found() {
        let lengths: [fn(u64) -> usize; 4] =
            [|_| 8, |n| 2 + n as usize % 5, |_| 300, |n| 2 + 70 * (n as usize % 2)];
        for (case, key_bytes) in lengths.into_iter().enumerate() {
            for count in [1, 2, 3, 250] {
                let (rows, keys) = rows(count, key_bytes);
                let mut bytes = b"before".to_vec();
                append_columns(&rows, count as usize, &mut bytes);
                assert_eq!(bytes.len() - 6, rows.len());
                let columns = Columns::parse(&bytes[6..], count as u32).unwrap();
                let (mut all, mut one_by_one) = (Vec::new(), Vec::new());
                columns.append_rows(&mut all);
                (0..count as usize).for_each(|row| columns.append_row(row, &mut one_by_one));
                assert_eq!((&all, &one_by_one), (&rows, &rows), "case {case}, {count} rows");
                for (row, key) in keys.iter().enumerate() {
                    assert_eq!(columns.find(key), Some(row), "case {case}");
                    assert_eq!(columns.find(&[key, &b"x"[..]].concat()), None);
                    let first = keys.iter().position(|other| other[..] == key[1..]);
                    assert_eq!(columns.find(&key[1..]), first, "case {case}");
                }
                assert_eq!(columns.find(b""), None);
            }
        }
        let (rows, _) = rows(3, |_| 0);
        let mut bytes = Vec::new();
        append_columns(&rows, 3, &mut bytes);
        assert_eq!(Columns::parse(&bytes, 3).unwrap().find(b""), Some(0));
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let (rows, _) = rows(9, |n| n as usize);
        let mut bytes = Vec::new();
        append_columns(&rows, 9, &mut bytes);
        for short in 0..bytes.len() {
            assert!(Columns::parse(&bytes[..short], 9).is_err(), "{short} bytes");
        }
        assert!(Columns::parse(&[&bytes[..], &[0]].concat(), 9).is_err());
        for count in [0, 8, 10, u32::MAX] {
            assert!(Columns::parse(&bytes, count).is_err(), "{count} rows");
        }
        for at in KEY_BYTES_AT * 9..(KEY_BYTES_AT + 2) * 9 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x80;
            assert!(Columns::parse(&wrong, 9).is_err(), "byte {at}");
        }
    }
}
