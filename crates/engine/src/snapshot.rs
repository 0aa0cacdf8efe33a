//! The store as it was at one time, to be read by any thread while the shards go on.
//!
//! Consistent in each shard: everything that it had applied when it was asked, and nothing later. So it
//! includes every write that was acknowledged before the snapshot was asked for.
//!
//! It holds memory (memtables that are tables meanwhile) and space on the disk (tables that merges have
//! replaced), until it is dropped; so there are only [`SNAPSHOTS_MAX`] at a time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::checkpoint::CheckpointPartition;
use thermae_formats::schema::History;
use thermae_tiering::erase::PendingErases;
use thermae_tiering::history::{
    HistoryParts, HistoryRange, OlderRows, Retention, ShardPart, ViewHistory,
};

use crate::catalogue::Catalogue;
use crate::cut::ShardCut;
use crate::error::Error;

/// Snapshots of a store at a time.
pub const SNAPSHOTS_MAX: usize = 8;
/// When to ask again where there are so many, milliseconds.
const RETRY_MS: u32 = 1_000;

/// A view of the whole store that does not change. Clones share it.
pub struct Snapshot<E: Env> {
    inner: Arc<Inner<E>>,
}

struct Inner<E: Env> {
    /// By shard.
    parts: Vec<ShardPart<E>>,
    /// What checkpoints would hold, by shard; none unless it was asked for.
    checkpoints: Vec<Arc<[CheckpointPartition]>>,
    watermarks: Arc<[Option<i64>]>,
    below: Below,
    /// The last sequence applied in each partition.
    #[cfg_attr(not(feature = "cold"), allow(dead_code))]
    applied: Arc<[u64]>,
    erases: Arc<PendingErases>,
    catalogue: Arc<Catalogue>,
    hash_seed: u64,
    _place: Place,
}

/// What a snapshot knows of the archive.
pub(crate) struct Below {
    /// Views whose history needs it, for what lies before an event time. Taken after the shards were asked:
    /// what left them before that is known here.
    pub needed: Arc<BTreeMap<ViewId, i64>>,
    /// Its tables.
    #[cfg(feature = "cold")]
    pub part: crate::cold::ColdPart,
}

impl<E: Env> Clone for Snapshot<E> {
    fn clone(&self) -> Self {
        Snapshot { inner: Arc::clone(&self.inner) }
    }
}

impl<E: Env> Snapshot<E> {
    /// What it knows of the archive.
    #[cfg(feature = "cold")]
    pub(crate) fn below(&self) -> (&BTreeMap<ViewId, i64>, &crate::cold::ColdPart) {
        (&*self.inner.below.needed, &self.inner.below.part)
    }

    /// The last sequence applied in each partition.
    #[cfg(feature = "cold")]
    pub(crate) fn applied(&self) -> &[u64] {
        &self.inner.applied
    }

    /// Of what all shards handed over. The catalogue is one from after that: it knows every schema of
    /// their rows.
    pub(crate) fn new(
        mut cuts: Vec<ShardCut<E>>,
        partitions: u16,
        catalogue: Arc<Catalogue>,
        hash_seed: u64,
        below: Below,
        place: Place,
    ) -> Self {
        let mut applied = vec![0; usize::from(partitions)];
        for (partition, sequence) in cuts.iter().flat_map(|cut| &cut.applied) {
            if let Some(last) = applied.get_mut(usize::from(*partition)) {
                *last = *sequence;
            }
        }
        let mut watermarks = vec![None; usize::from(partitions)];
        for (partition, event_time) in cuts.iter().flat_map(|cut| &cut.watermarks) {
            if let Some(mark) = watermarks.get_mut(usize::from(*partition)) {
                *mark = Some(*event_time);
            }
        }
        cuts.sort_by_key(|cut| cut.shard);
        let checkpoints = cuts.iter().filter_map(|cut| cut.partitions.clone()).collect();
        let mut erases = PendingErases::default();
        for erase in cuts.iter().flat_map(|cut| cut.erases.iter()) {
            erases.insert(erase.clone());
        }
        let erases = Arc::new(erases);
        let parts = cuts.into_iter().map(|cut| cut.part).collect();
        let (watermarks, applied, _place) = (watermarks.into(), applied.into(), place);
        let inner = Inner {
            parts,
            checkpoints,
            watermarks,
            erases,
            below,
            applied,
            catalogue,
            hash_seed,
            _place,
        };
        Snapshot { inner: Arc::new(inner) }
    }

    /// What each shard handed over, in their order.
    pub(crate) fn parts(&self) -> &[ShardPart<E>] {
        &self.inner.parts
    }

