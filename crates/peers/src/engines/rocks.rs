//! RocksDB. Settings by its tuning guide, "Setup Options and Basic Tuning", "Direct IO", "RocksDB Bloom Filter",
//! "MultiGet Performance" and "Write Ahead Log" of its wiki.

use super::writers::write;
use super::{
    BACKGROUND_THREADS, Engine, Reader, Setting, Sink, cache_bytes, memtable_bytes, setting,
};
use crate::process::folder_bytes;
use crate::protocol::Loaded;
use crate::rows::{Answer, Rows, key};
use anyhow::{Context, ensure};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Options, ReadOptions,
    WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};
use std::time::Instant;
use thermae_benches::page_cache::files;
use thermae_benches::warm::load::{IN_FLIGHT, REST, settle};

/// It was built.
pub const ABSENT: Option<&str> = None;

/// Bits of a filter for a key; a ribbon filter of "10 bits" is as exact as a Bloom filter of 10 in some 7.
const FILTER_BITS: f64 = 10.0;
/// Format of tables.
const FORMAT_VERSION: i32 = 5;
/// Keys of a block for a bucket of its hash index.
const HASH_RATIO: f64 = 0.75;
/// Logs kept, to be written over.
const RECYCLED_LOGS: usize = 2;
/// Whether blocks of a multi-get are read at the same time.
const IO_URING: (&str, &str) = if cfg!(feature = "rocksdb-source") {
    ("built in", "a multi-get reads the blocks of a file at the same time")
} else {
    (
        "not in the library",
        "Debian builds without it: a multi-get reads its blocks one after the other, so that \
         there are as many reads in flight as threads",
    )
};
/// The one column family.
const FAMILY: &str = "default";
/// Properties that say that there is work in the background.
const WORK: [&str; 5] = [
    "rocksdb.mem-table-flush-pending",
    "rocksdb.num-running-flushes",
    "rocksdb.compaction-pending",
    "rocksdb.num-running-compactions",
    "rocksdb.num-immutable-mem-table",
];

/// What there is to choose between speed and size.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    block_bytes: usize,
    bottommost: DBCompressionType,
    is_ribbon: bool,
    why: &'static str,
}

/// For speed.
pub const FAST: Variant = Variant {
    block_bytes: 4 << 10,
    bottommost: DBCompressionType::Lz4,
    is_ribbon: false,
    why: "quickest: the least to read and decompress, and the filter that costs least time",
};

/// For size.
pub const SMALL: Variant = Variant {
    block_bytes: 16 << 10,
    bottommost: DBCompressionType::Zstd,
    is_ribbon: true,
    why: "smallest: the tuning guide's choice where space matters",
};

/// How it is set up.
pub fn settings(variant: Variant, memory_bytes: u64) -> Vec<Setting> {
    [table_settings(variant, memory_bytes), write_settings(memory_bytes)].concat()
}

/// How tables are made and read.
fn table_settings(variant: Variant, memory_bytes: u64) -> Vec<Setting> {
    let filter = if variant.is_ribbon { "ribbon" } else { "Bloom" };
    vec![
        setting("block_size", variant.block_bytes, variant.why),
        setting("compression", format!("LZ4, at the bottom {:?}", variant.bottommost), variant.why),
        setting(
            "filter_policy",
            format!("{filter}, {FILTER_BITS} bits a key, of whole keys"),
            variant.why,
        ),
        setting(
            "block_cache",
            format!("LRU, {}", cache_bytes(memory_bytes)),
            "three quarters of the budget: more than our hot table gets; the clock cache has no call in C",
        ),
        setting(
            "cache_index_and_filter_blocks",
            false,
            "in memory beside the cache, as ours, so that a look-up reads one block",
        ),
        setting("optimize_filters_for_hits", false, "misses are asked for too"),
        setting(
            "data_block_index_type",
            format!("binary search and hash, {HASH_RATIO}"),
            "\"reduces CPU of point look-ups\"",
        ),
        setting("format_version", FORMAT_VERSION, "the newest of RocksDB 7"),
        setting(
            "use_direct_reads, use_direct_io_for_flush_and_compaction",
            true,
            "past the page cache, as ours",
        ),
        setting("io_uring", IO_URING.0, IO_URING.1),
        setting(
            "async_io",
            "as it comes",
            "for look-ups it needs a build with folly's coroutines, which the crate has not",
        ),
        setting(
            "MultiGet",
            "batched, sorted input",
            "keys are sorted here, within the measured time; one key is asked for by GetPinned",
        ),
    ]
}

/// How rows are written and merged.
fn write_settings(memory_bytes: u64) -> Vec<Setting> {
    let memtable = memtable_bytes(memory_bytes);
    vec![
        setting(
            "write_buffer_size",
            format!("{memtable}, 2 of them"),
            "the last quarter of the budget",
        ),
        setting("level_compaction_dynamic_level_bytes", true, "the tuning guide's choice"),
        setting(
            "max_bytes_for_level_base",
            4 * memtable,
            "as much as the first level holds when it is merged, by the tuning guide",
        ),
        setting("max_background_jobs", BACKGROUND_THREADS, "the cores"),
        setting(
            "sync",
            format!("true, {IN_FLIGHT} writers"),
            "each waits for its batch to be durable; RocksDB groups those that wait",
        ),
        setting(
            "enable_pipelined_write",
            true,
            "the next group goes to the log while one goes to the memtable",
        ),
        setting(
            "recycle_log_file_num",
            RECYCLED_LOGS,
            "a log written over needs no new size to be made durable",
        ),
    ]
}

