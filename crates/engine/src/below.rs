//! What may lie below the hot tables, told on any thread: by the marks of the memtables and the filters of the
//! tables.
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
use thermae_formats::table::TableFilter;
use thermae_tiering::memtable::Marks;
use thermae_tiering::tree::Tree;

use crate::memtables::Memtables;

/// What lies below the hot table of one shard.
#[derive(Debug, Default)]
pub struct Below {
    picture: ArcSwapOption<Picture>,
    /// Keys of which this alone told that there is no row.
    told_absent: AtomicU64,
}

#[derive(Debug)]
struct Picture {
    memtables: Box<[Arc<Marks>]>,
    tables: Box<[Arc<TableFilter>]>,
}

impl Below {
    /// Shows what there is from now on.
    pub(crate) fn show<E: Env>(&self, memtables: &Memtables, tree: &Tree<E>) {
        let tables = tree.latest.iter().map(|run| Arc::clone(run.table.filter()));
        let picture = Picture { memtables: memtables.marks().collect(), tables: tables.collect() };
        self.picture.store(Some(Arc::new(picture)));
    }

    /// Which of some rows that the hot table lacked do not lie below it either: a bit for each of the first 64,
    /// certain, and counted.
    pub(crate) fn lacks(&self, rows: impl Iterator<Item = (ViewId, u64)> + Clone) -> u64 {
        let picture = self.picture.load();
        let Some(picture) = picture.as_deref() else { return 0 };
        let hashes = rows.clone().map(|(view, entity_hash)| row_hash(entity_hash, view));
        let memtables = picture.memtables.iter().map(|marks| marks.lacks(hashes.clone()));
        let tables = picture.tables.iter().map(|filter| filter.lacks(rows.clone()));
        // There is always a memtable, so that bits after the last row are not set.
        let lacked = memtables.chain(tables).reduce(|all, one| all & one).unwrap_or(0);
        self.told_absent.fetch_add(u64::from(lacked.count_ones()), Ordering::Relaxed);
        lacked
    }

    /// Keys of which this alone told that there is no row.
    pub(crate) fn told_absent(&self) -> u64 {
        self.told_absent.load(Ordering::Relaxed)
    }
}
