//! How the worker's time is shared between a flush and the merges that it makes necessary.

/// Runs beyond those that settle from which on merges get nearly all of the time.
const STEEPEST: u32 = 5;

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

/// Bytes to merge for one that is flushed: none while runs may stay, then twice as many for each run more.
fn weight(runs: usize, settled_runs: usize) -> u64 {
    match runs.saturating_sub(settled_runs) as u32 {
        0 => 0,
        more => 1 << more.min(STEEPEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_get_more_the_more_runs_there_are() {
        let weights: Vec<u64> = (4..13).map(|runs| weight(runs, 5)).collect();
        assert_eq!(weights, [0, 0, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_flush_owes_until_merges_have_worked_as_much() {
        let mut shares = Shares::default();
        shares.flushed(100, 5, 5);
        assert!(!shares.is_merges_turn());
        shares.flushed(100, 6, 5);
        shares.merged(199);
        assert!(shares.is_merges_turn());
        shares.merged(100);
        assert!(!shares.is_merges_turn());
        shares.flushed(100, 9, 5);
        shares.forgive();
        assert!(!shares.is_merges_turn());
    }
}
