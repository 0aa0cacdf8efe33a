//! Pass 2: helper threads join ranges of the entity hash, every view of them in one pass.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, ScopedJoinHandle, scope};

use thermae_env::{Env, lower_priority};
use thermae_tiering::asof::{AsOfJoin, Found};
use thermae_tiering::merge::{Entry as Row, SeekSource, Source};
use thermae_tiering::spill::{Sorted, Sorter, SpillDir};

use super::budget::Shares;
use super::collect::Collected;
use super::plan::{Plan, PlanView};
use super::records::{Entry, append_found, begin_answer};
use super::tally::{SharedTally, Tally};
use super::{Cause, Histories, Progress, TrainingError};

/// Steps of nice below the shards and whoever called: serving comes first.
const STEPS_BELOW: i32 = 10;
/// Versions that are passed over between two looks at whether it was cancelled.
const ADVANCES_BETWEEN_CHECKS: u32 = 1024;

/// What all helper threads share.
struct Joining<'a, E: Env, H> {
    plan: &'a Plan,
    histories: &'a H,
    entries: &'a Sorted<E>,
    ranges: u64,
    /// The next range that nobody has taken.
    next: AtomicU64,
    /// One thread failed: the others need not go on.
    has_failed: AtomicBool,
    /// By view.
    tallies: Vec<SharedTally>,
    progress: &'a Progress,
}

/// Joins all entries; the answers are sorted by row. With them comes what each view had.
pub(super) fn join<E: Env, H: Histories>(
    plan: &Plan,
    histories: &H,
    collected: Collected<E>,
    spill: &SpillDir<E>,
    shares: &Shares,
    progress: &Progress,
) -> Result<(Sorted<E>, Vec<Tally>), TrainingError> {
    let joining = Joining {
        plan,
        histories,
        entries: &collected.entries,
        ranges: shares.ranges,
        next: AtomicU64::new(0),
        has_failed: AtomicBool::new(false),
        tallies: plan.views.iter().map(|_| SharedTally::default()).collect(),
        progress,
    };
    let work = || {
        // A thread that keeps its priority works all the same.
        let _ = lower_priority(STEPS_BELOW);
        let answers = joining.work(Sorter::new(spill, shares.answers));
        if answers.is_err() {
            joining.has_failed.store(true, Ordering::Relaxed);
        }
        answers
    };
    let parts: Vec<_> = scope(|scope| {
        let spawn = |_| Builder::new().name("thermae-asof".to_owned()).spawn_scoped(scope, work);
        let handles: Vec<_> = (0..shares.threads).map(spawn).collect();
        handles.into_iter().map(|handle| wait(handle.map_err(TrainingError::Thread)?)).collect()
    });
    // What came of a failure elsewhere is not the failure.
    let is_consequence = |part: &Result<_, _>| matches!(part, Err(TrainingError::Cancelled));
    let (stopped, mut parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(is_consequence);
    parts.extend(stopped);
    let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let tallies = joining.tallies.into_iter().map(SharedTally::into_tally).collect();
    Ok((Sorted::union(parts, spill, shares.all_answers)?, tallies))
}

fn wait<T>(handle: ScopedJoinHandle<'_, Result<T, TrainingError>>) -> Result<T, TrainingError> {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl<E: Env, H: Histories> Joining<'_, E, H> {
    /// Joins ranges until none is left.
    fn work(&self, mut answers: Sorter<E>) -> Result<Sorted<E>, TrainingError> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.ranges {
                return Ok(answers.finish()?);
            }
            self.join_range(range(number, self.ranges), &mut answers)?;
        }
    }

    fn join_range(
        &self,
        hashes: RangeInclusive<u64>,
        answers: &mut Sorter<E>,
    ) -> Result<(), TrainingError> {
        let mut entries = self.entries.read(hashes.clone())?;
        let mut joins: Vec<Option<AsOfJoin<_>>> = self.plan.views.iter().map(|_| None).collect();
        let mut tallies = vec![Tally::default(); self.plan.views.len()];
        let mut answer = Vec::new();
        while let Some(record) = entries.peek() {
            self.check()?;
            let entry = Entry::decode(record).ok_or(TrainingError::Record)?;
            let set = self.plan.key_sets.get(usize::from(entry.key_set));
            begin_answer(entry.row, entry.key_set, &mut answer);
            for &at in &set.ok_or(TrainingError::Record)?.views {
                let view = &self.plan.views[at];
                let join = match &mut joins[at] {
                    Some(join) => join,
                    // A history is opened where the first entry asks for it: there may be none.
                    unopened => {
                        let history = self.open(view, entry.entity_hash..=*hashes.end())?;
                        unopened.insert(AsOfJoin::new(history, view.terms))
                    }
                };
                let found = join.find(entry.entity_hash, entry.key, entry.time_us);
                let found = found.map_err(|stop| stop.of(view))?;
                tallies[at].count(&found);
                self.append(&found, view, entry.row, &mut answer)?;
            }
            answers.push(&answer)?;
            self.progress.add_joined(1);
            entries.advance()?;
        }
        self.tallies.iter().zip(tallies).for_each(|(shared, tally)| shared.add(tally));
        Ok(())
    }

    fn append(
        &self,
        found: &Found<'_>,
        view: &PlanView,
        row: u64,
        answer: &mut Vec<u8>,
    ) -> Result<(), TrainingError> {
        append_found(found, &view.projection, answer).map_err(|source| TrainingError::StoredRow {
            view: view.name.clone(),
            row: row + 1,
            source,
        })
    }

    fn open(
        &self,
        view: &PlanView,
        hashes: RangeInclusive<u64>,
    ) -> Result<Watched<'_, E, H>, TrainingError> {
        let opened = self.histories.open(view.id, hashes);
        let source = opened.map_err(|error| Stop::Failed(error).of(view))?;
        Ok(Watched { source, joining: self, unchecked: 0 })
    }

    fn check(&self) -> Result<(), TrainingError> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(TrainingError::Cancelled);
        }
        self.progress.check()
    }
}

