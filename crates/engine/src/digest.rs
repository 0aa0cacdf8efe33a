//! The share of one row in its partition's digest.

use thermae_formats::version::Version;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Hash of everything that a row is. The hot table pads values with zero bytes, and a value's length
/// follows from its bytes, so trailing zero bytes are left out.
pub fn row_digest(row: &Version<'_>) -> u64 {
    let end = row.value.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let parts = [
        u64::from(row.schema_id.0) << 8 | u64::from(row.flags),
        row.event_time as u64,
        row.created_time as u64,
        row.sequence,
        row.expire_at as u64,
        xxh3_64(row.key),
        xxh3_64(row.value.get(..end).unwrap_or_default()),
    ];
    let mut bytes = [0u8; 56];
    for (chunk, part) in bytes.chunks_exact_mut(8).zip(parts) {
        chunk.copy_from_slice(&part.to_le_bytes());
    }
    xxh3_64_with_seed(&bytes, 0)
}
