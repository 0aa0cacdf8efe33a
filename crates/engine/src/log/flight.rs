//! The watermarks of a log: which batches are assigned, written, durable. Pure accounting, no I/O.
//!
//! A batch is *written* once it and all before it have completed their direct write. It is *durable*
//! once, besides, it and all before it were either written synchronously or covered by a later sync
//! of their file. Batches of one log may complete in any order; the watermarks never show a hole.

use std::collections::VecDeque;

/// One batch whose write was issued.
#[derive(Clone, Copy, Debug)]
struct Issued {
    batch: u64,
    segment: u32,
    offset: u64,
    is_done: bool,
}

/// A batch that was written without being durable by itself.
#[derive(Clone, Copy, Debug)]
struct Unsynced {
    batch: u64,
    segment: u32,
}

/// A sync to be made: of which segment, and which batch it will have made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncJob {
    pub(super) segment: u32,
    pub(super) through: u64,
}

/// Watermarks and what is under way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    assigned: u64,
    written: u64,
    durable: u64,
    issued: VecDeque<Issued>,
    unsynced: VecDeque<Unsynced>,
    sync: Option<SyncJob>,
    /// Batches up to this one are wanted durable soon.
    wanted: u64,
}

impl Flight {
    pub(super) const fn assigned(&self) -> u64 {
        self.assigned
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Batch writes not yet completed.
    pub(super) fn in_flight(&self) -> usize {
        self.issued.iter().filter(|issued| !issued.is_done).count()
    }

    /// Whether some batch is not durable by its own write.
    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Oldest segment with batches that still need a sync.
    pub(super) fn oldest_unsynced_segment(&self) -> Option<u32> {
        self.unsynced.front().map(|unsynced| unsynced.segment)
    }

    /// Segment and offset of a batch that is not counted as written yet.
    pub(super) fn place_of(&self, batch: u64) -> Option<(u32, u64)> {
        let issued = self.issued.iter().find(|issued| issued.batch == batch)?;
        Some((issued.segment, issued.offset))
    }

    /// Takes the next batch number for a write into `segment` at `offset`. Returns it and whether the write must
    /// be synchronous. A durable batch behind unsynced ones is not: the one sync that they need
    /// anyway covers it as well, and it may not count before them.
    pub(super) fn issue(&mut self, segment: u32, offset: u64, is_durable: bool) -> (u64, bool) {
        self.assigned += 1;
        let batch = self.assigned;
        self.issued.push_back(Issued { batch, segment, offset, is_done: false });
        let is_sync = is_durable && self.unsynced.is_empty();
        if !is_sync {
            self.unsynced.push_back(Unsynced { batch, segment });
        }
        if is_durable {
            self.wanted = batch;
        }
        (batch, is_sync)
    }

    /// The write of `batch` has completed.
    pub(super) fn complete(&mut self, batch: u64) {
        for issued in &mut self.issued {
            if issued.batch == batch {
                issued.is_done = true;
            }
        }
        while let Some(first) = self.issued.front().filter(|issued| issued.is_done) {
            self.advance_written(first.batch);
            self.issued.pop_front();
        }
        self.advance_durable();
    }

    /// The sync to start now, if one is wanted (or `is_due`), possible, and none is under way.
    pub(super) fn begin_sync(&mut self, is_due: bool) -> Option<SyncJob> {
        let first = *self.unsynced.front()?;
        let is_wanted = is_due || self.wanted >= first.batch;
        if self.sync.is_some() || first.batch > self.written || !is_wanted {
            return None;
        }
        // A sync covers one file, and only what had completed before it started.
        let covered = |unsynced: &&Unsynced| {
            unsynced.segment == first.segment && unsynced.batch <= self.written
        };
        let through = self.unsynced.iter().take_while(covered).last()?.batch;
        self.sync = Some(SyncJob { segment: first.segment, through });
        self.sync
    }

    /// The sync under way has succeeded.
    pub(super) fn end_sync(&mut self) {
        if let Some(job) = self.sync.take() {
            while self.unsynced.front().is_some_and(|unsynced| unsynced.batch <= job.through) {
                self.unsynced.pop_front();
            }
            self.advance_durable();
        }
    }

    fn advance_written(&mut self, to: u64) {
        assert!(self.written < to && to <= self.assigned, "written must grow and stay assigned");
        self.written = to;
    }

    fn advance_durable(&mut self) {
        let unsynced = self.unsynced.front().map_or(u64::MAX, |unsynced| unsynced.batch);
        let to = self.written.min(unsynced - 1);
        assert!(self.durable <= to && to <= self.written, "durable must grow and stay written");
        self.durable = to;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn marks(flight: &Flight) -> (u64, u64, u64) {
        (flight.assigned(), flight.written(), flight.durable())
    }

    #[test]
    fn completions_out_of_order_leave_no_hole() {
        let mut flight = Flight::default();
        for _ in 0..3 {
            assert!(flight.issue(0, 4096, true).1);
        }
        flight.complete(2);
        flight.complete(3);
        assert_eq!(marks(&flight), (3, 0, 0));
        assert_eq!(flight.in_flight(), 1);
        flight.complete(1);
        assert_eq!(marks(&flight), (3, 3, 3));
    }

    #[test]
    fn a_logged_batch_is_written_but_not_durable_until_a_sync_that_started_after_it() {
        let mut flight = Flight::default();
        assert_eq!(flight.issue(0, 4096, false), (1, false));
        assert_eq!(flight.begin_sync(true), None, "not written yet");
        flight.complete(1);
        assert_eq!(marks(&flight), (1, 1, 0));
        assert_eq!(flight.begin_sync(false), None, "nobody wants it yet");
        assert_eq!(flight.begin_sync(true), Some(SyncJob { segment: 0, through: 1 }));
        flight.issue(0, 4096, false);
        flight.complete(2);
        assert_eq!(flight.begin_sync(true), None, "one at a time");
        flight.end_sync();
        assert_eq!(marks(&flight), (2, 2, 1), "batch 2 came after the sync had started");
        assert!(flight.begin_sync(true).is_some());
        flight.end_sync();
        assert_eq!(marks(&flight), (2, 2, 2));
    }

    #[test]
    fn a_durable_batch_behind_a_logged_one_waits_for_the_sync_of_both() {
        let mut flight = Flight::default();
        flight.issue(0, 4096, false);
        assert_eq!(flight.issue(0, 4096, true), (2, false), "the sync will cover it");
        flight.complete(2);
        assert_eq!((marks(&flight), flight.begin_sync(false)), ((2, 0, 0), None));
        flight.complete(1);
        assert_eq!(marks(&flight), (2, 2, 0));
        assert_eq!(flight.begin_sync(false), Some(SyncJob { segment: 0, through: 2 }));
        flight.end_sync();
        assert_eq!(marks(&flight), (2, 2, 2));
        assert_eq!(flight.issue(0, 4096, true), (3, true), "nothing unsynced is left");
    }

    #[test]
    fn the_old_file_is_synced_before_a_batch_in_the_new_one_counts() {
        let mut flight = Flight::default();
        flight.issue(0, 4096, false);
        flight.issue(1, 4096, true);
        flight.complete(1);
        flight.complete(2);
        assert_eq!(flight.begin_sync(false), Some(SyncJob { segment: 0, through: 1 }));
        flight.end_sync();
        assert_eq!(marks(&flight), (2, 2, 1));
        assert_eq!(flight.begin_sync(false), Some(SyncJob { segment: 1, through: 2 }));
        flight.end_sync();
        assert_eq!(marks(&flight), (2, 2, 2));
    }
}