    /// What the checkpoint of each shard would hold, if that was asked for.
    pub(crate) fn checkpoints(&self) -> &[Arc<[CheckpointPartition]>] {
        &self.inner.checkpoints
    }

    /// The definitions of its time.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.inner.catalogue
    }

    /// Seed of the entity hash that rows are sorted by.
    pub fn hash_seed(&self) -> u64 {
        self.inner.hash_seed
    }

    /// The newest event time applied in each partition, microseconds; `None` where there are no rows.
    pub fn watermarks(&self) -> &[Option<i64>] {
        &self.inner.watermarks
    }

    /// The history of a view's entities with hashes in `hashes`; tables are read `scan_bytes` at a time.
    /// It reads the disk, and blocks the calling thread while it does.
    ///
    /// # Errors
    /// There is no such view, a table cannot be read, or rows lie in the archive and it is not there.
    pub fn view(
        &self,
        view: ViewId,
        hashes: RangeInclusive<u64>,
        scan_bytes: usize,
    ) -> Result<ViewHistory<E>, Error> {
        self.history(&HistoryRange { hashes, ..HistoryRange::all(view, scan_bytes) })
    }

    /// The same, with event times that are wanted.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn history(&self, range: &HistoryRange) -> Result<ViewHistory<E>, Error> {
        let (older, retention) = self.behind(range)?;
        ViewHistory::open_over(&self.inner.parts, older, range, retention).map_err(Error::from_warm)
    }

    /// The same part by part, for whoever needs no order among versions that lie in different tables.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn parts_of(&self, range: &HistoryRange) -> Result<HistoryParts<E>, Error> {
        let (older, retention) = self.behind(range)?;
        HistoryParts::open(&self.inner.parts, older, range, retention).map_err(Error::from_warm)
    }

    /// The rows that lie below the tables, and what decides which of all show.
    fn behind(&self, range: &HistoryRange) -> Result<(Vec<OlderRows>, Retention), Error> {
        let Some(view) = self.inner.catalogue.view_by_id(range.view) else {
            return Err(Error::NotFound(format!("no feature view has the id {}", range.view.0)));
        };
        let policy = view.latest.definition.tiers;
        let inner = &self.inner;
        let (watermarks, erases) = (Arc::clone(&inner.watermarks), Arc::clone(&inner.erases));
        let retention = Retention { policy, watermarks, erases };
        // Without history only stubs need it, from when the view was another one.
        let is_needed = policy.history == History::Full || self.may_hold_stubs();
        let older = if is_needed { self.older(range)? } else { Vec::new() };
        Ok((older, retention))
    }

    fn may_hold_stubs(&self) -> bool {
        let runs = self.inner.parts.iter().flat_map(|part| &part.tree.latest);
        runs.into_iter().any(|run| run.table.may_hold_stubs())
    }

    /// Rows of the range that may have left the warm tier.
    fn older(&self, range: &HistoryRange) -> Result<Vec<OlderRows>, Error> {
        let inner = &*self.inner;
        let before_us = inner.below.needed.get(&range.view).copied();
        let Some(before_us) = before_us.filter(|before_us| range.event_times.start() < before_us)
        else {
            return Ok(Vec::new());
        };
        #[cfg(feature = "cold")]
        let rows = inner.below.part.rows(range, before_us, &inner.applied);
        #[cfg(not(feature = "cold"))]
        let rows = Err(format!("this build has none, and rows before {before_us} may lie there"));
        rows.map_err(Error::Archive)
    }
}

/// The places for snapshots.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
}

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// Takes a place.
    ///
    /// # Errors
    /// All are taken.
    pub fn take(self: &Arc<Self>) -> Result<Place, Error> {
        let place = Place(Arc::clone(self));
        // Counted before it is looked at: dropping the place takes that back.
        if self.taken.fetch_add(1, Ordering::Relaxed) < SNAPSHOTS_MAX {
            return Ok(place);
        }
        let what = format!("{SNAPSHOTS_MAX} snapshots are read already");
        Err(Error::Overloaded(what, RETRY_MS))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_place_is_given_back_when_it_is_dropped() {
        let places = Arc::new(Places::default());
        let mut taken: Vec<_> = (0..SNAPSHOTS_MAX).map(|_| places.take().unwrap()).collect();
        for _ in 0..3 {
            assert!(matches!(places.take(), Err(Error::Overloaded(..))));
        }
        taken.pop();
        let _again = places.take().unwrap();
        assert!(places.take().is_err());
    }
}
