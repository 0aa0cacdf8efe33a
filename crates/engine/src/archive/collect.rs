//! The rows of a batch, taken out of tables a few at a time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::{Env, give_way};
use thermae_formats::ViewId;
use thermae_formats::hash::{SLOTS, partition_of};
use thermae_tiering::WarmError;
use thermae_tiering::cold::Batch;
use thermae_tiering::erase::PendingErases;
use thermae_tiering::table::{Scratch, Table, ViewRows};

/// Rows taken in one step.
const STEP_ROWS: usize = 16 << 10;
/// Bytes read at a time.
const SCAN_BYTES: usize = 256 << 10;
/// What taking a row takes, nanoseconds, about.
const ROW_NS: u32 = 200;

/// A batch that is being filled.
pub struct Collect<E: Env> {
    /// What there is of it.
    pub batch: Batch,
    view: ViewId,
    /// Of the partitions of the batch and no others: what is damaged of another one is not met.
    hashes: Vec<RangeInclusive<u64>>,
    /// Those that are still to be read, and their numbers.
    tables: Vec<(u64, Arc<Table<E::File>>)>,
    /// Ranges of hashes that are still to be read of the last of them.
    left: Vec<RangeInclusive<u64>>,
    reading: Option<u64>,
    rows: Option<ViewRows<E::File>>,
    scratch: Scratch,
    erases: Arc<PendingErases>,
}

impl<E: Env> Collect<E> {
    /// An empty batch, to be filled from `tables` with all but what is erased.
    pub fn new(
        batch: Batch,
        partitions: u16,
        tables: Vec<(u64, Arc<Table<E::File>>)>,
        erases: Arc<PendingErases>,
    ) -> Self {
        let view = batch.columns().view();
        let hashes = runs(batch.advances().keys().copied())
            .map(|(first, last)| hashes_of(first, last, partitions))
            .collect();
        let (left, reading, rows, scratch) = (Vec::new(), None, None, Scratch::new());
        Self { batch, view, hashes, tables, left, reading, rows, scratch, erases }
    }

    /// Number of the table that is being read.
    pub const fn reading(&self) -> Option<u64> {
        self.reading
    }

    /// Takes some rows; true when all are there.
    ///
    /// # Errors
    /// A table cannot be read; the batch is of no use then.
    pub fn step(&mut self) -> Result<bool, WarmError> {
        let Some(rows) = &mut self.rows else {
            let Some((id, table)) = self.tables.last() else { return Ok(true) };
            if self.reading != Some(*id) {
                (self.reading, self.left) = (Some(*id), self.hashes.clone());
            }
            let Some(hashes) = self.left.pop() else {
                self.tables.pop();
                return Ok(false);
            };
            self.rows = table.view_rows(self.view, &hashes, SCAN_BYTES);
            if let Some(rows) = &mut self.rows {
                rows.seek(*hashes.start(), &[], &mut self.scratch)?;
            }
            return Ok(false);
        };
        for _ in 0..STEP_ROWS {
            give_way(ROW_NS);
            let Some((entity_hash, version)) = rows.peek() else {
                self.rows = None;
                return Ok(false);
            };
            // A stub is of a row that is archived.
            if !version.is_stub() && !self.erases.hides(self.view, entity_hash, &version) {
                self.batch.push(entity_hash, &version);
            }
            rows.advance(&mut self.scratch)?;
        }
        Ok(false)
    }
}

/// First and last of those that follow each other, out of ascending ones.
fn runs(partitions: impl Iterator<Item = u16>) -> impl Iterator<Item = (u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for partition in partitions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == partition => *last = partition,
            _ => runs.push((partition, partition)),
        }
    }
    runs.into_iter()
}

/// Entity hashes of the partitions from `first` to `last`.
fn hashes_of(first: u16, last: u16, partitions: u16) -> RangeInclusive<u64> {
    let slots = (0..SLOTS).map(|slot| u64::from(slot) << 52);
    let within = |begin: &u64| (first..=last).contains(&partition_of(*begin, partitions));
    let mut slots = slots.filter(within);
    let begin = slots.next().unwrap_or(0);
    let end = slots.next_back().unwrap_or(begin);
    begin..=(end | ((1 << 52) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_the_partitions_and_no_others() {
        for partitions in [1, 3, 64, 4096] {
            for (first, last) in [(0, 0), (0, partitions - 1), (partitions / 2, partitions / 2)] {
                let hashes = hashes_of(first, last, partitions);
                let (begin, end) = (*hashes.start(), *hashes.end());
                assert_eq!(partition_of(begin, partitions), first);
                assert_eq!(partition_of(end, partitions), last);
                let outside = [begin.checked_sub(1), end.checked_add(1)];
                for hash in outside.into_iter().flatten() {
                    assert!(!(first..=last).contains(&partition_of(hash, partitions)));
                }
            }
        }
    }
}
