//! Parts of null: of a batch by itself, and of small batches over the last rows, which any number of threads count
//! without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// A batch of so many rows is judged by itself; fewer are judged with those before them, and as if they were so many
/// at least: one null among the first three rows says nothing.
pub(super) const BATCH_ROWS: u64 = 100;
/// Rows of one half of the window.
const HALF_ROWS: u64 = 1_000;

/// Rows and nulls of the last one to two thousand rows: a half that fills, and the full one before it.
#[derive(Debug, Default)]
pub(super) struct Window {
    filling: AtomicU64,
    full: AtomicU64,
}

impl Window {
    /// What it has now.
    pub fn recent(&self) -> Recent {
        let read = |half: &AtomicU64| unpack(half.load(Ordering::Relaxed));
        let (filling, full) = (read(&self.filling), read(&self.full));
        Recent { rows: filling.0 + full.0, nulls: filling.1 + full.1 }
    }

    /// Counts a batch, and says whether more than `rate` is null.
    pub fn exceeds(&self, rate: f64, rows: u64, nulls: u64) -> bool {
        let added = pack(rows, nulls);
        // Rows and nulls are one word, so that they always belong together.
        let before = self.filling.fetch_add(added, Ordering::Relaxed);
        let now = unpack(before.wrapping_add(added));
        let full = unpack(self.full.load(Ordering::Relaxed));
        if unpack(before).0 < HALF_ROWS && now.0 >= HALF_ROWS {
            let filled = self.filling.swap(0, Ordering::Relaxed);
            self.full.store(filled, Ordering::Relaxed);
        }
        let (rows, nulls) = match rows {
            BATCH_ROWS.. => (rows, nulls),
            _ => ((now.0 + full.0).max(BATCH_ROWS), now.1 + full.1),
        };
        nulls as f64 > rate * rows as f64
    }
}

/// Rows and nulls that a window has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recent {
    /// Rows, at most one to two thousand and the last batch.
    pub rows: u64,
    /// Those that were null.
    pub nulls: u64,
}

/// Batches are far smaller than what a word holds.
fn pack(rows: u64, nulls: u64) -> u64 {
    (rows.min(u64::from(u32::MAX >> 2)) << 32) | nulls.min(u64::from(u32::MAX >> 2))
}

fn unpack(word: u64) -> (u64, u64) {
    (word >> 32, word & u64::from(u32::MAX))
}
