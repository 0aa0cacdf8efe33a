//! The side of a shard that owns: admission, the log, and applying what is safe.
//!
//! A row passes through here once: judged against its producer's mark, the clock and the memory
//! budget; given the next sequence number of its partition; appended to the log; and, when the log
//! says that its batch is as safe as its acknowledgement promises, applied to the hot table and
//! answered. Rows are applied in log order, so nothing that a reader saw can vanish.

#[cfg(feature = "cold")]
mod archived;
mod below;
mod cuts;
mod define;
mod erasing;
mod figures;
mod log_row;
mod slice;
mod tend;
#[cfg(not(feature = "cold"))]
mod unarchived;

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thermae_env::Env;
use thermae_formats::schema::FeatureView;
use thermae_hot::ASKED_ROWS;
use thermae_tiering::compact::plan::CompactionPolicy;
use thermae_tiering::files::WarmFiles;
use thermae_tiering::tree::Tree;
use thermae_tiering::worker::{ScrubPace, Worker};

use crate::background::{Background, Working};
use crate::below::BelowHot;
use crate::catalogue::Catalogue;
use crate::erase::PENDING_ERASES_MAX;
use crate::flush;
use crate::flushed::Flushed;
use crate::log::{LogWriter, ManifestStore};
use crate::manifests::Manifests;
use crate::memory::MemoryPlan;
use crate::memtables::memtable_bytes;
use crate::message::{ApplyAnswer, CutRequest, FetchPart, Gathered, Part};
use crate::options::Options;
use crate::outside::{Outside, WakerOf};
use crate::partition::Admission;
use crate::pending::{Pending, PendingRow, Waiting};
use crate::planted::{Bug, is_planted};
use crate::room::Room;
use crate::state::{Current, Effect, Place, ShardState};
use crate::waiter::Answerer;
use crate::warm::LookUps;
use below::Asking;
use define::{Logging, PendingApply};
use erasing::Erasing;
use figures::Counters;
use slice::{ROWS_PER_TURN, Slice};
use tend::{Brake, Leave};

use crate::write::{Level, Outcome, Refusal, RowWrite, Verdict, WriteBatch, WriteKind};

/// How an append ended for the row at the head of the queue.
enum Step {
    Next,
    /// The log wants time; nothing was changed.
    Wait,
}

/// What an owner is made of.
pub struct Parts<E: Env> {
    /// Clock and disk.
    pub env: E,
    /// What the logs and tables have made true.
    pub state: ShardState,
    /// The log, empty.
    pub log: LogWriter<E>,
    /// The tables.
    pub tree: Tree<E>,
    /// The manifest of the directory.
    pub manifests: Arc<ManifestStore<E>>,
    /// Ids of files of older tables that would not go.
    pub strays: Vec<u64>,
    /// How its memory is divided.
    pub plan: MemoryPlan,
    /// What readers are told of what lies below the hot tables.
    pub below: Arc<BelowHot<E>>,
    /// The way to the archive, if it has one.
    #[cfg(feature = "cold")]
    pub archive: Option<crate::archived::Way>,
    /// An archive holds, or will hold, what is written.
    pub has_archive: bool,
}

/// The owning side of one shard.
pub struct Owner<E: Env> {
    pub(crate) state: ShardState,
    pub(crate) log: LogWriter<E>,
    pub(crate) counters: Counters,
    pub(crate) warm: LookUps<E>,
    #[cfg(feature = "cold")]
    pub(crate) archived: crate::archived::ArchiveReads,
    env: E,
    manifests: Arc<ManifestStore<E>>,
    strays: Vec<u64>,
    below: Arc<BelowHot<E>>,
    /// None until the shard's thread runs.
    working: Option<Working<E>>,
    plan: MemoryPlan,
    /// What of the log is in tables.
    flushed: Flushed,
    /// What writes on their way take.
    room: Arc<Room>,
    /// Keys that others ask for and that wait for their look-ups, and the next of the first.
    fetches: VecDeque<FetchPart>,
    fetch_at: usize,
    /// Who waits for a snapshot.
    cuts: Vec<CutRequest<E>>,
    erasing: Erasing,
    brake: Brake,
    /// When the hot table was last swept, monotonic nanoseconds.
    swept_ns: u64,
    /// Why the worker did not get on when it last failed or paused.
    worker_trouble: Option<String>,
    /// Why the last memtable could not be handed to it.
    freeze_trouble: Option<String>,
    /// Monotonic time of this turn, nanoseconds.
    now_ns: u64,
    future_skew_us: i64,
    /// Parts whose rows are being looked for, and how far that is with the first.
    arriving: VecDeque<Part>,
    asking: Option<Asking>,
    /// Parts being admitted, and the next row of the first.
    queue: VecDeque<Part>,
    queue_at: usize,
    pending: Pending,
    applies: VecDeque<PendingApply>,
    logging: Option<Logging>,
    apply_queue: VecDeque<(Vec<FeatureView>, Answerer<ApplyAnswer>)>,
    /// A turn ended with rows that could have been admitted or applied.
    has_more: bool,
    /// Rows that could be admitted wait for the next turn.
    is_admitting: bool,
    /// The open batch holds a row that asked for durability.
    open_is_durable: bool,
    /// The log has failed: rows that were under way are in doubt.
    is_failed: bool,
    /// The first log batch of those rows. They may be in the log, so it is kept from there on.
    in_doubt_from: Option<u64>,
}

