//! The hot tables of a small store are filled when it is opened, so that they are complete at once.

use thermae_env::Env;
use thermae_tiering::WarmError;
use thermae_tiering::tree::Tree;

use super::Rebuild;
use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::state::ShardState;

impl<E: Env> Rebuild<E> {
    /// Fills the hot tables of shards that are small.
    pub(super) fn preload(&mut self) -> Result<(), Error> {
        for (state, worker) in self.states.iter_mut().zip(&self.workers) {
            let tree = worker.tree();
            let bytes: u64 = tree.latest.iter().map(|run| run.table_ref.bytes).sum();
            if bytes <= self.options.preload_bytes {
                let is_whole = load(state, tree, &self.catalogue)?;
                state.set_complete(is_whole);
            }
        }
        Ok(())
    }
}

/// Loads the newest version of every row; false when not all could be: there is no room, the value lies in the
/// archive, or a block is damaged, which only those see who ask for its rows.
fn load<E: Env>(
    state: &mut ShardState,
    tree: &Tree<E>,
    catalogue: &Catalogue,
) -> Result<bool, Error> {
    match load_all(state, tree, catalogue) {
        Err(error) if error.is_damage() => Ok(false),
        loaded => loaded.map_err(Error::from_warm),
    }
}

fn load_all<E: Env>(
    state: &mut ShardState,
    tree: &Tree<E>,
    catalogue: &Catalogue,
) -> Result<bool, WarmError> {
    let mut rows = tree.newest_rows()?;
    let mut is_whole = true;
    while rows.next_group()? {
        let Some((view, entity_hash, version)) = rows.group().next() else { continue };
        let Some(view) = catalogue.view_by_id(view) else { continue };
        if state.is_erased(view.id, entity_hash, &version) {
            continue;
        }
        // Its value is not here: the hot table cannot have it.
        if version.is_stub() {
            is_whole = false;
            continue;
        }
        if !state.preload(view, entity_hash, &version) {
            return Ok(false);
        }
    }
    Ok(is_whole)
}
