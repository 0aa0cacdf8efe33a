//! The memtables, tables and rows of a tier below that a history is merged of, the one whose row comes first
//! always at hand.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use thermae_env::Env;
use thermae_formats::version::Version;

use super::memtable_rows::MemtableRows;
use super::{HistoryRange, OlderRows, ShardPart};
use crate::WarmError;
use crate::merge::Together;
use crate::table::{Scratch, ViewRows};
use crate::tree::Run;

/// One of them.
pub(super) enum Rows<E: Env> {
    Memtable(MemtableRows),
    Table(Box<ViewRows<E::File>>),
    Older(OlderRows),
}

/// All of them. Those that have a row stand in a heap, so that a year of history windows costs a few
/// comparisons a row.
pub(super) struct Sources<E: Env> {
    together: Together,
    /// Those of one shard newest first. Shards hold different keys, so that their order does not matter.
    rows: Vec<Rows<E>>,
    /// (Entity hash of its row, index into `rows`): no row comes before that of its parent, which stands
    /// at half its place.
    heap: Vec<(u64, usize)>,
    scratch: Scratch,
}

/// Those that may have rows of `range`, each before its first: of each shard the memtables first, and history from
/// new to old.
pub(super) fn rows_of<E: Env>(
    parts: &[ShardPart<E>],
    older: Vec<OlderRows>,
    range: &HistoryRange,
    together: Together,
) -> Vec<Rows<E>> {
    let is_full = together == Together::Versions;
    // The newest of a key hides older ones whatever its event time.
    let overlaps = |oldest: i64, newest: i64| {
        !is_full || (oldest <= *range.event_times.end() && newest >= *range.event_times.start())
    };
    let table = |run: &Run<E>| {
        let is_wanted = overlaps(run.table_ref.min_event_time, run.table_ref.max_event_time);
        let rows = || run.table.view_rows(range.view, &range.hashes, range.scan_bytes);
        let rows = is_wanted.then(rows).flatten();
        rows.map(|rows| {
            let rows = if range.through_cache { rows.through_cache() } else { rows };
            Rows::Table(Box::new(rows))
        })
    };
    let mut rows = Vec::new();
    for part in parts {
        let memtables = part.memtables.iter().filter(|memtable| {
            memtable.event_times().is_some_and(|(oldest, newest)| overlaps(oldest, newest))
        });
        rows.extend(memtables.filter_map(|memtable| {
            MemtableRows::of(memtable, range.view, &range.hashes, is_full).map(Rows::Memtable)
        }));
        rows.extend(part.tree.latest.iter().filter_map(table));
        if is_full {
            let mut history: Vec<_> = part.tree.history.iter().collect();
            history.sort_by_key(|run| std::cmp::Reverse(run.table_ref.max_event_time));
            rows.extend(history.into_iter().filter_map(table));
        }
    }
    rows.extend(older.into_iter().map(Rows::Older));
    rows
}

impl<E: Env> Sources<E> {
    /// Those that may have rows of `range`, each at its first.
    pub fn open(
        parts: &[ShardPart<E>],
        older: Vec<OlderRows>,
        range: &HistoryRange,
        together: Together,
    ) -> Result<Self, WarmError> {
        let rows = rows_of(parts, older, range, together);
        let mut sources = Self { together, rows, heap: Vec::new(), scratch: Scratch::new() };
        for at in 0..sources.rows.len() {
            sources.rows[at].seek(*range.hashes.start(), &[], &mut sources.scratch)?;
            if let Some((entity_hash, _)) = sources.rows[at].peek() {
                sources.heap.push((entity_hash, at));
            }
        }
        for place in (0..sources.heap.len() / 2).rev() {
            sources.sift_down(place);
        }
        Ok(sources)
    }

    /// Whether no source has a row any more.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The row that comes first: of equal ones, or, where the newest hides the others, of those of its
    /// key, the one in the newest source.
    pub fn first(&self) -> Option<(u64, Version<'_>)> {
        let (_, at) = self.heap.first()?;
        self.rows.get(*at)?.peek()
    }

    /// Whether the first row lies in the tier below.
    pub fn is_first_older(&self) -> bool {
        let first = self.heap.first().and_then(|(_, at)| self.rows.get(*at));
        matches!(first, Some(Rows::Older(_)))
    }

    /// Leaves the first row.
    pub fn advance_first(&mut self) -> Result<(), WarmError> {
        self.move_first(|rows, scratch| rows.advance(scratch))
    }

