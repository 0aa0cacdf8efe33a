//! In the place of RocksDB where it was not built.

use super::{Engine, Setting};
use std::path::Path;

/// Why.
pub const ABSENT: Option<&str> = Some(
    "built without the feature `rocksdb`, which needs its library, and libclang to read its header: \
     `apt-get install librocksdb-dev libclang-dev`",
);

/// In the place of how it is set up.
#[derive(Debug, Clone, Copy)]
pub struct Variant;

/// In the place of the one for speed.
pub const FAST: Variant = Variant;
/// In the place of the one for size.
pub const SMALL: Variant = Variant;

/// None.
pub fn settings(_: Variant, _: u64) -> Vec<Setting> {
    Vec::new()
}

/// Says why not.
///
/// # Errors
/// Always.
pub fn open(_: Variant, _: &Path, _: u64) -> anyhow::Result<Box<dyn Engine>> {
    anyhow::bail!("RocksDB: {}", ABSENT.unwrap_or_default())
}
