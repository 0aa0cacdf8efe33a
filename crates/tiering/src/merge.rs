//! Many sorted sources read as one, and what becomes of each version on the way.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::version::Version;
use thermae_formats::{NO_TIME, ViewId};

/// A version with what it is sorted by.
pub type Entry<'a> = (ViewId, u64, Version<'a>);

/// Rows in table order: view, entity hash, key, then the newest version first.
pub trait Source {
    /// Why the next row cannot be had.
    type Error;

    /// The row that this source stands at; `None` at its end.
    fn peek(&self) -> Option<Entry<'_>>;
    /// Goes to the next row.
    ///
    /// # Errors
    /// The source cannot be read on; it stays where it is.
    fn advance(&mut self) -> Result<(), Self::Error>;
}

/// A source that can leave rows out on its way.
pub trait SeekSource: Source {
    /// Goes forward to the first row that does not lie before this hash and key, of the view that it
    /// stands in; stays where it is if it stands there or behind it.
    ///
    /// # Errors
    /// As [`Source::advance`].
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), Self::Error>;

    /// Entity hashes of rows from the present one on, as many as are known without a look at the rows; none where
    /// that is not how they are kept.
    fn hashes(&self) -> &[u64] {
        &[]
    }

    /// Event time of one of the rows of [`Self::hashes`], microseconds; `None` where it takes a look at the row.
    fn event_time(&self, _row: usize) -> Option<i64> {
        None
    }

    /// Leaves out so many rows of [`Self::hashes`], fewer than those are.
    ///
    /// # Errors
    /// As [`Source::advance`].
    fn leave_out(&mut self, rows: usize) -> Result<(), Self::Error> {
        (0..rows).try_for_each(|_| self.advance())
    }
}

/// Rows that lie in parts, each in table order by itself: what is newest of a key may lie in any of them.
pub trait PartedSource: SeekSource {
    /// Goes before the first row of the next part; `false`: there is none. Nothing can be peeked at before it is
    /// sought there.
    ///
    /// # Errors
    /// The part cannot be opened.
    fn next_part(&mut self) -> Result<bool, Self::Error>;

    /// Event times between which the versions of the part lie, microseconds.
    fn event_times(&self) -> RangeInclusive<i64> {
        i64::MIN..=i64::MAX
    }
}

/// How many of some ascending hashes come before this one, where that are probably few: in steps that double, and
/// then halve.
pub(crate) fn before(hashes: &[u64], hash: u64) -> usize {
    let mut end = 1;
    while hashes.get(end - 1).is_some_and(|other| *other < hash) {
        end *= 2;
    }
    let begin = end / 2;
    let rest = hashes.get(begin..end.min(hashes.len())).unwrap_or_default();
    begin + rest.partition_point(|other| *other < hash)
}

/// Which rows of different sources belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// Those of one key: for sources with at most one version a key.
    Keys,
    /// Equal versions of one key: for history, where a key has many.
    Versions,
}

/// Sources merged, newest source first.
pub struct Merge<S> {
    sources: Vec<S>,
    /// View and entity hash of the row that each stands at ([`head`]): most rows are told apart by that.
    heads: Vec<u128>,
    together: Together,
    /// Sources that stand at the present group, in their order.
    group: Vec<usize>,
}

impl<S: Source> Merge<S> {
    /// Stands before the first group. Each source stands at its first row.
    pub fn new(sources: Vec<S>, together: Together) -> Self {
        let heads = sources.iter().map(head).collect();
        Self { sources, heads, together, group: Vec::new() }
    }

    /// Goes to the next group; `false` at the end.
    ///
    /// # Errors
    /// Those of a source; the merge is of no use afterwards.
    pub fn next_group(&mut self) -> Result<bool, S::Error> {
        for at in self.group.drain(..) {
            self.sources[at].advance()?;
            self.heads[at] = head(&self.sources[at]);
        }
        let least = self.heads.iter().copied().min().unwrap_or(NO_ROW);
        if least == NO_ROW {
            return Ok(false);
        }
        for (at, source) in self.sources.iter().enumerate() {
            if self.heads[at] != least {
                continue;
            }
            let first = self.group.first().and_then(|first| self.sources[*first].peek());
            let order = match (source.peek(), first) {
                (Some(row), Some(first)) => compare(&row, &first, self.together),
                _ => Ordering::Less,
            };
            if order.is_lt() {
                self.group.clear();
            }
            if order.is_le() {
                self.group.push(at);
            }
        }
        Ok(true)
    }

    /// The versions of the present group, the one of the newest source first.
    pub fn group(&self) -> impl Iterator<Item = Entry<'_>> {
        self.group.iter().filter_map(|at| self.sources[*at].peek())
    }
}

/// Behind every row: views are numbered in 32 bits.
const NO_ROW: u128 = u128::MAX;

/// View and entity hash of a source's row, as a number that sorts as they do.
fn head(source: &impl Source) -> u128 {
    source.peek().map_or(NO_ROW, |(view, hash, _)| u128::from(view.0) << 64 | u128::from(hash))
}

/// Table order, as far as it decides what belongs together.
fn compare(a: &Entry<'_>, b: &Entry<'_>, together: Together) -> Ordering {
    let by_key = (a.0, a.1, a.2.key).cmp(&(b.0, b.1, b.2.key));
    match together {
        Together::Keys => by_key,
        Together::Versions => by_key.then(b.2.order().cmp(&a.2.order())),
    }
}

/// What becomes of a version when tables are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Stays in the tree it is in.
    Keep,
    /// Goes from `latest` to `history`.
    ToHistory,
    /// Is removed.
    Drop,
}

/// What becomes of `version` of a key, tombstones like any other. `is_newest`: of all inputs, this is
/// the key's newest version. `is_last_run`: no table older than the inputs may hold the key.
/// `watermark` is the newest event time of its partition that is durable.
///
/// The newest version shadows whatever older tables hold of its key. So even past `keep_for` it goes
/// only together with the last run: dropped earlier, it would uncover an older version, which is a
/// resurrection as soon as `keep_for` is raised, and for a row whose expiry made room for one of an
/// earlier event time even before. A superseded version shadows nothing that the newest does not shadow
/// too, and may go at any time.
pub fn fate(
    version: &Version<'_>,
    is_newest: bool,
    policy: &TierPolicy,
    watermark: Option<i64>,
    owns_partition: bool,
    is_last_run: bool,
) -> Fate {
    if !owns_partition {
        return Fate::Drop;
    }
    let is_past = is_past(version.event_time, policy.keep_for_us, watermark);
    match (is_newest, is_past, policy.history) {
        (true, true, _) if is_last_run => Fate::Drop,
        (true, _, _) => Fate::Keep,
        (false, false, History::Full) => Fate::ToHistory,
        (false, _, _) => Fate::Drop,
    }
}

/// Whether a row is past `keep_for_us` (0 is without limit) at a watermark.
pub fn is_past(event_time: i64, keep_for_us: i64, watermark: Option<i64>) -> bool {
    let cut = watermark.filter(|_| keep_for_us != 0).map(|mark| mark.saturating_sub(keep_for_us));
    cut.is_some_and(|cut| event_time != NO_TIME && event_time < cut)
}

#[cfg(test)]
mod tests;
