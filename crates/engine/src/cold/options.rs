//! What an opener may choose of the archive.

use std::fmt;
use std::sync::Arc;

use thermae_tiering::cold::Objects;
use thermae_tiering::cold::plan::ArchivePolicy;

/// The part of a store's memory that a batch takes.
const MEMORY_SHARE: u64 = 64;

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
    /// Memory for the tails of open files (footers, bloom filters, page indices), in bytes.
    pub open_file_bytes: usize,
    /// How long a read or a partial write waits for a row that lies in the archive alone, in microseconds; after
    /// that it is told that the row is unavailable.
    pub read_deadline_us: i64,
}

impl ArchiveOptions {
    /// An archive in `objects`, kept by the defaults.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        let policy = ArchivePolicy::default();
        Self {
            objects,
            policy,
            round_us: 30_000_000,
            open_file_bytes: 64 << 20,
            read_deadline_us: 2_000_000,
        }
    }

    /// The same within a part of `memory_bytes`, which the store is given: see [`Self::memory_bytes`].
    #[must_use]
    pub fn within(mut self, memory_bytes: u64) -> Self {
        let part = part_of(memory_bytes);
        self.policy.batch_bytes = part;
        (self.policy.file_bytes, self.policy.small_file_bytes) = (part, part / 4);
        self.open_file_bytes = usize::try_from(part).unwrap_or(usize::MAX);
        self
    }

    /// The same with rows that wait about `lag_us`, in microseconds.
    #[must_use]
    pub fn lagging(mut self, lag_us: i64) -> Self {
        (self.policy.lag_us, self.round_us) = (lag_us, lag_us / 2);
        self
    }

    /// The same with objects that stay for `grace_us`, in microseconds, after nothing names them any more: a backup that
    /// names them can be restored as long.
    #[must_use]
    pub fn keeping(mut self, grace_us: i64) -> Self {
        self.policy.grace_us = grace_us;
        let log = &mut self.policy.log;
        log.removed_us = log.removed_us.max(grace_us.saturating_add(log.keep_us));
        self
    }

    /// Memory that it takes at most, about, in bytes: a batch, the file that it becomes, that file read back, and
    /// open files.
    pub fn memory_bytes(&self) -> u64 {
        3 * self.policy.batch_bytes + self.open_file_bytes as u64
    }

    /// The same of an archive [`Self::within`] so much memory, before there is one.
    pub fn memory_bytes_within(memory_bytes: u64) -> u64 {
        4 * part_of(memory_bytes)
    }
}

/// The largest batch, and the largest file, of an archive within so much memory.
fn part_of(memory_bytes: u64) -> u64 {
    (memory_bytes / MEMORY_SHARE).clamp(1 << 20, 64 << 20)
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
