//! What a shard does next about the erases that are pending: a pure function of how far it is.
//! `docs/decisions/0014-erase.md` says why in this order.

/// Erases pending in one shard at most; more are refused as overloaded.
pub const PENDING_ERASES_MAX: usize = 4096;

/// Where a shard is in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// In none.
    #[default]
    Idle,
    /// The log goes on in new files.
    Log,
    /// Tables are rewritten, and old segments removed; then the archive rewrites its files.
    Tables {
        /// The round that the worker reports.
        round: u64,
    },
    /// The checkpoint that names the erases is replaced.
    Checkpoint {
        /// As above.
        round: u64,
    },
}

/// What a shard sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Something is pending.
    pub has_pending: bool,
    /// The log could begin in a file that was made for the round.
    pub is_log_new: bool,
    /// A memtable can be frozen.
    pub can_freeze: bool,
    /// The round that the worker is through with.
    pub finished_round: u64,
    /// Every log file from before the round is gone.
    pub are_segments_gone: bool,
    /// The archive has confirmed the round, or there is none.
    pub is_archive_clear: bool,
}

impl Sight {
    /// Nothing of the shard's own but the checkpoint holds a key of `round` any more.
    pub const fn is_clear(&self, round: u64) -> bool {
        self.finished_round >= round && self.are_segments_gone
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Wait.
    Nothing,
    /// Begin a round with all that is pending: have the log go on in new files.
    Begin,
    /// Freeze: the flush tells the worker and begins the log later.
    Freeze,
    /// Nothing but the checkpoint holds a key of the round any more: forget them, and freeze again.
    Forget,
    /// The round is complete.
    Complete,
}

/// What to do next.
pub fn next(stage: Stage, sight: &Sight) -> Act {
    match stage {
        Stage::Idle if sight.has_pending => Act::Begin,
        Stage::Log if sight.is_log_new && sight.can_freeze => Act::Freeze,
        Stage::Tables { round }
            if sight.is_clear(round) && sight.is_archive_clear && sight.can_freeze =>
        {
            Act::Forget
        }
        Stage::Checkpoint { round } if sight.finished_round >= round => Act::Complete,
        _ => Act::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_is_taken_before_the_one_before_it_has_ended() {
        let all = Sight {
            has_pending: true,
            is_log_new: true,
            can_freeze: true,
            finished_round: 3,
            are_segments_gone: true,
            is_archive_clear: true,
        };
        assert_eq!(next(Stage::Idle, &all), Act::Begin);
        assert_eq!(next(Stage::Idle, &Sight { has_pending: false, ..all }), Act::Nothing);
        assert_eq!(next(Stage::Log, &all), Act::Freeze);
        assert_eq!(next(Stage::Log, &Sight { is_log_new: false, ..all }), Act::Nothing);
        assert_eq!(next(Stage::Log, &Sight { can_freeze: false, ..all }), Act::Nothing);
        let tables = Stage::Tables { round: 3 };
        assert_eq!(next(tables, &all), Act::Forget);
        for waits in [
            Sight { finished_round: 2, ..all },
            Sight { are_segments_gone: false, ..all },
            Sight { can_freeze: false, ..all },
            Sight { is_archive_clear: false, ..all },
        ] {
            assert_eq!(next(tables, &waits), Act::Nothing, "{waits:?}");
        }
        assert_eq!(next(Stage::Checkpoint { round: 4 }, &all), Act::Nothing);
        assert_eq!(next(Stage::Checkpoint { round: 3 }, &all), Act::Complete);
    }
}