    /// Leaves out the rows before this hash and key in the source that has the first.
    pub fn seek_first(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), WarmError> {
        self.move_first(|rows, scratch| rows.seek(entity_hash, key, scratch))
    }

    fn move_first(
        &mut self,
        go: impl FnOnce(&mut Rows<E>, &mut Scratch) -> Result<(), WarmError>,
    ) -> Result<(), WarmError> {
        let Some((_, at)) = self.heap.first().copied() else { return Ok(()) };
        let gone = go(&mut self.rows[at], &mut self.scratch);
        // Where it failed it may have moved, too.
        match self.rows[at].peek() {
            Some((entity_hash, _)) => self.heap[0].0 = entity_hash,
            None if gone.is_ok() => {
                self.heap.swap_remove(0);
            }
            // A damaged block: it comes first, to be tried again.
            None => {}
        }
        self.sift_down(0);
        gone
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let children = [2 * place + 1, 2 * place + 2];
            let least = children.into_iter().filter(|child| *child < self.heap.len());
            let least = least.fold(place, |least, child| {
                if self.compare(child, least) == Ordering::Less { child } else { least }
            });
            if least == place {
                return;
            }
            self.heap.swap(place, least);
            place = least;
        }
    }

    /// Which of two places of the heap has the row that comes first.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let ((hash_a, at_a), (hash_b, at_b)) = (self.heap[a], self.heap[b]);
        let by_row = || match (self.rows[at_a].peek(), self.rows[at_b].peek()) {
            (Some((_, a)), Some((_, b))) => {
                let by_key = a.key.cmp(b.key);
                match self.together {
                    Together::Keys => by_key,
                    Together::Versions => by_key.then_with(|| b.order().cmp(&a.order())),
                }
            }
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        hash_a.cmp(&hash_b).then_with(by_row).then(at_a.cmp(&at_b))
    }
}

impl<E: Env> Rows<E> {
    pub(super) fn peek(&self) -> Option<(u64, Version<'_>)> {
        match self {
            Rows::Memtable(rows) => rows.peek(),
            Rows::Table(rows) => rows.peek(),
            Rows::Older(rows) => {
                rows.peek().map(|(_, entity_hash, version)| (entity_hash, version))
            }
        }
    }

    pub(super) fn advance(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        match self {
            Rows::Memtable(rows) => {
                rows.advance();
                Ok(())
            }
            Rows::Table(rows) => rows.advance(scratch),
            Rows::Older(rows) => rows.advance(),
        }
    }

    pub(super) fn seek(
        &mut self,
        entity_hash: u64,
        key: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), WarmError> {
        match self {
            Rows::Memtable(rows) => {
                rows.seek(entity_hash, key);
                Ok(())
            }
            Rows::Table(rows) => rows.seek(entity_hash, key, scratch),
            Rows::Older(rows) => rows.seek(entity_hash, key),
        }
    }

    /// As [`SeekSource::hashes`](crate::merge::SeekSource::hashes).
    pub(super) fn hashes(&self) -> &[u64] {
        match self {
            Rows::Memtable(_) => &[],
            Rows::Table(rows) => rows.hashes(),
            Rows::Older(rows) => rows.hashes(),
        }
    }

    /// As [`SeekSource::event_time`](crate::merge::SeekSource::event_time).
    pub(super) fn event_time(&self, row: usize) -> Option<i64> {
        match self {
            Rows::Memtable(_) => None,
            Rows::Table(rows) => rows.event_time(row),
            Rows::Older(rows) => rows.event_time(row),
        }
    }

    /// As [`SeekSource::leave_out`](crate::merge::SeekSource::leave_out).
    pub(super) fn leave_out(&mut self, count: usize) -> Result<(), WarmError> {
        match self {
            Rows::Memtable(rows) => (0..count).for_each(|_| rows.advance()),
            Rows::Table(rows) => return rows.leave_out(count),
            Rows::Older(rows) => return rows.leave_out(count),
        }
        Ok(())
    }

    /// Gives back memory, for whoever reads next.
    pub(super) fn release(&mut self, scratch: &mut Scratch) {
        if let Rows::Table(rows) = self {
            rows.release(scratch);
        }
    }

    /// Event times between which its versions lie.
    pub(super) fn event_times(&self) -> RangeInclusive<i64> {
        match self {
            Rows::Memtable(rows) => rows.event_times(),
            Rows::Table(rows) => rows.about().min_event_time..=rows.about().max_event_time,
            Rows::Older(_) => i64::MIN..=i64::MAX,
        }
    }
}
