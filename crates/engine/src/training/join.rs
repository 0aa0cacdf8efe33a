//! Pass 2: helper threads join ranges of the entity hash, some entries of a range at a time.

use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;

use thermae_env::{Env, give_way};
use thermae_tiering::asof::{AsOfJoin, Memory};
use thermae_tiering::merge::{Entry as Row, PartedSource, SeekSource, Source};
use thermae_tiering::spill::{Sorted, Sorter, SpillDir};

use super::budget::Shares;
use super::chunk::{Chunk, Findings, SetRows};
use super::collect::Collected;
use super::helpers::{spawn, wait};
use super::plan::{Plan, PlanView};
use super::records::{begin_answer, count_found};
use super::tally::{SharedTally, Tally};
use super::{Cause, Histories, Progress, TrainingError};

/// What passing over versions to the next that counts takes, and what answering a row does, nanoseconds, about.
const VERSION_NS: u32 = 2_000;
const ANSWER_NS: u32 = 100;
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
    /// Bytes that findings of a chunk may take.
    findings_bytes: usize,
    progress: &'a Progress,
}

/// What one helper thread works with.
struct Work<E: Env> {
    chunk: Chunk,
    answers: Sorter<E>,
    findings: Findings,
    memory: Memory,
    answer: Vec<u8>,
    /// By view.
    tallies: Vec<Tally>,
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
        // Memory that grows by doubling may be twice what is used.
        findings_bytes: shares.findings_bytes / 2,
        progress,
    };
    let work = || {
        let answers = joining.work(Sorter::new(spill, shares.answers), shares.chunk_bytes);
        if answers.is_err() {
            joining.has_failed.store(true, Ordering::Relaxed);
        }
        answers
    };
    let parts: Vec<_> = scope(|scope| {
        let helpers = (0..shares.threads).map(|_| spawn(scope, "thermae-asof", work));
        let helpers: Vec<_> = helpers.collect();
        helpers.into_iter().map(|helper| wait(helper?)).collect()
    });
    // What came of a failure elsewhere is not the failure.
    let is_consequence = |part: &Result<_, _>| matches!(part, Err(TrainingError::Cancelled));
    let (stopped, mut parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(is_consequence);
    parts.extend(stopped);
    let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let tallies = joining.tallies.into_iter().map(SharedTally::into_tally).collect();
    Ok((Sorted::union(parts, spill, shares.all_answers)?, tallies))
}

