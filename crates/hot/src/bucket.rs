//! One bucket of the index: reading it whole, and changing it while it is read.
//!
//! A *hit* needs no care here: the row it leads to proves itself (key, checksum, word 0). A *miss* does:
//! "absent" must not be said because an entry moved while the reader looked. So:
//!
//! * The writer makes the version of a bucket odd before it changes a lane, and even after; and every
//!   change to an entry, wherever the entry lies, also steps the version of the entry's **home** bucket.
//! * A reader that finds nothing checks that each bucket it read had one even version throughout, and
//!   that its words fold to the parity in the header; then that the home bucket is still unchanged, now
//!   that all is read; then that the directory still names the same segment. Otherwise it looks again.
//!
//! Why that is enough: were the key's entry in the table during the whole look-up and yet unseen, then it
//! was changed between the reader's loads of two places, or the cell moved to another segment. The first
//! stepped the home's version before any lane changed (a release fence lies between, and the reader's
//! acquire fence after its loads pairs with it); the second changed the directory before the old
//! segment's lanes were cleared. Either shows when it is checked again. A parity that is wrong while the
//! version stands still is damage, not a race.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, BucketHeader, LANES, LINK_LANE, bucket_is_whole,
};

use crate::sync::{AtomicU64, fence};

/// A copy of a bucket's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) header: BucketHeader,
    pub(crate) lanes: [u64; LANES],
}

/// Whether a bucket stood still while it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It did, and its parity holds.
    Whole,
    /// Somebody is changing it.
    Changing,
    /// It did, and its parity does not hold.
    Damaged,
}

impl Snapshot {
    /// Copies the bucket at `bucket` (a position); none outside the map.
    #[inline]
    pub(crate) fn load(words: &[AtomicU64], bucket: usize) -> Option<Snapshot> {
        let [header, lanes @ ..]: &[AtomicU64; BUCKET_WORDS] =
            words.get(bucket..bucket + BUCKET_WORDS)?.try_into().ok()?;
        let header = BucketHeader(header.load(Ordering::Acquire));
        let lanes = std::array::from_fn(|lane| lanes[lane].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        Some(Snapshot { header, lanes })
    }

    /// Checks the copy against the bucket as it is now.
    #[inline]
    pub(crate) fn standing(&self, words: &[AtomicU64], bucket: usize) -> Standing {
        if self.header.is_changing() || self.has_changed(words, bucket) {
            return Standing::Changing;
        }
        let all = self.lanes.iter().fold(self.header.0, |sum, lane| sum ^ lane);
        if bucket_is_whole(all) { Standing::Whole } else { Standing::Damaged }
    }

    /// Whether the header differs from the copy by now.
    #[inline]
    pub(crate) fn has_changed(&self, words: &[AtomicU64], bucket: usize) -> bool {
        fence(Ordering::Acquire);
        words.get(bucket).is_none_or(|header| header.load(Ordering::Relaxed) != self.header.0)
    }

    /// Position of the next overflow bucket, if there is one.
    #[inline]
    pub(crate) fn next(&self) -> Option<usize> {
        self.header.is_chained().then_some(self.lanes[LINK_LANE] as usize)
    }

    /// Lanes that hold entries or are free.
    #[inline]
    pub(crate) fn entries(&self) -> &[u64] {
        if self.header.is_chained() { &self.lanes[..LINK_LANE] } else { &self.lanes }
    }

    /// A free lane.
    pub(crate) fn free_lane(&self) -> Option<usize> {
        self.entries().iter().position(|&lane| lane == 0)
    }
}

/// The writer's hand on one bucket: its version is odd until `close`.
pub(crate) struct Open<'a> {
    header: &'a AtomicU64,
    lanes: &'a [AtomicU64],
    pending: BucketHeader,
}

impl<'a> Open<'a> {
    /// Opens the bucket at `bucket`; none outside the map.
    pub(crate) fn new(words: &'a [AtomicU64], bucket: usize) -> Option<Open<'a>> {
        let (header, lanes) = words.get(bucket..bucket + BUCKET_WORDS)?.split_first()?;
        let pending = BucketHeader(header.load(Ordering::Relaxed)).stepped();
        header.store(pending.0, Ordering::Relaxed);
        fence(Ordering::Release);
        Some(Open { header, lanes, pending })
    }

    /// Stores a lane.
    pub(crate) fn set(&mut self, lane: usize, value: u64) {
        let Some(word) = self.lanes.get(lane) else { return };
        let old = word.load(Ordering::Relaxed);
        word.store(value, Ordering::Relaxed);
        self.pending = self.pending.with_lane_changed(old, value);
        #[cfg(test)]
        crate::hooks::at_write();
    }

    /// Changes what the header says beside version and parity.
    pub(crate) fn set_header(&mut self, change: impl FnOnce(BucketHeader) -> BucketHeader) {
        self.pending = change(self.pending);
    }

    /// Makes the changes valid.
    pub(crate) fn close(self) {
        self.header.store(self.pending.stepped().0, Ordering::Release);
        #[cfg(test)]
        crate::hooks::at_write();
    }
}
