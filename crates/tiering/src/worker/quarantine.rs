//! Tables that are no longer what was written. Each is named once and left out of merges until the
//! store is opened again: a merge that reads around damage would make a table that looks sound of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use thermae_env::Env;

use crate::WarmError;
use crate::tree::{Run, Tree};

/// Reads of a table that may fail in a row before it is taken for unreadable: by the worker's rests, some
/// seconds.
const MOST_FAILED_READS: u32 = 8;

/// The first damage that was met in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the table.
    pub file_id: u64,
    /// Its file.
    pub path: PathBuf,
    /// Offset of the damaged part in it; 0 where the system refuses to read.
    pub offset_bytes: u64,
    /// What is wrong there.
    pub what: String,
}

impl Damage {
    /// What an error says of one of the trees' tables; `None` where it says nothing of any, or nothing
    /// that could not have passed already.
    pub fn of<E: Env>(error: &WarmError, tree: &Tree<E>) -> Option<Self> {
        let WarmError::Damaged { path, offset_bytes, what } = error else { return None };
        let (offset_bytes, what) = (*offset_bytes, what.clone());
        let file_id = tree.run_of(path)?.table_ref.file_id;
        Some(Self { file_id, path: path.clone(), offset_bytes, what })
    }
}

/// The tables of a shard that are left alone.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    damaged: BTreeSet<u64>,
    /// How often in a row those could not be read that may yet be sound.
    failing: BTreeMap<u64, u32>,
}

impl Quarantine {
    /// The damaged tables.
    pub fn damaged(&self) -> impl Iterator<Item = u64> {
        self.damaged.iter().copied()
    }

    pub fn holds(&self, file_id: u64) -> bool {
        self.damaged.contains(&file_id)
    }

    /// Takes the error of a read: the damage, if a table is quarantined for it now.
    pub fn judge<E: Env>(&mut self, error: &WarmError, tree: &Tree<E>) -> Option<Damage> {
        let damage = Damage::of(error, tree).or_else(|| self.unreadable(error, tree))?;
        self.damaged.insert(damage.file_id).then_some(damage)
    }

    fn unreadable<E: Env>(&mut self, error: &WarmError, tree: &Tree<E>) -> Option<Damage> {
        let WarmError::Io { path, source, .. } = error else { return None };
        let file_id = tree.run_of(path)?.table_ref.file_id;
        let failed = self.failing.entry(file_id).or_default();
        *failed += 1;
        let what = format!("it cannot be read: {source}");
        let is_hopeless = *failed >= MOST_FAILED_READS;
        is_hopeless.then(|| Damage { file_id, path: path.clone(), offset_bytes: 0, what })
    }

    /// A table was read whole.
    pub fn clear(&mut self, file_id: u64) {
        self.failing.remove(&file_id);
    }

    /// Forgets the tables that are gone.
    pub fn follow<E: Env>(&mut self, tree: &Tree<E>) {
        let is_there = |id: u64| tree.runs().any(|run: &Run<E>| run.table_ref.file_id == id);
        self.damaged.retain(|id| is_there(*id));
        self.failing.retain(|id, _| is_there(*id));
    }
}
