//! The owner's part of a snapshot, and its dealings with the archive: short pieces of work, whatever the shard
//! holds.

use std::sync::Arc;

use thermae_env::Env;
use thermae_tiering::departures::Departures;
use thermae_tiering::history::ShardPart;

use super::Owner;
use crate::catalogue::Catalogue;
use crate::cut::{FROZEN_MAX, Memory, Method, ShardCut, method};
use crate::error::Error;
use crate::flushed::TablesCut;
use crate::message::CutRequest;
use crate::waiter::Answerer;

/// Hint to whoever asks while flushes fail, milliseconds.
const RETRY_MS: u32 = 1_000;

impl<E: Env> Owner<E> {
    /// Takes a request for a snapshot; it is answered this turn, or when it may be.
    pub(crate) fn take_cut(&mut self, request: CutRequest<E>) {
        self.cuts.push(request);
    }

    /// Hands over the tables, and what of the log is in them. With `flush`, what is not is on its way there
    /// from now on.
    pub(crate) fn give_tables(
        &mut self,
        answerer: &Answerer<TablesCut<E>>,
        flush: bool,
        catalogue: &Catalogue,
    ) {
        if flush && self.state.memtables.frozen() < FROZEN_MAX {
            self.freeze(catalogue);
        }
        let (tree, marks) = (self.warm.tree().clone(), self.flushed.marks());
        let (erases, waiting) = (Arc::clone(self.state.erases()), self.erases_for_archive());
        answerer.put(TablesCut { tree, marks, erases, waiting });
    }

    /// Lets merges from now on leave out what the archive has.
    pub(crate) fn depart(&mut self, departures: Arc<Departures>) {
        if let Some(working) = &mut self.working {
            working.depart(departures);
        }
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
            self.cuts.drain(..).for_each(|request| request.answerer.put(refusal()));
            return;
        }
        let (memtables, tree) = (self.state.memtables.cut(), self.warm.tree().clone());
        let watermarks = self.state.watermarks().collect();
        let (shard, part) = (self.state.shard(), ShardPart { memtables, tree });
        let is_backup = self.cuts.iter().any(|request| request.is_backup);
        let partitions = is_backup.then(|| self.state.checkpoints().into());
        let applied = self.state.applied_partitions().collect();
        let erases = std::sync::Arc::clone(self.state.erases());
        let cut = ShardCut { shard, part, watermarks, partitions, applied, erases };
        self.cuts.drain(..).for_each(|request| request.answerer.put(Ok(cut.clone())));
    }
}
