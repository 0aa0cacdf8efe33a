//! The owner's dealings with its worker: full memtables go to it, tables come back, the log is freed.

use std::sync::Arc;

use thermae_env::Env;
use thermae_tiering::compact::plan::CompactionPolicy;
use thermae_tiering::pace::{Load, Pace, PaceLimits, pace, retry_after_ms};
use thermae_tiering::tree::Tree;
use thermae_tiering::worker::{Step, WorkerStats};

use crate::background::Working;
use crate::catalogue::Catalogue;
use crate::cut::FROZEN_MAX;
use crate::flush;
use crate::outside::Outside;

use super::Owner;
use super::define::Logging;

/// Runs of tables beyond those that merges at work may hold, at which writers are slowed, and at which
/// they are refused. The worker's own shares keep it from coming to that.
const SLOW_RUNS_MORE: usize = 2;
const STOP_RUNS_MORE: usize = 8;
/// Bytes a second that a shard admits at most once the worker is behind.
const BEHIND_BYTES_PER_S: u64 = 400 << 20;
/// What a worker is taken to write a second, for the hint to a refused writer.
const DRAIN_BYTES_PER_S: u64 = 50 << 20;
/// How often the hot table is swept for rows past `hot_for`, and how many are looked at: a hundred
/// thousand a second, at a cost of one part in a hundred.
const SWEEP_EVERY_NS: u64 = 10_000_000;
const SWEEP_ROWS: usize = 1_000;
/// Rows that others have read, of which so many are taken up in a turn.
const RISEN_PER_TURN: usize = 32;
/// How often the pace is looked at.
const PACE_EVERY_NS: u64 = 1_000_000;

/// How fast rows may be admitted.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Bytes left of this interval; `None` without a limit.
    left_bytes: Option<u64>,
    /// The memtables are full, or the tables too many, and the worker can do nothing about it.
    is_stuck: bool,
    set_ns: u64,
}

/// Whether a row may be admitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Now,
    Later,
    Never,
}

impl Brake {
    /// Asks leave for `bytes`.
    pub(super) fn ask(&mut self, bytes: usize) -> Leave {
        match &mut self.left_bytes {
            _ if self.is_stuck => Leave::Never,
            None => Leave::Now,
            Some(0) => Leave::Later,
            Some(left) => {
                *left = left.saturating_sub(bytes as u64);
                Leave::Now
            }
        }
    }
}

impl<E: Env> Owner<E> {
    /// Takes what the worker has done, hands it a full memtable, and sets the pace of writes. True when
    /// anything was done.
    pub(crate) fn tend(
        &mut self,
        catalogue: &Catalogue,
        now_us: i64,
        outside: &Outside<E>,
    ) -> bool {
        let mut is_active = false;
        while let Some(step) = self.working.as_mut().and_then(|working| working.poll(&self.env)) {
            is_active = true;
            self.take_step(step);
        }
        let is_full = self.state.memtables.active_bytes() >= self.plan.memtable_bytes as usize;
        if is_full && self.state.memtables.frozen() < FROZEN_MAX {
            is_active |= self.freeze(catalogue);
        }
        self.serve_cuts(catalogue);
        self.erase_more(catalogue, outside);
        self.take_risen(catalogue);
        self.set_pace();
        self.sweep(catalogue, now_us);
        is_active
    }

    /// Demotes rows by age, a few at a time, where any view wants that.
    fn sweep(&mut self, catalogue: &Catalogue, now_us: i64) {
        if self.now_ns.saturating_sub(self.swept_ns) >= SWEEP_EVERY_NS && catalogue.limits_hot() {
            self.swept_ns = self.now_ns;
            self.state.sweep(catalogue, now_us, SWEEP_ROWS);
        }
    }

    fn take_step(&mut self, step: Step<E>) {
        match step {
            Step::Flushed { tree, .. } => {
                self.set_tree(tree);
                self.flushed.note_flushed();
                self.state.memtables.release_oldest();
                self.show_below();
                if let Some(start) = self.manifests.durable_start(self.state.shard() as u16) {
                    self.log.free_before(&start);
                }
            }
            Step::Compacted { tree } => {
                self.set_tree(tree);
                self.show_below();
            }
            Step::Erased { round } => self.note_erased(round),
            Step::Damaged(damage) => self.warm.note_damage(damage),
            Step::Paused(pause) => self.worker_trouble = Some(pause.to_string()),
            Step::Failed(error) => self.worker_trouble = Some(error.to_string()),
            Step::Idle | Step::Wait { .. } | Step::Worked { .. } => {}
        }
    }

    fn set_tree(&mut self, tree: Tree<E>) {
        self.warm.set_tree(Arc::new(tree));
    }

    /// Tells readers what there is below the hot table from now on.
    pub(super) fn show_below(&self) {
        if let Some(below) = self.below.shard(self.state.shard()) {
            let (tree, changes) = (self.warm.tree(), self.warm.changes());
            below.show(&self.state.memtables, self.state.erased_marks(), tree, changes);
        }
    }

    /// Takes up some of the rows that others have read from the tables.
    fn take_risen(&mut self, catalogue: &Catalogue) {
        let all_below = Arc::clone(&self.below);
        let Some(below) = all_below.shard(self.state.shard()) else { return };
        for _ in 0..RISEN_PER_TURN {
            let Some(risen) = below.ascent.take() else { return };
            self.take_up(catalogue, &risen);
        }
        self.has_more |= !below.ascent.is_empty();
    }

