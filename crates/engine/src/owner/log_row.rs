//! An admitted row becomes a record of the log.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::NO_TIME;
use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::hot_layout::row_flags;
use thermae_tiering::merge::is_past;

use super::Owner;
use crate::catalogue::{Catalogue, View};
use crate::log::AppendError;
use crate::merge::{self, Base};
use crate::pending::{PendingRow, Waiting};
use crate::planted::{Bug, is_planted};
use crate::state::Newest;
use crate::write::{Ack, Refusal, RowWrite, Verdict, WriteKind};

impl<E: Env> Owner<E> {
    /// Logs one admitted row. `Err(None)` means that the log wants time.
    pub(super) fn log_row(
        &mut self,
        waiting: &Arc<Waiting>,
        index: u32,
        now_us: i64,
        entity_hash: u64,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
    ) -> Result<(), Option<Refusal>> {
        let batch = &waiting.batch;
        let row = batch.rows.get(index as usize).ok_or(Some(Refusal::UnknownSchema))?;
        let view = view_of(row, catalogue).ok_or(Some(Refusal::UnknownSchema))?;
        let key = batch.key(row);
        let row_hash = self.state.row_hash(entity_hash, row.view_id);
        let is_asked = self.state.is_complete() || self.was_asked(waiting);
        let needs_value = matches!(row.kind, WriteKind::Partial { .. });
        if needs_value || !is_asked {
            self.base(view, entity_hash, key, needs_value, ring)?;
        }
        let watermark = self.state.logged_watermark(entity_hash);
        let merged = match &row.kind {
            WriteKind::Partial { features } => {
                let base = self.newest_whole(view, entity_hash, key, watermark, row, now_us)?;
                Some(merge::merge(view, base.as_ref(), row, features, batch.value(row), now_us)?)
            }
            _ => None,
        };
        let (schema_id, dense, value) = match &merged {
            Some(merged) => (view.latest.id, merged.dense, merged.value.as_slice()),
            None if matches!(row.kind, WriteKind::Erase) => (row.schema_id, false, &[][..]),
            None => (row.schema_id, row.dense, batch.value(row)),
        };
        let (kind, times) = kind_and_times(row, batch.verdict(index), watermark);
        let expires = times.2 != NO_TIME;
        let reservation = match kind {
            RecordKind::Erase => None,
            _ => self.state.reserve(catalogue, view, row_hash, key, value.len(), expires)?,
        };
        let (number, partition) = self.state.partition_mut(entity_hash).ok_or(None)?;
        let record = Record {
            kind,
            flags: row_flags(kind == RecordKind::Tombstone, dense, expires),
            schema_id,
            partition: number,
            sequence: partition.next_sequence(),
            event_time: times.0,
            created_time: times.1,
            producer_id: batch.producer_id,
            producer_sequence: row.producer_sequence,
            expire_at: times.2,
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
        partition.note_logged(batch.producer_id, row.producer_sequence, record.event_time);
        self.open_is_durable |= batch.ack == Ack::Durable;
        let mut head = PendingRow::head(&record, row_hash, watermark, reservation);
        if let Some(merged) = merged {
            let room = self.room.take_anyway(merged.value.len());
            head.set_merged(merged.value, room);
        }
        self.pending.push_row(head, log_batch, waiting, index);
        Ok(())
    }

    /// Whether all rows of its part were looked for in the tables as they are now.
    fn was_asked(&self, waiting: &Waiting) -> bool {
        waiting.asked.as_ref().is_some_and(|asked| asked.is_of(self.warm.changes()))
    }

    /// The row that a partial write is laid over, with its values out of the archive where they count and the tables
    /// have only a stub.
    ///
    /// # Errors
    /// `None`: they are on their way.
    fn newest_whole(
        &mut self,
        view: &View,
        entity_hash: u64,
        key: &[u8],
        watermark: Option<i64>,
        row: &RowWrite,
        now_us: i64,
    ) -> Result<Option<Base>, Option<Refusal>> {
        let row_hash = self.state.row_hash(entity_hash, view.id);
        let base = self.newest(view, row_hash, key, watermark)?;
        let counts = |base: &&Base| {
            let is_late = base.is_newer_than(row.event_time, row.created_time);
            base.is_stub() && base.is_live(now_us) && !is_late
        };
        let Some(stub) = base.as_ref().filter(counts) else { return Ok(base) };
        if is_planted(Bug::MergeOntoNothing) {
            return Ok(None);
        }
        self.whole_base(stub, view, entity_hash, key).map(Some)
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
        let applied = self.state.with_newest(view, row_hash, key, |newest| match newest {
            Newest::Row(row) => Ok(Some(Base::of(&row))),
            Newest::Absent | Newest::Below => Ok(None),
            Newest::Unreadable(_) => Err(Refusal::CorruptBase),
        })?;
        let newest = self.pending.newest(row_hash, key, applied);
        // What is past `keep_for` may be gone from the tables or not: neither may show.
        let keep_for_us = view.latest.definition.tiers.keep_for_us;
        let is_past = |base: &Base| is_past(base.event_time(), keep_for_us, watermark);
        Ok(newest.filter(|base| !base.is_reset(watermark) && !is_past(base)))
    }
}

/// The view of a row whose schema is one of its.
fn view_of<'c>(row: &RowWrite, catalogue: &'c Catalogue) -> Option<&'c View> {
    let view = catalogue.view_by_id(row.view_id)?;
    view.schema_ids().contains(&row.schema_id.0).then_some(view)
}

/// What record a row becomes, and its event time, created time and expiry: an erase has none of them.
fn kind_and_times(
    row: &RowWrite,
    verdict: Option<Verdict>,
    watermark: Option<i64>,
) -> (RecordKind, (i64, i64, i64)) {
    let event_time = match verdict {
        // A row that is put aside is no news of the world: were its time the clock's, every row of a store of old
        // data would be past its `keep_for`.
        Some(Verdict::Quarantine { .. }) => watermark.unwrap_or(row.event_time),
        Some(Verdict::Refuse { .. }) | None => row.event_time,
    };
    let times = (event_time, row.created_time, row.expire_at);
    match row.kind {
        WriteKind::Erase => (RecordKind::Erase, (NO_TIME, NO_TIME, NO_TIME)),
        WriteKind::Delete => (RecordKind::Tombstone, times),
        WriteKind::Put | WriteKind::Partial { .. } => (RecordKind::Put, times),
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
