//! The rows as every engine holds them, and how an answer is known to be right.

use anyhow::{Context, ensure};
use thermae_benches::warm::rows::{TIME_US, definition, encode};
use thermae_formats::RowLayout;

/// In front of a peer's value: the event time, and a byte that says which other times follow (none do) and whether
/// the value is dense.
pub const HEADER_BYTES: usize = 9;
/// Bit of the header's last byte: no value is null.
const DENSE: u8 = 1;

/// The row of a key, as an engine found it.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Event time, microseconds UTC.
    pub event_time_us: i64,
    /// Whether no value is null.
    pub is_dense: bool,
    /// The encoded values, perhaps padded with zeroes to whole words.
    pub value: &'a [u8],
}

impl<'a> Answer<'a> {
    /// What a peer holds under a key.
    ///
    /// # Errors
    /// It is too short to be a row.
    pub fn of_peer(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let (time, rest) = bytes.split_first_chunk().context("a value without an event time")?;
        let (flags, value) = rest.split_first().context("a value without flags")?;
        Ok(Self { event_time_us: i64::from_le_bytes(*time), is_dense: flags & DENSE != 0, value })
    }
}

/// Makes rows, and knows them again.
pub struct Rows {
    layout: RowLayout,
}

impl Rows {
    /// The rows of `bench warm`.
    ///
    /// # Errors
    /// Never in practice: the definition is fixed and valid.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { layout: RowLayout::new(&definition().features)? })
    }

    /// The value of row `id` as a peer holds it: header, then the store's own encoding.
    ///
    /// # Errors
    /// Never in practice, as [`Rows::new`].
    pub fn of_peer<'a>(&self, id: u64, bytes: &'a mut Vec<u8>) -> anyhow::Result<&'a [u8]> {
        bytes.clear();
        bytes.extend_from_slice(&TIME_US.to_le_bytes());
        bytes.push(0);
        if encode(&self.layout, id, bytes)? {
            bytes[HEADER_BYTES - 1] |= DENSE;
        }
        Ok(bytes)
    }

    /// Compares an answer with row `id`, whole.
    ///
    /// # Errors
    /// It is another.
    pub fn check(&self, id: u64, answer: &Answer<'_>) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        let expected = Answer::of_peer(self.of_peer(id, &mut bytes)?)?;
        let padding = answer.value.strip_prefix(expected.value);
        let is_whole = padding.is_some_and(|rest| rest.len() < 8 && rest.iter().all(|b| *b == 0));
        let is_right = is_whole
            && answer.event_time_us == expected.event_time_us
            && answer.is_dense == expected.is_dense;
        ensure!(is_right, "row {id} is not as written: {answer:?}");
        Ok(())
    }
}

/// The key of row `id`, as every engine holds it.
pub fn key(id: u64) -> [u8; 8] {
    id.to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_row_is_itself_and_no_other() {
        let (rows, mut bytes) = (Rows::new().unwrap(), Vec::new());
        let held = rows.of_peer(7, &mut bytes).unwrap();
        let answer = Answer::of_peer(held).unwrap();
        rows.check(7, &answer).unwrap();
        assert!(rows.check(8, &answer).is_err());
        assert!(rows.check(7, &Answer { event_time_us: 1, ..answer }).is_err());
        assert!(rows.check(7, &Answer { is_dense: false, ..answer }).is_err());
        let cut = Answer { value: &answer.value[1..], ..answer };
        assert!(rows.check(7, &cut).is_err());
        let padded = [answer.value, &[0, 0]].concat();
        rows.check(7, &Answer { value: &padded, ..answer }).unwrap();
        let wrong = [answer.value, &[0, 1]].concat();
        assert!(rows.check(7, &Answer { value: &wrong, ..answer }).is_err());
    }

    #[test]
    fn a_short_value_is_an_error() {
        for length in 0..HEADER_BYTES {
            assert!(Answer::of_peer(&vec![0; length]).is_err());
        }
    }
}
