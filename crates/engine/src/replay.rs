//! Rebuilds every shard's state: from the checkpoints and tables, then from the logs behind them.

mod collect;
mod preload;
mod trees;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use thermae_env::Env;
use thermae_formats::NO_TIME;
use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::CatalogueEntry;
use thermae_formats::hash::{partition_of, shard_of};
use thermae_formats::manifest::Manifest;
use thermae_formats::version::Version;
use thermae_hot::{HotConfig, HotWriter};
use thermae_tiering::tree::Tree;
use thermae_tiering::worker::{Step, Worker};

use crate::catalogue::{Catalogue, View};
use crate::error::Error;
use crate::fetch::{Fetched, OwnedVersion};
use crate::flush;
use crate::log::{Replay, Trees, WARM};
use crate::memory::{self, MemoryPlan};
use crate::options::{HotMemory, Options};
use crate::reads::Reads;
use crate::state::{Judged, Newest, ShardState};
use collect::Collected;

/// The states under construction.
pub struct Rebuild<E: Env> {
    env: E,
    dir: PathBuf,
    warm_dir: PathBuf,
    options: Options,
    plan: MemoryPlan,
    store_id: [u8; 16],
    hash_seed: u64,
    partitions: u16,
    states: Vec<ShardState>,
    applied: Arc<[AtomicU64]>,
    catalogue: Catalogue,
    /// One a shard, each over its tree; and what they have committed.
    workers: Vec<Worker<E, Collected>>,
    collected: Option<Collected>,
    /// Shards whose state is more than their checkpoint says.
    must_checkpoint: Vec<bool>,
    error: Option<Error>,
}

/// What a replay has built.
pub struct Rebuilt<E: Env> {
    /// One state a shard.
    pub states: Vec<ShardState>,
    /// One tree a shard.
    pub trees: Vec<Tree<E>>,
    /// Every view.
    pub catalogue: Catalogue,
    /// Readers of the hot tables.
    pub reads: Reads,
    /// How the memory of each shard is divided.
    pub plan: MemoryPlan,
}

impl<E: Env> Rebuild<E> {
    /// Nothing yet; tables are made when the manifest is known.
    pub fn new(env: E, dir: &Path, options: &Options) -> Self {
        Rebuild {
            env,
            dir: dir.to_owned(),
            warm_dir: dir.join(WARM),
            plan: options.plan(0),
            options: options.clone(),
            store_id: [0; 16],
            hash_seed: 0,
            partitions: 0,
            states: Vec::new(),
            applied: Arc::new([]),
            catalogue: Catalogue::default(),
            workers: Vec::new(),
            collected: None,
            must_checkpoint: vec![false; options.cores],
            error: None,
        }
    }

    /// The error that stopped the replay, if it was ours.
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    fn stop(&mut self, error: Error) -> String {
        let text = error.to_string();
        self.error = Some(error);
        text
    }

    fn make_states(&mut self, about: &Manifest) -> Result<(), Error> {
        let shards = self.options.cores;
        if shards > usize::from(about.partitions) {
            return Err(Error::Invalid(format!(
                "{shards} cores for {} partitions: a core needs at least one; open with --cores {}",
                about.partitions, about.partitions
            )));
        }
        self.applied = (0..about.partitions).map(|_| AtomicU64::new(0)).collect();
        let pinned = about.tables.iter().map(|table| memory::pinned_bytes(table.rows, table.bytes));
        self.plan = self.options.plan(pinned.sum::<u64>() / shards as u64);
        for shard in 0..shards {
            let config = HotConfig {
                bytes: self.plan.hot_bytes,
                hash_seed: about.hash_seed,
                store_id: u128::from_le_bytes(about.store_id),
                epoch: u64::from(about.epoch) + 1,
                shard: shard as u32,
                shards: shards as u32,
                domain: 0,
            };
            let hot = match self.options.hot_memory {
                HotMemory::Mapped => HotWriter::create(&config),
                HotMemory::Heap => HotWriter::create_on_heap(&config),
            };
            let hot =
                hot.map_err(|e| Error::Invalid(format!("hot table of shard {shard}: {e}")))?;
            let applied = Arc::clone(&self.applied);
            let hash_seed = about.hash_seed;
            self.states.push(ShardState::new(shard, shards, hot, hash_seed, applied, &self.plan));
        }
        self.store_id = about.store_id;
        self.hash_seed = about.hash_seed;
        self.partitions = about.partitions;
        Ok(())
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), Error> {
        match record.kind {
            RecordKind::Catalogue => self.apply_definition(record),
            RecordKind::Put | RecordKind::Tombstone | RecordKind::Erase => self.apply_row(record),
            RecordKind::Mark => Err(Error::Invalid(
                "the log holds a mark record, which this version does not write".to_owned(),
            )),
        }
    }

    /// A catalogue record's sequence is the generation that it made.
    fn apply_definition(&mut self, record: &Record<'_>) -> Result<(), Error> {
        if record.sequence <= self.catalogue.generation() {
            return Ok(());
        }
        let entry = CatalogueEntry::from_json(record.value)
            .map_err(|e| Error::Invalid(format!("catalogue record in the log: {e}")))?;
        self.catalogue.add(&entry)?;
        self.note_change(0);
        Ok(())
    }

    /// A shard has replayed something: perhaps nothing that tables hold, but its checkpoint must say so
    /// before the log goes.
    fn note_change(&mut self, shard: usize) {
        if let Some(must) = self.must_checkpoint.get_mut(shard) {
            *must = true;
        }
    }

