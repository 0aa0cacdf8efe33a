//! A simulated machine with a store on it, and the history that judges it.

use std::path::Path;

use thermae_engine::archive::{ArchiveReader, Archiver, Step};
use thermae_engine::background::Background;
use thermae_engine::cold::{ArchiveFigures, ArchiveOptions};
use thermae_engine::handle::WriteTicket;
use thermae_engine::options::HotMemory;
use thermae_engine::runtime::Stepped;
use thermae_engine::stats::DamagedTable;
use thermae_engine::{
    Ack, Error, FetchBatch, Fetched, Handle, NoService, Options, Shard, WriteBatch,
};
use thermae_env::{Env, SimEnv};

use super::history::{Expected, PartitionHistory};
use crate::model::{Operation, VIEWS, encode, views};

/// Partitions of the simulated store.
pub const PARTITIONS: u16 = 4;
/// The directory of the store.
pub const DATA: &str = "/data";
/// The one producer of a campaign.
const PRODUCER: u64 = 7;
/// Idleness after which a horizon batch has long followed the last row.
const REST_NS: u64 = 200_000_000;
/// Turns after which a store that should be done is called hung.
pub(super) const TURNS_MAX: usize = 200_000;

/// A batch on its way: the ticket, and for each row where it went and what must come back.
struct Sent {
    ticket: Option<WriteTicket>,
    rows: Vec<(u16, Expected)>,
}

/// How rows are spread over the tiers.
#[derive(Clone, Copy, Debug)]
pub struct Tiers {
    /// Size at which a memtable is flushed.
    pub flush_bytes: usize,
    /// Bytes of tables that are read into the hot table at an open.
    pub preload_bytes: u64,
}

/// The store and its shards.
pub struct World {
    /// The machine.
    pub env: SimEnv,
    shards: Vec<Shard<SimEnv, NoService>>,
    pub(super) handle: Handle<SimEnv>,
    _lock: <SimEnv as Env>::Lock,
    archiver: Option<Archiver<SimEnv>>,
    archive_reader: Option<ArchiveReader<SimEnv>>,
    /// Turns from one step of the archiver to the next.
    pub archive_every: u64,
    turns: u64,
    /// `warm_for` of each view when it is defined, microseconds.
    pub warm_for_us: [i64; VIEWS.len()],
    /// Whether each view is served from cold when it is defined.
    pub serve_from_cold: [bool; VIEWS.len()],
    sent: Vec<Sent>,
    /// One history a partition.
    pub histories: Vec<PartitionHistory>,
    /// (partition, sequence) in log order, by shard, since the store was opened.
    log_order: Vec<Vec<(u16, u64)>>,
    next_producer_sequence: u64,
    /// Times that all rows were compared.
    pub(super) checks: u64,
}

impl World {
    /// Opens the store of a machine; the history comes from before the crash, if there was one.
    pub fn open(
        env: SimEnv,
        cores: usize,
        tiers: Tiers,
        histories: Vec<PartitionHistory>,
    ) -> Result<World, Error> {
        World::open_in(env, Path::new(DATA), cores, tiers, histories)
    }

    /// The same, with an archive.
    pub fn open_archived(
        env: SimEnv,
        cores: usize,
        tiers: Tiers,
        histories: Vec<PartitionHistory>,
        archive: Option<ArchiveOptions>,
    ) -> Result<World, Error> {
        World::open_with(env, Path::new(DATA), cores, tiers, histories, archive)
    }

    /// Opens the store in a directory of a machine.
    pub fn open_in(
        env: SimEnv,
        data: &Path,
        cores: usize,
        tiers: Tiers,
        histories: Vec<PartitionHistory>,
    ) -> Result<World, Error> {
        World::open_with(env, data, cores, tiers, histories, None)
    }

