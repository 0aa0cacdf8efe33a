//! Training reads: for each row of a spine, the features as they were at its time, whatever the sizes.
//!
//! Three passes, two sorts between them (`tiering/spill.rs`), each in memory as long as it fits and in files
//! beyond that:
//!
//! 1. **Collect** (`training/collect.rs`): the spine is read once, and helper threads take its batches. Each row
//!    gives an *entry* for each set of join keys that views ask for: (entity hash, key, time, row). Entries are sorted
//!    by entity, latest time first.
//! 2. **Join** (`training/join.rs`): helper threads take ranges of the entity hash, as many entries at a time as
//!    memory allows (`training/chunk.rs`). For these every part of every view's history is passed over once
//!    (`tiering/asof.rs`), and the asked features of what is found are copied into an *answer* of the row. Answers are
//!    sorted by row.
//! 3. **Assemble** ([`Answer`]): the spine is read again, and answers are put behind its rows, column by column
//!    (`training/maker.rs`), by several threads where no answer lies in a file.
//!
//! Nothing depends on how the memory or the threads divide the work: the order of both sorts is total.

mod answer;
mod budget;
mod chunk;
mod collect;
mod column;
mod error;
mod helpers;
mod join;
mod key;
mod maker;
mod plan;
mod progress;
mod records;
mod request;
mod spine;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod time;

use std::ops::RangeInclusive;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_tiering::merge::PartedSource;
use thermae_tiering::spill::SpillDir;

use crate::catalogue::Catalogue;

pub use thermae_tiering::spill::{SpillBytes, SpillError};

pub use answer::{Answer, BATCH_ROWS};
pub use budget::least_budget_bytes;
pub use column::{Column, Unreadable, data_type, field};
pub use error::{Cause, TrainingError};
pub use maker::BATCH_BYTES;
pub use progress::{Progress, Steps};
pub use request::{Request, ViewJoin};
pub use spine::{Batches, MemorySpine, Spine};
pub use store::StoreHistory;
pub use tally::Tally;
pub use thermae_formats::wire::MAX_JOINS;
pub use time::read_times;

/// Where the versions of views are read, all of them under one snapshot.
pub trait Histories: Sync {
    /// Why a history cannot be read.
    type Error: Into<Cause>;
    /// Versions of one view, in parts that are in table order.
    type Source: PartedSource<Error = Self::Error>;

    /// Every version of a view whose entity hash lies in a range; the source stands before the first part.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(
        &self,
        view: ViewId,
        entity_hashes: RangeInclusive<u64>,
    ) -> Result<Self::Source, Self::Error>;

    /// The seed of the entity hash.
    fn hash_seed(&self) -> u64;
}

/// What a training read may use.
pub struct Means<E: Env> {
    /// Where what does not fit into memory goes.
    pub spill: SpillDir<E>,
    /// Bytes for both sorts and all threads together; less than [`least_budget_bytes`] counts as that. Not
    /// in it are some batches of the spine a thread, one batch of the answer ([`BATCH_BYTES`] and a row), or about
    /// as many bytes a thread where all answers are in memory, and what sources of histories take, of which each
    /// thread has one a view open.
    pub budget_bytes: usize,
    /// Helper threads, at low priority; at least one. The caller's thread reads the spine for them.
    pub threads: usize,
}

/// Joins what a request asks for onto a spine. The work is done when this returns, but for assembling, which
/// [`Answer`] does as it is read.
///
/// # Errors
/// The request does not fit the spine or the catalogue, which is told before a row is read; the spine has a
/// row without time or with a key that cannot be; something cannot be read or spilled; or it was cancelled.
pub fn read<'s, E: Env, H: Histories>(
    request: &Request,
    catalogue: &Catalogue,
    histories: &H,
    spine: &'s dyn Spine,
    means: &Means<E>,
    progress: &'s Progress,
) -> Result<Answer<'s, E>, TrainingError> {
    let plan = plan::Plan::new(request, catalogue, &spine.schema())?;
    let shares = budget::Shares::divide(means.budget_bytes, means.threads);
    let seed = histories.hash_seed();
    let collected = collect::collect(&plan, spine, seed, &means.spill, &shares, progress)?;
    let rows = collected.rows;
    let (answers, tallies) =
        join::join(&plan, histories, collected, &means.spill, &shares, progress)?;
    Answer::new(plan, spine, rows, answers, tallies, shares.threads, progress)
}
