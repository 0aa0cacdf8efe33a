//! What an erase makes of a shard's state, and the erases that are pending.

use std::sync::Arc;

use thermae_formats::batch::Record;
use thermae_formats::catalogue::ViewId;
use thermae_formats::checkpoint::{CheckpointErase, CheckpointPartition};
use thermae_formats::hash;
use thermae_formats::version::Version;
use thermae_tiering::erase::{PendingErase, PendingErases};
use thermae_tiering::memtable::Marks;
use thermae_tiering::merge::is_past;

use super::{ApplyError, Current, Place, ShardState};
use crate::fetch::Fetched;

/// Memory that marks the rows that are erased: some thousand are told apart from the others.
const MARKS_BYTES: usize = 8 << 10;

/// Marks of no row.
pub(super) fn no_marks() -> Arc<Marks> {
    Arc::new(Marks::of_bytes(MARKS_BYTES))
}

impl ShardState {
    /// What was erased and may still lie somewhere.
    pub fn erases(&self) -> &Arc<PendingErases> {
        &self.erases
    }

    /// Marks of the rows that are erased, for readers.
    pub fn erased_marks(&self) -> &Arc<Marks> {
        &self.erased_marks
    }

    /// Hides a row from now on.
    pub fn add_erase(&mut self, erase: PendingErase) {
        self.erased_marks.set(self.row_hash(erase.entity_hash, erase.view));
        Arc::make_mut(&mut self.erases).insert(erase);
    }

    /// Says which round of removal the pending erases are in.
    pub fn set_erase_round(&mut self, round: u64) {
        Arc::make_mut(&mut self.erases).round = round;
    }

    /// Nothing of some rows is left anywhere. Marks are made anew: show them.
    pub fn end_erases(&mut self, done: &PendingErases) {
        Arc::make_mut(&mut self.erases).remove_all(done);
        self.erased_marks = no_marks();
        for erase in self.erases.iter() {
            self.erased_marks.set(self.row_hash(erase.entity_hash, erase.view));
        }
    }

    /// Whether a version was erased.
    pub fn is_erased(&self, view: ViewId, entity_hash: u64, version: &Version<'_>) -> bool {
        self.erases.hides(view, entity_hash, version)
    }

    /// What the tables said of a row, but for what was erased. A row that is erased there is the newest in
    /// them, and all below it came before it.
    pub fn unless_erased(&self, view: ViewId, entity_hash: u64, found: Fetched) -> Fetched {
        match &found {
            Fetched::Row(row)
                if row.get().is_some_and(|row| self.is_erased(view, entity_hash, &row)) =>
            {
                Fetched::Absent
            }
            _ => found,
        }
    }

    /// Takes a row away as if it had never been, and remembers that whatever is left of it is hidden.
    pub(super) fn apply_erase(
        &mut self,
        place: &Place<'_>,
        record: &Record<'_>,
        current: Option<Current>,
    ) -> Result<(), ApplyError> {
        let Place { view, entity_hash, row_hash } = *place;
        // Before it leaves the hot table: whoever misses it there sees its mark, and takes it from no table.
        self.add_erase(PendingErase {
            view: view.id,
            entity_hash,
            key: record.key.into(),
            sequence: record.sequence,
        });
        let removed = self.hot.remove(row_hash, view.schema_ids(), record.key);
        removed.map_err(ApplyError::Hot)?;
        self.bases.forget(row_hash);
        let keep_for_us = view.latest.definition.tiers.keep_for_us;
        let watermark = self.watermark(record.partition);
        // A row past `keep_for` may be gone from the tables or not: neither may show.
        let current = current.filter(|row| !is_past(row.event_time, keep_for_us, watermark));
        let partition = self.partitions.get_mut(usize::from(record.partition));
        if let (Some(current), Some(Some(partition))) = (current, partition) {
            partition.remove_row_digest(current.digest);
            if current.is_live {
                partition.count(view.id, -1, -current.bytes);
            }
        }
        self.note_applied(record);
        Ok(())
    }

    /// Adds what is pending to the checkpoints of its partitions.
    pub(super) fn add_erases(&self, checkpoints: &mut [CheckpointPartition]) {
        let partitions = self.partitions();
        for erase in self.erases.iter() {
            let number = hash::partition_of(erase.entity_hash, partitions);
            if let Some(of) = checkpoints.iter_mut().find(|of| of.number == number) {
                let (view_id, sequence, key) = (erase.view, erase.sequence, erase.key.to_vec());
                of.erases.push(CheckpointErase { view_id, sequence, key });
            }
        }
        for of in checkpoints {
            of.erases.sort_unstable_by_key(|erase| erase.sequence);
        }
    }

    /// Takes over what was pending when a checkpoint was taken.
    pub(super) fn restore_erases(&mut self, erases: &[CheckpointErase]) {
        for CheckpointErase { view_id, sequence, key } in erases {
            let (view, entity_hash) = (*view_id, self.entity_hash(key));
            let (key, sequence) = (key.as_slice().into(), *sequence);
            self.add_erase(PendingErase { view, entity_hash, key, sequence });
        }
    }
}
