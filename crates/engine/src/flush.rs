//! What a shard hands to its worker: a frozen memtable with the state that goes with it.

use std::sync::Arc;

use thermae_formats::checkpoint::Checkpoint;
use thermae_tiering::flush::FlushJob;
use thermae_tiering::rules::Rules;

use crate::catalogue::Catalogue;
use crate::checkpoint;
use crate::error::Error;
use crate::state::ShardState;

/// Policies and watermarks as they are now.
pub fn rules(state: &ShardState, catalogue: &Catalogue) -> Arc<Rules> {
    let policy = |view: &Arc<crate::catalogue::View>| (view.id, view.latest.definition.tiers);
    Arc::new(Rules {
        partitions: state.partitions(),
        shards: state.shards() as u16,
        shard: state.shard() as u16,
        policies: catalogue.views().map(policy).collect(),
        watermarks: state.watermarks().collect(),
        erases: Arc::clone(state.erases()),
    })
}

/// Freezes the memtable of a shard and makes the job of flushing it.
///
/// # Errors
/// The catalogue cannot be written down.
pub fn freeze<L>(
    state: &mut ShardState,
    catalogue: &Catalogue,
    store_id: [u8; 16],
    log_start: L,
) -> Result<FlushJob<L>, Error> {
    let schemas = checkpoint::schemas(catalogue)?;
    let memtable = state.memtables.freeze();
    let now = Checkpoint {
        store_id,
        file_id: 0,
        generation: catalogue.generation(),
        catalogue: schemas,
        partitions: state.checkpoints(),
    };
    let checkpoint = move |file_id| Checkpoint { file_id, ..now.clone() }.to_bytes();
    let rules = rules(state, catalogue);
    Ok(FlushJob { memtable, checkpoint: Box::new(checkpoint), log_start, rules })
}
