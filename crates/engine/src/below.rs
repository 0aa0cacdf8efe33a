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

    /// Whether a row that the hot table lacked may lie below it. False is certain, and counted.
    pub(crate) fn may_hold(&self, view: ViewId, entity_hash: u64) -> bool {
        let picture = self.picture.load();
        let Some(picture) = picture.as_deref() else { return true };
        let hash = row_hash(entity_hash, view);
        let may = picture.memtables.iter().any(|marks| marks.may_hold(hash))
            || picture.tables.iter().any(|filter| filter.may_hold(view, entity_hash));
        if !may {
            self.told_absent.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Keys of which this alone told that there is no row.
    pub(crate) fn told_absent(&self) -> u64 {
        self.told_absent.load(Ordering::Relaxed)
    }
}
