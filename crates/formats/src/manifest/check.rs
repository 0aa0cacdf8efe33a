//! What no writer writes, though a checksum holds over it.

use std::collections::{BTreeMap, BTreeSet};

use super::{LogStart, MAX_PARTITIONS, Manifest, ManifestError, SealedLog, Tree};
use crate::batch::genesis;
use crate::segment::{SEGMENT_HEADER_BYTES, valid_segment_bytes};
use crate::table::{TableKind, TableRef};

const HEADER: u64 = SEGMENT_HEADER_BYTES as u64;
/// Tables are made of pages of this many bytes.
const PAGE_BYTES: u64 = 4096;

impl Manifest {
    /// Whether a manifest like this may be written.
    ///
    /// # Errors
    /// [`ManifestError::Field`] names what is impossible.
    pub fn check(&self) -> Result<(), ManifestError> {
        let checks = [
            ((1..=MAX_PARTITIONS).contains(&self.partitions), "number of partitions"),
            (valid_segment_bytes(self.segment_bytes), "segment length"),
            (self.is_current_sound(), "list of present logs"),
            (self.is_sealed_sound(), "list of sealed logs"),
            (self.covered_epoch <= self.epoch_done(), "covered epoch"),
            (self.next_file_id > 0, "next file id"),
            (self.are_tables_sound(), "list of tables"),
            (self.are_trees_sound(), "list of trees"),
        ];
        match checks.iter().find(|(is_sound, _)| !is_sound) {
            Some((_, field)) => Err(ManifestError::Field(field)),
            None => Ok(()),
        }
    }

    /// The last epoch whose logs are not being written.
    const fn epoch_done(&self) -> u32 {
        match self.current.is_empty() {
            true => self.epoch,
            false => self.epoch.saturating_sub(1),
        }
    }

    fn is_current_sound(&self) -> bool {
        let is_sound = self.current.iter().enumerate().all(|(i, log)| {
            usize::from(log.shard) == i && log.start.is_sound(&self.store_id, self.epoch, log.shard)
        });
        is_sound && (self.epoch > 0 || self.current.is_empty())
    }

    fn is_sealed_sound(&self) -> bool {
        let place = |log: &SealedLog| (log.epoch, log.shard);
        let is_sound = |log: &SealedLog| {
            (1..=self.epoch_done()).contains(&log.epoch)
                && log.start.is_sound(&self.store_id, log.epoch, log.shard)
                && log.is_sound()
        };
        self.sealed.windows(2).all(|two| place(&two[0]) < place(&two[1]))
            && self.sealed.iter().all(is_sound)
    }

    fn are_tables_sound(&self) -> bool {
        let is_sound = |table: &TableRef| {
            self.is_given(table.file_id)
                && table.bytes > 0
                && table.bytes.is_multiple_of(PAGE_BYTES)
                && table.tombstones <= table.rows
                && table.min_event_time <= table.max_event_time
        };
        self.tables.windows(2).all(|two| two[0].file_id < two[1].file_id)
            && self.tables.iter().all(is_sound)
    }

    /// Whether a file may have that id.
    const fn is_given(&self, file_id: u64) -> bool {
        file_id > 0 && file_id < self.next_file_id
    }

    fn are_trees_sound(&self) -> bool {
        let kinds: BTreeMap<u64, TableKind> =
            self.tables.iter().map(|table| (table.file_id, table.kind)).collect();
        let mut listed = BTreeSet::new();
        let mut checkpoints = BTreeSet::new();
        for (at, tree) in self.trees.iter().enumerate() {
            let is_sound = usize::from(tree.shard) == at
                && is_list_sound(&tree.latest, TableKind::Latest, &kinds, &mut listed)
                && is_list_sound(&tree.history, TableKind::History, &kinds, &mut listed)
                && self.is_checkpoint_sound(tree, &kinds, &mut checkpoints);
            if !is_sound {
                return false;
            }
        }
        let may_differ = self.current.is_empty() || self.trees.is_empty();
        listed.len() == kinds.len()
            && self.trees.len() <= usize::from(self.partitions)
            && (may_differ || self.trees.len() == self.current.len())
    }

    fn is_checkpoint_sound(
        &self,
        tree: &Tree,
        kinds: &BTreeMap<u64, TableKind>,
        seen: &mut BTreeSet<u64>,
    ) -> bool {
        match tree.checkpoint {
            0 => tree.checkpoint_checksum == 0,
            id => self.is_given(id) && !kinds.contains_key(&id) && seen.insert(id),
        }
    }
}

/// Whether every id of a tree's list is that of a table of `kind`, none of them twice.
fn is_list_sound(
    list: &[u64],
    kind: TableKind,
    kinds: &BTreeMap<u64, TableKind>,
    listed: &mut BTreeSet<u64>,
) -> bool {
    let own: BTreeSet<u64> = list.iter().copied().collect();
    let is_sound = own.len() == list.len() && list.iter().all(|id| kinds.get(id) == Some(&kind));
    listed.extend(own);
    is_sound
}

impl LogStart {
    fn is_sound(&self, store_id: &[u8; 16], epoch: u32, shard: u16) -> bool {
        match self.segment {
            0 => {
                let is_nothing_before = self.batches == 0 && self.records == 0;
                is_nothing_before && self.chain == genesis(store_id, epoch, shard)
            }
            // At least the batch that closes it is in each segment before.
            segment => self.batches >= u64::from(segment),
        }
    }
}

impl SealedLog {
    fn is_sound(&self) -> bool {
        self.start.segment < self.segments
            && self.end_offset >= HEADER
            && self.end_offset.is_multiple_of(HEADER)
            && self.start.batches <= self.batches
            && self.start.records <= self.records
    }
}
