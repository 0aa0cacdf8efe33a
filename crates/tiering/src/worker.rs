//! The background of one shard: flushes and merges in small steps. In production a thread calls
//! [`Worker::step`] until there is nothing to do; in a simulation the test does.
//!
//! Nothing exists before a [`Commit`] names it. So a step may fail or the machine stop anywhere: files
//! not named are garbage, a flush begins anew out of the memtable that it still holds, and a merge is
//! planned again.

mod back_off;
mod erasing;
mod merges;
mod quarantine;
mod retired;
mod scrub;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use thermae_env::Env;

use crate::WarmError;
use crate::compact::plan::{CompactionPolicy, Pause};
use crate::compact::run::Merging;
use crate::departures::Departures;
use crate::files::{Garbage, Made, WarmFiles};
use crate::flush::{Flush, FlushJob, Progress};
use crate::memtable::Memtable;
use crate::rules::Rules;
use crate::tree::{Commit, Run, Tree, TreeEdit, Unnamed};
use back_off::BackOff;
use erasing::Erasing;
pub use quarantine::Damage;
use quarantine::Quarantine;
use retired::Retired;
pub use scrub::ScrubPace;
use scrub::{Scrub, Scrubbed};
use shares::Shares;

/// Runs more than settle with which the worker counts as behind.
const RUNS_BEHIND: usize = 2;

/// What a step came to.
pub enum Step<E: Env> {
    /// Nothing to do until a job is submitted.
    Idle,
    /// Nothing to do before this monotonic time, unless a job is submitted.
    Wait {
        /// Nanoseconds, as `Env::monotonic_ns`.
        until_ns: u64,
    },
    /// A piece of work was done; there is more.
    Worked {
        /// Row bytes read and written.
        bytes: u64,
    },
    /// A memtable is in durable tables: the oldest one submitted and not yet reported.
    Flushed {
        /// The memtable.
        memtable: Arc<Memtable>,
        /// The trees from now on.
        tree: Tree<E>,
    },
    /// Tables were replaced or taken out.
    Compacted {
        /// The trees from now on.
        tree: Tree<E>,
    },
    /// Nothing that the tables' directory holds has any row that was erased up to this round.
    Erased {
        /// As [`crate::erase::PendingErases::round`].
        round: u64,
    },
    /// Merges wait for room on the disk; they are looked at again by themselves.
    Paused(Pause),
    /// A table is not what was written. It is read as before, a look-up at a time, but not merged until
    /// the store is opened again. Each is reported once.
    Damaged(Damage),
    /// A piece of work failed. Nothing is lost; it is tried again, later each time.
    Failed(WarmError),
}

/// Work done since the worker began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Memtables flushed.
    pub flushes: u64,
    /// Bytes of the tables that they became.
    pub flushed_bytes: u64,
    /// Merges committed.
    pub merges: u64,
    /// Bytes of the tables that merges wrote.
    pub compacted_bytes: u64,
    /// Tables taken out unread.
    pub dropped_tables: u64,
    /// Steps that failed.
    pub failures: u64,
    /// Blocks that the scrub read.
    pub scrubbed_blocks: u64,
    /// Their bytes.
    pub scrubbed_bytes: u64,
    /// Passes of the scrub over all tables.
    pub scrubs: u64,
    /// Tables found damaged.
    pub damaged_tables: u64,
    /// Tables that may hold something that was erased, and wait to be rewritten.
    pub suspect_tables: u64,
    /// Tables rewritten for that.
    pub rewritten_tables: u64,
    /// Versions that merges left out because they were erased.
    pub erased_rows: u64,
    /// The flush at work has failed and is tried again.
    pub is_flush_failing: bool,
    /// By the last plan, merges wait for room on the disk.
    pub is_merge_paused: bool,
    /// Something failed, or waits for room on the disk, and has not got on since.
    pub is_troubled: bool,
}

/// Flushes and compacts the trees of one shard.
pub struct Worker<E: Env, C: Commit> {
    files: WarmFiles<E>,
    commit: C,
    shard: u16,
    policy: CompactionPolicy,
    rules: Arc<Rules>,
    departures: Arc<Departures>,
    tree: Tree<E>,
    waiting: VecDeque<FlushJob<C::LogStart>>,
    flush: Option<Flush<E, C::LogStart>>,
    /// Files that the flush made.
    flush_made: Vec<Garbage>,
    /// Merges at work, each over newer runs than the one before; the last one is worked on.
    merges: Vec<Merging<E>>,
    /// The tree changed since the last plan.
    must_plan: bool,
    shares: Shares,
    garbage: VecDeque<Garbage>,
    flush_rest: BackOff,
    merge_rest: BackOff,
    garbage_rest: BackOff,
    scrub: Option<Scrub<E>>,
    quarantine: Quarantine,
    erasing: Erasing,
    retired: Retired<E>,
    stats: WorkerStats,
}

