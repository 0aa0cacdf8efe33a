//! Hashes of entities and rows: where a key lives, from slot to hot-table bucket.
//!
//! All views of one entity share its slot, hence its partition and shard; inside a hot table the view
//! id is mixed in, so that the views of one entity do not crowd one bucket.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::catalogue::ViewId;

/// Fixed number of slots of the key hash; partitions are ranges of slots.
pub const SLOTS: u16 = 4096;

/// An odd constant (the golden ratio in 64 bits) that spreads view ids over all bits.
const VIEW_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hash of an encoded entity key under the store's seed: XXH3-64.
#[inline]
pub fn entity_hash(key: &[u8], store_seed: u64) -> u64 {
    xxh3_64_with_seed(key, store_seed)
}

/// Slot of an entity: the top 12 bits of its hash, `0..SLOTS`.
#[inline]
pub fn slot_of(entity_hash: u64) -> u16 {
    (entity_hash >> 52) as u16
}

/// Partition of an entity, `0..partitions`: equal ranges of slots. `partitions` is 1 to [`SLOTS`].
#[inline]
pub fn partition_of(entity_hash: u64, partitions: u16) -> u16 {
    ((u32::from(slot_of(entity_hash)) * u32::from(partitions)) / u32::from(SLOTS)) as u16
}

/// Shard that owns a partition when the directory is opened with `shards` shards.
#[inline]
pub fn shard_of(partition: u16, shards: u16) -> u16 {
    partition % shards.max(1)
}

/// Hash of one view's row of an entity, for the hot table's buckets: a bijection of `entity_hash` for
/// each view (the finaliser of MurmurHash3).
#[inline]
pub fn row_hash(entity_hash: u64, view_id: ViewId) -> u64 {
    let mut h = entity_hash ^ u64::from(view_id.0).wrapping_mul(VIEW_FACTOR);
    h ^= h >> 33;
    h = h.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h ^= h >> 33;
    h = h.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

/// The 32-bit checksum used where 64 bits do not fit: the low half of XXH3-64.
#[inline]
pub fn checksum32(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}
