//! The trees of one shard, and how they change: through one commit of a manifest.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::table::TableRef;

use crate::WarmError;
use crate::table::{Extent, Table};

/// The tables of one shard, open. Cheap to clone; a clone stays readable when its tables are replaced.
pub struct Tree<E: Env> {
    /// Runs of `latest`, newest first.
    pub latest: Vec<Run<E>>,
    /// Tables of superseded versions, in no order.
    pub history: Vec<Run<E>>,
}

/// A table and what the manifest says of it.
pub struct Run<E: Env> {
    /// As the manifest names it.
    pub table_ref: TableRef,
    /// To read.
    pub table: Arc<Table<E::File>>,
}

impl<E: Env> Clone for Run<E> {
    fn clone(&self) -> Self {
        Self { table_ref: self.table_ref, table: Arc::clone(&self.table) }
    }
}

impl<E: Env> Clone for Tree<E> {
    fn clone(&self) -> Self {
        Self { latest: self.latest.clone(), history: self.history.clone() }
    }
}

impl<E: Env> Default for Tree<E> {
    fn default() -> Self {
        Self { latest: Vec::new(), history: Vec::new() }
    }
}

/// A change of one shard's trees, whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEdit<L> {
    /// The shard.
    pub shard: u16,
    /// Tables that are new.
    pub add: Vec<TableRef>,
    /// Tables that this shard names no longer; other shards may still.
    pub remove: Vec<u64>,
    /// All runs of `latest` from now on, newest first.
    pub latest: Vec<u64>,
    /// All tables of `history` from now on.
    pub history: Vec<u64>,
    /// The new checkpoint: number and checksum of its file.
    pub checkpoint: Option<(u64, u64)>,
    /// Where the shard's log begins from now on.
    pub log_start: Option<L>,
}

/// Files that no tree names any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// Tables, by number.
    pub tables: Vec<u64>,
    /// Checkpoints, by number.
    pub checkpoints: Vec<u64>,
}

/// The manifest, as the worker of a shard sees it. Shared with the workers of other shards.
pub trait Commit {
    /// Where a log begins: passed on, not looked at.
    type LogStart: Clone + Send;

    /// A number that no file of the store has or had, as far as any manifest knows.
    fn next_file_id(&self) -> u64;

    /// Makes the edit durable, and with it everything that it names.
    ///
    /// # Errors
    /// It may have happened or not: the same edit, or a later one of the same shard that includes it, is
    /// tried again.
    fn commit(&self, edit: &TreeEdit<Self::LogStart>) -> Result<Unnamed, WarmError>;
}

impl<E: Env> Tree<E> {
    /// All runs and tables of history.
    pub fn runs(&self) -> impl Iterator<Item = &Run<E>> {
        self.latest.iter().chain(&self.history)
    }

    /// Its runs and tables that `next`, which replaces it, does not have.
    pub fn gone_in<'a>(&'a self, next: &Self) -> impl Iterator<Item = &'a Run<E>> {
        let kept: BTreeSet<u64> = next.runs().map(|run| run.table_ref.file_id).collect();
        self.runs().filter(move |run| !kept.contains(&run.table_ref.file_id))
    }

    /// The first run of `latest`, from the one of that number on, that may have a row, and where in its table.
    pub fn next_run(&self, from: usize, view: ViewId, entity_hash: u64) -> Option<(usize, Extent)> {
        let runs = self.latest.iter().enumerate().skip(from);
        runs.filter(|(_, run)| run.table.may_hold(view, entity_hash))
            .find_map(|(at, run)| Some((at, run.table.locate(view, entity_hash)?)))
    }

    /// The one whose file is at `path`.
    pub(crate) fn run_of(&self, path: &Path) -> Option<&Run<E>> {
        self.runs().find(|run| run.table.path() == path)
    }

    /// This tree with `outputs` in the place of `inputs`: a run where the first of them is in `latest`,
    /// at the front where there are none.
    pub(crate) fn with(&self, inputs: &[u64], outputs: &Outputs<E>) -> Self {
        let is_input = |run: &Run<E>| inputs.contains(&run.table_ref.file_id);
        let at = self.latest.iter().position(is_input).unwrap_or(0);
        let kept = |runs: &[Run<E>]| runs.iter().filter(|run| !is_input(run)).cloned().collect();
        let mut latest: Vec<_> = kept(&self.latest);
        latest.splice(at..at, outputs.latest.clone());
        let mut history: Vec<_> = kept(&self.history);
        history.extend(outputs.history.iter().cloned());
        Self { latest, history }
    }

    /// The edit that makes this tree out of one with `inputs` instead of `outputs`.
    pub(crate) fn edit<L>(&self, shard: u16, inputs: &[u64], outputs: &Outputs<E>) -> TreeEdit<L> {
        let ids = |runs: &[Run<E>]| runs.iter().map(|run| run.table_ref.file_id).collect();
        TreeEdit {
            shard,
            add: outputs.runs().map(|run| run.table_ref).collect(),
            remove: inputs.to_vec(),
            latest: ids(&self.latest),
            history: ids(&self.history),
            checkpoint: None,
            log_start: None,
        }
    }
}

/// Tables that a flush or a merge wrote, not named by a manifest yet.
pub(crate) struct Outputs<E: Env> {
    pub latest: Option<Run<E>>,
    pub history: Vec<Run<E>>,
}

impl<E: Env> Default for Outputs<E> {
    fn default() -> Self {
        Self { latest: None, history: Vec::new() }
    }
}

impl<E: Env> Outputs<E> {
    pub fn runs(&self) -> impl Iterator<Item = &Run<E>> {
        self.latest.iter().chain(&self.history)
    }

    pub fn bytes(&self) -> u64 {
        self.runs().map(|run| run.table_ref.bytes).sum()
    }
}