impl<E: Env> Owner<E> {
    pub(crate) fn new(parts: Parts<E>, options: &Options) -> Self {
        let Parts { env, state, log, tree, manifests, strays, plan, has_archive, below, .. } =
            parts;
        let owner = Owner {
            #[cfg(feature = "cold")]
            archived: crate::archived::ArchiveReads::new(state.shard(), parts.archive),
            flushed: Flushed::of(&state),
            state,
            log,
            counters: Counters::default(),
            warm: LookUps::new(Arc::new(tree)),
            env,
            manifests,
            strays,
            below,
            working: None,
            room: Arc::new(Room::new(plan.queue_bytes)),
            plan,
            fetches: VecDeque::new(),
            fetch_at: 0,
            cuts: Vec::new(),
            erasing: Erasing::new(has_archive),
            brake: Brake::default(),
            swept_ns: 0,
            worker_trouble: None,
            freeze_trouble: None,
            now_ns: 0,
            future_skew_us: options.future_skew_us,
            arriving: VecDeque::new(),
            asking: None,
            queue: VecDeque::new(),
            queue_at: 0,
            pending: Pending::default(),
            applies: VecDeque::new(),
            logging: None,
            apply_queue: VecDeque::new(),
            has_more: false,
            is_admitting: false,
            open_is_durable: false,
            is_failed: false,
            in_doubt_from: None,
        };
        owner.show_below();
        owner
    }

    /// Sets a worker to work, which wakes this shard by `waker`.
    ///
    /// # Errors
    /// No thread could be made.
    pub(crate) fn start_work(
        &mut self,
        background: Background,
        waker: WakerOf<E>,
        catalogue: &Catalogue,
    ) -> std::io::Result<()> {
        let manifest = self.manifests.current();
        let files = WarmFiles {
            env: self.env.clone(),
            dir: self.manifests.warm_dir(),
            store_id: manifest.store_id,
            hash_seed: manifest.hash_seed,
            buffers: self.plan.buffers(),
        };
        let commit = Manifests(Arc::clone(&self.manifests));
        let (shard, tree) = (self.state.shard(), Tree::clone(self.warm.tree()));
        let policy = CompactionPolicy::default();
        let rules = flush::rules(&self.state, catalogue);
        let worker = Worker::new(files, commit, shard as u16, policy, rules, tree)
            .scrubbing(ScrubPace::default())
            .clearing(&self.strays);
        self.working = Some(Working::start(worker, background, shard, &self.env, waker)?);
        Ok(())
    }

    /// What writes on their way to this shard take.
    pub(crate) fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// Takes a part to write, or refuses it whole when there was no room for it.
    pub(crate) fn take(&mut self, part: Part, outside: &mut Outside<E>) {
        // A refusal takes its turn behind what was sent before it: noted earlier, it would be lifted by an
        // earlier row of its producer, and what follows it would pass for newer.
        if part.room.is_none() && self.queue.is_empty() && self.arriving.is_empty() {
            self.refuse_part(&part, outside);
            return;
        }
        self.arriving.push_back(part);
    }

    /// Answers a part for which there was no room.
    fn refuse_part(&mut self, part: &Part, outside: &mut Outside<E>) {
        let overloaded = Refusal::Overloaded { retry_ms: self.room.retry_ms() };
        let outcomes = part.rows.iter().map(|&index| {
            let outcome = match part.batch.rows.get(index as usize) {
                Some(row) => self.refuse(&part.batch, row, overloaded),
                None => Outcome::NotApplied(overloaded),
            };
            (index, outcome)
        });
        let outcomes: Gathered = outcomes.collect();
        outside.answer(&part.origin, outcomes);
    }

