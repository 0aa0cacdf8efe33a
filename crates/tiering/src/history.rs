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
//!
//! **A stub** stands for a version that lies in the archive. It does not show; the version does, out of the archive's
//! rows. One that is not there is an error, unless it is past `keep_for`, which ends it in both tiers.

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
    /// Tables are read through the page cache: they are read soon again, and what they take there is the system's
    /// to give away.
    pub through_cache: bool,
}

impl HistoryRange {
    /// Everything of a view, tables past the page cache.
    pub const fn all(view: ViewId, scan_bytes: usize) -> Self {
        let (hashes, event_times) = (0..=u64::MAX, i64::MIN..=i64::MAX);
        Self { view, hashes, event_times, scan_bytes, through_cache: false }
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
    /// The newest version of a key whose stub was met last: its row in the archive is to come.
    stub: Option<Passed>,
    /// That row has not come yet.
    owes: bool,
    /// Event times of which the archive's rows are among the sources.
    event_times: RangeInclusive<i64>,
    /// The first of the sources is the present row.
    stands: bool,
}

struct Passed {
    entity_hash: u64,
    key: Vec<u8>,
    order: (i64, i64, u64),
}

impl Passed {
    fn is_of_key(&self, entity_hash: u64, version: &Version<'_>) -> bool {
        self.entity_hash == entity_hash && self.key == version.key
    }
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

    /// The same, with rows that lie below the tables. Where the newest of a key alone shows, they do only for
    /// stubs.
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
            stub: None,
            owes: false,
            event_times: range.event_times.clone(),
            stands: false,
        };
        history.settle()?;
        Ok(history)
    }

    /// Goes forward from where it stands, or is, to a row that shows.
    fn settle(&mut self) -> Result<(), WarmError> {
        while !self.sources.is_empty() {
            self.check_owed()?;
            // Without a row a source is where a failure left it: it goes on from there.
            if let Some((entity_hash, version)) = self.sources.first()
                && !self.is_passed(entity_hash, &version)
                && !self.retention.erases.hides(self.view, entity_hash, &version)
                && !self.is_stub_or_below_one(entity_hash, &version)
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
            if self.sources.first().is_some_and(|(_, version)| version.is_stub()) {
                self.note_stub();
            }
            self.sources.advance_first()?;
        }
        self.check_owed()
    }

    /// Whether this row does not show for a stub's sake: it is one, or the stub of its key is of a newer version
    /// which alone shows; and of the archive's rows none shows without its stub then.
    fn is_stub_or_below_one(&self, entity_hash: u64, version: &Version<'_>) -> bool {
        let stub = self.stub.as_ref().filter(|stub| stub.is_of_key(entity_hash, version));
        let is_hidden = match stub {
            _ if self.together == Together::Versions => false,
            Some(stub) => stub.order != version.order(),
            None => self.sources.is_first_older(),
        };
        version.is_stub() || is_hidden
    }

    /// Remembers the stub that stands first, if it is one of a row that shows.
    fn note_stub(&mut self) {
        let Some((entity_hash, stub)) = self.sources.first() else { return };
        let known = self.stub.as_ref().filter(|known| known.is_of_key(entity_hash, &stub));
        let is_known = known
            .is_some_and(|known| self.together == Together::Keys || known.order == stub.order());
        if is_known
            || self.is_passed(entity_hash, &stub)
            || self.retention.erases.hides(self.view, entity_hash, &stub)
        {
            return;
        }
        self.owes = self.retention.keeps(entity_hash, stub.event_time)
            && self.event_times.contains(&stub.event_time);
        self.stub = Some(Passed { entity_hash, key: stub.key.to_vec(), order: stub.order() });
    }

    /// Whether the row that a stub stands for is still to come, or has.
    fn check_owed(&mut self) -> Result<(), WarmError> {
        let Some(stub) = self.stub.as_ref().filter(|_| self.owes) else { return Ok(()) };
        match self.sources.first() {
            Some((entity_hash, version)) if stub.is_of_key(entity_hash, &version) => {
                let is_it = stub.order == version.order();
                if is_it && !version.is_stub() {
                    self.owes = false;
                    return Ok(());
                }
                if is_it || self.together == Together::Keys {
                    return Ok(());
                }
            }
            // A source that failed and is tried again.
            None if !self.sources.is_empty() => return Ok(()),
            _ => {}
        }
        let what = format!(
            "it lacks the row of view {} with sequence {}, of which the tables have only a stub",
            self.view.0, stub.order.2
        );
        Err(WarmError::Archive { source: what.into(), is_damage: true })
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
        let is_behind = |stub: &Passed| (stub.entity_hash, &stub.key[..]) < (entity_hash, key);
        self.owes &= !self.stub.as_ref().is_some_and(is_behind);
        while is_before(self.sources.first()) {
            self.sources.seek_first(entity_hash, key)?;
        }
        self.settle()
    }
}