    /// Freezes the memtable and has it flushed. False when it holds nothing.
    pub(super) fn freeze(&mut self, catalogue: &Catalogue) -> bool {
        if self.state.memtables.is_active_empty() {
            return false;
        }
        self.freeze_all(catalogue);
        true
    }

    /// The same, also when it holds nothing: for the checkpoint and the start of the log. False when it
    /// could not be handed over.
    pub(super) fn freeze_all(&mut self, catalogue: &Catalogue) -> bool {
        let log_start = self.log.start_covering(self.applied_batch());
        let store_id = self.manifests.current().store_id;
        let frozen = flush::freeze(&mut self.state, catalogue, store_id, log_start);
        self.show_below();
        self.freeze_trouble = frozen.as_ref().err().map(ToString::to_string);
        if let (Ok(job), Some(working)) = (frozen, &mut self.working) {
            self.flushed.note_frozen(&self.state);
            working.submit(job);
            return true;
        }
        false
    }

    /// The last log batch all of whose records are applied, and all of those before it.
    pub(super) fn applied_batch(&self) -> u64 {
        let first = self.in_doubt_from.into_iter().chain(self.first_unapplied_batch()).min();
        first.map_or_else(|| self.log.last_batch(), |batch| batch.saturating_sub(1))
    }

    /// The first log batch with a record that waits to be applied.
    pub(super) fn first_unapplied_batch(&self) -> Option<u64> {
        let waiting = [
            self.pending.first_batch(),
            self.applies.front().map(|apply| apply.first_batch),
            self.logging.as_ref().and_then(Logging::first_batch),
        ];
        waiting.into_iter().flatten().min()
    }

    /// Whether rows still have to become tables before a stop; sees to it that they do. Not when the
    /// last flush failed: then they stay in the log, and the next open replays them.
    pub(crate) fn wants_flush(&mut self, catalogue: &Catalogue) -> bool {
        if self.state.memtables.is_empty() || self.worker_stats().is_flush_failing || self.is_failed
        {
            return false;
        }
        self.state.memtables.frozen() > 0 || self.freeze(catalogue)
    }

    pub(super) fn worker_stats(&self) -> WorkerStats {
        self.working.as_ref().map(Working::stats).unwrap_or_default()
    }

    /// Why the worker is behind, while it is in trouble; nothing once the cause is gone.
    pub(crate) fn trouble(&self) -> Option<&str> {
        let is_troubled = |working: &Working<E>| working.stats().is_troubled;
        let worker = self.worker_trouble.as_deref();
        let worker = worker.filter(|_| self.working.as_ref().is_some_and(is_troubled));
        worker.or(self.freeze_trouble.as_deref())
    }

    fn set_pace(&mut self) {
        let passed_ns = self.now_ns.saturating_sub(self.brake.set_ns);
        if passed_ns < PACE_EVERY_NS {
            return;
        }
        self.brake.set_ns = self.now_ns;
        // What is logged will be in the memtable, whatever the pace is then.
        let (active_bytes, logged_bytes) =
            (self.state.memtables.active_bytes(), self.pending.bytes());
        let load = Load {
            active_bytes: (active_bytes + logged_bytes) as u64,
            frozen_bytes: (self.state.memtables.bytes() - active_bytes) as u64,
            runs: self.warm.tree().latest.len(),
        };
        let most_runs = CompactionPolicy::default().most_runs();
        let limits = PaceLimits {
            memory_bytes: (1 + FROZEN_MAX) as u64 * self.plan.memtable_bytes,
            slow_runs: most_runs + SLOW_RUNS_MORE,
            stop_runs: most_runs + STOP_RUNS_MORE,
            full_bytes_per_s: BEHIND_BYTES_PER_S,
            drain_bytes_per_s: DRAIN_BYTES_PER_S,
        };
        let is_behind = 2 * (load.active_bytes + load.frozen_bytes) > limits.memory_bytes
            || load.runs > limits.slow_runs;
        (self.brake.is_stuck, self.brake.left_bytes) = (false, None);
        let waiting_bytes = self.room.taken_bytes();
        let mut retry_ms = retry_after_ms(waiting_bytes, BEHIND_BYTES_PER_S);
        if is_behind {
            let interval_us = (passed_ns / 1_000).max(1);
            let left_bytes = match pace(&load, &limits, interval_us) {
                Pace::Admit { bytes } => {
                    let bytes_per_s = bytes.saturating_mul(1_000_000) / interval_us;
                    retry_ms = retry_after_ms(waiting_bytes, bytes_per_s);
                    bytes
                }
                Pace::Refuse { retry_ms: longer_ms } => {
                    let worker = self.worker_stats();
                    let cannot_merge = worker.is_merge_paused && load.runs >= limits.stop_runs;
                    self.brake.is_stuck = worker.is_flush_failing || cannot_merge;
                    retry_ms = longer_ms;
                    0
                }
            };
            self.brake.left_bytes = Some(left_bytes);
        }
        self.room.set_retry_ms(u32::try_from(retry_ms).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::{Brake, Leave};

    #[test]
    fn a_brake_admits_what_is_left_of_its_interval_and_one_that_is_stuck_nothing() {
        let mut brake = Brake::default();
        assert_eq!(brake.ask(1 << 30), Leave::Now, "there is no limit");
        brake.left_bytes = Some(100);
        // A row goes in whole, or none that is larger than an interval's share ever would.
        let asked: Vec<Leave> = (0..3).map(|_| brake.ask(60)).collect();
        assert_eq!(asked, [Leave::Now, Leave::Now, Leave::Later]);
        brake.is_stuck = true;
        assert_eq!(brake.ask(0), Leave::Never);
    }
}