    /// Admits what has arrived, up to where the log wants time or the turn has done enough.
    pub(crate) fn admit(
        &mut self,
        now_us: i64,
        catalogue: &Arc<Catalogue>,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) {
        self.now_ns = self.env.monotonic_ns();
        self.admit_applies(catalogue);
        let mut slice = Slice::begin(self.now_ns);
        self.has_more = !self.ask_ahead(slice, catalogue, ring);
        self.is_admitting = false;
        while let Some(part) = self.queue.pop_front() {
            if part.room.is_none() {
                self.refuse_part(&part, outside);
                continue;
            }
            let mut decided = Gathered::new();
            let mut waits = false;
            let waiting = Arc::new(Waiting {
                batch: Arc::clone(&part.batch),
                origin: part.origin.clone(),
                _room: part.room.clone(),
                asked: part.asked.clone(),
            });
            while let Some(&index) = part.rows.get(self.queue_at) {
                if slice.is_over(&self.env) {
                    (self.has_more, self.is_admitting, waits) = (true, true, true);
                    break;
                }
                if slice.begins_group() {
                    let ahead = part.rows.get(self.queue_at..).unwrap_or_default();
                    self.ask_for(&part.batch, ahead);
                }
                slice.count(1);
                match self.admit_row(&waiting, index, now_us, catalogue, ring, &mut decided) {
                    Step::Next => self.queue_at += 1,
                    Step::Wait => {
                        waits = true;
                        break;
                    }
                }
            }
            if !decided.is_empty() {
                outside.answer(&part.origin, decided);
            }
            if waits {
                self.queue.push_front(part);
                return;
            }
            self.queue_at = 0;
        }
    }

    /// Asks for the memory of the first [`ASKED_ROWS`] of some rows of a batch.
    fn ask_for(&self, batch: &WriteBatch, rows: &[u32]) {
        let rows = rows.iter().take(ASKED_ROWS);
        let rows = rows.filter_map(|&index| batch.rows.get(index as usize));
        self.state.ask_for(rows.map(|row| {
            let entity_hash = self.state.entity_hash(batch.key(row));
            self.state.row_hash(entity_hash, row.view_id)
        }));
    }

    fn admit_row(
        &mut self,
        waiting: &Arc<Waiting>,
        index: u32,
        now_us: i64,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
        decided: &mut Gathered,
    ) -> Step {
        let batch = &waiting.batch;
        let Some(row) = batch.rows.get(index as usize) else { return Step::Next };
        let hash = self.state.entity_hash(batch.key(row));
        let Some((number, partition)) = self.state.partition_mut(hash) else { return Step::Next };
        let is_erase = matches!(row.kind, WriteKind::Erase);
        let refusal = match partition.admission(batch.producer_id, row.producer_sequence) {
            Admission::Duplicate => {
                self.counters.duplicate += 1;
                let batch = self.log.last_batch();
                self.pending.push_duplicate(number, batch, waiting, index);
                return Step::Next;
            }
            Admission::Blocked => Some(Refusal::BlockedBehind),
            Admission::TooManyProducers => Some(Refusal::TooManyProducers),
            // What is in doubt may be there after a restart: nothing can be judged against it.
            Admission::Fresh if self.is_failed => Some(Refusal::ReadOnly),
            Admission::Fresh if is_erase && self.has_many_erases() => {
                Some(Refusal::Overloaded { retry_ms: self.room.retry_ms() })
            }
            Admission::Fresh if is_erase => None,
            Admission::Fresh if let Some(Verdict::Refuse { check }) = batch.verdict(index) => {
                Some(Refusal::FailsCheck { check })
            }
            Admission::Fresh if row.event_time > now_us.saturating_add(self.future_skew_us) => {
                Some(Refusal::FutureEventTime)
            }
            Admission::Fresh => None,
        };
        let step = match refusal {
            Some(refusal) => Err(Some(refusal)),
            None => match self.brake.ask(memtable_bytes(row.key.len(), row.value.len())) {
                Leave::Now => self.log_row(waiting, index, now_us, hash, catalogue, ring),
                // What waits too long fills the queue, which then refuses.
                Leave::Later => {
                    self.counters.slowed += 1;
                    Err(None)
                }
                Leave::Never => Err(Some(Refusal::DiskFull)),
            },
        };
        match step {
            Ok(()) => Step::Next,
            Err(None) => Step::Wait,
            Err(Some(refusal)) => {
                decided.push((index, self.refuse(batch, row, refusal)));
                Step::Next
            }
        }
    }

    /// As many erases are pending as may be.
    fn has_many_erases(&self) -> bool {
        self.state.erases().len() >= PENDING_ERASES_MAX
    }

    fn refuse(&mut self, batch: &WriteBatch, row: &RowWrite, refusal: Refusal) -> Outcome {
        self.counters.refused += 1;
        if refusal.is_passing() {
            let hash = self.state.entity_hash(batch.key(row));
            if let Some((_, partition)) = self.state.partition_mut(hash) {
                partition.note_refused(batch.producer_id, row.producer_sequence);
            }
        }
        Outcome::NotApplied(refusal)
    }

    /// Sends the open batch on its way; while it is small the rows that the next turn admits go with it.
    pub(crate) fn submit(&mut self, ring: &mut E::Ring) {
        let records = self.log.open_records();
        if records >= ROWS_PER_TURN || (records > 0 && !self.is_admitting) {
            self.log.submit(ring, self.open_is_durable);
            if self.log.open_records() == 0 {
                self.open_is_durable = false;
            }
        }
    }

