//! What long reads may use beside the tables: memory, threads, and room on disk for what does not fit.

use std::path::{Path, PathBuf};

use thermae_env::Env;
use thermae_tiering::spill::SpillDir;

use crate::error::Error;
use crate::options::Options;

/// The directory of spill files below the data directory.
const SPILL: &str = "spill";
/// A training read takes this part of the memory by default,
const SHARE_OF_MEMORY: u64 = 8;
/// .. and no more than this: the rest would hardly make it faster.
const DEFAULT_MOST_BYTES: u64 = 256 << 20;

/// The means of one long read of an open store, as its options say.
#[derive(Clone, Debug)]
pub struct Scratch<E: Env> {
    env: E,
    dir: PathBuf,
    /// Memory of one read, in bytes.
    pub budget_bytes: usize,
    /// Helper threads of one read.
    pub threads: usize,
}

impl<E: Env> Scratch<E> {
    /// Of a directory that is being opened: spill files that a killed process left in it are removed.
    ///
    /// # Errors
    /// They cannot be.
    pub fn open(env: E, data: &Path, options: &Options) -> Result<Self, Error> {
        let dir = data.join(SPILL);
        SpillDir::clear(&env, &dir).map_err(|error| {
            Error::io(format!("clearing {}", dir.display()), std::io::Error::other(error))
        })?;
        let share_bytes = (options.memory_bytes / SHARE_OF_MEMORY).min(DEFAULT_MOST_BYTES);
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            env,
            dir,
            budget_bytes: match options.training_bytes {
                // Below 2^28.
                0 => share_bytes as usize,
                bytes => bytes,
            },
            threads: match options.training_threads {
                0 => cores(),
                threads => threads,
            },
        })
    }

    /// A place for the spill files of one read.
    pub fn spill(&self) -> SpillDir<E> {
        SpillDir::new(self.env.clone(), &self.dir)
    }
}
