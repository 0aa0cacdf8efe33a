//! What a round of the archiver goes by: what the shards had in tables when they were asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::table::TableKind;
use thermae_tiering::erase::PendingErases;
use thermae_tiering::tree::Run;

use super::erasing::ShardRound;
use crate::catalogue::Catalogue;
use crate::flushed::{FlushedMark, TablesCut};

/// The tables of all shards, and what of the log is in them.
pub struct Round<E: Env> {
    /// By number.
    pub tables: BTreeMap<u64, Run<E>>,
    /// By partition.
    pub marks: BTreeMap<u16, FlushedMark>,
    /// What is erased and may still lie in the tables.
    pub erases: Arc<PendingErases>,
    /// Rounds of erases that wait for the archive alone.
    pub waiting: BTreeMap<ShardRound, Arc<PendingErases>>,
    /// Tables that were looked through once more because a batch could not be read out of them.
    pub seen_again: BTreeSet<u64>,
    /// One that knows every schema of their rows.
    pub catalogue: Arc<Catalogue>,
}

impl<E: Env> Default for Round<E> {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            marks: BTreeMap::new(),
            erases: Arc::default(),
            waiting: BTreeMap::new(),
            seen_again: BTreeSet::new(),
            catalogue: Arc::default(),
        }
    }
}

impl<E: Env> Round<E> {
    /// Adds a shard's.
    pub fn take(&mut self, shard: usize, cut: TablesCut<E>) {
        let erases = Arc::make_mut(&mut self.erases);
        cut.erases.iter().for_each(|erase| erases.insert(erase.clone()));
        self.waiting.extend(cut.waiting.map(|(round, erases)| ((shard, round), erases)));
        self.tables.extend(cut.tree.runs().map(|run| (run.table_ref.file_id, run.clone())));
        self.marks.extend(cut.marks.iter().map(|mark| (mark.partition, *mark)));
    }

    /// First sequence of a partition that is not in a table.
    pub fn next_sequence(&self, partition: u16) -> u64 {
        self.marks.get(&partition).map_or(1, |mark| mark.next_sequence)
    }

    /// The newest event time of the partition that is furthest behind; those without rows do not count.
    pub fn slowest_watermark(&self) -> Option<i64> {
        self.marks.values().filter_map(|mark| mark.watermark).min()
    }

    /// Number and kind of each table.
    pub fn kinds(&self) -> impl Iterator<Item = (u64, TableKind)> {
        self.tables.values().map(|run| (run.table_ref.file_id, run.table_ref.kind))
    }
}
