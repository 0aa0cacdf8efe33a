//! What an opener may choose of the archive.

use std::fmt;
use std::sync::Arc;

use thermae_tiering::cold::Objects;
use thermae_tiering::cold::plan::ArchivePolicy;

/// Where the archive is, and how it is kept.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// The object store, from the archive's root on.
    pub objects: Arc<dyn Objects>,
    /// How it is kept.
    pub policy: ArchivePolicy,
    /// How often it looks for new rows, in microseconds. A row is archived two of these and the policy's lag
    /// after its write at the latest, as long as the object store keeps up.
    pub round_us: i64,
    /// Memory for the tails of open files, in bytes.
    pub open_file_bytes: usize,
}

impl ArchiveOptions {
    /// An archive in `objects`, kept by the defaults.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        let policy = ArchivePolicy::default();
        Self { objects, policy, round_us: 30_000_000, open_file_bytes: 64 << 20 }
    }
}

impl fmt::Debug for ArchiveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, round_us, .. } = self;
        f.debug_struct("ArchiveOptions")
            .field("policy", policy)
            .field("round_us", round_us)
            .finish_non_exhaustive()
    }
}
