//! The point-in-time join of one view: for each row of a spine, the version that was the newest at its time.
//!
//! The rules are SEMANTICS "Point-in-time join". Rows of the spine are asked for together ([`Asked`]), sorted by
//! entity, those of one key latest time first. The history lies in parts (memtables, tables, files of the archive),
//! each of which gives the newest version of a key first, and is passed over once, forward, by itself:
//!
//! * A version that is too new for a row, by event time or by created time, is too new for every row of the
//!   same key behind it. So no part has to go back.
//! * The first version of a part that is not too new is the best of that part: greatest event time, then created
//!   time (none loses), then sequence. The best of all parts is the winner, whichever part was passed first.
//! * The winner alone is judged, by the function that judges online reads ([`visibility`]), at the time of the
//!   spine's row: a tombstone, a row past its own expiry and one older than the TTL hide what is below them,
//!   as they did for whoever read then.
//!
//! Merging the parts row by row would give the same, and cost several comparisons for each version of the history.
//!
//! A row whose join key is null matches nothing: its caller never asks for it.

mod asked;
mod candidates;

use std::cmp::Ordering;
use std::ops::Range;

use thermae_formats::NO_TIME;
use thermae_formats::version::Version;
use thermae_formats::visibility::{Visibility, visibility};

use crate::merge::{PartedSource, before};

use candidates::Candidates;

pub use asked::Asked;

/// Versions that are passed one by one before the source is asked to seek, where their hashes are not known: about
/// as many as a seek costs.
/// Finding a row in a block takes 8.6 us, scanning one 0.19 us (decisions/0006), so that the join takes at
/// most twice the time of whichever way would have been the better.
pub const PATIENCE: u32 = 45;

/// What orders the versions of a key: event time, created time, sequence.
pub type Order = (i64, i64, u64);

/// What decides which versions may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How old, in event time, an answer may be at the time of the spine's row, in microseconds; 0 is without
    /// limit.
    pub ttl_us: i64,
    /// Only what had been learnt by then: versions with a later created time, or without one, do not count.
    pub as_of_known: bool,
}

/// What a row of the spine finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'v> {
    /// The version that was served then.
    Present(Version<'v>),
    /// The newest version was older than the TTL: its values are null.
    OutsideMaxAge(Version<'v>),
    /// No version yet, or a tombstone, or one past its own expiry.
    NotFound,
}

/// Some rows of a spine on their way through the parts of one view's history.
pub struct AsOfJoin<'a> {
    asked: &'a Asked,
    terms: Terms,
    first: usize,
    memory: Memory,
}

/// What a join works with, to be used again.
#[derive(Default)]
pub struct Memory {
    candidates: Candidates,
}

impl<'a> AsOfJoin<'a> {
    /// Bytes that a row takes while it is joined.
    pub const ROW_BYTES: usize = Candidates::ROW_BYTES;

    /// Of some rows of those that are asked for.
    pub fn new(asked: &'a Asked, rows: Range<usize>, terms: Terms, mut memory: Memory) -> Self {
        memory.candidates.begin(asked, rows.clone());
        Self { asked, terms, first: rows.start, memory }
    }

