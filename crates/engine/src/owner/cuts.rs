//! The owner's part of a snapshot: a short piece of work, whatever the shard holds.

use thermae_env::Env;
use thermae_tiering::history::ShardPart;

use super::Owner;
use crate::catalogue::Catalogue;
use crate::cut::{Memory, Method, ShardCut, method};
use crate::error::Error;
use crate::message::CutWaiter;

/// Hint to whoever asks while flushes fail, milliseconds.
const RETRY_MS: u32 = 1_000;

impl<E: Env> Owner<E> {
    /// Takes a request for a snapshot; it is answered this turn, or when it may be.
    pub(crate) fn take_cut(&mut self, waiter: CutWaiter<E>) {
        self.cuts.push(waiter);
    }

    /// Answers those who asked for a snapshot, all of them with the same.
    pub(super) fn serve_cuts(&mut self, catalogue: &Catalogue) {
        if self.cuts.is_empty() {
            return;
        }
        let memtables = &self.state.memtables;
        let memory = Memory {
            active_bytes: memtables.active_bytes(),
            is_active_empty: memtables.is_active_empty(),
            flush_bytes: self.plan.memtable_bytes as usize,
            frozen: memtables.frozen(),
            is_flush_failing: self.worker_stats().is_flush_failing,
        };
        let is_refused = match method(&memory) {
            Method::Leave | Method::Copy => false,
            Method::Freeze => {
                self.freeze(catalogue);
                !self.state.memtables.is_active_empty()
            }
            Method::Wait => return,
            Method::Refuse => true,
        };
        if is_refused {
            let why = self.trouble().unwrap_or("memtables cannot be flushed");
            let what = format!("no snapshot can be taken: {why}");
            let refusal = || Err(Error::Overloaded(what.clone(), RETRY_MS));
            self.cuts.drain(..).for_each(|waiter| waiter.put(refusal()));
            return;
        }
        let (memtables, tree) = (self.state.memtables.cut(), self.warm.tree().clone());
        let watermarks = self.state.watermarks().collect();
        let erases = std::sync::Arc::clone(self.state.erases());
        let cut = ShardCut { part: ShardPart { memtables, tree }, watermarks, erases };
        self.cuts.drain(..).for_each(|waiter| waiter.put(Ok(cut.clone())));
    }
}