    fn apply_row(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let hash = thermae_formats::hash::entity_hash(record.key, self.hash_seed);
        let partition = partition_of(hash, self.partitions);
        if partition != record.partition {
            return Err(Error::Invalid(format!(
                "a log record of partition {} has a key of partition {partition}",
                record.partition
            )));
        }
        let shard = usize::from(shard_of(partition, self.options.cores as u16));
        let no_shard = || Error::Invalid(format!("no shard {shard}"));
        let state = self.states.get_mut(shard).ok_or_else(no_shard)?;
        if record.sequence <= state.applied(partition) {
            // The tables have it.
            return Ok(());
        }
        let unfit = |error: String| Error::Invalid(format!("the log does not add up: {error}"));
        let view = self.catalogue.view_of_schema(record.schema_id);
        let view = Arc::clone(view.ok_or_else(|| {
            unfit(format!("a record names schema {}, which is not defined", record.schema_id.0))
        })?);
        let tree = self.workers.get(shard).map(Worker::tree).ok_or_else(no_shard)?;
        fetch_base(state, tree, &view, hash, record)?;
        let expires = record.expire_at != NO_TIME;
        let row_hash = state.row_hash(hash, view.id);
        let reservation = match record.kind {
            RecordKind::Erase => Ok(None),
            _ => state.reserve(
                &self.catalogue,
                &view,
                row_hash,
                record.key,
                record.value.len(),
                expires,
            ),
        };
        let reservation = reservation.map_err(|refusal| unfit(refusal.to_string()))?;
        let place =
            state.place(&self.catalogue, record).map_err(|error| unfit(error.to_string()))?;
        // What lies below was fetched; where nothing does, nothing was.
        let current = match state.judge(&place, record) {
            Judged::Known(current) => current,
            Judged::Below | Judged::Unreadable => None,
        };
        let applied = state.apply(&place, record, current, reservation);
        applied.map_err(|error| unfit(error.to_string()))?;
        let is_full = state.memtables.active_bytes() >= self.plan.memtable_bytes as usize;
        self.note_change(shard);
        if is_full { self.flush(shard) } else { Ok(()) }
    }

    /// Writes what a shard has replayed to tables, and a checkpoint.
    fn flush(&mut self, shard: usize) -> Result<(), Error> {
        let (Some(state), Some(worker)) = (self.states.get_mut(shard), self.workers.get_mut(shard))
        else {
            return Ok(());
        };
        let job = flush::freeze(state, &self.catalogue, self.store_id, ())?;
        worker.submit(job);
        loop {
            match worker.step() {
                Step::Flushed { .. } => break,
                Step::Failed(error) => return Err(Error::from_warm(error)),
                // What is damaged is met again when it is read.
                Step::Damaged(_)
                | Step::Idle
                | Step::Wait { .. }
                | Step::Worked { .. }
                | Step::Compacted { .. }
                | Step::Erased { .. }
                | Step::Paused(_) => {}
            }
        }
        state.memtables.release_oldest();
        state.bases.clear();
        Ok(())
    }

    /// Everything that was replayed goes to tables: the new epoch begins with empty logs.
    fn flush_all(&mut self, old: &Manifest) -> Result<Trees, Error> {
        for shard in 0..self.states.len() {
            if self.must_checkpoint.get(shard) == Some(&true) {
                self.flush(shard)?;
            }
        }
        self.preload()?;
        let made = match &self.collected {
            Some(collected) => collected.manifest(),
            None => old.clone(),
        };
        let Manifest { tables, trees, next_file_id, .. } = made;
        Ok(Trees { tables, trees, next_file_id, covers_replayed: true })
    }

    /// The states, the catalogue and the readers of a finished replay.
    ///
    /// # Errors
    /// A hot table's descriptor could not be made.
    pub fn finish(self) -> Result<Rebuilt<E>, Error> {
        let tables: Vec<_> = self.states.iter().map(|state| state.hot().reader()).collect();
        let mut descriptors = Vec::new();
        if self.options.hot_memory == HotMemory::Mapped {
            for state in &self.states {
                let descriptor = state
                    .hot()
                    .descriptor()
                    .map_err(|e| Error::Invalid(format!("descriptor of a hot table: {e}")))?;
                descriptors.push(descriptor);
            }
        }
        let reads = Reads::new(tables, descriptors, self.applied, self.hash_seed);
        let trees = self.workers.iter().map(|worker| worker.tree().clone()).collect();
        let Self { states, catalogue, plan, .. } = self;
        Ok(Rebuilt { states, trees, catalogue, reads, plan })
    }
}

/// Reads what a record must be judged against, where only the tables have it.
fn fetch_base<E: Env>(
    state: &mut ShardState,
    tree: &Tree<E>,
    view: &View,
    entity_hash: u64,
    record: &Record<'_>,
) -> Result<(), Error> {
    let row_hash = state.row_hash(entity_hash, view.id);
    let is_below = |newest: Newest<'_>| matches!(newest, Newest::Below);
    if !state.with_newest(view, row_hash, record.key, is_below) {
        return Ok(());
    }
    let mut found = Fetched::Absent;
    let keep = |version: &Version<'_>| found = Fetched::Row(OwnedVersion::new(version));
    tree.read_newest(view.id, entity_hash, record.key, keep).map_err(Error::from_warm)?;
    let found = state.unless_erased(view.id, entity_hash, found);
    state.bases.put(view.id, row_hash, record.key, found);
    Ok(())
}

impl<E: Env> Replay for Rebuild<E> {
    fn begin(&mut self, about: &Manifest) -> Result<(), String> {
        let begun = self.make_states(about).and_then(|()| self.load(about));
        begun.map_err(|error| self.stop(error))
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.apply(record).map_err(|error| self.stop(error))
    }

    fn finish(&mut self, old: &Manifest) -> Result<Trees, String> {
        self.flush_all(old).map_err(|error| self.stop(error))
    }
}
