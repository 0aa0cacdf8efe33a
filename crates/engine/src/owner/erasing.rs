//! The owner carries pending erases out, a round at a time.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::hash;
use thermae_tiering::erase::PendingErases;

use super::Owner;
use crate::catalogue::Catalogue;
use crate::cut::FROZEN_MAX;
use crate::erase::{Act, Sight, Stage, next};
use crate::message::{ArchiveWork, EraseQuery, EraseStatus, EraseWork};
use crate::outside::Outside;
use crate::planted::{Bug, is_planted};

/// The round at work and who waits for erases to be complete.
#[derive(Default)]
pub(super) struct Erasing {
    stage: Stage,
    /// What the round is about.
    erases: Arc<PendingErases>,
    /// The store has an archive, which is to confirm each round.
    has_archive: bool,
    /// The round that it has been asked for, and the one that it has confirmed.
    asked_round: u64,
    archive_round: u64,
    /// What it did, since the shard began.
    in_archive: ArchiveWork,
    /// Work done until the round began.
    before: EraseWork,
    /// Work of the round that was completed last.
    last: EraseWork,
    /// The round that the worker is through with.
    finished_round: u64,
    waiting: Vec<EraseQuery>,
}

impl Erasing {
    /// Of a shard that has just been opened.
    pub fn new(has_archive: bool) -> Self {
        Self { has_archive, ..Self::default() }
    }
}

impl<E: Env> Owner<E> {
    /// The erases of the round at work, once nothing of the shard's own holds them but its checkpoint: the archive
    /// is to remove them, and confirm the round.
    pub(super) fn erases_for_archive(&self) -> Option<(u64, Arc<PendingErases>)> {
        let round = self.erasing.asked_round;
        let waits = self.erasing.stage == Stage::Tables { round };
        waits.then(|| (round, Arc::clone(&self.erasing.erases)))
    }

    /// The archive holds nothing of a round any more.
    pub(crate) fn note_archive_erased(&mut self, round: u64, work: ArchiveWork) {
        self.erasing.archive_round = self.erasing.archive_round.max(round);
        self.erasing.in_archive.rows += work.rows;
        self.erasing.in_archive.files += work.files;
    }

    /// Takes a question about erases: answered at once, or, if it waits, when all are complete.
    pub(crate) fn take_erase_query(&mut self, query: EraseQuery) {
        let pending = self.pending_of(&query);
        if query.waits && pending > 0 {
            self.erasing.waiting.push(query);
        } else {
            query.answerer.put(EraseStatus { pending, work: self.erase_work_of_round() });
        }
    }

    /// The worker is through with a round.
    pub(super) fn note_erased(&mut self, round: u64) {
        self.erasing.finished_round = self.erasing.finished_round.max(round);
    }

    /// Goes on with a round, or begins one.
    pub(super) fn erase_more(&mut self, catalogue: &Catalogue, outside: &Outside<E>) {
        if self.erasing.stage == Stage::Idle && self.state.erases().is_empty() {
            return;
        }
        // What is left goes on when the store is opened again.
        if self.is_failed || self.log.is_stopping() {
            return;
        }
        let sight = self.sight();
        if let Stage::Tables { round } = self.erasing.stage
            && sight.is_clear(round)
            && self.erasing.has_archive
            && self.erasing.asked_round < round
        {
            self.erasing.asked_round = round;
            outside.wake_archive();
        }
        match next(self.erasing.stage, &sight) {
            Act::Nothing => {}
            Act::Begin => {
                self.erasing.erases = Arc::clone(self.state.erases());
                self.erasing.before = self.erase_work();
                self.log.purge();
                self.erasing.stage = Stage::Log;
            }
            Act::Freeze => {
                let round = self.begin_flush_of_round(catalogue);
                self.erasing.stage = round.map_or(Stage::Log, |round| Stage::Tables { round });
            }
            Act::Forget => {
                let done = Arc::clone(&self.erasing.erases);
                self.state.end_erases(&done);
                match self.begin_flush_of_round(catalogue) {
                    Some(round) => self.erasing.stage = Stage::Checkpoint { round },
                    None => done.iter().for_each(|erase| {
                        self.state.add_erase(erase.clone());
                    }),
                }
            }
            Act::Complete => self.complete_round(),
        }
    }

    fn sight(&mut self) -> Sight {
        let start = self.log.start_covering(self.applied_batch());
        let (is_at_tables, round) = match self.erasing.stage {
            Stage::Tables { round } => (true, round),
            _ => (false, 0),
        };
        Sight {
            has_pending: !self.state.erases().is_empty(),
            is_log_new: self.log.is_clean_from(start.segment),
            can_freeze: self.state.memtables.frozen() < FROZEN_MAX,
            finished_round: self.erasing.finished_round,
            are_segments_gone: is_at_tables && self.log.end_purge(),
            is_archive_clear: !self.erasing.has_archive
                || self.erasing.archive_round >= round
                || is_planted(Bug::ForgetBeforeArchive),
        }
    }

    /// Freezes under the next round's number; none when that failed.
    fn begin_flush_of_round(&mut self, catalogue: &Catalogue) -> Option<u64> {
        let round = self.state.erases().round + 1;
        self.state.set_erase_round(round);
        self.freeze_all(catalogue).then_some(round)
    }

    fn complete_round(&mut self) {
        self.erasing.last = self.erase_work().since(&self.erasing.before);
        self.erasing.stage = Stage::Idle;
        self.erasing.erases = Arc::default();
        let waiting = std::mem::take(&mut self.erasing.waiting);
        for query in waiting {
            self.take_erase_query(query);
        }
    }

    /// How many of the erases that are asked for something may still hold.
    fn pending_of(&self, query: &EraseQuery) -> u64 {
        let partitions = self.state.partitions();
        let in_round = self.erasing.erases.iter();
        let pending = self.state.erases().not_in(&self.erasing.erases).chain(in_round);
        let is_asked = |erase: &&thermae_tiering::erase::PendingErase| {
            let partition = hash::partition_of(erase.entity_hash, partitions);
            query.tokens.contains(&(partition, erase.sequence))
        };
        pending.filter(is_asked).count() as u64
    }

    /// Work so far, since the shard began.
    fn erase_work(&self) -> EraseWork {
        let worker = self.worker_stats();
        EraseWork {
            rows: worker.erased_rows,
            tables: worker.rewritten_tables,
            tables_left: worker.suspect_tables,
            segments: self.log.stats().purged,
            archive: self.erasing.in_archive,
        }
    }

    fn erase_work_of_round(&self) -> EraseWork {
        match self.erasing.stage {
            Stage::Idle => self.erasing.last,
            _ => self.erase_work().since(&self.erasing.before),
        }
    }
}

impl EraseWork {
    fn since(&self, before: &Self) -> Self {
        Self {
            rows: self.rows - before.rows,
            tables: self.tables - before.tables,
            tables_left: self.tables_left,
            segments: self.segments - before.segments,
            archive: ArchiveWork {
                rows: self.archive.rows - before.archive.rows,
                files: self.archive.files - before.archive.files,
            },
        }
    }
}
