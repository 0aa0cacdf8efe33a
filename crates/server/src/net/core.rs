//! What the requests of one shard share: limits, counters, scratch memory, requests under way.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use thermae_engine::reads::{Key, RowBuf};
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, Limits as WireLimits, ReplyBuilder};

use super::backup_desk::BackupDesk;
use super::compute_desk::Computation;
use super::connection::Budget;
use super::counters::{AllCounters, Counters};
use super::erase_desk::EraseQuestion;
use super::failure::Failure;
use super::history_reads::Begin;
use super::registry_desk::{RegistryDesk, Serving};
use super::scan_arrivals::Arrivals;
use super::scan_pages::PageRequest;
use super::waiting::{Parked, Tickets};
use crate::serve::limits::Limits;

/// Output buffers kept for reuse, and the largest that is kept, in bytes.
const SPARE_BUFFERS: usize = 64;
const SPARE_BYTES: usize = 256 << 10;

/// What all shards of one server share.
pub struct Shared {
    /// The limits in force.
    pub limits: Limits,
    /// The counters of every shard.
    pub counters: AllCounters,
    /// Connections open, over all shards.
    pub open: AtomicU32,
    /// When the server started, microseconds UTC.
    pub started_us: i64,
    /// Where scans go, once there is a store to read.
    pub pages: OnceLock<SyncSender<Option<PageRequest>>>,
    /// Where backups go, once there is a store to take them of.
    pub backups: OnceLock<Arc<BackupDesk>>,
    /// Where training reads begin, once there is a store to read.
    pub histories: OnceLock<SyncSender<Option<Begin>>>,
    /// The registry, once there is a store that it is of.
    pub registry: OnceLock<RegistryDesk>,
    /// Where reads of computed features go, once there is a store to read.
    pub computations: OnceLock<SyncSender<Option<Computation>>>,
    /// Where questions about erases go, once there is a store to ask.
    pub erases: OnceLock<SyncSender<Option<EraseQuestion>>>,
}

impl Shared {
    /// The state of a server with `shards` shards, started at `started_us`.
    pub fn new(limits: Limits, shards: usize, started_us: i64) -> Self {
        Self {
            limits,
            counters: AllCounters::new(shards),
            open: AtomicU32::new(0),
            started_us,
            pages: OnceLock::new(),
            backups: OnceLock::new(),
            histories: OnceLock::new(),
            registry: OnceLock::new(),
            computations: OnceLock::new(),
            erases: OnceLock::new(),
        }
    }

    /// What bare names of views mean.
    ///
    /// # Errors
    /// The server is starting.
    pub fn serving(&self) -> Result<&dyn Serving, Failure> {
        let desk = self.registry.get().map(|desk| &*desk.serving);
        desk.ok_or_else(|| Failure::passing(ErrorCode::NotReady, 100, "the server is starting"))
    }
}

/// One shard's part of it.
pub struct Core<E: Env> {
    /// The clock, for latencies and deadlines.
    pub env: E,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// A copy of the limits, near.
    pub limits: Limits,
    /// The part of the limits that HELLO states.
    pub wire_limits: WireLimits,
    /// This shard's counters.
    pub counters: Arc<Counters>,
    /// This shard's share of the buffer memory.
    pub budget: Budget,
    /// Builds answers to reads.
    pub builder: ReplyBuilder,
    /// Where a row that straddles a write is assembled.
    pub row_buf: RowBuf,
    /// What is under way.
    pub tickets: Tickets,
    /// Reads that wait.
    pub parked: Vec<Parked>,
    /// What helper threads have answered.
    pub arrivals: Arrivals,
    keys: Vec<Key<'static>>,
    spare: Vec<Vec<u8>>,
}

impl<E: Env> Core<E> {
    /// The core of shard `shard`.
    pub fn new(env: E, shared: Arc<Shared>, shard: usize) -> Self {
        let limits = shared.limits;
        let shards = shared.counters.shards.len().max(1) as u64;
        // A shard must be able to hold one frame and one answer, however many share the memory.
        let least = u64::from(limits.frame_bytes) + u64::from(limits.queued_output_bytes);
        let limit_bytes = (limits.buffer_bytes / shards).max(least);
        let counters = shared.counters.shards.get(shard).map(Arc::clone).unwrap_or_default();
        Self {
            env,
            limits,
            wire_limits: limits.wire(),
            counters,
            shared,
            budget: Budget { limit_bytes, held_bytes: 0 },
            builder: ReplyBuilder::new(),
            row_buf: RowBuf::default(),
            tickets: Tickets::default(),
            parked: Vec::new(),
            arrivals: Arrivals::default(),
            keys: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// An empty buffer, with memory if some is spare.
    #[inline]
    pub fn take_spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a buffer's memory for later.
    #[inline]
    pub fn give_spare(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity > 0 && capacity <= SPARE_BYTES && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// The list of keys, empty, with the memory of earlier requests.
    #[inline]
    pub fn take_keys<'k>(&mut self) -> Vec<Key<'k>> {
        relabel(std::mem::take(&mut self.keys))
    }

    /// Gives the memory of a list of keys back.
    #[inline]
    pub fn give_keys(&mut self, keys: Vec<Key<'_>>) {
        self.keys = relabel(keys);
    }

    /// Counts memory that is held from now on.
    pub fn charge(&mut self, bytes: usize) {
        self.budget.held_bytes += bytes as u64;
    }

    /// Counts memory that is held no longer.
    pub fn release(&mut self, bytes: usize) {
        self.budget.held_bytes = self.budget.held_bytes.saturating_sub(bytes as u64);
    }
}

/// An empty list in the memory of another: its elements differ in their lifetime alone, and
/// collecting in place keeps the allocation.
#[inline]
#[allow(clippy::unnecessary_filter_map)] // `filter` would keep the old lifetime.
fn relabel<'b>(mut keys: Vec<Key<'_>>) -> Vec<Key<'b>> {
    keys.clear();
    keys.into_iter().filter_map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_list_of_keys_keeps_its_memory() {
        let bytes = vec![1_u8, 2, 3];
        let mut keys: Vec<Key<'_>> = Vec::with_capacity(100);
        keys.push(Key { entity_hash: 1, bytes: &bytes });
        let before = keys.as_ptr() as usize;
        let kept: Vec<Key<'static>> = relabel(keys);
        assert!(kept.is_empty() && kept.capacity() >= 100);
        assert_eq!(kept.as_ptr() as usize, before);
    }
}
