//! Rows that the log has and the hot table not yet, in log order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::SchemaId;

use crate::merge::Base;
use crate::message::{Gathered, Origin};
use crate::write::{Ack, WriteBatch};
use thermae_hot::Reservation;

/// A batch whose rows are on their way, and who waits for them.
#[derive(Debug)]
pub struct Waiting {
    /// The batch.
    pub batch: Arc<WriteBatch>,
    /// Who gets the outcomes.
    pub origin: Origin<Gathered>,
}

/// One row on its way.
#[derive(Debug)]
pub struct PendingRow {
    /// The log batch that must be safe first.
    pub log_batch: u64,
    /// Its batch and who waits.
    pub waiting: Arc<Waiting>,
    /// Its index in the batch.
    pub index: u32,
    /// Its partition.
    pub partition: u16,
    /// What was logged; none for a duplicate, which only waits until the original is safe.
    pub head: Option<Head>,
}

/// What the log record of a row says beside key and value.
#[derive(Debug)]
pub struct Head {
    kind: RecordKind,
    flags: u8,
    schema_id: SchemaId,
    /// Sequence number in the partition.
    pub sequence: u64,
    event_time: i64,
    created_time: i64,
    expire_at: i64,
    partition: u16,
    row_hash: u64,
    /// Room set aside in the hot table; taken when the row is applied.
    pub reservation: Option<Reservation>,
    /// The value, where it is not the one of the request.
    merged: Option<Vec<u8>>,
}

impl PendingRow {
    /// Copies out of a record what is needed to make it again.
    pub fn head(record: &Record<'_>, row_hash: u64, reservation: Reservation) -> Head {
        Head {
            kind: record.kind,
            flags: record.flags,
            schema_id: record.schema_id,
            sequence: record.sequence,
            event_time: record.event_time,
            created_time: record.created_time,
            expire_at: record.expire_at,
            partition: record.partition,
            row_hash,
            reservation: Some(reservation),
            merged: None,
        }
    }
}

impl Head {
    /// The value as it was logged, where it is not the one of the request.
    pub fn set_merged(&mut self, value: Option<Vec<u8>>) {
        self.merged = value;
    }

    /// The record as it was logged.
    pub fn record<'a>(&'a self, batch: &'a WriteBatch, index: u32) -> Option<Record<'a>> {
        let row = batch.rows.get(index as usize)?;
        Some(Record {
            kind: self.kind,
            flags: self.flags,
            schema_id: self.schema_id,
            partition: self.partition,
            sequence: self.sequence,
            event_time: self.event_time,
            created_time: self.created_time,
            producer_id: batch.producer_id,
            producer_sequence: row.producer_sequence,
            expire_at: self.expire_at,
            key: batch.key(row),
            value: self.merged.as_deref().unwrap_or_else(|| batch.value(row)),
        })
    }
}

/// The newest pending row of a key.
#[derive(Debug)]
pub enum Newest {
    /// None is pending.
    None,
    /// Another key of the same hash is pending, which hides what there may be of this one.
    OtherKey,
    /// This one.
    Row(Base),
}

/// The queue, and an index of the newest pending row of each key for partial writes.
#[derive(Debug, Default)]
pub struct Pending {
    rows: VecDeque<PendingRow>,
    /// Rows popped so far: the absolute number of the first in `rows`.
    popped: u64,
    newest: HashMap<u64, u64>,
}

impl Pending {
    /// Rows on their way, duplicates included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a logged row.
    pub fn push_row(&mut self, head: Head, log_batch: u64, waiting: &Arc<Waiting>, index: u32) {
        let number = self.popped + self.rows.len() as u64;
        let order = (head.event_time, head.created_time, head.sequence);
        let row_hash = head.row_hash;
        let partition = head.partition;
        let waiting = Arc::clone(waiting);
        self.rows.push_back(PendingRow { log_batch, waiting, index, partition, head: Some(head) });
        let is_newest = match self.newest.get(&row_hash).and_then(|&at| self.head_at(at)) {
            Some(known) => order > (known.event_time, known.created_time, known.sequence),
            None => true,
        };
        if is_newest {
            self.newest.insert(row_hash, number);
        }
    }

    /// Adds a duplicate, which is answered when `log_batch` is safe.
    pub fn push_duplicate(
        &mut self,
        partition: u16,
        log_batch: u64,
        waiting: &Arc<Waiting>,
        index: u32,
    ) {
        let waiting = Arc::clone(waiting);
        self.rows.push_back(PendingRow { log_batch, waiting, index, partition, head: None });
    }

    /// The newest pending row of a key.
    pub fn newest(&self, row_hash: u64, key: &[u8]) -> Newest {
        let Some(&number) = self.newest.get(&row_hash) else { return Newest::None };
        let row = self.row_at(number);
        let found = row.and_then(|row| row.head.as_ref()?.record(&row.waiting.batch, row.index));
        match found {
            None => Newest::None,
            Some(record) if record.key != key => Newest::OtherKey,
            Some(record) => Newest::Row(Base::of_record(&record)),
        }
    }

    /// Pops the oldest row if its batch is as safe as its acknowledgement promises. A row never
    /// passes the one before it, so that rows are applied in log order.
    pub fn pop_safe(&mut self, written: u64, durable: u64) -> Option<PendingRow> {
        let row = self.rows.front()?;
        let safe = if row.waiting.batch.ack == Ack::Logged { written } else { durable };
        if row.log_batch > safe { None } else { self.pop() }
    }

    /// Empties the queue.
    pub fn drain(&mut self) -> impl Iterator<Item = PendingRow> + '_ {
        std::iter::from_fn(|| self.pop())
    }

    fn pop(&mut self) -> Option<PendingRow> {
        let row = self.rows.pop_front()?;
        if let Some(head) = &row.head
            && self.newest.get(&head.row_hash) == Some(&self.popped)
        {
            self.newest.remove(&head.row_hash);
        }
        self.popped += 1;
        Some(row)
    }

    fn row_at(&self, number: u64) -> Option<&PendingRow> {
        self.rows.get(usize::try_from(number.checked_sub(self.popped)?).ok()?)
    }

    fn head_at(&self, number: u64) -> Option<&Head> {
        self.row_at(number)?.head.as_ref()
    }
}
