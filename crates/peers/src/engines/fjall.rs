//! fjall. Settings by its documentation (docs.rs/fjall, `KeyspaceCreateOptions` and `DatabaseBuilder`).

use super::writers::write;
use super::{
    BACKGROUND_THREADS, Engine, Reader, Setting, Sink, built_version, cache_bytes, memtable_bytes,
    setting,
};
use crate::process::folder_bytes;
use crate::protocol::Loaded;
use crate::rows::{Answer, Rows, key};
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    HashRatioPolicy, PartitioningPolicy, PinningPolicy,
};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::{Path, PathBuf};
use std::time::Instant;
use thermae_benches::warm::load::{IN_FLIGHT, REST, settle};

/// Bytes of a block before compression.
const BLOCK_BYTES: u32 = 4 << 10;
/// Bits of the filter for a key.
const FILTER_BITS: f32 = 10.0;
/// Entries of a block's hash index for a key.
const HASH_RATIO: f32 = 0.75;
/// Threads that write; while one waits for the device another prepares.
const WRITERS: usize = 2;

/// How it is set up.
pub fn settings(memory_bytes: u64) -> Vec<Setting> {
    vec![
        setting(
            "cache_size",
            cache_bytes(memory_bytes),
            "three quarters of the budget: more than our hot table gets",
        ),
        setting(
            "max_memtable_size",
            memtable_bytes(memory_bytes),
            "two of them are the last quarter of the budget",
        ),
        setting("worker_threads", BACKGROUND_THREADS, "its own choice on two cores"),
        setting(
            "data_block_size_policy",
            BLOCK_BYTES,
            "\"for point read heavy workloads 4 to 8 KiB\"",
        ),
        setting("data_block_hash_ratio_policy", HASH_RATIO, "\"speeds up point queries\""),
        setting(
            "data_block_compression_policy",
            "LZ4",
            "on all levels, its only codec; as it comes it leaves the upper two raw",
        ),
        setting(
            "filter_policy",
            format!("Bloom, {FILTER_BITS} bits a key"),
            "its own choice below the first level; misses are asked for too",
        ),
        setting(
            "index and filter blocks",
            "whole and pinned",
            "in memory beside the cache, as ours, so that a look-up reads one block",
        ),
        setting("expect_point_read_hits", false, "misses are asked for too"),
        setting(
            "persist(SyncData)",
            format!("after each {} batches of a writer, {WRITERS} writers", IN_FLIGHT / WRITERS),
            "it syncs under its journal's lock, so that a sync for each batch would group \
             nothing; a batch counts as acknowledged after that",
        ),
        setting(
            "direct I/O",
            "none",
            "it has none: the system's page cache holds blocks beside the budget. So look-ups \
             are measured once with all its pages there, and once while another process drops them \
             every few milliseconds",
        ),
        setting(
            "multi-get",
            "none",
            "it has none: a request is as many `get`, one after the other",
        ),
    ]
}

fn keyspace_options(memory_bytes: u64) -> KeyspaceCreateOptions {
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS));
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        .max_memtable_size(memtable_bytes(memory_bytes))
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .data_block_hash_ratio_policy(HashRatioPolicy::all(HASH_RATIO))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .filter_policy(FilterPolicy::all(filter))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .expect_point_read_hits(false)
}

/// A fjall database with one keyspace.
pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    folder: PathBuf,
}

impl Fjall {
    /// A new database in `folder`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(folder: &Path, memory_bytes: u64) -> anyhow::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(cache_bytes(memory_bytes))
            .worker_threads(BACKGROUND_THREADS)
            .manual_journal_persist(true)
            .open()?;
        let keyspace = database.keyspace("rows", || keyspace_options(memory_bytes))?;
        Ok(Self { database, keyspace, folder: folder.to_path_buf() })
    }

    /// Writes batches and, after every few of them, makes them durable.
    fn write(&self, rows: &Rows, count: u64) -> anyhow::Result<f64> {
        write(rows, count, WRITERS, |batches| {
            loop {
                let mut is_more = true;
                for _ in 0..IN_FLIGHT / WRITERS {
                    let mut batch = self.database.batch();
                    is_more =
                        batches.next(|key, value| batch.insert(&self.keyspace, key, value))?;
                    batch.commit()?;
                }
                self.database.persist(PersistMode::SyncData)?;
                if !is_more {
                    return Ok(());
                }
            }
        })
    }

    /// Whether it works in the background, and what it has.
    fn progress(&self) -> (bool, (usize, usize, u64)) {
        let is_working = self.database.outstanding_flushes() > 0
            || self.database.active_compactions() > 0
            || self.keyspace.sealed_memtable_count() > 0;
        let Self { database, keyspace, .. } = self;
        (
            is_working,
            (database.compactions_completed(), keyspace.table_count(), keyspace.disk_space()),
        )
    }
}

impl Engine for Fjall {
    fn version(&self) -> String {
        built_version("fjall")
    }

    fn load(&self, rows: &Rows, count: u64) -> anyhow::Result<Loaded> {
        let acknowledged_s = self.write(rows, count)?;
        let acknowledged = Instant::now();
        self.keyspace.rotate_memtable_and_wait()?;
        settle(|| Ok(self.progress()))?;
        Ok(Loaded {
            rows: count,
            acknowledged_s,
            settled_s: acknowledged.elapsed().saturating_sub(REST).as_secs_f64(),
            cpu_s: 0.0,
            table_bytes: self.keyspace.disk_space(),
            table_rows: count,
            folder_bytes: folder_bytes(&self.folder)?,
        })
    }

    fn reader(&self) -> Box<dyn Reader + '_> {
        Box::new(FjallReader { keyspace: &self.keyspace })
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct FjallReader<'a> {
    keyspace: &'a Keyspace,
}

impl Reader for FjallReader<'_> {
    fn read(&mut self, ids: &[u64], sink: &mut Sink<'_>) -> anyhow::Result<()> {
        for (at, id) in ids.iter().enumerate() {
            match self.keyspace.get(key(*id))? {
                Some(bytes) => sink(at, Some(Answer::of_peer(&bytes)?)),
                None => sink(at, None),
            }
        }
        Ok(())
    }
}
