//! Rows fetched from disk because a write must be judged against them.
//!
//! A record is compared with the newest row of its key when it is applied. Where neither the hot table
//! nor a memtable has that row, it is read from the tables and kept here until the record has been
//! applied. A cache: what is let go too early is read again.

use thermae_formats::catalogue::ViewId;

use crate::fetch::Fetched;
use crate::row_hash_map::RowHashMap;

/// Rows kept at most; beyond them all are let go.
const ROWS_MAX: usize = 1 << 16;

#[derive(Debug)]
struct Entry {
    view: ViewId,
    key: Box<[u8]>,
    found: Fetched,
}

/// The fetched rows, by row hash.
#[derive(Debug)]
pub struct Bases {
    entries: RowHashMap<Vec<Entry>>,
    len: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Entry {
    /// Heap bytes, about.
    fn bytes(&self) -> usize {
        let row_bytes = if let Fetched::Row(row) = &self.found { row.len_bytes() } else { 0 };
        size_of::<Self>() + size_of::<Vec<Self>>() + self.key.len() + row_bytes
    }
}

impl Bases {
    /// Nothing yet; beyond `bytes_max` all are let go.
    pub fn new(bytes_max: usize) -> Self {
        Bases { entries: RowHashMap::default(), len: 0, bytes: 0, bytes_max }
    }

    /// What was fetched for a key, if anything was.
    pub fn get(&self, view: ViewId, row_hash: u64, key: &[u8]) -> Option<&Fetched> {
        let entries = self.entries.get(&row_hash)?;
        let entry = entries.iter().find(|entry| entry.view == view && *entry.key == *key)?;
        Some(&entry.found)
    }

    /// Keeps what was fetched.
    pub fn put(&mut self, view: ViewId, row_hash: u64, key: &[u8], found: Fetched) {
        let entry = Entry { view, key: key.into(), found };
        if self.len >= ROWS_MAX || self.bytes + entry.bytes() > self.bytes_max {
            self.clear();
        }
        let entries = self.entries.entry(row_hash).or_default();
        let is_it = |other: &Entry| other.view == view && *other.key == *key;
        if let Some(at) = entries.iter().position(is_it) {
            self.bytes -= entries.swap_remove(at).bytes();
            self.len -= 1;
        }
        self.bytes += entry.bytes();
        self.len += 1;
        entries.push(entry);
    }

    /// A key's newest row has changed: what was fetched before is not the newest any more.
    pub fn forget(&mut self, row_hash: u64) {
        if self.len > 0
            && let Some(entries) = self.entries.remove(&row_hash)
        {
            self.len -= entries.len();
            self.bytes -= entries.iter().map(Entry::bytes).sum::<usize>();
        }
    }

    /// Lets everything go: no write waits.
    pub fn clear(&mut self) {
        if self.len > 0 {
            self.entries.clear();
            (self.len, self.bytes) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_known_by_view_and_key_until_it_is_forgotten() {
        let view = ViewId(1);
        let mut bases = Bases::new(1 << 20);
        bases.put(view, 7, b"k", Fetched::Absent);
        bases.put(view, 7, b"k", Fetched::Absent);
        bases.put(view, 7, b"other", Fetched::Absent);
        assert!(matches!(bases.get(view, 7, b"k"), Some(Fetched::Absent)));
        assert!(bases.get(ViewId(2), 7, b"k").is_none());
        bases.forget(7);
        assert!(bases.get(view, 7, b"k").is_none());
        assert_eq!((bases.len, bases.bytes), (0, 0));
    }

    #[test]
    fn there_is_a_bound_of_bytes() {
        let mut bases = Bases::new(1_000);
        for row in 0..20 {
            bases.put(ViewId(1), row, &[7; 100], Fetched::Absent);
            assert!(bases.bytes <= 1_000 && bases.get(ViewId(1), row, &[7; 100]).is_some());
        }
        // One that is too large for the bound is kept alone.
        bases.put(ViewId(1), 99, &[7; 2_000], Fetched::Absent);
        assert!(bases.len == 1 && bases.get(ViewId(1), 99, &[7; 2_000]).is_some());
    }

    #[test]
    fn there_is_a_bound_of_rows() {
        let mut bases = Bases::new(usize::MAX);
        for row in 0..=ROWS_MAX as u64 {
            bases.put(ViewId(1), row, b"k", Fetched::Absent);
        }
        assert_eq!(bases.len, 1);
        assert!(bases.get(ViewId(1), ROWS_MAX as u64, b"k").is_some());
    }
}
