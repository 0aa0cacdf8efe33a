//! The scrub: when nothing else is to do, every table is read through, slowly and again and again, so
//! that damage is found while there is still a copy of what was damaged.

use std::sync::Arc;

use thermae_env::Env;

use super::back_off::BackOff;
use super::quarantine::Quarantine;
use crate::WarmError;
use crate::table::TableCheck;
use crate::tree::Tree;

/// How far a scrub may be ahead of its pace before it rests.
const AHEAD_NS: u64 = 100_000_000;

/// How fast tables are read in search of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPace {
    /// Bytes a second, at least 1.
    pub bytes_per_s: u64,
    /// Nanoseconds from the end of a pass over all tables to the next one.
    pub rest_ns: u64,
}

impl Default for ScrubPace {
    /// 8 MiB/s, 1% of what a disk gives; a day between passes.
    fn default() -> Self {
        Self { bytes_per_s: 8 << 20, rest_ns: 24 * 3_600 * 1_000_000_000 }
    }
}

/// What a step of the scrub came to.
pub(super) enum Scrubbed {
    /// A block was read.
    Block(u64),
    /// A table is as it was written.
    Table(u64),
    /// Every table was checked.
    Pass,
    /// A block is damaged or cannot be read.
    Failed(WarmError),
}

/// A scrub of the trees of one shard.
pub(super) struct Scrub<E: Env> {
    pace: ScrubPace,
    /// The table at work.
    check: Option<(u64, TableCheck<E::File>)>,
    /// The last table of this pass that was begun: a pass goes by their numbers.
    at: Option<u64>,
    /// When the bytes read so far were due.
    due_ns: u64,
    until_ns: u64,
    back_off: BackOff,
}

impl<E: Env> Scrub<E> {
    pub fn new(pace: ScrubPace) -> Self {
        let back_off = BackOff::default();
        Self { pace, check: None, at: None, due_ns: 0, until_ns: 0, back_off }
    }

    /// When it goes on.
    pub fn until_ns(&self) -> u64 {
        self.until_ns.max(self.back_off.until_ns())
    }

    /// Does one block, if it is time.
    pub fn step(
        &mut self,
        now_ns: u64,
        tree: &Tree<E>,
        quarantine: &Quarantine,
    ) -> Option<Scrubbed> {
        if now_ns < self.until_ns() || !has_work(tree, quarantine) {
            return None;
        }
        let Some((file_id, mut check)) = self.check.take().or_else(|| self.begin(tree, quarantine))
        else {
            self.at = None;
            self.until_ns = now_ns.saturating_add(self.pace.rest_ns);
            return Some(Scrubbed::Pass);
        };
        let before_bytes = check.checked_bytes();
        let is_more = check.step();
        let bytes = check.checked_bytes() - before_bytes;
        self.pay(now_ns, bytes);
        if is_more && !check.has_findings() {
            self.check = Some((file_id, check));
            return Some(Scrubbed::Block(bytes));
        }
        let Some(finding) = check.finish().into_iter().next() else {
            self.back_off.succeed();
            return Some(Scrubbed::Table(file_id));
        };
        if !finding.is_damage() {
            // The table is begun again.
            self.at = file_id.checked_sub(1);
            self.back_off.fail(now_ns);
        }
        Some(Scrubbed::Failed(finding))
    }

    /// Lets go of a table that is no longer in the trees: its file is to be given back.
    pub fn follow(&mut self, tree: &Tree<E>) {
        let is_there = |id| tree.runs().any(|run| run.table_ref.file_id == id);
        self.check = self.check.take().filter(|(file_id, _)| is_there(*file_id));
    }

    fn begin(
        &mut self,
        tree: &Tree<E>,
        quarantine: &Quarantine,
    ) -> Option<(u64, TableCheck<E::File>)> {
        let is_next = |id: u64| self.at.is_none_or(|at| id > at) && !quarantine.holds(id);
        let left = tree.runs().filter(|run| is_next(run.table_ref.file_id));
        let run = left.min_by_key(|run| run.table_ref.file_id)?;
        self.at = Some(run.table_ref.file_id);
        Some((run.table_ref.file_id, TableCheck::new(Arc::clone(&run.table))))
    }

    /// Puts what was read on the account, and rests when that is too far ahead.
    fn pay(&mut self, now_ns: u64, bytes: u64) {
        let cost_ns = bytes.saturating_mul(1_000_000_000) / self.pace.bytes_per_s.max(1);
        self.due_ns = self.due_ns.max(now_ns).saturating_add(cost_ns);
        if self.due_ns - now_ns >= AHEAD_NS {
            self.until_ns = self.due_ns;
        }
    }
}

/// Whether there is a table to check.
pub(super) fn has_work<E: Env>(tree: &Tree<E>, quarantine: &Quarantine) -> bool {
    tree.runs().any(|run| !quarantine.holds(run.table_ref.file_id))
}