    /// Passes over a history, which has versions of one view alone. `take` gets the number of a row and what it
    /// found, again whenever a part has something better: the last counts, and a row that it never gets found
    /// nothing. Gives the memory back.
    ///
    /// # Errors
    /// Those of the source and of `take`.
    pub fn join<S: PartedSource, E: From<S::Error>>(
        mut self,
        source: &mut S,
        mut take: impl FnMut(usize, Found<'_>) -> Result<(), E>,
    ) -> Result<Memory, E> {
        while source.next_part()? {
            let candidates = &mut self.memory.candidates;
            candidates.offer(self.asked, self.first, &source.event_times());
            if !candidates.rows.is_empty() {
                self.pass(source, &mut take)?;
            }
        }
        Ok(self.memory)
    }

    /// Passes over one part for the rows that it is offered: `at` counts these.
    fn pass<S: PartedSource, E: From<S::Error>>(
        &mut self,
        source: &mut S,
        take: &mut impl FnMut(usize, Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut at, end) = (0, self.memory.candidates.rows.len());
        self.seek(source, at)?;
        let (mut passed, mut looked_to) = (0, 0);
        while at < end {
            // What one side alone has is left out by its hash.
            let all = source.hashes().len();
            if all > 0 {
                if at >= looked_to {
                    looked_to = self.look_ahead(source.hashes(), at);
                }
                let (row, version) = self.meet(source, at);
                at = row;
                if at == end {
                    break;
                }
                if version < all {
                    source.leave_out(version)?;
                } else if source.hashes().last() == self.memory.candidates.hashes.get(at) {
                    // All were too new: of its hash more may follow.
                    source.leave_out(all - 1)?;
                    source.advance()?;
                    continue;
                } else {
                    self.seek(source, at)?;
                    continue;
                }
            }
            let Some((_, hash, version)) = source.peek() else { break };
            let place = self.memory.candidates.rows[at];
            let time_us = self.asked.time_us(self.first + place);
            match self.compare(at, hash, version.key) {
                Ordering::Less => {
                    at = self.not_before(at, hash, version.key);
                    continue;
                }
                Ordering::Equal if !self.terms.is_too_new(&version, time_us) => {
                    if self.memory.candidates.improve(place, version.order()) {
                        take(self.first + place, self.terms.judge(version, time_us))?;
                    }
                    at += 1;
                    continue;
                }
                Ordering::Equal => passed = 0,
                Ordering::Greater => passed += 1,
            }
            if passed <= PATIENCE {
                source.advance()?;
            } else {
                self.seek(source, at)?;
                passed = 0;
            }
        }
        Ok(())
    }

    /// Asks for the memory of the rows that may meet these hashes, from `at` on: waits for one after the other would
    /// not overlap. Gives the first row behind them.
    fn look_ahead(&self, known: &[u64], at: usize) -> usize {
        let Candidates { rows, hashes, .. } = &self.memory.candidates;
        let end = at + known.last().map_or(0, |last| before(&hashes[at..], *last));
        self.asked.look_ahead(self.first, &rows[at..end]);
        end
    }

    /// The first row from `at` on, and the first of the versions whose hashes are known, that have the same hash; but
    /// for versions that are too new by their event time, where that is known.
    fn meet<S: PartedSource>(&self, source: &S, at: usize) -> (usize, usize) {
        let (asked, known) = (&self.memory.candidates.hashes[..], source.hashes());
        let (mut row, mut version) = (at, 0);
        loop {
            let (rows, versions) = met(&asked[row..], &known[version..]);
            (row, version) = (row + rows, version + versions);
            // What is too new for this row is so for each behind it, unless that has another key.
            if row == asked.len() || version == known.len() || self.asked.has_collision() {
                return (row, version);
            }
            let time_us = self.asked.time_us(self.first + self.memory.candidates.rows[row]);
            if source.event_time(version).is_none_or(|event_time| event_time <= time_us) {
                return (row, version);
            }
            version += 1;
        }
    }

    fn seek<S: PartedSource>(&self, source: &mut S, at: usize) -> Result<(), S::Error> {
        let row = self.first + self.memory.candidates.rows[at];
        source.seek(self.asked.hash(row), self.asked.key(row))
    }

    /// How the row `at` stands to a version's hash and key.
    fn compare(&self, at: usize, entity_hash: u64, key: &[u8]) -> Ordering {
        let row = self.first + self.memory.candidates.rows[at];
        self.asked.compare(row, entity_hash, key)
    }

    /// The first row from `at` on that does not sort before a hash and key, or their end: in steps that double, and
    /// then halve.
    fn not_before(&self, at: usize, entity_hash: u64, key: &[u8]) -> usize {
        let is_before = |at| self.compare(at, entity_hash, key) == Ordering::Less;
        let (mut begin, mut step, rows) = (at, 1, self.memory.candidates.rows.len());
        while begin + step < rows && is_before(begin + step) {
            begin += step;
            step *= 2;
        }
        let mut end = rows.min(begin + step);
        while begin < end {
            let middle = begin + (end - begin) / 2;
            if is_before(middle) {
                begin = middle + 1;
            } else {
                end = middle;
            }
        }
        begin
    }
}

/// How many rows and how many versions come before the first hash that both have.
fn met(rows: &[u64], versions: &[u64]) -> (usize, usize) {
    let (mut row, mut version) = (0, 0);
    while let (Some(asked), Some(known)) = (rows.get(row), versions.get(version)) {
        match asked.cmp(known) {
            Ordering::Less => row += before(&rows[row..], *known),
            Ordering::Greater => version += before(&versions[version..], *asked),
            Ordering::Equal => break,
        }
    }
    (row, version)
}

impl Terms {
    /// Whether a version was not there yet at a time, or not known.
    fn is_too_new(&self, version: &Version<'_>, time_us: i64) -> bool {
        let created = version.created_time;
        let is_unknown = self.as_of_known && (created == NO_TIME || created > time_us);
        version.event_time > time_us || is_unknown
    }

    fn judge<'v>(&self, winner: Version<'v>, time_us: i64) -> Found<'v> {
        let Version { event_time, expire_at, .. } = winner;
        match visibility(winner.is_tombstone(), expire_at, event_time, self.ttl_us, time_us) {
            Visibility::Present => Found::Present(winner),
            Visibility::OutsideMaxAge => Found::OutsideMaxAge(winner),
            Visibility::NotFound => Found::NotFound,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
