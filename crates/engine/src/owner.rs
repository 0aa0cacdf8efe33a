//! The side of a shard that owns: admission, the log, and applying what is safe.
//!
//! A row passes through here once: judged against its producer's mark, the clock and the memory
//! budget; given the next sequence number of its partition; appended to the log; and, when the log
//! says that its batch is as safe as its acknowledgement promises, applied to the hot table and
//! answered. Rows are applied in log order, so nothing that a reader saw can vanish.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thermae_env::Env;
use thermae_formats::NO_TIME;
use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::CatalogueEntry;
use thermae_formats::hot_layout::{FLAG_DENSE, FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use thermae_formats::schema::FeatureView;

use crate::catalogue::{Applied, Catalogue, View};
use crate::error::Error;
use crate::log::{AppendError, LogWriter};
use crate::merge::{self, Base};
use crate::message::{Gathered, Origin, Part};
use crate::outside::Outside;
use crate::partition::Admission;
use crate::pending::{Pending, PendingRow, Waiting};
use crate::planted::{Bug, is_planted};
use crate::state::{Effect, ShardState};
use crate::write::{Ack, Level, Outcome, Refusal, RowWrite, WriteBatch, WriteKind};

/// Rows that may wait for the log in one shard; more are refused as `Overloaded`.
const ROWS_IN_FLIGHT_MAX: usize = 1 << 18;
/// Bytes of parts that may wait in one shard.
const BYTES_IN_FLIGHT_MAX: usize = 256 << 20;
/// The partition number of catalogue records, which belong to no partition.
const CATALOGUE_PARTITION: u16 = u16::MAX;

/// Counters that the owner keeps for `ShardStats`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows acknowledged.
    pub written: u64,
    /// Rows that were older than the newest.
    pub late: u64,
    /// Rows repeated under their producer's sequence.
    pub duplicate: u64,
    /// Rows refused.
    pub refused: u64,
}

/// Who waits for definitions to be applied.
type ApplyOrigin = Origin<Result<Vec<Applied>, Error>>;

/// Definitions on their way through the log.
struct PendingApply {
    batch: u64,
    next: Arc<Catalogue>,
    applied: Vec<Applied>,
    origin: ApplyOrigin,
}

/// How an append ended for the row at the head of the queue.
enum Step {
    Next,
    /// The log wants time; nothing was changed.
    Wait,
}

/// The owning side of one shard.
pub struct Owner<E: Env> {
    pub(crate) state: ShardState,
    pub(crate) log: LogWriter<E>,
    pub(crate) counters: Counters,
    future_skew_us: i64,
    /// Parts being admitted, and the next row of the first.
    queue: VecDeque<Part>,
    queue_at: usize,
    queue_bytes: usize,
    pending: Pending,
    applies: VecDeque<PendingApply>,
    apply_queue: VecDeque<(Vec<FeatureView>, ApplyOrigin)>,
    /// The open batch holds a row that asked for durability.
    open_is_durable: bool,
    /// The log has failed: rows that were under way are in doubt.
    is_failed: bool,
}

impl<E: Env> Owner<E> {
    pub(crate) fn new(state: ShardState, log: LogWriter<E>, future_skew_us: i64) -> Self {
        Owner {
            state,
            log,
            counters: Counters::default(),
            future_skew_us,
            queue: VecDeque::new(),
            queue_at: 0,
            queue_bytes: 0,
            pending: Pending::default(),
            applies: VecDeque::new(),
            apply_queue: VecDeque::new(),
            open_is_durable: false,
            is_failed: false,
        }
    }

