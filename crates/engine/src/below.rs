//! What lies below the hot tables, as any thread may see it: the marks of the memtables, and the tables.
//!
//! Ask after a row was missed in the hot table. Whatever lies below it then lies in the memtables and tables of
//! the picture that is shown. A picture is replaced whole: before the first row is put into a new memtable, and
//! when the table of an old one is there, by one that lets the memtable go. So there is no moment at which a row
//! is in neither, and a reader takes one picture and asks all of it.
//!
//! A row that left the hot table was marked, or in a table, before: who has seen that it left sees that too
//! (`hot/evict.rs` has the fences).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::hash::row_hash;
use thermae_tiering::memtable::Marks;
use thermae_tiering::tree::Tree;

use crate::ascent::Ascent;
use crate::memtables::Memtables;
use crate::reads::Reads;
use crate::tiers::TierReads;

/// What lies below the hot tables of all shards.
pub struct BelowHot<E: Env> {
    reads: Reads,
    shards: Box<[Below<E>]>,
}

/// What lies below the hot table of one shard.
pub(crate) struct Below<E: Env> {
    picture: ArcSwapOption<Picture<E>>,
    /// Rows that were read from the tables and may become hot.
    pub ascent: Ascent,
    /// What was answered without the shard.
    asked: AtomicU64,
    hits: AtomicU64,
    misses_filtered: AtomicU64,
    misses_read: AtomicU64,
    blocks_read: AtomicU64,
}

/// Memtables and tables as they were at one moment.
pub(crate) struct Picture<E: Env> {
    /// Marks of the rows of each memtable.
    memtables: Box<[Arc<Marks>]>,
    /// Marks of the rows that were erased and may still lie in tables.
    erased: Arc<Marks>,
    tree: Arc<Tree<E>>,
    /// How often the tables had changed.
    pub changes: u64,
}

impl<E: Env> BelowHot<E> {
    pub(crate) fn new(reads: Reads) -> Self {
        let shards = reads.tables().iter().map(|_| Below::new()).collect();
        Self { reads, shards }
    }

    /// Rows that their hot tables lacked, each with whether it may lie below them, in a memtable or a table: false is
    /// certain. Many are asked for together, so that their waits for memory overlap. Ask after the look-up: a table says
    /// that it lacks rows before it lets the first one go.
    pub fn ask<'a, T>(
        &self,
        absent: &'a [T],
        place: impl Fn(&T) -> (ViewId, u64),
    ) -> impl Iterator<Item = (&'a T, bool)> {
        absent.chunks(u64::BITS as usize).flat_map(move |some| {
            let lacked = self.lacks(some.iter().map(&place));
            some.iter().enumerate().map(move |(at, row)| (row, lacked >> at & 1 == 0))
        })
    }

    /// Which of at most 64 rows lie nowhere below their hot tables: a bit for each.
    fn lacks(&self, rows: impl Iterator<Item = (ViewId, u64)> + Clone) -> u64 {
        let mut lacked = 0;
        for (shard, table) in self.reads.tables().iter().enumerate() {
            let is_own = |row: &(ViewId, u64)| self.shard_of(row.1) == shard;
            let own = rows.clone().filter(is_own);
            let mut told = match self.shards.get(shard) {
                _ if table.is_complete() => u64::MAX,
                Some(below) => below.lacks(own),
                None => 0,
            };
            for (at, _) in rows.clone().enumerate().filter(|(_, row)| is_own(row)) {
                lacked |= (told & 1) << at;
                told >>= 1;
            }
        }
        lacked
    }

    /// The shard of an entity.
    pub(crate) fn shard_of(&self, entity_hash: u64) -> usize {
        self.reads.shard(self.reads.partition(entity_hash))
    }

    /// What is below one shard.
    pub(crate) fn shard(&self, shard: usize) -> Option<&Below<E>> {
        self.shards.get(shard)
    }
}

impl<E: Env> Below<E> {
    fn new() -> Self {
        Self {
            picture: ArcSwapOption::empty(),
            ascent: Ascent::new(),
            asked: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses_filtered: AtomicU64::new(0),
            misses_read: AtomicU64::new(0),
            blocks_read: AtomicU64::new(0),
        }
    }

    /// Shows what there is from now on.
    pub fn show(
        &self,
        memtables: &Memtables,
        erased: &Arc<Marks>,
        tree: &Arc<Tree<E>>,
        changes: u64,
    ) {
        let (memtables, erased) = (memtables.marks().collect(), Arc::clone(erased));
        let tree = Arc::clone(tree);
        self.picture.store(Some(Arc::new(Picture { memtables, erased, tree, changes })));
    }

    /// Shows nothing any more: the tables are no longer this store's alone.
    pub fn hide(&self) {
        self.picture.store(None);
    }

    /// What is shown; nothing before the shard has begun.
    pub fn picture(&self) -> Option<Arc<Picture<E>>> {
        self.picture.load_full()
    }

    /// Which of some rows that the hot table lacked do not lie below it either: a bit for each of the first 64,
    /// certain, and counted.
    fn lacks(&self, rows: impl Iterator<Item = (ViewId, u64)> + Clone) -> u64 {
        let picture = self.picture.load();
        let Some(picture) = picture.as_deref() else { return 0 };
        let hashes = rows.clone().map(|(view, entity_hash)| row_hash(entity_hash, view));
        let memtables = picture.memtables.iter().map(|marks| marks.lacks(hashes.clone()));
        let runs = picture.tree.latest.iter();
        let tables = runs.map(|run| run.table.filter().lacks(rows.clone()));
        // There is always a memtable, so that bits after the last row are not set.
        let lacked = memtables.chain(tables).reduce(|all, one| all & one).unwrap_or(0);
        let misses_filtered = u64::from(lacked.count_ones());
        self.count(&TierReads { asked: misses_filtered, misses_filtered, ..TierReads::default() });
        lacked
    }

    /// Adds what was answered without the shard.
    pub fn count(&self, reads: &TierReads) {
        let counts = [
            (&self.asked, reads.asked),
            (&self.hits, reads.warm_hits),
            (&self.misses_filtered, reads.misses_filtered),
            (&self.misses_read, reads.misses_read),
            (&self.blocks_read, reads.blocks_read),
        ];
        for (sum, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// All that was answered without the shard.
    pub fn answered(&self) -> TierReads {
        TierReads {
            asked: self.asked.load(Ordering::Relaxed),
            warm_hits: self.hits.load(Ordering::Relaxed),
            misses_filtered: self.misses_filtered.load(Ordering::Relaxed),
            misses_read: self.misses_read.load(Ordering::Relaxed),
            blocks_read: self.blocks_read.load(Ordering::Relaxed),
            ..TierReads::default()
        }
    }
}

impl<E: Env> Picture<E> {
    /// Whether a memtable may have a row, or it may be erased: its shard alone can tell of it then.
    pub fn is_marked(&self, row_hash: u64) -> bool {
        self.erased.may_hold(row_hash)
            || self.memtables.iter().any(|marks| marks.may_hold(row_hash))
    }

    /// The tables.
    pub fn tree(&self) -> &Tree<E> {
        &self.tree
    }
}
