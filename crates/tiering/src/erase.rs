//! Entities that were erased and of which something may still lie in memtables, tables or the log.
//!
//! A pending erase hides every version of its row up to its sequence, wherever it is read, and whatever
//! writes tables leaves those out. When nothing holds one any more, the erase is pending no longer.

use std::collections::BTreeMap;

use thermae_formats::ViewId;
use thermae_formats::hash::row_hash;
use thermae_formats::version::Version;

/// One row that was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingErase {
    /// Its view.
    pub view: ViewId,
    /// Hash of its key.
    pub entity_hash: u64,
    /// Its encoded entity key.
    pub key: Box<[u8]>,
    /// Versions up to this sequence of the partition are gone.
    pub sequence: u64,
}

/// The pending erases of some partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingErases {
    /// By row hash.
    rows: BTreeMap<u64, Vec<PendingErase>>,
    /// Which round of removal they are in; a worker reports when it is through with one.
    pub round: u64,
}

impl PendingErases {
    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many are pending.
    pub fn len(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &PendingErase> {
        self.rows.values().flatten()
    }

    /// Whether a version was erased.
    pub fn hides(&self, view: ViewId, entity_hash: u64, version: &Version<'_>) -> bool {
        !self.rows.is_empty()
            && self.hides_row(view, row_hash(entity_hash, view), version.key, version.sequence)
    }

    /// The same, where the row's hash is at hand.
    pub fn hides_row(&self, view: ViewId, row_hash: u64, key: &[u8], sequence: u64) -> bool {
        let erases = self.rows.get(&row_hash).map(Vec::as_slice).unwrap_or_default();
        erases
            .iter()
            .any(|erase| erase.view == view && *erase.key == *key && sequence <= erase.sequence)
    }

    /// Adds one.
    pub fn insert(&mut self, erase: PendingErase) {
        let hash = row_hash(erase.entity_hash, erase.view);
        self.rows.entry(hash).or_default().push(erase);
    }

    /// Those that `other` does not have.
    pub fn not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a PendingErase> {
        self.rows.iter().flat_map(|(hash, erases)| {
            let known = other.rows.get(hash).map(Vec::as_slice).unwrap_or_default();
            erases.iter().filter(|erase| !known.contains(erase))
        })
    }

    /// Takes those of `done` out.
    pub fn remove_all(&mut self, done: &Self) {
        self.rows.retain(|hash, erases| {
            let done = done.rows.get(hash).map(Vec::as_slice).unwrap_or_default();
            erases.retain(|erase| !done.contains(erase));
            !erases.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use thermae_formats::{NO_TIME, SchemaId};

    use super::*;

    fn erase(view: u32, entity_hash: u64, key: &[u8], sequence: u64) -> PendingErase {
        PendingErase { view: ViewId(view), entity_hash, key: key.into(), sequence }
    }

    fn version(key: &[u8], sequence: u64) -> Version<'_> {
        let (schema_id, flags, event_time) = (SchemaId(1), 0, 5);
        let (created_time, expire_at, value) = (NO_TIME, NO_TIME, &b"v"[..]);
        Version { schema_id, flags, sequence, event_time, created_time, expire_at, key, value }
    }

    #[test]
    fn what_came_before_is_hidden_and_nothing_else() {
        let mut erases = PendingErases::default();
        assert!(!erases.hides(ViewId(1), 7, &version(b"k", 1)));
        erases.insert(erase(1, 7, b"k", 10));
        assert!(erases.hides(ViewId(1), 7, &version(b"k", 10)));
        assert!(!erases.hides(ViewId(1), 7, &version(b"k", 11)), "written afterwards");
        assert!(!erases.hides(ViewId(2), 7, &version(b"k", 10)), "of another view");
        assert!(!erases.hides(ViewId(1), 7, &version(b"other", 10)), "of an equal hash");
    }

    #[test]
    fn what_is_done_goes_and_what_came_meanwhile_stays() {
        let mut erases = PendingErases::default();
        erases.insert(erase(1, 7, b"k", 10));
        let done = erases.clone();
        erases.insert(erase(1, 7, b"k", 20));
        erases.insert(erase(1, 8, b"l", 21));
        assert_eq!(erases.not_in(&done).map(|erase| erase.sequence).collect::<Vec<_>>(), [20, 21]);
        erases.remove_all(&done);
        assert_eq!((erases.len(), erases.is_empty()), (2, false));
        assert!(erases.hides(ViewId(1), 7, &version(b"k", 20)));
        erases.remove_all(&erases.clone());
        assert!(erases.is_empty());
    }
}
