//! How the worker's time is shared between a flush and the merges that it makes necessary.

/// Most bytes to merge for one that is flushed. In the long run a byte is merged about as often; a flush
/// that got less of the time would hold writers up for longer than they wait.
const MOST: u64 = 4;

/// Flushes go first, but owe merges the more, the more runs lie above the newest merge at work: writers
/// are slowed by and by, through memtables that fill, and never stopped for as long as a merge takes.
#[derive(Debug, Default)]
pub(super) struct Shares {
    owed_bytes: u64,
}

impl Shares {
    /// Whether it is a merge's turn, if there is one.
    pub(super) fn is_merges_turn(&self) -> bool {
        self.owed_bytes > 0
    }

    /// A flush has worked on `bytes` while `runs` of which `settled_runs` may stay were free to be merged.
    pub(super) fn flushed(&mut self, bytes: u64, runs: usize, settled_runs: usize) {
        self.owed_bytes += bytes.saturating_mul(weight(runs, settled_runs));
    }

    /// A merge has worked on `bytes`.
    pub(super) fn merged(&mut self, bytes: u64) {
        self.owed_bytes = self.owed_bytes.saturating_sub(bytes);
    }

    /// There is nothing to merge.
    pub(super) fn forgive(&mut self) {
        self.owed_bytes = 0;
    }
}

/// Bytes to merge for one that is flushed: none while runs may stay, then as many as there are runs more.
fn weight(runs: usize, settled_runs: usize) -> u64 {
    (runs.saturating_sub(settled_runs) as u64).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_get_more_the_more_runs_there_are() {
        let weights: Vec<u64> = (4..13).map(|runs| weight(runs, 5)).collect();
        assert_eq!(weights, [0, 0, 1, 2, 3, 4, 4, 4, 4]);
    }

    #[test]
    fn a_flush_owes_until_merges_have_worked_as_much() {
        let mut shares = Shares::default();
        shares.flushed(100, 5, 5);
        assert!(!shares.is_merges_turn());
        shares.flushed(100, 6, 5);
        shares.merged(99);
        assert!(shares.is_merges_turn());
        shares.merged(1);
        assert!(!shares.is_merges_turn());
        shares.flushed(100, 9, 5);
        shares.forgive();
        assert!(!shares.is_merges_turn());
    }
}
