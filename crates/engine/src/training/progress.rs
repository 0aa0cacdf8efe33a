//! How far a training read is, and the way to end it early.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::TrainingError;

/// Shared between a training read and whoever watches it. All of it is for information, nothing hangs on
/// its order: relaxed atomics.
#[derive(Debug, Default)]
pub struct Progress {
    known: AtomicU64,
    read: AtomicU64,
    to_join: AtomicU64,
    joined: AtomicU64,
    answered: AtomicU64,
    is_cancelled: AtomicBool,
}

/// How far a training read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Rows of the spine, as it tells beforehand or as far as it has been read.
    pub rows: u64,
    /// Rows that have been read.
    pub read: u64,
    /// Entries to be joined, one for each row and each set of join keys that is not null in it.
    pub to_join: u64,
    /// Entries that have been joined.
    pub joined: u64,
    /// Rows that have been answered.
    pub answered: u64,
}

impl Progress {
    /// Not begun yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the read soon, with [`TrainingError::Cancelled`].
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// How far it is now.
    pub fn steps(&self) -> Steps {
        let [known, read, to_join, joined, answered] =
            [&self.known, &self.read, &self.to_join, &self.joined, &self.answered]
                .map(|count| count.load(Ordering::Relaxed));
        Steps { rows: known.max(read), read, to_join, joined, answered }
    }

    pub(super) fn check(&self) -> Result<(), TrainingError> {
        if self.is_cancelled.load(Ordering::Relaxed) {
            return Err(TrainingError::Cancelled);
        }
        Ok(())
    }

    pub(super) fn know(&self, rows: u64) {
        self.known.store(rows, Ordering::Relaxed);
    }

    pub(super) fn add_read(&self, rows: u64, entries: u64) {
        self.read.fetch_add(rows, Ordering::Relaxed);
        self.to_join.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn add_joined(&self, entries: u64) {
        self.joined.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn add_answered(&self, rows: u64) {
        self.answered.fetch_add(rows, Ordering::Relaxed);
    }
}

impl Steps {
    /// The part that is done, between 0 and 1: the three passes count alike.
    pub fn part_done(&self) -> f64 {
        let part = |done: u64, of: u64| if of == 0 { 0.0 } else { done as f64 / of as f64 };
        let joined = part(self.joined, self.to_join) * part(self.read, self.rows);
        (part(self.read, self.rows) + joined + part(self.answered, self.rows)) / 3.0
    }
}
