//! Where spill files lie, what they are called, and how they go.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thermae_env::{Env, OpenHow};

use super::SpillError;

const PREFIX: &str = "spill-";

/// A directory for the spill files of one piece of work; several may share it.
#[derive(Clone, Debug)]
pub struct SpillDir<E> {
    env: E,
    dir: PathBuf,
    /// Tells the files of this work from those of others.
    work: u64,
    next: Arc<AtomicU64>,
}

impl<E: Env> SpillDir<E> {
    /// Names the directory; it is made when the first file is.
    pub fn new(env: E, dir: &Path) -> Self {
        let work = env.random_u64();
        Self { env, dir: dir.to_owned(), work, next: Arc::default() }
    }

    /// Removes the spill files in `dir` that a killed process left; no error if there is no directory. Nobody
    /// may be using them: call it when a store is opened.
    ///
    /// # Errors
    /// The directory cannot be listed, or a file not removed.
    pub fn clear(env: &E, dir: &Path) -> Result<(), SpillError> {
        let entries = match env.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(|source| SpillError::io("list", dir, 0, source))?,
        };
        for entry in entries.iter().filter(|e| !e.is_dir && e.name.starts_with(PREFIX)) {
            let path = dir.join(&entry.name);
            env.remove(&path).map_err(|source| SpillError::io("remove", &path, 0, source))?;
        }
        Ok(())
    }

    pub(super) fn create(&self) -> Result<SpillFile<E>, SpillError> {
        let make = |source| SpillError::io("create", &self.dir, 0, source);
        self.env.create_dir_all(&self.dir).map_err(make)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{PREFIX}{:016x}-{number}", self.work));
        let file = self.env.open(&path, OpenHow::CREATE);
        let file = file.map_err(|source| SpillError::io("create", &path, 0, source))?;
        Ok(SpillFile { env: self.env.clone(), path, file })
    }
}

/// A file that is removed when it is dropped.
pub(super) struct SpillFile<E: Env> {
    env: E,
    pub(super) path: PathBuf,
    pub(super) file: E::File,
}

impl<E: Env> Drop for SpillFile<E> {
    fn drop(&mut self) {
        // What cannot be removed now goes at the next start.
        let _ = self.env.remove(&self.path);
    }
}