    /// Takes a part to write, or refuses it whole when too much waits.
    pub(crate) fn take(&mut self, part: Part, outside: &mut Outside<E>) {
        let full = part.batch.is_refused
            || self.pending.len() > ROWS_IN_FLIGHT_MAX
            || self.queue_bytes + part.batch.bytes.len() > BYTES_IN_FLIGHT_MAX;
        if full {
            let outcomes = part.rows.iter().map(|&index| {
                let outcome = match part.batch.rows.get(index as usize) {
                    Some(row) => self.refuse(&part.batch, row, Refusal::Overloaded),
                    None => Outcome::NotApplied(Refusal::Overloaded),
                };
                (index, outcome)
            });
            let outcomes: Gathered = outcomes.collect();
            outside.answer(&part.origin, outcomes);
            return;
        }
        self.queue_bytes += part.batch.bytes.len();
        self.queue.push_back(part);
    }

    /// Takes definitions to apply.
    pub(crate) fn take_apply(&mut self, definitions: Vec<FeatureView>, origin: ApplyOrigin) {
        self.apply_queue.push_back((definitions, origin));
    }

    /// Admits what is queued, up to where the log wants time.
    pub(crate) fn admit(
        &mut self,
        now_us: i64,
        catalogue: &Arc<Catalogue>,
        outside: &mut Outside<E>,
    ) {
        self.admit_applies(catalogue, outside);
        while let Some(part) = self.queue.pop_front() {
            let mut decided = Gathered::new();
            let mut waits = false;
            let waiting =
                Arc::new(Waiting { batch: Arc::clone(&part.batch), origin: part.origin.clone() });
            while let Some(&index) = part.rows.get(self.queue_at) {
                match self.admit_row(&waiting, index, now_us, catalogue, &mut decided) {
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
            self.queue_bytes -= part.batch.bytes.len();
        }
    }

    fn admit_row(
        &mut self,
        waiting: &Arc<Waiting>,
        index: u32,
        now_us: i64,
        catalogue: &Catalogue,
        decided: &mut Gathered,
    ) -> Step {
        let batch = &waiting.batch;
        let Some(row) = batch.rows.get(index as usize) else { return Step::Next };
        let hash = self.state.entity_hash(batch.key(row));
        let Some((number, partition)) = self.state.partition_mut(hash) else { return Step::Next };
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
            Admission::Fresh if row.event_time > now_us.saturating_add(self.future_skew_us) => {
                Some(Refusal::FutureEventTime)
            }
            Admission::Fresh => None,
        };
        let step = match refusal {
            Some(refusal) => Err(Some(refusal)),
            None => self.log_row(waiting, index, now_us, hash, catalogue),
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

    /// Logs one admitted row. `Err(None)` means that the log wants time.
    fn log_row(
        &mut self,
        waiting: &Arc<Waiting>,
        index: u32,
        now_us: i64,
        entity_hash: u64,
        catalogue: &Catalogue,
    ) -> Result<(), Option<Refusal>> {
        let batch = &waiting.batch;
        let row = batch.rows.get(index as usize).ok_or(Some(Refusal::UnknownSchema))?;
        let view = catalogue.view_by_id(row.view_id).ok_or(Some(Refusal::UnknownSchema))?;
        if !view.schema_ids().contains(&row.schema_id.0) {
            return Err(Some(Refusal::UnknownSchema));
        }
        let key = batch.key(row);
        let row_hash = self.state.row_hash(entity_hash, row.view_id);
        let watermark = self.state.logged_watermark(entity_hash);
        let mut merged = None;
        if let WriteKind::Partial { features } = &row.kind {
            let base = self.newest(view, row_hash, key, watermark)?;
            merged =
                Some(merge::merge(view, base.as_ref(), row, features, batch.value(row), now_us)?);
        }
        let (schema_id, dense, value) = match &merged {
            Some(merged) => (view.latest.id, merged.dense, merged.value.as_slice()),
            None => (row.schema_id, row.dense, batch.value(row)),
        };
        let expires = row.expire_at != NO_TIME;
        let delete = matches!(row.kind, WriteKind::Delete);
        let flags = if delete { FLAG_TOMBSTONE } else { 0 }
            | if dense { FLAG_DENSE } else { 0 }
            | if expires { FLAG_HAS_EXPIRE } else { 0 };
        let reservation = self.state.reserve(view, row_hash, key, value.len(), expires)?;
        let (number, partition) = self.state.partition_mut(entity_hash).ok_or(None)?;
        let record = Record {
            kind: if delete { RecordKind::Tombstone } else { RecordKind::Put },
            flags,
            schema_id,
            partition: number,
            sequence: partition.next_sequence(),
            event_time: row.event_time,
            created_time: row.created_time,
            producer_id: batch.producer_id,
            producer_sequence: row.producer_sequence,
            expire_at: row.expire_at,
            key,
            value,
        };
        let log_batch = match self.log.append(&record) {
            Ok(log_batch) => log_batch,
            Err(refused) => {
                self.state.release(reservation);
                return Err(refusal_of(&refused));
            }
        };
        partition.note_logged(batch.producer_id, row.producer_sequence, row.event_time);
        self.open_is_durable |= batch.ack == Ack::Durable;
        let mut head = PendingRow::head(&record, row_hash, watermark, reservation);
        head.set_merged(merged.map(|merged| merged.value));
        self.pending.push_row(head, log_batch, waiting, index);
        Ok(())
    }

    /// The row that a partial write would be laid over, counting rows that the log has but the
    /// table not yet.
    fn newest(
        &mut self,
        view: &View,
        row_hash: u64,
        key: &[u8],
        watermark: Option<i64>,
    ) -> Result<Option<Base>, Refusal> {
        let applied = self.state.newest(view, row_hash, key)?;
        let newest = self.pending.newest(row_hash, key, applied);
        Ok(newest.filter(|base| !base.is_reset(watermark)))
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

    fn admit_applies(&mut self, catalogue: &Arc<Catalogue>, outside: &mut Outside<E>) {
        // One at a time: a plan is made against the catalogue that the one before it left.
        if !self.applies.is_empty() {
            return;
        }
        while let Some((definitions, origin)) = self.apply_queue.pop_front() {
            match self.log_definitions(&definitions, catalogue) {
                Ok(None) => {
                    self.apply_queue.push_front((definitions, origin));
                    return;
                }
                Ok(Some((applied, Some((batch, next))))) => {
                    self.applies.push_back(PendingApply { batch, next, applied, origin });
                    return;
                }
                Ok(Some((applied, None))) => outside.answer_apply(origin, Ok(applied)),
                Err(error) => outside.answer_apply(origin, Err(error)),
            }
        }
    }

    /// Logs what the definitions change; `None` means that the log wants time. The entries of one
    /// call may be cut apart by a crash: each is a whole definition, and applying is idempotent.
    #[allow(clippy::type_complexity)]
    fn log_definitions(
        &mut self,
        definitions: &[FeatureView],
        catalogue: &Arc<Catalogue>,
    ) -> Result<Option<(Vec<Applied>, Option<(u64, Arc<Catalogue>)>)>, Error> {
        let (entries, applied) = catalogue.plan(definitions)?;
        if entries.is_empty() {
            return Ok(Some((applied, None)));
        }
        let mut next = Catalogue::clone(catalogue);
        let mut last = 0;
        for entry in &entries {
            next = next.with_entry(entry)?;
            let payload = entry.to_json().map_err(|e| Error::Invalid(e.to_string()))?;
            match self.log.append(&catalogue_record(entry, next.generation(), &payload)) {
                Ok(batch) => last = batch,
                // Entries logged before this one are repeated with equal ids: no harm.
                Err(refused) if refused.is_backpressure() => return Ok(None),
                Err(refused) => return Err(Error::ReadOnly(refused.to_string())),
            }
        }
        self.open_is_durable = true;
        Ok(Some((applied, Some((last, Arc::new(next))))))
    }

    /// Sends the open batch on its way.
    pub(crate) fn submit(&mut self, ring: &mut E::Ring) {
        if self.log.open_records() > 0 {
            self.log.submit(ring, self.open_is_durable);
            if self.log.open_records() == 0 {
                self.open_is_durable = false;
            }
        }
    }

    /// Applies and answers everything that the log has made safe. A new catalogue is published
    /// before the answer leaves, so that whoever was answered sees it.
    pub(crate) fn complete(
        &mut self,
        catalogue: &Arc<Catalogue>,
        published: &ArcSwap<Catalogue>,
        outside: &mut Outside<E>,
    ) {
        let mut progress = self.log.progress();
        if is_planted(Bug::AcknowledgeBeforeSync) {
            (progress.written, progress.durable) = (progress.assigned, progress.assigned);
        }
        let failed = progress.failed.is_some();
        self.is_failed = failed;
        let mut answers: Vec<(Arc<Waiting>, Gathered)> = Vec::new();
        while let Some(mut row) = self.pending.pop_safe(progress.written, progress.durable) {
            let outcome = self.apply_pending(&mut row, progress.durable, catalogue);
            note_answer(&mut answers, row.waiting, row.index, outcome);
        }
        if failed {
            for row in self.pending.drain() {
                note_answer(&mut answers, row.waiting, row.index, Outcome::InDoubt);
            }
        }
        for (waiting, outcomes) in answers {
            outside.answer(&waiting.origin, outcomes);
        }
        self.complete_applies(progress.durable, failed, published, outside);
    }

    fn complete_applies(
        &mut self,
        durable: u64,
        failed: bool,
        published: &ArcSwap<Catalogue>,
        outside: &mut Outside<E>,
    ) {
        while let Some(apply) = self.applies.pop_front_if(|apply| apply.batch <= durable || failed)
        {
            if apply.batch <= durable {
                published.store(apply.next);
                outside.answer_apply(apply.origin, Ok(apply.applied));
            } else {
                let what = "the log failed while the definitions were written".to_owned();
                outside.answer_apply(apply.origin, Err(Error::InDoubt(what)));
            }
        }
    }

    fn apply_pending(
        &mut self,
        row: &mut PendingRow,
        durable: u64,
        catalogue: &Catalogue,
    ) -> Outcome {
        let level = if row.log_batch <= durable { Level::Durable } else { Level::Logged };
        let Some(head) = &mut row.head else {
            let partition = row.partition;
            let sequence = self.state.applied(partition);
            return Outcome::Ok { partition, sequence, level, duplicate: true };
        };
        let reservation = head.reservation.take();
        let Some(record) = head.record(&row.waiting.batch, row.index) else {
            return Outcome::InDoubt;
        };
        match self.state.apply(catalogue, &record, reservation) {
            Ok(effect) => {
                self.counters.written += 1;
                self.counters.late += u64::from(effect == Effect::Late);
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
        self.queue.is_empty()
            && self.pending.len() == 0
            && self.applies.is_empty()
            && self.apply_queue.is_empty()
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

fn catalogue_record<'a>(entry: &CatalogueEntry, generation: u64, payload: &'a [u8]) -> Record<'a> {
    Record {
        kind: RecordKind::Catalogue,
        flags: 0,
        schema_id: entry.schema_id,
        partition: CATALOGUE_PARTITION,
        sequence: generation,
        event_time: 0,
        created_time: NO_TIME,
        producer_id: 0,
        producer_sequence: 0,
        expire_at: NO_TIME,
        key: &[],
        value: payload,
    }
}

/// `None` when the log only wants time.
fn refusal_of(error: &AppendError) -> Option<Refusal> {
    match error {
        error if error.is_backpressure() => None,
        AppendError::DiskFull { .. } => Some(Refusal::DiskFull),
        AppendError::TooLarge { .. } => Some(Refusal::RowTooLarge),
        _ => Some(Refusal::ReadOnly),
    }
}