    /// Applies and answers what the log has made safe, as many rows as a turn may. A new catalogue is
    /// published before the answer leaves, so that whoever was answered sees it.
    pub(crate) fn complete(
        &mut self,
        catalogue: &Arc<Catalogue>,
        published: &ArcSwap<Catalogue>,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) {
        let mut progress = self.log.progress();
        if is_planted(Bug::AcknowledgeBeforeSync) {
            (progress.written, progress.durable) = (progress.assigned, progress.assigned);
        }
        self.is_failed |= progress.failed.is_some();
        let mut answers: Vec<(Arc<Waiting>, Gathered)> = Vec::new();
        let mut pending = std::mem::take(&mut self.pending);
        let mut slice = Slice::begin(self.env.monotonic_ns());
        while let Some(row) = pending.front_safe(progress.written, progress.durable) {
            if slice.is_over(&self.env) {
                self.has_more = true;
                break;
            }
            if slice.begins_group() {
                self.state.ask_for(pending.row_hashes());
            }
            slice.count(1);
            let judged = match self.judge(row, catalogue, ring) {
                Ok(judged) => judged,
                Err(None) => break,
                // It is in the log, and what it competes with cannot be read: nothing can be told
                // of it, nor of what follows it. A restart tries again.
                Err(Some(_)) => {
                    self.is_failed = true;
                    break;
                }
            };
            let Some(mut row) = pending.pop() else { break };
            let outcome = self.apply_pending(&mut row, progress.durable, judged);
            note_answer(&mut answers, row.waiting, row.index, outcome);
        }
        self.pending = pending;
        let failed = self.is_failed;
        if failed {
            self.in_doubt_from = self.in_doubt_from.or(self.first_unapplied_batch());
            for row in self.pending.drain() {
                note_answer(&mut answers, row.waiting, row.index, Outcome::InDoubt);
            }
        }
        if self.pending.len() == 0 && self.queue.is_empty() && self.arriving.is_empty() {
            self.state.bases.clear();
            #[cfg(feature = "cold")]
            self.archived.forget_writes();
        }
        for (waiting, outcomes) in answers {
            outside.answer(&waiting.origin, outcomes);
        }
        self.complete_applies(progress.durable, failed, published);
    }

    fn apply_pending(
        &mut self,
        row: &mut PendingRow,
        durable: u64,
        judged: Option<(Place<'_>, Option<Current>)>,
    ) -> Outcome {
        let level = if row.log_batch <= durable { Level::Durable } else { Level::Logged };
        let Some(head) = &mut row.head else {
            let partition = row.partition;
            let sequence = self.state.applied(partition);
            return Outcome::Ok { partition, sequence, level, duplicate: true };
        };
        let reservation = head.reservation.take();
        let record = head.record(&row.waiting.batch, row.index);
        let (Some(record), Some((place, current))) = (record, judged) else {
            return Outcome::InDoubt;
        };
        match self.state.apply(&place, &record, current, reservation) {
            Ok(effect) => {
                self.counters.written += 1;
                self.counters.late += u64::from(effect == Effect::Late);
                if let Some(Verdict::Quarantine { check }) = row.waiting.batch.verdict(row.index) {
                    return Outcome::NotApplied(Refusal::Quarantined { check });
                }
                let (partition, sequence) = (row.partition, head.sequence);
                Outcome::Ok { partition, sequence, level, duplicate: false }
            }
            // The record is safe in the log; the table could not take it, which the reservation
            // rules out. Say that it cannot be told rather than guess.
            Err(_) => Outcome::InDoubt,
        }
    }

    /// Rows wait for admission or for the log.
    pub(crate) fn is_idle(&self) -> bool {
        #[cfg(feature = "cold")]
        if !self.archived.is_empty() {
            return false;
        }
        self.queue.is_empty()
            && self.arriving.is_empty()
            && self.pending.len() == 0
            && self.applies.is_empty()
            && self.logging.is_none()
            && self.apply_queue.is_empty()
            && self.fetches.is_empty()
            && self.cuts.is_empty()
    }

    /// Whether the next turn has something to do at once.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Rows on their way.
    pub(crate) fn rows_in_flight(&self) -> usize {
        self.pending.len()
    }
}

fn note_answer(
    answers: &mut Vec<(Arc<Waiting>, Gathered)>,
    waiting: Arc<Waiting>,
    index: u32,
    outcome: Outcome,
) {
    match answers.last_mut() {
        Some((last, outcomes)) if Arc::ptr_eq(last, &waiting) => outcomes.push((index, outcome)),
        _ => answers.push((waiting, vec![(index, outcome)])),
    }
}
