//! What long reads may use beside the tables: memory, threads, and room on disk for what does not fit.

use std::path::{Path, PathBuf};

use thermae_env::Env;
use thermae_tiering::spill::SpillDir;

use crate::error::Error;

/// The directory of spill files below the data directory.
const SPILL: &str = "spill";
/// A training read takes this part of the memory by default,
const SHARE_OF_MEMORY: u64 = 8;
/// .. and no more than this: the rest would hardly make it faster.
const DEFAULT_MOST_BYTES: u64 = 256 << 20;

/// The means of one long read of an open store, as its options say.
#[derive(Clone, Debug)]
// Without training reads there is only what a build with them left behind.
#[cfg_attr(not(feature = "cold"), allow(dead_code))]
pub struct Scratch<E: Env> {
    env: E,
    dir: PathBuf,
    /// Memory of one read, in bytes.
    pub budget_bytes: usize,
    /// Helper threads of one read.
    pub threads: usize,
}

impl<E: Env> Scratch<E> {
    /// Of a directory that is being opened: spill files that a killed process left in it are removed. Bytes and
    /// threads of 0 are the defaults, by the memory of the store.
    ///
    /// # Errors
    /// They cannot be.
    pub fn open(
        env: E,
        data: &Path,
        memory_bytes: u64,
        budget_bytes: usize,
        threads: usize,
    ) -> Result<Self, Error> {
        let dir = data.join(SPILL);
        SpillDir::clear(&env, &dir).map_err(|error| {
            Error::io(format!("clearing {}", dir.display()), std::io::Error::other(error))
        })?;
        // Below 2^28.
        let share_bytes = (memory_bytes / SHARE_OF_MEMORY).min(DEFAULT_MOST_BYTES) as usize;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let budget_bytes = if budget_bytes == 0 { share_bytes } else { budget_bytes };
        let threads = if threads == 0 { cores() } else { threads };
        Ok(Self { env, dir, budget_bytes, threads })
    }

    /// A place for the spill files of one read.
    #[cfg(feature = "cold")]
    pub fn spill(&self) -> SpillDir<E> {
        SpillDir::new(self.env.clone(), &self.dir)
    }
}
