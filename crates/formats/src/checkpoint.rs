//! What the tables of a shard hold beside rows. Bytes: `docs/formats/checkpoint.md`.

mod read;
mod write;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::{SchemaId, ViewId};

/// First bytes of every checkpoint.
pub const CHECKPOINT_MAGIC: [u8; 8] = *b"THRMCKPT";
/// Version of the checkpoint format.
pub const CHECKPOINT_VERSION: u16 = 2;
/// Version of a checkpoint without pending erases: builds that know no erases read it.
const PLAIN_CHECKPOINT_VERSION: u16 = 1;

/// File name of a checkpoint in the directory of tables.
pub fn checkpoint_name(file_id: u64) -> String {
    format!("{file_id:016x}.ckp")
}

/// State of a shard as of its tables: replaying the log goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Store that it belongs to.
    pub store_id: [u8; 16],
    /// Its number in the store, and its file name.
    pub file_id: u64,
    /// Catalogue entries applied until then.
    pub generation: u64,
    /// The schemas of the store in the order of their registration: of each its present definition.
    pub catalogue: Vec<CheckpointSchema>,
    /// The shard's partitions, ascending by number.
    pub partitions: Vec<CheckpointPartition>,
}

/// One schema of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointSchema {
    /// The schema.
    pub schema_id: SchemaId,
    /// The view that it belongs to.
    pub view_id: ViewId,
    /// The view's definition ([`crate::FeatureView::to_json`]); whoever parses it checks it.
    pub json: Vec<u8>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPartition {
    /// Its number.
    pub number: u16,
    /// Sequence of its last record that is in the tables; 0 for none.
    pub applied: u64,
    /// Newest event time of a record, microseconds UTC.
    pub watermark: Option<i64>,
    /// Sum of its newest rows' digests.
    pub rows_digest: u64,
    /// (producer id, greatest sequence applied), ascending by id; nobody's id 0 is not among them.
    pub marks: Vec<(u64, u64)>,
    /// What it holds of each view, ascending by view.
    pub views: Vec<CheckpointView>,
    /// Its pending erases, ascending by sequence.
    pub erases: Vec<CheckpointErase>,
}

/// A row that was erased, and of which something may still lie somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointErase {
    /// Its view.
    pub view_id: ViewId,
    /// Versions up to this sequence are gone; not above the applied one.
    pub sequence: u64,
    /// Its encoded entity key.
    pub key: Vec<u8>,
}

/// Live rows of a view in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointView {
    /// The view.
    pub view_id: ViewId,
    /// Live rows.
    pub rows: i64,
    /// Bytes of their keys and values.
    pub bytes: i64,
}

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The bytes end inside it, or go on behind it.
    #[error("the file has {found} bytes, {what} do not fit that")]
    Length {
        /// What is cut or too much.
        what: &'static str,
        /// Bytes that it has.
        found: usize,
    },
    /// Not a checkpoint.
    #[error("no checkpoint: wrong magic")]
    Magic,
    /// A checkpoint of a later format.
    #[error("checkpoint format version {0}, this build knows {CHECKPOINT_VERSION}")]
    NewerVersion(u16),
    /// The bytes are not what was written.
    #[error("the checkpoint's checksum does not hold")]
    Checksum,
    /// The checksum holds but a field is what no writer writes.
    #[error("the checkpoint's {0} is impossible")]
    Field(&'static str),
}
