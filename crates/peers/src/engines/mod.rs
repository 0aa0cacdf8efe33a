//! The engines: each opened with its best documented settings, loaded and read through one face.

#[cfg(not(feature = "rocksdb"))]
mod absent;
mod fjall;
#[cfg(feature = "rocksdb")]
mod rocks;
mod thermae;
mod writers;

use crate::protocol::Loaded;
use crate::rows::{Answer, Rows};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[cfg(not(feature = "rocksdb"))]
use absent as rocks;

/// Threads that a peer may flush and merge on. Ours has one beside its shard.
const BACKGROUND_THREADS: usize = 2;

/// The versions of everything that was built.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Kind {
    /// Ours
    Thermae,
    /// fjall
    Fjall,
    /// RocksDB as it looks up quickest: blocks of 4 KiB, LZ4
    RocksdbFast,
    /// RocksDB as it is smallest: blocks of 16 KiB, ZSTD at the bottom
    RocksdbSmall,
}

/// All of them, ours first.
pub const KINDS: [Kind; 4] = [Kind::Thermae, Kind::Fjall, Kind::RocksdbFast, Kind::RocksdbSmall];

/// A setting, its value, and why it is that.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// As the engine's documentation calls it.
    pub name: &'static str,
    /// What it is set to.
    pub value: String,
    /// Why.
    pub why: &'static str,
}

/// A setting.
fn setting(name: &'static str, value: impl ToString, why: &'static str) -> Setting {
    Setting { name, value: value.to_string(), why }
}

/// Takes one answer: the index of its key in the request, and the row if there is one.
pub type Sink<'a> = dyn FnMut(usize, Option<Answer<'_>>) + 'a;

/// An open store.
pub trait Engine: Sync {
    /// Its version, as it says itself.
    fn version(&self) -> String;

    /// Writes rows `0..count` in durable batches, and waits until tables rest.
    ///
    /// # Errors
    /// A row was not written, or tables do not come to rest.
    fn load(&self, rows: &Rows, count: u64) -> anyhow::Result<Loaded>;

    /// For one thread that asks.
    fn reader(&self) -> Box<dyn Reader + '_>;

    /// Closes the store.
    ///
    /// # Errors
    /// It is in trouble.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

/// Asks a store, one request at a time.
pub trait Reader {
    /// Looks up the keys of `ids` in one request; `sink` is called once for each.
    ///
    /// # Errors
    /// The store is in trouble.
    fn read(&mut self, ids: &[u64], sink: &mut Sink<'_>) -> anyhow::Result<()>;
}

impl Kind {
    /// As tables call it.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Thermae => "Thermae",
            Kind::Fjall => "fjall",
            Kind::RocksdbFast => "RocksDB (fast)",
            Kind::RocksdbSmall => "RocksDB (small)",
        }
    }

    /// Whether it is RocksDB, of whichever setting.
    pub fn is_rocksdb(self) -> bool {
        matches!(self, Kind::RocksdbFast | Kind::RocksdbSmall)
    }

    /// Whether it reads through the page cache of the system, which then holds blocks beside the budget.
    pub fn uses_page_cache(self) -> bool {
        self == Kind::Fjall
    }

    /// Why it cannot be measured, if it was not built.
    pub fn absent(self) -> Option<&'static str> {
        if self.is_rocksdb() { rocks::ABSENT } else { None }
    }

    /// How it is set up with a budget of memory.
    pub fn settings(self, memory_bytes: u64) -> Vec<Setting> {
        match self {
            Kind::Thermae => thermae::settings(memory_bytes),
            Kind::Fjall => fjall::settings(memory_bytes),
            Kind::RocksdbFast => rocks::settings(rocks::FAST, memory_bytes),
            Kind::RocksdbSmall => rocks::settings(rocks::SMALL, memory_bytes),
        }
    }

    /// Opens a new store in `folder` with a budget of memory.
    ///
    /// # Errors
    /// It cannot be opened, or was not built.
    pub fn open(self, folder: &Path, memory_bytes: u64) -> anyhow::Result<Box<dyn Engine>> {
        Ok(match self {
            Kind::Thermae => Box::new(thermae::Ours::open(folder, memory_bytes)?),
            Kind::Fjall => Box::new(fjall::Fjall::open(folder, memory_bytes)?),
            Kind::RocksdbFast => rocks::open(rocks::FAST, folder, memory_bytes)?,
            Kind::RocksdbSmall => rocks::open(rocks::SMALL, folder, memory_bytes)?,
        })
    }
}

/// The version of a crate of this program.
fn built_version(name: &str) -> String {
    let found = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""));
    found.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown").into()
}

/// What peers may take for blocks: three quarters of the budget: more than our hot table gets.
fn cache_bytes(memory_bytes: u64) -> u64 {
    memory_bytes / 4 * 3
}

/// What a peer may take for one memtable: two of them are the last quarter of the budget.
fn memtable_bytes(memory_bytes: u64) -> u64 {
    memory_bytes / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_were_built() {
        assert!(built_version("fjall").starts_with("3."));
        assert_eq!(built_version("no such crate"), "unknown");
    }

    #[test]
    fn the_budget_is_never_exceeded_by_its_parts() {
        for memory_bytes in [8 << 20, (32 << 20) + 7, 1 << 40] {
            let parts = cache_bytes(memory_bytes) + 2 * memtable_bytes(memory_bytes);
            assert!(parts <= memory_bytes);
        }
    }
}