fn options(variant: Variant, memory_bytes: u64) -> anyhow::Result<Options> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(cache_bytes(memory_bytes) as usize)?);
    table.set_block_size(variant.block_bytes);
    if variant.is_ribbon {
        table.set_ribbon_filter(FILTER_BITS);
    } else {
        table.set_bloom_filter(FILTER_BITS, false);
    }
    table.set_whole_key_filtering(true);
    table.set_cache_index_and_filter_blocks(false);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(HASH_RATIO);
    table.set_format_version(FORMAT_VERSION);
    let (mut options, memtable) = (Options::default(), memtable_bytes(memory_bytes));
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(variant.bottommost);
    options.set_optimize_filters_for_hits(false);
    options.set_use_direct_reads(true);
    options.set_use_direct_io_for_flush_and_compaction(true);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(memtable as usize);
    options.set_max_write_buffer_number(2);
    options.set_max_bytes_for_level_base(4 * memtable);
    options.set_max_background_jobs(BACKGROUND_THREADS as i32);
    options.set_enable_pipelined_write(true);
    options.set_recycle_log_file_num(RECYCLED_LOGS);
    // No figures to the log now and then: they are not what is measured.
    options.set_stats_dump_period_sec(0);
    Ok(options)
}

/// Opens a new database in `folder`.
///
/// # Errors
/// It cannot be opened.
pub fn open(variant: Variant, folder: &Path, memory_bytes: u64) -> anyhow::Result<Box<dyn Engine>> {
    let options = options(variant, memory_bytes)?;
    let database = DB::open_cf_with_opts(&options, folder, [(FAMILY, options.clone())])?;
    Ok(Box::new(Rocks { database, folder: folder.to_path_buf() }))
}

struct Rocks {
    database: DB,
    folder: PathBuf,
}

impl Rocks {
    /// Whether it works in the background, and how large its tables are.
    fn progress(&self) -> anyhow::Result<(bool, u64)> {
        let mut is_working = false;
        for property in WORK {
            is_working |= self.database.property_int_value(property)?.unwrap_or(0) > 0;
        }
        Ok((is_working, self.table_bytes()?))
    }

    fn table_bytes(&self) -> anyhow::Result<u64> {
        let files = files(&self.folder)?;
        let tables = files.iter().filter(|file| file.extension().is_some_and(|end| end == "sst"));
        Ok(tables.filter_map(|file| Some(file.metadata().ok()?.len())).sum())
    }
}

impl Engine for Rocks {
    fn version(&self) -> String {
        // There is no call for it; the log begins with it.
        let log = std::fs::read_to_string(self.folder.join("LOG")).unwrap_or_default();
        let found = log.split_once("RocksDB version: ");
        found.and_then(|(_, rest)| rest.lines().next()).unwrap_or("unknown").trim().into()
    }

    fn load(&self, rows: &Rows, count: u64) -> anyhow::Result<Loaded> {
        let acknowledged_s = write(rows, count, IN_FLIGHT, |batches| {
            let mut durable = WriteOptions::default();
            durable.set_sync(true);
            loop {
                let mut batch = WriteBatch::default();
                if !batches.next(|key, value| batch.put(key, value))? {
                    return Ok(());
                }
                self.database.write_opt(batch, &durable)?;
            }
        })?;
        let acknowledged = Instant::now();
        self.database.flush()?;
        settle(|| self.progress())?;
        Ok(Loaded {
            rows: count,
            acknowledged_s,
            settled_s: acknowledged.elapsed().saturating_sub(REST).as_secs_f64(),
            cpu_s: 0.0,
            table_bytes: self.table_bytes()?,
            table_rows: count,
            folder_bytes: folder_bytes(&self.folder)?,
        })
    }

    fn reader(&self) -> Box<dyn Reader + '_> {
        Box::new(RocksReader {
            database: &self.database,
            options: ReadOptions::default(),
            keys: Vec::new(),
        })
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct RocksReader<'a> {
    database: &'a DB,
    options: ReadOptions,
    /// Key, and its index in the request; in the order of keys.
    keys: Vec<([u8; 8], usize)>,
}

impl Reader for RocksReader<'_> {
    fn read(&mut self, ids: &[u64], sink: &mut Sink<'_>) -> anyhow::Result<()> {
        if let [id] = ids {
            let found = self.database.get_pinned_opt(key(*id), &self.options)?;
            sink(0, found.as_deref().map(Answer::of_peer).transpose()?);
            return Ok(());
        }
        self.keys.clear();
        self.keys.extend(ids.iter().enumerate().map(|(at, id)| (key(*id), at)));
        self.keys.sort_unstable();
        let family = self.database.cf_handle(FAMILY).context("no column family")?;
        let keys = self.keys.iter().map(|(key, _)| key);
        let found = self.database.batched_multi_get_cf_opt(family, keys, true, &self.options);
        ensure!(found.len() == ids.len(), "{} answers for {} keys", found.len(), ids.len());
        for ((_, at), found) in self.keys.iter().zip(found) {
            sink(*at, found?.as_deref().map(Answer::of_peer).transpose()?);
        }
        Ok(())
    }
}