    fn open_with(
        env: SimEnv,
        data: &Path,
        cores: usize,
        tiers: Tiers,
        histories: Vec<PartitionHistory>,
        archive: Option<ArchiveOptions>,
    ) -> Result<World, Error> {
        let options = Options {
            cores,
            memory_bytes: cores as u64 * (4 << 20),
            partitions: PARTITIONS,
            segment_bytes: 64 << 10,
            spin_us: 0,
            background: Background::Inline,
            flush_bytes: tiers.flush_bytes,
            preload_bytes: tiers.preload_bytes,
            hot_memory: HotMemory::Heap,
            archive,
            ..Options::default()
        };
        let opened = thermae_engine::open(env.clone(), data, options)?;
        let Stepped { shards, handle, lock, archiver, archive_reader } =
            opened.into_shards(|_| NoService)?;
        let first_check = env.random_u64() % 2;
        let next = histories.iter().flat_map(|h| &h.accepted).map(|w| w.producer_sequence).max();
        Ok(World {
            env,
            shards,
            handle,
            _lock: lock,
            archiver,
            archive_reader,
            archive_every: 1,
            turns: 0,
            warm_for_us: [0; VIEWS.len()],
            serve_from_cold: [false; VIEWS.len()],
            sent: Vec::new(),
            histories,
            log_order: vec![Vec::new(); cores],
            next_producer_sequence: next.unwrap_or(0) + 1,
            checks: first_check,
        })
    }

    /// A fresh history for a fresh directory.
    pub fn no_history() -> Vec<PartitionHistory> {
        vec![PartitionHistory::default(); usize::from(PARTITIONS)]
    }

    /// Turns every shard once. False when the machine has stopped.
    pub fn turn(&mut self) -> bool {
        for shard in &mut self.shards {
            if shard.turn().is_err() {
                return false;
            }
        }
        self.turns += 1;
        if let Some(archiver) = &mut self.archiver
            && self.turns.is_multiple_of(self.archive_every)
        {
            archiver.step();
        }
        if let Some(reader) = &mut self.archive_reader
            && self.turns.is_multiple_of(self.archive_every)
        {
            // All that is asked: a shard that is idle lets much time pass in a turn.
            while reader.step() == Step::Worked {}
        }
        !self.env.is_frozen()
    }

