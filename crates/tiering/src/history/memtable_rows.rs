//! The rows of one view in a frozen memtable.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_formats::ViewId;
use thermae_formats::version::Version;

use crate::memtable::{Memtable, Place};

/// A place among them; at the first when it is made.
pub(super) struct MemtableRows {
    memtable: Arc<Memtable>,
    /// In table order: four bytes a row.
    places: Vec<Place>,
    at: usize,
}

impl MemtableRows {
    /// The newest versions of keys, and superseded ones too if asked for; `None`: there is none.
    pub fn of(
        memtable: &Arc<Memtable>,
        view: ViewId,
        hashes: &RangeInclusive<u64>,
        with_superseded: bool,
    ) -> Option<Self> {
        let places = memtable.view_sorted(view, hashes, with_superseded);
        (!places.is_empty()).then(|| Self { memtable: Arc::clone(memtable), places, at: 0 })
    }

    /// The present row; `None` behind the last.
    pub fn peek(&self) -> Option<(u64, Version<'_>)> {
        let (_, entity_hash, version) = self.memtable.version(*self.places.get(self.at)?);
        Some((entity_hash, version))
    }

    /// Event times between which the memtable's versions lie.
    pub fn event_times(&self) -> RangeInclusive<i64> {
        self.memtable.event_times().map_or(i64::MIN..=i64::MAX, |(oldest, newest)| oldest..=newest)
    }

    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// Goes forward to the first row that does not lie before this hash and key.
    pub fn seek(&mut self, entity_hash: u64, key: &[u8]) {
        let rest = self.places.get(self.at..).unwrap_or_default();
        self.at += rest.partition_point(|place| {
            let (_, hash, version) = self.memtable.version(*place);
            (hash, version.key) < (entity_hash, key)
        });
    }
}
