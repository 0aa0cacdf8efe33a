//! Giving segments back whose records are in the tables.
//!
//! In this order: the tables are durable, a manifest that begins the log later is durable, and only
//! then a segment below that beginning is touched. [`DurableStart`] is the proof: none but a
//! committed manifest makes one.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use thermae_env::{Env, Ring};
use thermae_formats::manifest::LogStart;
use thermae_formats::segment::SegmentName;

use super::super::DurableStart;
use super::{LogWriter, REMOVE_TOKEN, Stopping};

/// Time between two files given back: removing one may take the file system a while.
const PACE_NS: u64 = 1_000_000;

/// Where the segments of a log begin that are not given back yet.
#[derive(Debug)]
pub(super) struct Starts {
    /// One a segment, oldest first; the last is that of the present segment.
    list: VecDeque<LogStart>,
    /// Where the log begins by a durable manifest.
    named: LogStart,
    /// A segment that was given back and waits to be used again.
    spare: Option<u32>,
}

impl Starts {
    pub(super) fn new(first: LogStart) -> Self {
        Self { list: VecDeque::from([first]), named: first, spare: None }
    }

    pub(super) const fn named(&self) -> LogStart {
        self.named
    }

    pub(super) const fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// The oldest segment whose file was not given back.
    pub(super) fn first(&self) -> Option<u32> {
        self.list.front().map(|start| start.segment)
    }

    /// A further segment begins.
    pub(super) fn push(&mut self, start: LogStart) {
        assert!(
            self.list.back().is_none_or(|last| last.segment + 1 == start.segment),
            "segments are used in order"
        );
        self.list.push_back(start);
    }

    /// The newest start with every record before it in batches up to `batch`; never behind the one
    /// that is named.
    fn covering(&self, batch: u64) -> LogStart {
        // The last batch of a closed segment has no records: it need not be covered.
        let is_covered = |start: &&LogStart| start.batches.saturating_sub(1) <= batch;
        let newest = self.list.iter().rev().find(is_covered);
        newest.filter(|start| start.segment > self.named.segment).copied().unwrap_or(self.named)
    }

    /// Takes note of what a durable manifest names.
    fn name(&mut self, start: &LogStart) {
        if start.segment <= self.named.segment {
            return;
        }
        assert!(self.list.contains(start), "the manifest must name a start of this log");
        self.named = *start;
    }

    /// The oldest segment, if it may go: it is below the start that is named, and all of its batches
    /// up to `durable` have been written, so that no write may reach the file any more.
    fn free(&self, durable: u64) -> Option<u32> {
        let (oldest, second) = (self.list.front()?, self.list.get(1)?);
        (oldest.segment < self.named.segment && second.batches <= durable).then_some(oldest.segment)
    }
}

impl<E: Env> LogWriter<E> {
    /// Where this log may begin once every record in batches up to `batch` is in durable tables.
    pub fn start_covering(&self, batch: u64) -> LogStart {
        self.starts.covering(batch)
    }

    /// Gives the segments before `start` back, over the next ticks: one is kept to be used again, the
    /// files of the others are removed.
    ///
    /// # Panics
    /// `start` is of another log, or none that [`LogWriter::start_covering`] gave.
    pub fn free_before(&mut self, start: &DurableStart) {
        let header = &self.segment.header;
        assert_eq!(
            (start.epoch(), start.shard()),
            (header.epoch, header.shard),
            "only a log's own start frees its segments"
        );
        self.starts.name(start.start());
    }

    /// Segments whose files this log still has, the present one included.
    pub fn segments_kept(&self) -> usize {
        self.starts.list.len()
    }

    /// Gives one segment back, if one is free.
    pub(super) fn free_one(&mut self, ring: &mut E::Ring) {
        let Some(number) = self.starts.free(self.flight.durable()) else { return };
        self.starts.list.pop_front();
        self.stats.freed += 1;
        let path = self.path_of_number(number);
        if let Some(purge) = &mut self.purge {
            purge.files.push(path);
            return;
        }
        if self.starts.spare.is_none() && self.stopping == Stopping::No {
            self.starts.spare = Some(number);
            return;
        }
        self.removing += 1;
        ring.remove(REMOVE_TOKEN | u64::from(number), &path);
    }

    /// A file was removed, or would not go: it is free by the manifest, so that the next open removes it
    /// too, but a purge must not forget it.
    pub(super) fn on_removed(&mut self, number: u32, result: io::Result<()>) {
        self.removing -= 1;
        let Err(error) = result else { return };
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let path = self.path_of_number(number);
        self.purge.as_mut().map_or(&mut self.strays, |purge| &mut purge.files).push(path);
    }

    /// When the next segment is to be given back.
    pub(super) fn free_due_ns(&self, now_ns: u64) -> Option<u64> {
        self.starts.free(self.flight.durable()).map(|_| now_ns + PACE_NS)
    }

    /// The file to make the next segment of.
    pub(super) fn take_spare(&mut self) -> Option<PathBuf> {
        let path = self.take_spare_path();
        self.stats.recycled += u64::from(path.is_some());
        path
    }

    /// The file that waits to be used again: it does not any more.
    pub(super) fn take_spare_path(&mut self) -> Option<PathBuf> {
        let number = self.starts.spare.take()?;
        Some(self.path_of_number(number))
    }

    fn path_of_number(&self, number: u32) -> PathBuf {
        let header = &self.segment.header;
        let name = SegmentName { epoch: header.epoch, shard: header.shard, number };
        self.log_dir.join(name.to_string())
    }
}
