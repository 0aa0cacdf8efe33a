//! Rows that the log has and the hot table not yet, in log order.

use std::collections::VecDeque;
use std::sync::Arc;

use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::SchemaId;

use crate::asked::Asked;
use crate::memtables::memtable_bytes;
use crate::merge::Base;
use crate::message::Origin;
use crate::room::Taken;
use crate::row_hash_map::RowHashMap;
use crate::state::version_of;
use crate::write::{Ack, Outcome, RowWrite, WriteBatch};
use thermae_hot::Reservation;

/// Heap bytes that a row takes on its way beside key and value: in its batch, in the queue of logged rows
/// and the index over it (twice, for it may just have grown), in the lists of indices and of outcomes.
const ROW_BYTES: usize = size_of::<RowWrite>()
    + 2 * (size_of::<PendingRow>() + size_of::<(u64, u64)>())
    + size_of::<u32>()
    + 2 * size_of::<(u32, Outcome)>();

/// Bytes that some rows of a batch take on their way.
pub fn bytes_on_their_way(batch: &WriteBatch, rows: &[u32]) -> u64 {
    let row_bytes = |index: &u32| {
        let row = batch.rows.get(*index as usize);
        row.map_or(0, |row| row.key.len() + row.value.len() + ROW_BYTES) as u64
    };
    rows.iter().map(row_bytes).sum()
}

/// A batch whose rows are on their way, and who waits for them.
#[derive(Debug)]
pub struct Waiting {
    /// The batch.
    pub batch: Arc<WriteBatch>,
    /// Who gets the outcomes.
    pub origin: Origin<Outcome>,
    /// The room that its rows take until they are answered.
    pub _room: Option<Arc<Taken>>,
    /// As [`Part::asked`](crate::message::Part::asked).
    pub asked: Option<Arc<Asked>>,
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
    /// Bytes that the memtable will take for it; none for a duplicate.
    bytes: usize,
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
    /// The newest event time logged in the partition before this row.
    watermark_before: Option<i64>,
    /// The pending row of the same hash before this one.
    previous: Option<u64>,
    /// Room set aside in the hot table, if it had any; taken when the row is applied.
    pub reservation: Option<Reservation>,
    /// The value, where it is not the one of the request.
    merged: Option<(Vec<u8>, Taken)>,
}

impl PendingRow {
    /// Copies out of a record what is needed to make it again.
    pub fn head(
        record: &Record<'_>,
        row_hash: u64,
        watermark_before: Option<i64>,
        reservation: Option<Reservation>,
    ) -> Head {
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
            watermark_before,
            previous: None,
            reservation,
            merged: None,
        }
    }
}

impl Head {
    /// The value as it was logged, where it is not the one of the request, and the room that it takes.
    pub fn set_merged(&mut self, value: Vec<u8>, room: Taken) {
        self.merged = Some((value, room));
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
            value: self.merged.as_ref().map_or_else(|| batch.value(row), |(value, _)| value),
        })
    }
}

/// The queue, and chains of the pending rows of each key for partial writes.
#[derive(Debug, Default)]
pub struct Pending {
    rows: VecDeque<PendingRow>,
    /// Rows popped so far: the absolute number of the first in `rows`.
    popped: u64,
    /// The last pending row of each row hash; earlier ones hang on `Head::previous`.
    latest: RowHashMap<u64>,
    bytes: usize,
}

impl Pending {
    /// Bytes that memtables will take for the rows on their way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows on their way, duplicates included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Hashes of the rows that wait, oldest first.
    pub fn row_hashes(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().filter_map(|row| Some(row.head.as_ref()?.row_hash))
    }

    /// The log batch of the oldest row, if any waits.
    pub fn first_batch(&self) -> Option<u64> {
        self.rows.front().map(|row| row.log_batch)
    }

    /// Adds a logged row.
    pub fn push_row(&mut self, mut head: Head, log_batch: u64, waiting: &Arc<Waiting>, index: u32) {
        let number = self.popped + self.rows.len() as u64;
        head.previous = self.latest.insert(head.row_hash, number);
        let (partition, waiting) = (head.partition, Arc::clone(waiting));
        let bytes = head
            .record(&waiting.batch, index)
            .map_or(0, |record| memtable_bytes(record.key.len(), record.value.len()));
        self.bytes += bytes;
        let head = Some(head);
        self.rows.push_back(PendingRow { log_batch, waiting, index, partition, bytes, head });
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
        let (bytes, head) = (0, None);
        self.rows.push_back(PendingRow { log_batch, waiting, index, partition, bytes, head });
    }

    /// The newest row of a key once everything pending is applied to `applied`, by the rules of
    /// `ShardState::apply`.
    pub fn newest(&self, row_hash: u64, key: &[u8], applied: Option<Base>) -> Option<Base> {
        let mut rows = Vec::new();
        let mut number = self.latest.get(&row_hash).copied();
        while let Some(row) = number.and_then(|number| self.row_at(number)) {
            let Some(head) = &row.head else { break };
            rows.push((head, row));
            number = head.previous;
        }
        let mut newest = applied;
        for (head, row) in rows.into_iter().rev() {
            let Some(record) = head.record(&row.waiting.batch, row.index) else { continue };
            if record.kind == RecordKind::Erase {
                newest = newest.filter(|_| record.key != key);
                continue;
            }
            let next = Base::of(&version_of(&record));
            // Rows of another key with an equal hash hang in the same chain.
            let wins = record.key == key
                && newest.as_ref().is_none_or(|base| {
                    base.is_reset(head.watermark_before) || next.order() > base.order()
                });
            if wins {
                newest = Some(next);
            }
        }
        newest
    }

    /// The oldest row if its batch is as safe as its acknowledgement promises. A row never passes the
    /// one before it, so that rows are applied in log order.
    pub fn front_safe(&self, written: u64, durable: u64) -> Option<&PendingRow> {
        let row = self.rows.front()?;
        let safe = if row.waiting.batch.ack == Ack::Logged { written } else { durable };
        (row.log_batch <= safe).then_some(row)
    }

    /// Empties the queue.
    pub fn drain(&mut self) -> impl Iterator<Item = PendingRow> + '_ {
        std::iter::from_fn(|| self.pop())
    }

    /// Pops the oldest row.
    pub fn pop(&mut self) -> Option<PendingRow> {
        let row = self.rows.pop_front()?;
        if let Some(head) = &row.head
            && self.latest.get(&head.row_hash) == Some(&self.popped)
        {
            self.latest.remove(&head.row_hash);
        }
        self.popped += 1;
        self.bytes -= row.bytes;
        Some(row)
    }

    fn row_at(&self, number: u64) -> Option<&PendingRow> {
        self.rows.get(usize::try_from(number.checked_sub(self.popped)?).ok()?)
    }
}
