//! What an opener may choose. Few options: each has a unit, a default and limits.

use crate::background::Background;
use crate::error::Error;
use crate::memory::{Given, MemoryPlan};

/// Default memory over all shards.
const MEMORY_DEFAULT_BYTES: u64 = 1 << 30;
/// Below this a shard's table cannot hold its own index.
const MEMORY_PER_SHARD_MIN_BYTES: u64 = 4 << 20;

/// A fraction of a second's work.
const PRELOAD_DEFAULT_BYTES: u64 = 64 << 20;

/// Where the hot tables live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HotMemory {
    /// A sealed memory file, which other processes can map.
    #[default]
    Mapped,
    /// Plain memory: no descriptors. For simulation and Miri.
    Heap,
}

/// How a directory is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shards, one pinned thread each; 0 means one a core. Any count may open any directory.
    pub cores: usize,
    /// Memory in bytes, over all shards, for everything that the store allocates: [`crate::memory`] divides
    /// it. With less than [`crate::memory::least_bytes`] it may take more than this.
    pub memory_bytes: u64,
    /// Bytes of it that the caller takes itself: a server its connections.
    pub reserved_bytes: u64,
    /// Partitions, fixed when the directory is created; ignored when it exists (1 to 4096).
    pub partitions: u16,
    /// Log segment size in bytes, a multiple of 4096.
    pub segment_bytes: u64,
    /// How long a shard polls after its last request before it sleeps, in microseconds; 0 never.
    pub spin_us: u64,
    /// A row whose event time lies further ahead of the clock than this is refused, microseconds.
    pub future_skew_us: i64,
    /// Pin shard `i` to core `i`.
    pub pin: bool,
    /// Who flushes and compacts; `Thread` unless the caller is a simulation.
    pub background: Background,
    /// Size at which a shard's memtable is flushed, in bytes, at least 16 KiB; 0: a part of the
    /// memory.
    pub flush_bytes: usize,
    /// Bytes of tables up to which a shard's rows are all read into its hot table when it is opened;
    /// rows of a larger shard come in as they are asked for.
    pub preload_bytes: u64,
    /// Memory of one training read, in bytes, beside `memory_bytes` while it runs; 0: an eighth of that,
    /// at most 256 MiB.
    pub training_bytes: usize,
    /// Helper threads of one training read, of low priority; 0: one a core of the machine.
    pub training_threads: usize,
    /// Where the hot tables live; `Mapped` unless the caller is a simulation.
    pub hot_memory: HotMemory,
    /// The archive; without one nothing is archived, and `warm_for` moves nothing.
    #[cfg(feature = "cold")]
    pub archive: Option<crate::cold::ArchiveOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cores: 1,
            memory_bytes: MEMORY_DEFAULT_BYTES,
            reserved_bytes: 0,
            partitions: 64,
            segment_bytes: 64 << 20,
            spin_us: 50,
            future_skew_us: 5 * 60 * 1_000_000,
            pin: false,
            background: Background::Thread,
            flush_bytes: 0,
            preload_bytes: PRELOAD_DEFAULT_BYTES,
            training_bytes: 0,
            training_threads: 0,
            hot_memory: HotMemory::Mapped,
            #[cfg(feature = "cold")]
            archive: None,
        }
    }
}

impl Options {
    /// Whether an archive is opened with the store.
    pub(crate) fn opens_archive(&self) -> bool {
        #[cfg(feature = "cold")]
        let opens = self.archive.is_some();
        #[cfg(not(feature = "cold"))]
        let opens = false;
        opens
    }

    /// The shares of one shard whose tables pin `pinned_bytes`.
    pub(crate) fn plan(&self, pinned_bytes: u64) -> MemoryPlan {
        MemoryPlan::divide(&Given {
            memory_bytes: self.memory_bytes,
            reserved_bytes: self.reserved_bytes,
            shards: self.cores as u64,
            pinned_bytes,
            flush_bytes: self.flush_bytes as u64,
        })
    }

    /// Resolves `cores: 0` and checks every limit.
    pub(crate) fn checked(mut self) -> Result<Options, Error> {
        if self.cores == 0 {
            self.cores = std::thread::available_parallelism().map_or(1, usize::from);
        }
        let refuse = |what: String| Err(Error::Invalid(what));
        if self.partitions == 0 || self.partitions > 4096 {
            return refuse(format!("partitions is {}, must be 1 to 4096", self.partitions));
        }
        if !self.segment_bytes.is_multiple_of(4096)
            || !(64 << 10..=4 << 30).contains(&self.segment_bytes)
        {
            return refuse(format!(
                "segment_bytes is {}, must be a multiple of 4096 from 64 KiB to 4 GiB",
                self.segment_bytes
            ));
        }
        let least_bytes = self.reserved_bytes + self.cores as u64 * MEMORY_PER_SHARD_MIN_BYTES;
        if self.memory_bytes < least_bytes {
            return refuse(format!(
                "a memory budget of {} bytes for {} shards is too small: at least {least_bytes} bytes",
                self.memory_bytes, self.cores
            ));
        }
        if self.future_skew_us < 0 {
            return refuse("future_skew_us is negative".into());
        }
        Ok(self)
    }
}
