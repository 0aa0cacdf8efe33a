//! Rows of a spine, in the order in which they are asked for.

use std::cmp::Ordering;
use std::ops::Range;

/// Rows with entity hash, key and time, sorted by that, of one key the latest time first; repetitions allowed. Column by
/// column: most that a pass looks at is a hash.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    hashes: Vec<u64>,
    times_us: Vec<i64>,
    /// Where each key ends; it begins where the one before it ends.
    ends: Vec<usize>,
    keys: Vec<u8>,
    /// Two different keys have one hash.
    has_collision: bool,
}

impl Asked {
    /// Bytes that a row takes, but for its key.
    pub const ROW_BYTES: usize = size_of::<u64>() + size_of::<i64>() + size_of::<usize>();

    /// Puts a row behind the others. It must not sort before the last.
    pub fn push(&mut self, entity_hash: u64, key: &[u8], time_us: i64) {
        let is_of_last = self.hashes.last() == Some(&entity_hash);
        self.has_collision |= is_of_last && self.key(self.len() - 1) != key;
        self.hashes.push(entity_hash);
        self.times_us.push(time_us);
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Without rows; the memory stays.
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.times_us.clear();
        self.ends.clear();
        self.keys.clear();
        self.has_collision = false;
    }

    /// Bytes that its rows take.
    pub fn bytes(&self) -> usize {
        self.len() * Self::ROW_BYTES + self.keys.len()
    }

    /// Whether different keys have one hash: it does not tell a row's key then.
    pub(super) fn has_collision(&self) -> bool {
        self.has_collision
    }

    /// Times of some rows, microseconds.
    pub(super) fn times_us(&self, rows: Range<usize>) -> &[i64] {
        &self.times_us[rows]
    }

    /// Entity hash of a row; there must be such a row, as in the following.
    pub fn hash(&self, at: usize) -> u64 {
        self.hashes[at]
    }

    /// Its key.
    pub fn key(&self, at: usize) -> &[u8] {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.keys[begin..self.ends[at]]
    }

    /// Its time, microseconds.
    pub fn time_us(&self, at: usize) -> i64 {
        self.times_us[at]
    }

    /// How a row stands to a version's hash and key.
    pub(super) fn compare(&self, at: usize, entity_hash: u64, key: &[u8]) -> Ordering {
        self.hashes[at].cmp(&entity_hash).then_with(|| self.key(at).cmp(key))
    }
}
