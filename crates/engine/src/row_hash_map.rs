//! Maps keyed by row hashes, which are not hashed once more.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from a row hash. The store's secret seed is in the hash already, so that nobody can choose keys
/// that collide.
pub type RowHashMap<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

/// Hands a hash on as it is.
#[derive(Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only row hashes are keys here");
    }
}
