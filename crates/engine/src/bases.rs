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
#[derive(Debug, Default)]
pub struct Bases {
    entries: RowHashMap<Vec<Entry>>,
    len: usize,
}

impl Bases {
    /// What was fetched for a key, if anything was.
    pub fn get(&self, view: ViewId, row_hash: u64, key: &[u8]) -> Option<&Fetched> {
        let entries = self.entries.get(&row_hash)?;
        let entry = entries.iter().find(|entry| entry.view == view && *entry.key == *key)?;
        Some(&entry.found)
    }

    /// Keeps what was fetched.
    pub fn put(&mut self, view: ViewId, row_hash: u64, key: &[u8], found: Fetched) {
        if self.len >= ROWS_MAX {
            self.clear();
        }
        let entries = self.entries.entry(row_hash).or_default();
        match entries.iter_mut().find(|entry| entry.view == view && *entry.key == *key) {
            Some(entry) => entry.found = found,
            None => {
                entries.push(Entry { view, key: key.into(), found });
                self.len += 1;
            }
        }
    }

    /// A key's newest row has changed: what was fetched before is not the newest any more.
    pub fn forget(&mut self, row_hash: u64) {
        if self.len > 0
            && let Some(entries) = self.entries.remove(&row_hash)
        {
            self.len -= entries.len();
        }
    }

    /// Lets everything go: no write waits.
    pub fn clear(&mut self) {
        if self.len > 0 {
            self.entries.clear();
            self.len = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_known_by_view_and_key_until_it_is_forgotten() {
        let view = ViewId(1);
        let mut bases = Bases::default();
        bases.put(view, 7, b"k", Fetched::Absent);
        bases.put(view, 7, b"other", Fetched::Absent);
        assert!(matches!(bases.get(view, 7, b"k"), Some(Fetched::Absent)));
        assert!(bases.get(ViewId(2), 7, b"k").is_none());
        bases.forget(7);
        assert!(bases.get(view, 7, b"k").is_none() && bases.len == 0);
    }

    #[test]
    fn there_is_a_bound() {
        let mut bases = Bases::default();
        for row in 0..=ROWS_MAX as u64 {
            bases.put(ViewId(1), row, b"k", Fetched::Absent);
        }
        assert_eq!(bases.len, 1);
        assert!(bases.get(ViewId(1), ROWS_MAX as u64, b"k").is_some());
    }
}