impl<E: Env, C: Commit> Worker<E, C> {
    /// A worker over the trees that the manifest names.
    pub fn new(
        files: WarmFiles<E>,
        commit: C,
        shard: u16,
        policy: CompactionPolicy,
        rules: Arc<Rules>,
        tree: Tree<E>,
    ) -> Self {
        let erasing = Erasing::begin(&rules, &tree);
        Self {
            files,
            commit,
            shard,
            policy,
            rules,
            departures: Arc::default(),
            tree,
            waiting: VecDeque::new(),
            flush: None,
            flush_made: Vec::new(),
            merges: Vec::new(),
            must_plan: true,
            shares: Shares::default(),
            garbage: VecDeque::new(),
            flush_rest: BackOff::default(),
            merge_rest: BackOff::default(),
            garbage_rest: BackOff::default(),
            scrub: None,
            quarantine: Quarantine::default(),
            erasing,
            retired: Retired::default(),
            stats: WorkerStats::default(),
        }
    }

    /// Has the worker scrub the tables when nothing else is to do; without this it does not.
    #[must_use]
    pub fn scrubbing(mut self, pace: ScrubPace) -> Self {
        self.scrub = Some(Scrub::new(pace));
        self
    }

    /// Has the worker remove files that nothing names: tables or checkpoints of these ids.
    #[must_use]
    pub fn clearing(mut self, file_ids: &[u64]) -> Self {
        let both = |id: &u64| [Garbage::Table(*id), Garbage::Checkpoint(*id)];
        self.garbage.extend(file_ids.iter().flat_map(both));
        self
    }

    /// Takes a frozen memtable; they are flushed in the order of submission.
    pub fn submit(&mut self, job: FlushJob<C::LogStart>) {
        self.waiting.push_back(job);
    }

    /// Lets merges from now on leave out what the archive has. They only ever grow: whatever they allow must
    /// hold for good.
    pub fn depart(&mut self, departures: Arc<Departures>) {
        self.must_plan |= departures.rewrite != self.departures.rewrite;
        self.departures = departures;
    }

    /// Work done so far.
    pub fn stats(&self) -> WorkerStats {
        self.stats
    }

    /// Whether writers wait for this worker, or soon will: a memtable to flush, or so many runs that
    /// look-ups suffer.
    pub fn is_behind(&self) -> bool {
        let runs = self.tree.latest.len();
        self.flush.is_some()
            || !self.waiting.is_empty()
            || runs > self.policy.settled_runs + RUNS_BEHIND
    }

    /// Whether it holds tables or memtables for whoever uses them still: a later step lets them go.
    pub fn holds_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// The trees as of the last commit.
    pub fn tree(&self) -> &Tree<E> {
        &self.tree
    }

    /// Does one bounded piece of work: merges of new runs before those of old, and flushes before merges
    /// but for what they owe these (`worker/shares.rs`).
    pub fn step(&mut self) -> Step<E> {
        self.retired.let_go();
        let step = self.work();
        let is_failing = [&self.flush_rest, &self.merge_rest, &self.garbage_rest]
            .iter()
            .any(|rest| rest.is_failing());
        self.stats.is_flush_failing = self.flush_rest.is_failing();
        self.stats.is_troubled = is_failing || self.stats.is_merge_paused;
        self.stats.suspect_tables = self.erasing.suspect_count();
        step
    }

    fn work(&mut self) -> Step<E> {
        let now_ns = self.files.env.monotonic_ns();
        let may_merge = self.merge_rest.is_over(now_ns);
        if may_merge && self.must_plan {
            return self.step_plan(now_ns);
        }
        let can_merge = may_merge && !self.merges.is_empty();
        if !can_merge {
            self.shares.forgive();
        }
        if self.flush_rest.is_over(now_ns) && !self.shares.is_merges_turn() {
            if self.flush.is_none() {
                self.flush = self.waiting.pop_front().map(Flush::new);
            }
            if let Some(flush) = self.flush.take() {
                return self.step_flush(flush, now_ns);
            }
        }
        if self.garbage_rest.is_over(now_ns)
            && let Some(garbage) = self.garbage.pop_front()
        {
            return self.remove(garbage, now_ns);
        }
        if let Some(round) = self.erasing.take_finished(&self.rules, self.garbage.is_empty()) {
            return Step::Erased { round };
        }
        if can_merge && let Some(merging) = self.merges.pop() {
            return self.step_merge(merging, now_ns);
        }
        let scrub = self.scrub.as_mut();
        match scrub.and_then(|scrub| scrub.step(now_ns, &self.tree, &self.quarantine)) {
            Some(scrubbed) => self.scrubbed(scrubbed),
            None => self.rest(now_ns),
        }
    }