/// The `number`th of `ranges` equal ranges of the entity hash.
fn range(number: u64, ranges: u64) -> RangeInclusive<u64> {
    let begin = |number: u64| (u128::from(number) << 64) / u128::from(ranges);
    // The last ends at 2^64 - 1, and none is empty.
    begin(number) as u64..=(begin(number + 1) - 1) as u64
}

/// A history that stops when the work is to stop: one key may have more versions than anybody waits for.
struct Watched<'a, E: Env, H: Histories> {
    source: H::Source,
    joining: &'a Joining<'a, E, H>,
    unchecked: u32,
}

/// Why a history is read no further.
enum Stop<E> {
    Cancelled,
    Failed(E),
}

impl<E: Into<Cause>> Stop<E> {
    fn of(self, view: &PlanView) -> TrainingError {
        match self {
            Self::Cancelled => TrainingError::Cancelled,
            Self::Failed(source) => {
                TrainingError::History { view: view.name.clone(), source: source.into() }
            }
        }
    }
}

impl<E: Env, H: Histories> Source for Watched<'_, E, H> {
    type Error = Stop<H::Error>;

    fn peek(&self) -> Option<Row<'_>> {
        self.source.peek()
    }

    fn advance(&mut self) -> Result<(), Self::Error> {
        self.unchecked += 1;
        if self.unchecked >= ADVANCES_BETWEEN_CHECKS {
            self.unchecked = 0;
            self.joining.check().map_err(|_| Stop::Cancelled)?;
        }
        self.source.advance().map_err(Stop::Failed)
    }
}

impl<E: Env, H: Histories> SeekSource for Watched<'_, E, H> {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), Self::Error> {
        self.source.seek(entity_hash, key).map_err(Stop::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_follow_each_other_and_cover_every_hash() {
        for ranges in [1, 2, 3, 8, 4096, 100_003] {
            let mut begin = Some(0_u64);
            for number in 0..ranges {
                let range = range(number, ranges);
                assert_eq!(Some(*range.start()), begin);
                assert!(range.start() <= range.end());
                begin = range.end().checked_add(1);
            }
            assert_eq!(begin, None);
        }
    }
}
