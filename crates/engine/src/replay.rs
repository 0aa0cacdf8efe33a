//! Rebuilds every shard's state from the logs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::CatalogueEntry;
use thermae_formats::hash::{partition_of, shard_of};
use thermae_formats::manifest::Manifest;
use thermae_hot::{HotConfig, HotWriter};

use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::log::Replay;
use crate::reads::Reads;
use crate::state::{ApplyError, ShardState};

/// Where the hot tables live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HotMemory {
    /// A sealed memory file, which other processes can map.
    #[default]
    Mapped,
    /// Plain memory: no descriptors. For simulation and Miri.
    Heap,
}

/// The states under construction.
pub struct Rebuild {
    shards: usize,
    memory_bytes: u64,
    memory: HotMemory,
    hash_seed: u64,
    partitions: u16,
    states: Vec<ShardState>,
    applied: Arc<[AtomicU64]>,
    catalogue: Catalogue,
    error: Option<Error>,
}

impl Rebuild {
    /// Nothing yet; tables are made when the manifest is known.
    pub fn new(shards: usize, memory_bytes: u64, memory: HotMemory) -> Self {
        Rebuild {
            shards,
            memory_bytes,
            memory,
            hash_seed: 0,
            partitions: 0,
            states: Vec::new(),
            applied: Arc::new([]),
            catalogue: Catalogue::default(),
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
        let shards = self.shards;
        if shards > usize::from(about.partitions) {
            return Err(Error::Invalid(format!(
                "{shards} cores for {} partitions: a core needs at least one; open with --cores {}",
                about.partitions, about.partitions
            )));
        }
        self.applied = (0..about.partitions).map(|_| AtomicU64::new(0)).collect();
        for shard in 0..shards {
            let config = HotConfig {
                bytes: self.memory_bytes / shards as u64,
                hash_seed: about.hash_seed,
                store_id: u128::from_le_bytes(about.store_id),
                epoch: u64::from(about.epoch) + 1,
                shard: shard as u32,
                shards: shards as u32,
                domain: 0,
            };
            let hot = match self.memory {
                HotMemory::Mapped => HotWriter::create(&config),
                HotMemory::Heap => HotWriter::create_on_heap(&config),
            };
            let hot =
                hot.map_err(|e| Error::Invalid(format!("hot table of shard {shard}: {e}")))?;
            let applied = Arc::clone(&self.applied);
            self.states.push(ShardState::new(shard, shards, hot, about.hash_seed, applied));
        }
        self.hash_seed = about.hash_seed;
        self.partitions = about.partitions;
        Ok(())
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), Error> {
        match record.kind {
            RecordKind::Catalogue => {
                let entry = CatalogueEntry::from_json(record.value)
                    .map_err(|e| Error::Invalid(format!("catalogue record in the log: {e}")))?;
                self.catalogue = self.catalogue.with_entry(&entry)?;
                Ok(())
            }
            RecordKind::Put | RecordKind::Tombstone => self.apply_row(record),
            RecordKind::Mark => Err(Error::Invalid(
                "the log holds a mark record, which this version does not write".to_owned(),
            )),
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
        let shard = usize::from(shard_of(partition, self.shards as u16));
        let Some(state) = self.states.get_mut(shard) else {
            return Err(Error::Invalid(format!("no shard {shard}")));
        };
        match state.apply(&self.catalogue, record, None) {
            Ok(_) => Ok(()),
            Err(ApplyError::Full) => Err(Error::MemoryBudget { budget_bytes: self.memory_bytes }),
            Err(error) => Err(Error::Invalid(format!("the log does not add up: {error}"))),
        }
    }

    /// The states, the catalogue and the readers of a finished replay.
    pub fn finish(self) -> Result<(Vec<ShardState>, Catalogue, Reads), Error> {
        let tables: Vec<_> = self.states.iter().map(|state| state.hot().reader()).collect();
        let mut descriptors = Vec::new();
        if self.memory == HotMemory::Mapped {
            for state in &self.states {
                let descriptor = state
                    .hot()
                    .descriptor()
                    .map_err(|e| Error::Invalid(format!("descriptor of a hot table: {e}")))?;
                descriptors.push(descriptor);
            }
        }
        let reads = Reads::new(tables, descriptors, self.applied, self.hash_seed);
        Ok((self.states, self.catalogue, reads))
    }
}

impl Replay for Rebuild {
    fn begin(&mut self, about: &Manifest) -> Result<(), String> {
        self.make_states(about).map_err(|error| self.stop(error))
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.apply(record).map_err(|error| self.stop(error))
    }
}
