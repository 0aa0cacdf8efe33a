//! The history of one view, as it was when a snapshot was taken: every version in a range of entity
//! hashes, each once, in table order, whatever tier it lies in.
//!
//! What shows does not depend on how far merges have got. A version past `keep_for` does not show,
//! whether it has been removed or not. Of a view that keeps no history only the newest version of each
//! key shows, whatever older ones are left.
//!
//! **Order.** The newest version of a key is the one in its newest source; it need not be the first by
//! [`Version::order`]: a row past its own expiry makes room for one of an earlier event time. So where all
//! versions show they are merged by their order alone, and where the newest alone shows, by the age of
//! the sources alone.

mod memtable_rows;
mod parts;
mod sources;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::hash::partition_of;
use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::version::Version;

use crate::WarmError;
use crate::erase::PendingErases;
use crate::memtable::Memtable;
use crate::merge::{Entry, SeekSource, Source, Together, is_past};
use crate::tree::Tree;
use sources::Sources;

pub use parts::HistoryParts;

/// What to read.
#[derive(Clone, Debug)]
pub struct HistoryRange {
    /// The view.
    pub view: ViewId,
    /// Hashes of the entities that are wanted.
    pub hashes: RangeInclusive<u64>,
    /// Event times of the versions that are wanted, microseconds. Where all versions show, tables without
    /// any of these are not read; others of a table that is read show too.
    pub event_times: RangeInclusive<i64>,
    /// Bytes that are read at once from a table, unless a block is larger: as much memory is taken for
    /// each table that has rows of the view.
    pub scan_bytes: usize,
}

impl HistoryRange {
    /// Everything of a view.
    pub const fn all(view: ViewId, scan_bytes: usize) -> Self {
        Self { view, hashes: 0..=u64::MAX, event_times: i64::MIN..=i64::MAX, scan_bytes }
    }
}

/// What decides which versions of a view show.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Of the view.
    pub policy: TierPolicy,
    /// The newest event time applied in each partition of the store; `None` where there is none.
    pub watermarks: Arc<[Option<i64>]>,
    /// What was erased and may still lie somewhere: it does not show.
    pub erases: Arc<PendingErases>,
}

impl Retention {
    /// Whether a version of an entity with this hash is not past `keep_for`.
    pub fn keeps(&self, entity_hash: u64, event_time: i64) -> bool {
        if self.policy.keep_for_us == 0 {
            return true;
        }
        let partition = partition_of(entity_hash, self.watermarks.len() as u16);
        let watermark = self.watermarks.get(usize::from(partition)).copied().flatten();
        !is_past(event_time, self.policy.keep_for_us, watermark)
    }

    /// What hides what: every version shows, or only the newest of its key.
    const fn together(&self) -> Together {
        match self.policy.history {
            History::Full => Together::Versions,
            History::Latest => Together::Keys,
        }
    }
}

/// What one shard held when a snapshot was taken. It stays readable: nobody writes a frozen memtable,
/// and an open file stays after its name is gone.
pub struct ShardPart<E: Env> {
    /// What was not in tables yet, newest first.
    pub memtables: Vec<Arc<Memtable>>,
    /// The tables.
    pub tree: Arc<Tree<E>>,
}

impl<E: Env> Clone for ShardPart<E> {
    fn clone(&self) -> Self {
        Self { memtables: self.memtables.clone(), tree: Arc::clone(&self.tree) }
    }
}

/// Rows of the view that lie in another tier below, each at its first or before it until it is sought.
///
/// They may end behind the range's hashes or not. After an error the next call tries again, as
/// [`ViewHistory`] itself does.
pub type OlderRows = Box<dyn SeekSource<Error = WarmError> + Send>;

/// The versions of a view one by one; see the head of this file.
///
/// After an error it stands nowhere, and the next [`Source::advance`] or [`SeekSource::seek`] tries again:
/// no row is left out or doubled by that.
pub struct ViewHistory<E: Env> {
    view: ViewId,
    retention: Retention,
    together: Together,
    sources: Sources<E>,
    /// The row that was passed last, if any was: equal ones in other sources do not show again.
    passed: Option<Passed>,
    /// The first of the sources is the present row.
    stands: bool,
}

struct Passed {
    entity_hash: u64,
    key: Vec<u8>,
    order: (i64, i64, u64),
}

impl<E: Env> ViewHistory<E> {
    /// At the first row of `range` in what the shards held.
    ///
    /// # Errors
    /// The first block of a table cannot be read.
    pub fn open(
        parts: &[ShardPart<E>],
        range: &HistoryRange,
        retention: Retention,
    ) -> Result<Self, WarmError> {
        Self::open_over(parts, Vec::new(), range, retention)
    }

    /// The same, with rows that lie below the tables. They show only where all versions do: the newest of a
    /// key never lies there alone.
    ///
    /// # Errors
    /// As [`Self::open`], and those of `older`.
    pub fn open_over(
        parts: &[ShardPart<E>],
        older: Vec<OlderRows>,
        range: &HistoryRange,
        retention: Retention,
    ) -> Result<Self, WarmError> {
        let together = retention.together();
        let mut history = Self {
            view: range.view,
            retention,
            together,
            sources: Sources::open(parts, older, range, together)?,
            passed: None,
            stands: false,
        };
        history.settle()?;
        Ok(history)
    }

    /// Goes forward from where it stands, or is, to a row that shows.
    fn settle(&mut self) -> Result<(), WarmError> {
        while !self.sources.is_empty() {
            // Without a row a source is where a failure left it: it goes on from there.
            if let Some((entity_hash, version)) = self.sources.first()
                && !self.is_passed(entity_hash, &version)
                && !self.retention.erases.hides(self.view, entity_hash, &version)
            {
                if self.retention.keeps(entity_hash, version.event_time) {
                    self.stands = true;
                    return Ok(());
                }
                if self.together == Together::Keys {
                    // The newest hides the older ones even where it does not show itself.
                    self.pass();
                }
            }
            self.sources.advance_first()?;
        }
        Ok(())
    }

    /// Whether this row is one with the one that was passed last.
    fn is_passed(&self, entity_hash: u64, version: &Version<'_>) -> bool {
        self.passed.as_ref().is_some_and(|passed| {
            passed.entity_hash == entity_hash
                && passed.key == version.key
                && (self.together == Together::Keys || passed.order == version.order())
        })
    }

    fn pass(&mut self) {
        if let Some((entity_hash, version)) = self.sources.first() {
            let mut key = self.passed.take().map_or_else(Vec::new, |passed| passed.key);
            key.clear();
            key.extend_from_slice(version.key);
            self.passed = Some(Passed { entity_hash, key, order: version.order() });
        }
    }
}

impl<E: Env> Source for ViewHistory<E> {
    type Error = WarmError;

    fn peek(&self) -> Option<Entry<'_>> {
        let (entity_hash, version) = self.sources.first().filter(|_| self.stands)?;
        Some((self.view, entity_hash, version))
    }

    fn advance(&mut self) -> Result<(), WarmError> {
        if std::mem::replace(&mut self.stands, false) {
            self.pass();
        }
        self.settle()
    }
}

impl<E: Env> SeekSource for ViewHistory<E> {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), WarmError> {
        let is_before = |row: Option<(u64, Version<'_>)>| {
            row.is_some_and(|(hash, row)| {
                (hash, row.key).cmp(&(entity_hash, key)) == Ordering::Less
            })
        };
        if self.stands && !is_before(self.sources.first()) {
            return Ok(());
        }
        self.stands = false;
        while is_before(self.sources.first()) {
            self.sources.seek_first(entity_hash, key)?;
        }
        self.settle()
    }
}
