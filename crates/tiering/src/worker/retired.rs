//! What nobody needs any more, let go by the worker and not by whoever used it last.
//!
//! To close a file whose name is gone takes the file system milliseconds, and to give a memtable's memory back takes the
//! kernel some: a shard that did it would not serve meanwhile. So the worker holds whatever it has replaced until
//! it holds it alone.

use std::sync::Arc;

use thermae_env::Env;

use crate::memtable::Memtable;
use crate::table::Table;
use crate::tree::Tree;

/// Tables that were replaced, and memtables that became tables.
pub(super) struct Retired<E: Env> {
    tables: Vec<Arc<Table<E::File>>>,
    memtables: Vec<Arc<Memtable>>,
}

impl<E: Env> Default for Retired<E> {
    fn default() -> Self {
        Self { tables: Vec::new(), memtables: Vec::new() }
    }
}

impl<E: Env> Retired<E> {
    /// Takes the tables of `old` that `new` does not have.
    pub fn take_replaced(&mut self, old: &Tree<E>, new: &Tree<E>) {
        self.tables.extend(old.gone_in(new).map(|run| Arc::clone(&run.table)));
    }

    /// Takes a memtable that is in tables.
    pub fn take_memtable(&mut self, memtable: &Arc<Memtable>) {
        self.memtables.push(Arc::clone(memtable));
    }

    /// Lets go what nobody else has: nobody can come to have it again.
    pub fn let_go(&mut self) {
        self.tables.retain(|table| Arc::strong_count(table) > 1);
        self.memtables.retain(|memtable| Arc::strong_count(memtable) > 1);
    }

    /// Whether there is nothing to be let go, now or later.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.memtables.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use thermae_env::SimEnv;

    use super::*;

    #[test]
    fn what_somebody_uses_is_held_and_goes_after_its_last_user() {
        let mut retired = Retired::<SimEnv>::default();
        let (used, unused) =
            (Arc::new(Memtable::of_about(1024)), Arc::new(Memtable::of_about(1024)));
        retired.take_memtable(&used);
        retired.take_memtable(&unused);
        let weak = [Arc::downgrade(&used), Arc::downgrade(&unused)];
        drop(unused);
        retired.let_go();
        assert_eq!(weak.each_ref().map(|weak| weak.strong_count()), [2, 0]);
        drop(used);
        assert!(!retired.is_empty());
        retired.let_go();
        assert!(retired.is_empty() && weak[0].strong_count() == 0);
    }
}
