//! Rows of a spine, in the order in which they are asked for.

use std::cmp::Ordering;
use std::ops::Range;

/// Rows with entity hash, key and time, sorted by that, of one key the latest time first; repetitions allowed. Hashes
/// lie by themselves: most that a pass looks at is a hash.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    hashes: Vec<u64>,
    /// What is looked at where hashes are equal: of sparse rows each look is a wait for memory.
    rows: Vec<Row>,
    keys: Vec<u8>,
    /// Two different keys have one hash.
    has_collision: bool,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    time_us: i64,
    key_at: usize,
    key_bytes: usize,
    /// The first bytes of the key: most are no longer.
    lead: [u8; LEAD_BYTES],
}

const LEAD_BYTES: usize = 8;

impl Asked {
    /// Bytes that a row takes, but for its key.
    pub const ROW_BYTES: usize = size_of::<u64>() + size_of::<Row>();

    /// Puts a row behind the others. It must not sort before the last.
    pub fn push(&mut self, entity_hash: u64, key: &[u8], time_us: i64) {
        let is_of_last = self.hashes.last() == Some(&entity_hash);
        self.has_collision |= is_of_last && self.key(self.len() - 1) != key;
        self.hashes.push(entity_hash);
        let (key_at, key_bytes) = (self.keys.len(), key.len());
        self.rows.push(Row { time_us, key_at, key_bytes, lead: lead_of(key) });
        self.keys.extend_from_slice(key);
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
        self.rows.clear();
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
    pub(super) fn times_us(&self, rows: Range<usize>) -> impl Iterator<Item = i64> {
        self.rows[rows].iter().map(|row| row.time_us)
    }

    /// Asks for the memory of rows, counted from `first`, that are about to be looked at one by one.
    pub(super) fn look_ahead(&self, first: usize, rows: &[usize]) {
        let times = rows.iter().map(|row| self.rows[first + row].time_us);
        // Loads that nothing depends on overlap by themselves.
        std::hint::black_box(times.fold(0, |all, time_us| all ^ time_us));
    }

    /// Entity hash of a row; there must be such a row, as in the following.
    pub fn hash(&self, at: usize) -> u64 {
        self.hashes[at]
    }

    /// Its key.
    pub fn key(&self, at: usize) -> &[u8] {
        let Row { key_at, key_bytes, .. } = self.rows[at];
        &self.keys[key_at..key_at + key_bytes]
    }

    /// Its time, microseconds.
    pub fn time_us(&self, at: usize) -> i64 {
        self.rows[at].time_us
    }

    /// How a row stands to a version's hash and key.
    pub(super) fn compare(&self, at: usize, entity_hash: u64, key: &[u8]) -> Ordering {
        self.hashes[at].cmp(&entity_hash).then_with(|| {
            let Row { key_bytes, lead, .. } = self.rows[at];
            let is_short = key_bytes <= LEAD_BYTES;
            match is_short && key_bytes == key.len() && lead == lead_of(key) {
                true => Ordering::Equal,
                false => self.key(at).cmp(key),
            }
        })
    }
}

/// The first bytes of a key, filled up with zeroes.
fn lead_of(key: &[u8]) -> [u8; LEAD_BYTES] {
    key.first_chunk().copied().unwrap_or_else(|| {
        let mut lead = [0; LEAD_BYTES];
        lead[..key.len()].copy_from_slice(key);
        lead
    })
}
