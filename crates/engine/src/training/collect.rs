//! Pass 1: the rows of the spine as entries, sorted by entity and time.

use arrow_array::RecordBatch;
use thermae_env::Env;
use thermae_formats::encode_key;
use thermae_formats::hash::entity_hash;
use thermae_tiering::spill::{Sorted, Sorter, SpillDir};

use super::budget::Shares;
use super::key::key_value;
use super::plan::{KeySet, Plan};
use super::records::Entry;
use super::time::read_times;
use super::{Progress, Spine, TrainingError};

/// Rows between two looks at whether it was cancelled.
const ROWS_BETWEEN_CHECKS: usize = 1024;

/// The entries of a spine.
pub(super) struct Collected<E: Env> {
    pub entries: Sorted<E>,
    pub rows: u64,
}

/// Reads the spine once.
pub(super) fn collect<E: Env>(
    plan: &Plan,
    spine: &dyn Spine,
    hash_seed: u64,
    spill: &SpillDir<E>,
    shares: &Shares,
    progress: &Progress,
) -> Result<Collected<E>, TrainingError> {
    progress.know(spine.rows().unwrap_or(0));
    let mut sorter = Sorter::new(spill, shares.entries);
    let (mut rows, mut times_us, mut key, mut record) = (0, Vec::new(), Vec::new(), Vec::new());
    for batch in spine.read().map_err(TrainingError::Spine)? {
        let batch = batch.map_err(TrainingError::Spine)?;
        check_columns(plan, &batch)?;
        read_times(&plan.time_column, batch.column(plan.time_at), rows + 1, &mut times_us)?;
        let mut entries = 0;
        for (at, &time_us) in times_us.iter().enumerate() {
            if at % ROWS_BETWEEN_CHECKS == 0 {
                progress.check()?;
            }
            let row = rows + at as u64;
            for (key_set, set) in (0..).zip(&plan.key_sets) {
                if !read_key(set, &batch, at, row, &mut key)? {
                    continue;
                }
                let entity_hash = entity_hash(&key, hash_seed);
                Entry { entity_hash, key_set, key: &key, time_us, row }.encode(&mut record);
                sorter.push(&record)?;
                entries += 1;
            }
        }
        rows += times_us.len() as u64;
        progress.add_read(times_us.len() as u64, entries);
    }
    Ok(Collected { entries: sorter.finish()?, rows })
}

/// Checks that a batch has the columns that the spine promised.
pub(super) fn check_columns(plan: &Plan, batch: &RecordBatch) -> Result<(), TrainingError> {
    if *batch.schema_ref().fields() == plan.spine {
        return Ok(());
    }
    Err(TrainingError::SpineChanged("a batch has other columns than the spine".to_owned()))
}

/// Replaces `key` by the encoded key of a row; `false` if any of its columns is null.
fn read_key(
    set: &KeySet,
    batch: &RecordBatch,
    at: usize,
    row: u64,
    key: &mut Vec<u8>,
) -> Result<bool, TrainingError> {
    let wrong = |source| TrainingError::Key { row: row + 1, source };
    key.clear();
    for (join_key, &column) in set.join_keys.iter().zip(&set.columns) {
        let array = batch.column(column);
        let value = key_value(array, at, join_key.key_type, &join_key.name).map_err(wrong)?;
        let Some(value) = value else { return Ok(false) };
        encode_key(std::slice::from_ref(join_key), std::slice::from_ref(&value), key)
            .map_err(wrong)?;
    }
    Ok(true)
}