    /// When the first of the rests ends that there is work behind.
    fn rest(&self, now_ns: u64) -> Step<E> {
        let rests = [
            (self.flush.is_some() || !self.waiting.is_empty(), &self.flush_rest),
            (!self.garbage.is_empty(), &self.garbage_rest),
            (self.must_plan || !self.merges.is_empty(), &self.merge_rest),
        ];
        let ends = rests.iter().filter(|(has_work, _)| *has_work).map(|(_, rest)| rest.until_ns());
        let scrub = self.scrub.iter().filter(|_| scrub::has_work(&self.tree, &self.quarantine));
        let end = ends.chain(scrub.map(Scrub::until_ns)).min();
        end.map_or(Step::Idle, |until_ns| Step::Wait { until_ns: until_ns.max(now_ns) })
    }

    fn step_flush(&mut self, mut flush: Flush<E, C::LogStart>, now_ns: u64) -> Step<E> {
        let mut made = Made { commit: &self.commit, files: &mut self.flush_made };
        match flush.step(&self.files, &mut made) {
            Ok(Progress::Worked(bytes)) => {
                self.flush = Some(flush);
                let (runs, settled_runs) = (self.free_runs(), self.policy.settled_runs);
                self.shares.flushed(bytes, runs, settled_runs);
                Step::Worked { bytes }
            }
            Ok(Progress::Ready) => self.commit_flush(flush, now_ns),
            Err(error) => {
                self.garbage.extend(self.flush_made.drain(..));
                self.flush = Some(Flush::new(flush.job));
                self.flush_rest.fail(now_ns);
                self.failed(error)
            }
        }
    }

    /// Runs of `latest` that are newer than all in work.
    fn free_runs(&self) -> usize {
        let in_work = |run: &&Run<E>| {
            self.merges.iter().any(|merge| merge.inputs().any(|id| id == run.table_ref.file_id))
        };
        self.tree.latest.iter().take_while(|run| !in_work(run)).count()
    }

    fn commit_flush(&mut self, flush: Flush<E, C::LogStart>, now_ns: u64) -> Step<E> {
        let tree = self.tree.with(&[], &flush.outputs);
        let edit = TreeEdit {
            checkpoint: flush.checkpoint,
            log_start: Some(flush.job.log_start.clone()),
            ..tree.edit(self.shard, &[], &flush.outputs)
        };
        if let Err(error) = self.commit(&edit, tree) {
            // Perhaps it is named: the files stay, and the same is committed again.
            self.flush = Some(flush);
            self.flush_rest.fail(now_ns);
            return self.failed(error);
        }
        self.flush_rest.succeed();
        self.flush_made.clear();
        self.follow_rules(flush.job.rules, &flush.outputs);
        self.stats.flushes += 1;
        self.stats.flushed_bytes += flush.outputs.bytes();
        self.retired.take_memtable(&flush.job.memtable);
        Step::Flushed { memtable: flush.job.memtable, tree: self.tree.clone() }
    }

    /// Commits; the tree is the new one exactly if that succeeded.
    fn commit(&mut self, edit: &TreeEdit<C::LogStart>, tree: Tree<E>) -> Result<(), WarmError> {
        let Unnamed { tables, checkpoints } = self.commit.commit(edit)?;
        self.garbage.extend(tables.into_iter().map(Garbage::Table));
        self.garbage.extend(checkpoints.into_iter().map(Garbage::Checkpoint));
        self.retired.take_replaced(&self.tree, &tree);
        self.tree = tree;
        self.must_plan = true;
        self.quarantine.follow(&self.tree);
        self.erasing.follow(&self.tree);
        if let Some(scrub) = &mut self.scrub {
            scrub.follow(&self.tree);
        }
        Ok(())
    }

    /// Removes a file; one that will not go is tried again later, and is cleared away when the store is
    /// opened in any case.
    fn remove(&mut self, garbage: Garbage, now_ns: u64) -> Step<E> {
        if let Err(error) = self.files.remove(garbage) {
            self.garbage.push_back(garbage);
            self.garbage_rest.fail(now_ns);
            return self.failed(error);
        }
        self.garbage_rest.succeed();
        Step::Worked { bytes: 0 }
    }

    fn scrubbed(&mut self, scrubbed: Scrubbed) -> Step<E> {
        match scrubbed {
            Scrubbed::Block(bytes) => {
                self.stats.scrubbed_blocks += 1;
                self.stats.scrubbed_bytes += bytes;
                return Step::Worked { bytes };
            }
            Scrubbed::Table(file_id) => self.quarantine.clear(file_id),
            Scrubbed::Pass => self.stats.scrubs += 1,
            // Nobody waits for a scrub: what may pass is tried again without a word.
            Scrubbed::Failed(error) => match self.quarantine.judge(&error, &self.tree) {
                Some(damage) => return self.damaged(damage),
                None => self.stats.failures += 1,
            },
        }
        Step::Worked { bytes: 0 }
    }

    /// A table was quarantined: merges are planned without it.
    fn damaged(&mut self, damage: Damage) -> Step<E> {
        self.must_plan = true;
        self.stats.damaged_tables += 1;
        Step::Damaged(damage)
    }

    fn failed(&mut self, error: WarmError) -> Step<E> {
        self.stats.failures += 1;
        Step::Failed(error)
    }
}