    /// Defines the views; false when the machine stopped first.
    pub fn define(&mut self) -> Result<bool, String> {
        let mut views = views();
        let policies = self.histories[0].model().policies();
        for (view, policy) in views.iter_mut().zip(policies) {
            view.tiers = policy;
        }
        for (view, warm_for_us) in views.iter_mut().zip(self.warm_for_us) {
            view.tiers.warm_for_us = warm_for_us;
        }
        for (view, serve_from_cold) in views.iter_mut().zip(self.serve_from_cold) {
            view.tiers.serve_from_cold = serve_from_cold;
        }
        // Its rows leave the hot table at once, so that they cross all tiers constantly.
        views[1].tiers.hot_for_us = 1;
        let waiter = self.handle.submit_apply(&views).map_err(|e| e.to_string())?;
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return Ok(false);
            }
            match waiter.poll().pop() {
                Some(Ok(_)) => return Ok(true),
                // The log failed under it.
                Some(Err(Error::InDoubt(_) | Error::ReadOnly(_))) => return Ok(false),
                Some(Err(error)) => return Err(error.to_string()),
                None => {}
            }
        }
        Err("the definitions were never answered".to_owned())
    }

    /// Sends operations as one batch, in the order given; `first_sequence` repeats an earlier one.
    pub fn send(&mut self, operations: &[Operation], repeat: Option<&[u64]>, ack: Ack) {
        let catalogue = self.handle.catalogue();
        let mut batch = WriteBatch::new(ack, PRODUCER);
        let mut rows = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            let producer_sequence = match repeat {
                Some(sequences) => sequences[at],
                None => {
                    self.next_producer_sequence += 1;
                    self.next_producer_sequence - 1
                }
            };
            let (view, _) = operation.target();
            let Ok(view_def) = catalogue.resolve(VIEWS[view]) else { return };
            let row = encode(&mut batch, &view_def.latest, operation, producer_sequence);
            let reads = self.handle.reads();
            let partition = reads.partition(reads.hash(batch.key(&row)));
            let history = &mut self.histories[usize::from(partition)];
            let expected = history.record(operation, producer_sequence);
            if let Expected::Sequence(sequence) = expected {
                self.log_order[reads.shard(partition)].push((partition, sequence));
            }
            rows.push((partition, expected));
            batch.rows.push(row);
        }
        if let Ok(ticket) = self.handle.submit(batch) {
            self.sent.push(Sent { ticket: Some(ticket), rows });
        }
    }

    /// Sends again what was refused for a passing cause, in the order and under the sequences that it had: what a
    /// producer must do. False when there was nothing.
    pub fn resend_refused(&mut self) -> bool {
        let mut again = Vec::new();
        for (partition, history) in (0..).zip(&mut self.histories) {
            let refused = history.accepted.iter_mut().zip(1..).filter(|(write, _)| write.refused);
            for (write, sequence) in refused {
                write.refused = false;
                let operation = write.operation.clone();
                again.push((write.producer_sequence, partition, sequence, operation));
            }
        }
        again.sort_unstable_by_key(|(producer_sequence, ..)| *producer_sequence);
        let catalogue = self.handle.catalogue();
        let mut batch = WriteBatch::new(Ack::Durable, PRODUCER);
        let mut rows = Vec::new();
        for (producer_sequence, partition, sequence, operation) in &again {
            let Ok(view) = catalogue.resolve(VIEWS[operation.target().0]) else { continue };
            let row = encode(&mut batch, &view.latest, operation, *producer_sequence);
            batch.rows.push(row);
            rows.push((*partition, Expected::Sequence(*sequence)));
            // It comes to the log now.
            let order = &mut self.log_order[self.handle.reads().shard(*partition)];
            order.retain(|logged| *logged != (*partition, *sequence));
            order.push((*partition, *sequence));
        }
        if let (false, Ok(ticket)) = (rows.is_empty(), self.handle.submit(batch)) {
            self.sent.push(Sent { ticket: Some(ticket), rows });
        }
        !again.is_empty()
    }

    /// Checks the answers that have come in. Acknowledgements count as durable only when asked so.
    pub fn collect(&mut self) -> Result<(), String> {
        for sent in &mut self.sent {
            let Some(ticket) = sent.ticket.take() else { continue };
            match ticket.poll() {
                Err(ticket) => sent.ticket = Some(ticket),
                Ok(outcomes) => {
                    for ((partition, expected), outcome) in sent.rows.iter().zip(outcomes) {
                        self.histories[usize::from(*partition)].answered(*expected, outcome)?;
                    }
                }
            }
        }
        self.sent.retain(|sent| sent.ticket.is_some());
        Ok(())
    }

    /// Turns until everything is answered; false when the machine stopped first.
    pub fn settle(&mut self) -> Result<bool, String> {
        for _ in 0..TURNS_MAX {
            self.collect()?;
            if self.sent.is_empty() {
                return Ok(true);
            }
            if !self.turn() {
                self.collect()?;
                return Ok(false);
            }
        }
        Err(format!("{} batches were never answered", self.sent.len()))
    }

    /// Answers everything and idles until the log has stated that all of it is durable. False when
    /// the machine stopped first.
    pub fn rest(&mut self) -> Result<bool, String> {
        if self.env.is_frozen() || !self.settle()? {
            return Ok(false);
        }
        let until_ns = self.env.monotonic_ns() + REST_NS;
        while self.env.monotonic_ns() < until_ns {
            if !self.turn() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What must be judged after a crash: histories, and what was logged in which order. A batch that is not
    /// answered whole may have rows that were refused: those never were in the log.
    pub fn into_past(mut self) -> (Vec<PartitionHistory>, Vec<Vec<(u16, u64)>>) {
        for Sent { ticket, rows } in self.sent {
            let outcomes = ticket.map(WriteTicket::so_far).unwrap_or_default();
            for ((partition, expected), outcome) in rows.into_iter().zip(outcomes) {
                self.histories[usize::from(partition)].was_refused(expected, &outcome);
            }
        }
        (self.histories, self.log_order)
    }

    /// Compares the recovered store with the history of before the crash: every acknowledged write
    /// is there, a prefix a shard, no hole, every row right. Returns the writes that were lost.
    pub fn judge(
        &mut self,
        log_order: &[Vec<(u16, u64)>],
    ) -> Result<Vec<(Operation, u64)>, String> {
        let lost = self.judge_log(log_order)?;
        self.check_rows()?;
        Ok(lost)
    }

    /// The same but for the rows.
    pub fn judge_log(
        &mut self,
        log_order: &[Vec<(u16, u64)>],
    ) -> Result<Vec<(Operation, u64)>, String> {
        let survivors = self.applied();
        for (shard, order) in log_order.iter().enumerate() {
            let survived = |(partition, sequence): &(u16, u64)| {
                *sequence <= survivors[usize::from(*partition)]
            };
            // A refused row was never in the log, nor what follows it in its partition; the rows of other
            // partitions behind it may be.
            let logged: Vec<_> = order.iter().filter(|row| !self.was_refused(row)).collect();
            let first_lost = logged.iter().position(|row| !survived(row)).unwrap_or(logged.len());
            if let Some(hole) = logged[first_lost..].iter().find(|row| survived(row)) {
                return Err(format!("shard {shard}: {hole:?} survived a row logged before it"));
            }
        }
        let mut lost = Vec::new();
        for (partition, history) in self.histories.iter_mut().enumerate() {
            let cut = history.cut(survivors[partition]);
            let cut = cut.map_err(|e| format!("partition {partition}: {e}"))?;
            lost.extend(cut.into_iter().map(|write| (write.operation, write.producer_sequence)));
        }
        lost.sort_by_key(|(_, sequence)| *sequence);
        Ok(lost)
    }

    /// Whether a row was refused, or waits for one that was: that of a batch in which other rows are on
    /// their way to the log is not answered yet.
    fn was_refused(&self, (partition, sequence): &(u16, u64)) -> bool {
        let accepted = &self.histories[usize::from(*partition)].accepted;
        accepted.iter().take(*sequence as usize).any(|write| write.refused)
    }

    /// Turns until the owners have answered.
    pub(super) fn fetch(&mut self, batch: FetchBatch) -> Result<Vec<Fetched>, String> {
        let mut ticket = self.handle.submit_fetch(batch).map_err(|e| e.to_string())?;
        for _ in 0..TURNS_MAX {
            ticket = match ticket.poll() {
                Ok(fetched) => return Ok(fetched),
                Err(ticket) => ticket,
            };
            if !self.turn() {
                return Err("stopped while rows were fetched".to_owned());
            }
        }
        Err("a fetch was never answered".to_owned())
    }

    /// The highest sequence that is there, of every partition.
    pub fn applied(&self) -> Vec<u64> {
        (0..PARTITIONS).map(|partition| self.handle.reads().applied(partition)).collect()
    }

    /// What the archive has done.
    pub fn archive_figures(&self) -> ArchiveFigures {
        self.handle.stats().archive.unwrap_or_default()
    }

    /// Whether histories can be read through the archive.
    pub fn is_archive_found(&self) -> bool {
        self.handle.is_archive_attached()
    }

    /// Versions in tables of superseded ones.
    pub fn superseded_in_warm(&self) -> u64 {
        self.handle.stats().shards.iter().map(|shard| shard.tiers.history.rows).sum()
    }

    /// Newest rows that were asked of the archive, those that it gave, and those that it did not give in time.
    pub fn archive_reads(&self) -> (u64, u64, u64) {
        let stats = self.handle.stats();
        let reads = stats.shards.iter().map(|shard| shard.tiers.reads);
        reads.fold((0, 0, 0), |sum, reads| {
            let unavailable = sum.2 + reads.archive_unavailable;
            (sum.0 + reads.archive_asked, sum.1 + reads.archive_hits, unavailable)
        })
    }

    /// Tables that the store knows to be damaged.
    pub fn damaged_tables(&self) -> Vec<DamagedTable> {
        self.handle.stats().shards.into_iter().flat_map(|shard| shard.damaged_tables).collect()
    }

    /// The digest of every partition.
    pub fn digests(&mut self) -> Result<Vec<(u16, u64)>, String> {
        let waiters = self.handle.submit_digests().map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return Err("stopped".to_owned());
            }
            all.extend(waiters.iter().flat_map(|waiter| waiter.poll()).flatten());
            if all.len() == usize::from(PARTITIONS) {
                all.sort_unstable();
                return Ok(all);
            }
        }
        Err("the digests were never answered".to_owned())
    }
}