impl<E: Env, H: Histories> Joining<'_, E, H> {
    /// Joins ranges until none is left.
    fn work(&self, answers: Sorter<E>, chunk_bytes: usize) -> Result<Sorted<E>, TrainingError> {
        let views = self.plan.key_sets.iter().map(|set| set.views.len()).collect();
        let mut work = Work {
            chunk: Chunk::new(views, chunk_bytes),
            answers,
            findings: Findings::default(),
            memory: Memory::default(),
            answer: Vec::new(),
            tallies: vec![Tally::default(); self.plan.views.len()],
        };
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.ranges {
                break;
            }
            self.join_range(range(number, self.ranges), &mut work)?;
        }
        self.tallies.iter().zip(&work.tallies).for_each(|(shared, tally)| shared.add(*tally));
        Ok(work.answers.finish()?)
    }

    fn join_range(
        &self,
        hashes: RangeInclusive<u64>,
        work: &mut Work<E>,
    ) -> Result<(), TrainingError> {
        let mut entries = self.entries.read(hashes)?;
        loop {
            self.check()?;
            let taken = work.chunk.fill(&mut entries)?;
            if taken == 0 {
                return Ok(());
            }
            self.join_chunk(work)?;
            self.progress.add_joined(taken);
        }
    }

    /// Joins the entries of a chunk, fewer at a time where what they find takes too much room.
    fn join_chunk(&self, work: &mut Work<E>) -> Result<(), TrainingError> {
        let Work { chunk, answers, findings, memory, answer, tallies } = work;
        for (key_set, set) in chunk.sets() {
            let views = &self.plan.key_sets[usize::from(key_set)].views;
            let (mut begin, mut step) = (0, set.rows.len());
            while begin < set.rows.len() {
                let rows = begin..set.rows.len().min(begin + step);
                match self.find(set, rows.clone(), views, findings, memory) {
                    Ok(()) => {}
                    Err(Halt::NoRoom) => {
                        step = rows.len() / 2;
                        continue;
                    }
                    Err(Halt::Failed(error)) => return Err(error),
                }
                for (at, row) in set.rows[rows.clone()].iter().enumerate() {
                    give_way(ANSWER_NS);
                    begin_answer(*row, key_set, answer);
                    for (number, view) in views.iter().enumerate() {
                        let found = findings.get(at * views.len() + number);
                        count_found(found, &mut tallies[*view]);
                        answer.extend_from_slice(found);
                    }
                    answers.push(answer)?;
                }
                begin = rows.end;
            }
        }
        Ok(())
    }

    /// Finds what some rows of a set have in each of its views.
    fn find(
        &self,
        set: &SetRows,
        rows: Range<usize>,
        views: &[usize],
        findings: &mut Findings,
        memory: &mut Memory,
    ) -> Result<(), Halt> {
        findings.begin(rows.len() * views.len());
        let hashes = set.asked.hash(rows.start)..=set.asked.hash(rows.end - 1);
        for (number, &view) in views.iter().enumerate() {
            let view = &self.plan.views[view];
            let mut history = self.open(view, hashes.clone())?;
            let join = AsOfJoin::new(&set.asked, rows.clone(), view.terms, std::mem::take(memory));
            *memory = join.join(&mut history, |at, found| {
                let place = (at - rows.start) * views.len() + number;
                findings.put(place, &found, &view.projection).map_err(|source| {
                    let (view, row) = (view.name.clone(), set.rows[at] + 1);
                    Halt::Failed(TrainingError::StoredRow { view, row, source })
                })?;
                // One row has what room it needs.
                let is_full = findings.bytes() > self.findings_bytes && rows.len() > 1;
                if is_full { Err(Halt::NoRoom) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    fn open<'a>(
        &'a self,
        view: &'a PlanView,
        hashes: RangeInclusive<u64>,
    ) -> Result<Watched<'a, E, H>, Halt> {
        let opened = self.histories.open(view.id, hashes);
        let source = opened.map_err(|error| failed(view, error))?;
        Ok(Watched { source, view, joining: self, unchecked: 0 })
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
    view: &'a PlanView,
    joining: &'a Joining<'a, E, H>,
    unchecked: u32,
}

/// Why some rows are not joined.
enum Halt {
    /// What they find takes too much room: fewer of them may do.
    NoRoom,
    Failed(TrainingError),
}

impl From<TrainingError> for Halt {
    fn from(error: TrainingError) -> Self {
        Self::Failed(error)
    }
}

fn failed(view: &PlanView, error: impl Into<Cause>) -> Halt {
    Halt::Failed(TrainingError::History { view: view.name.clone(), source: error.into() })
}

impl<E: Env, H: Histories> Source for Watched<'_, E, H> {
    type Error = Halt;

    fn peek(&self) -> Option<Row<'_>> {
        self.source.peek()
    }

    fn advance(&mut self) -> Result<(), Halt> {
        give_way(VERSION_NS);
        self.unchecked += 1;
        if self.unchecked >= ADVANCES_BETWEEN_CHECKS {
            self.unchecked = 0;
            self.joining.check()?;
        }
        self.source.advance().map_err(|error| failed(self.view, error))
    }
}

impl<E: Env, H: Histories> SeekSource for Watched<'_, E, H> {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), Halt> {
        give_way(VERSION_NS);
        self.source.seek(entity_hash, key).map_err(|error| failed(self.view, error))
    }

    fn hashes(&self) -> &[u64] {
        self.source.hashes()
    }

    fn event_time(&self, row: usize) -> Option<i64> {
        self.source.event_time(row)
    }

    fn leave_out(&mut self, rows: usize) -> Result<(), Halt> {
        give_way(VERSION_NS);
        self.source.leave_out(rows).map_err(|error| failed(self.view, error))
    }
}

impl<E: Env, H: Histories> PartedSource for Watched<'_, E, H> {
    fn next_part(&mut self) -> Result<bool, Halt> {
        self.joining.check()?;
        self.source.next_part().map_err(|error| failed(self.view, error))
    }

    fn event_times(&self) -> RangeInclusive<i64> {
        self.source.event_times()
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
