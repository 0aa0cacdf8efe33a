//! How many rows found what, view by view.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the rows of a spine found in one view; those not counted here found nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows with a version to be served.
    pub present: u64,
    /// Rows whose newest version was older than the view's TTL.
    pub outside_max_age: u64,
}

/// A tally that threads add theirs to.
#[derive(Debug, Default)]
pub(super) struct SharedTally {
    present: AtomicU64,
    outside_max_age: AtomicU64,
}

impl SharedTally {
    pub fn add(&self, tally: Tally) {
        self.present.fetch_add(tally.present, Ordering::Relaxed);
        self.outside_max_age.fetch_add(tally.outside_max_age, Ordering::Relaxed);
    }

    /// What it is once all threads are done.
    pub fn into_tally(self) -> Tally {
        Tally {
            present: self.present.into_inner(),
            outside_max_age: self.outside_max_age.into_inner(),
        }
    }
}
