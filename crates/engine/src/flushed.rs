//! What of the log is in tables: all that the archive goes by. A row that is only applied may be taken back by a
//! power cut, and its sequence be given to another; one in a table that the manifest names may not.

use std::collections::VecDeque;
use std::sync::Arc;

use thermae_env::Env;
use thermae_tiering::erase::PendingErases;
use thermae_tiering::tree::Tree;

use crate::state::ShardState;

/// How far a partition is in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushedMark {
    /// The partition.
    pub partition: u16,
    /// The first sequence that is not in a table.
    pub next_sequence: u64,
    /// The newest event time that is, microseconds UTC.
    pub watermark: Option<i64>,
}

/// The tables of a shard, and what of the log is in them.
pub struct TablesCut<E: Env> {
    /// The tables.
    pub tree: Arc<Tree<E>>,
    /// Of each partition that has any rows.
    pub marks: Arc<[FlushedMark]>,
    /// What is erased and may still lie in the tables: it is not archived any more.
    pub erases: Arc<PendingErases>,
    /// A round of erases that waits for the archive alone, if there is one: none of it lies in the tables.
    pub waiting: Option<(u64, Arc<PendingErases>)>,
}

/// The marks of a shard as its memtables become tables.
pub struct Flushed {
    marks: Arc<[FlushedMark]>,
    /// Those of memtables on their way, oldest first.
    coming: VecDeque<Arc<[FlushedMark]>>,
}

impl Flushed {
    /// Of a shard that was just opened: everything is in tables.
    pub fn of(state: &ShardState) -> Self {
        Self { marks: marks(state), coming: VecDeque::new() }
    }

    /// The marks now.
    pub fn marks(&self) -> Arc<[FlushedMark]> {
        Arc::clone(&self.marks)
    }

    /// A memtable was frozen, with everything in it that is applied.
    pub fn note_frozen(&mut self, state: &ShardState) {
        self.coming.push_back(marks(state));
    }

    /// The oldest of those is in tables.
    pub fn note_flushed(&mut self) {
        if let Some(marks) = self.coming.pop_front() {
            self.marks = marks;
        }
    }
}

fn marks(state: &ShardState) -> Arc<[FlushedMark]> {
    let mark = |(partition, applied)| FlushedMark {
        partition,
        next_sequence: applied + 1,
        watermark: state.watermark_of(partition),
    };
    state.applied_partitions().map(mark).collect()
}
