//! Which rows lie in a table of the warm tier: read through once, remembered as long as the table is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thermae_env::File;
use thermae_formats::ViewId;
use thermae_formats::hash::partition_of;
use thermae_formats::table::TableKind;
use thermae_tiering::WarmError;
use thermae_tiering::table::{Table, TableScan};

/// Rows looked at in one step.
const STEP_ROWS: usize = 16 << 10;
/// Bytes read at a time.
const SCAN_BYTES: usize = 256 << 10;

/// The rows of one view and partition in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Least and greatest sequence.
    pub sequences: (u64, u64),
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that a rewrite of the table may leave out or make stubs of, by their age.
    pub movable: Movable,
}

/// Rows by their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movable {
    /// Least and greatest event time, microseconds UTC; the greatest is the lesser one without rows.
    pub event_times: (i64, i64),
    /// Their bytes.
    pub bytes: u64,
}

impl Default for Movable {
    fn default() -> Self {
        Self { event_times: (i64::MAX, i64::MIN), bytes: 0 }
    }
}

/// What lies in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// By view and partition.
    pub extents: BTreeMap<(ViewId, u16), Extent>,
    /// What of it cannot be read, if anything.
    pub unread: Option<Unread>,
}

/// What of a table cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Views and partitions of which rows may lie there.
    pub places: BTreeSet<(ViewId, u16)>,
    /// What is wrong where it begins.
    pub why: String,
}

impl Extent {
    /// Bytes of rows from the sequence `from` on, up to `to`, taken to lie evenly.
    pub fn bytes_between(&self, from: u64, to: u64) -> u64 {
        let (least, greatest) = self.sequences;
        let (begin, end) = (from.max(least), to.min(greatest.saturating_add(1)));
        if begin >= end {
            return 0;
        }
        share(self.bytes, end - begin, greatest - least + 1).max(1)
    }
}

impl Movable {
    fn add(&mut self, event_time: i64, bytes: u64) {
        let (oldest, newest) = self.event_times;
        self.event_times = (oldest.min(event_time), newest.max(event_time));
        self.bytes += bytes;
    }

    /// Bytes of rows of an event time before `before_us`, taken to lie evenly.
    pub fn bytes_before(&self, before_us: i64) -> u64 {
        let (oldest, newest) = self.event_times;
        if newest < before_us {
            return self.bytes;
        }
        let part = before_us.saturating_sub(oldest).max(0).unsigned_abs();
        share(self.bytes, part, newest.abs_diff(oldest).max(1))
    }
}

fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let of = u128::from(bytes) * u128::from(part.min(whole)) / u128::from(whole.max(1));
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// A look through a table.
pub struct Survey<F> {
    scan: TableScan<F>,
    partitions: u16,
    kind: TableKind,
    contents: Contents,
}

impl<F: File> Survey<F> {
    /// Before the first row.
    pub fn new(table: &Arc<Table<F>>, partitions: u16) -> Self {
        let (scan, kind) = (table.scan_by(SCAN_BYTES), table.about().kind);
        Self { scan, partitions, kind, contents: Contents::default() }
    }

    /// Looks at some rows; what lies in the table, when all were looked at. Blocks that cannot be read are left out,
    /// and told.
    pub fn step(&mut self) -> Option<Contents> {
        for _ in 0..STEP_ROWS {
            let row = match self.scan.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Some(std::mem::take(&mut self.contents)),
                Err(error) => {
                    self.leave_out(&error);
                    continue;
                }
            };
            // What a stub stands for is in the archive.
            if row.version.is_stub() {
                continue;
            }
            let (sequence, bytes) = (row.version.sequence, row.version.encoded_bytes() as u64);
            let place = (row.view, partition_of(row.entity_hash, self.partitions));
            let extent = self.contents.extents.entry(place).or_insert(Extent {
                sequences: (sequence, sequence),
                bytes: 0,
                movable: Movable::default(),
            });
            extent.bytes += bytes;
            let (least, greatest) = extent.sequences;
            extent.sequences = (least.min(sequence), greatest.max(sequence));
            // The newest of a key stays where it is a tombstone.
            if self.kind == TableKind::History || !row.version.is_tombstone() {
                extent.movable.add(row.version.event_time, bytes);
            }
        }
        None
    }

    /// Notes whose rows may lie in the block that could not be read.
    fn leave_out(&mut self, error: &WarmError) {
        let (view, hashes) = self.scan.present_block();
        let unread = self
            .contents
            .unread
            .get_or_insert_with(|| Unread { why: error.to_string(), ..Unread::default() });
        let of = |hash: &u64| partition_of(*hash, self.partitions);
        let partitions = of(hashes.start())..=of(hashes.end());
        unread.places.extend(partitions.map(|partition| (view, partition)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_part_are_estimated_evenly_and_never_none_where_there_is_a_row() {
        let movable = Movable { event_times: (100, 200), bytes: 1_000 };
        let extent = Extent { sequences: (10, 19), bytes: 1_000, movable };
        assert_eq!(extent.bytes_between(0, 100), 1_000);
        assert_eq!(extent.bytes_between(15, 100), 500);
        assert_eq!(extent.bytes_between(0, 10), 0);
        assert_eq!(extent.bytes_between(20, 99), 0);
        let thin = Extent { bytes: 3, ..extent };
        assert_eq!(thin.bytes_between(19, 20), 1);
        assert_eq!(movable.bytes_before(100), 0);
        assert_eq!(movable.bytes_before(150), 500);
        assert_eq!(movable.bytes_before(201), 1_000);
        let one = Movable { event_times: (7, 7), ..movable };
        assert_eq!((one.bytes_before(7), one.bytes_before(8)), (0, 1_000));
        assert_eq!(Movable::default().bytes_before(i64::MAX), 0);
    }
}
