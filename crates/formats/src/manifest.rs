//! The manifest of a data directory. Bytes: `docs/formats/log.md`.

mod check;
mod read;
mod read_v1;
mod write;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::batch::genesis;
use crate::table::TableRef;

/// First bytes of every manifest.
pub const MANIFEST_MAGIC: [u8; 8] = *b"THRMMANI";
/// Version of the manifest format. Version 1 is read, too.
pub const MANIFEST_VERSION: u16 = 2;
/// Most partitions of a store.
pub const MAX_PARTITIONS: u16 = 4096;

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Random name of the store.
    pub store_id: [u8; 16],
    /// Seed of the entity hash.
    pub hash_seed: u64,
    /// Partitions, fixed when the store is created.
    pub partitions: u16,
    /// Length of new segment files.
    pub segment_bytes: u64,
    /// The present epoch; 0 before the first.
    pub epoch: u32,
    /// Logs of epochs up to this one that are not named below are in the tables: what is left of
    /// their files is free. 0 for none.
    pub covered_epoch: u32,
    /// Logs of the present epoch, one a shard, in shard order; none when that epoch was closed (its
    /// logs are sealed then) and in epoch 0.
    pub current: Vec<CurrentLog>,
    /// Logs of older epochs, ascending by (epoch, shard); those that hold nothing behind their start
    /// are not kept.
    pub sealed: Vec<SealedLog>,
    /// Every file id at or above this one is free.
    pub next_file_id: u64,
    /// Tables, ascending by file id; each belongs to at least one tree.
    pub tables: Vec<TableRef>,
    /// Trees of the shards, in shard order. In an open epoch none, or one a present log; of a closed
    /// one any number.
    pub trees: Vec<Tree>,
}

/// Where a log begins now. Everything before is in the tables, and its segments are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStart {
    /// Number of the first segment.
    pub segment: u32,
    /// Salt of that segment.
    pub salt: u64,
    /// Batches before it.
    pub batches: u64,
    /// Records before it.
    pub records: u64,
    /// Hash of the batch before it; the log's genesis when there is none.
    pub chain: u64,
}

/// One log of the present epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLog {
    /// Shard that writes it.
    pub shard: u16,
    /// Where it begins.
    pub start: LogStart,
}

/// One log of an older epoch, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedLog {
    /// Epoch of the log.
    pub epoch: u32,
    /// Shard that wrote it.
    pub shard: u16,
    /// Where it begins.
    pub start: LogStart,
    /// Segments that belong to it, counted from number 0 though those before the start are gone.
    pub segments: u32,
    /// End of its last batch in the last of them.
    pub end_offset: u64,
    /// Batches in it, those before the start included.
    pub batches: u64,
    /// Records in it, those before the start included.
    pub records: u64,
    /// Hash of its last batch.
    pub chain: u64,
}

/// The warm tree of one shard. A table may belong to several trees: each uses only the rows of its
/// own partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The shard.
    pub shard: u16,
    /// File ids of its tables of newest versions, newest first.
    pub latest: Vec<u64>,
    /// File ids of its tables of superseded versions.
    pub history: Vec<u64>,
    /// File id of its checkpoint; 0 for none.
    pub checkpoint: u64,
    /// Checksum of that checkpoint; 0 for none.
    pub checkpoint_checksum: u64,
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The length is not what the counts in it ask for, or below the smallest.
    #[error("the file has {found} bytes, a manifest like this has {needed}")]
    Length {
        /// Bytes that it should have.
        needed: u64,
        /// Bytes that it has.
        found: usize,
    },
    /// Not a manifest.
    #[error("no manifest: wrong magic")]
    Magic,
    /// A manifest of a later format.
    #[error("manifest format version {0}, this build knows {MANIFEST_VERSION}")]
    NewerVersion(u16),
    /// The bytes are not what was written.
    #[error("the manifest's checksum does not hold")]
    Checksum,
    /// The checksum holds but a field is what no writer writes.
    #[error("the manifest's {0} is impossible")]
    Field(&'static str),
}

impl LogStart {
    /// The start of a log that begins with its batch 1, in segment 0 with `salt`.
    pub fn first(store_id: &[u8; 16], epoch: u32, shard: u16, salt: u64) -> Self {
        Self { segment: 0, salt, batches: 0, records: 0, chain: genesis(store_id, epoch, shard) }
    }
}

impl SealedLog {
    /// Whether no batch is behind the start: everything in it is in the tables.
    pub const fn is_empty(&self) -> bool {
        self.batches == self.start.batches
    }
}
