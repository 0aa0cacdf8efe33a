//! Objects as files of a directory on the local disk.

use std::io;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use futures_lite::future::block_on;
use object_store::Error;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use thermae_env::{Env, RealEnv};

use super::client::{Client, Drive};
use super::objects::ObjectError;

/// Objects as files below a directory. Each is written beside its place, synced, linked into it, and its
/// directory synced: after a power cut it is there whole, or not at all.
pub type LocalObjects = Client<Disk>;

impl LocalObjects {
    /// The directory `root`, which is there.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub fn new(root: &LocalPath) -> Result<Self, ObjectError> {
        let disk = Disk { root: root.to_owned() };
        let store = LocalFileSystem::new_with_prefix(root).map_err(|e| disk.told(e))?;
        Ok(Self::of(Arc::new(store.with_fsync(true)), disk))
    }
}

/// A file system: calls are done when they return.
pub struct Disk {
    root: PathBuf,
}

impl Drive for Disk {
    fn wait<F: Future>(&self, call: F) -> F::Output {
        block_on(call)
    }

    fn told(&self, error: Error) -> ObjectError {
        match error {
            Error::NotFound { .. } => ObjectError::NotFound,
            // What it could not classify may be of a network's disk: whether it took effect is not known.
            Error::Generic { .. } => ObjectError::NoAnswer(error.to_string()),
            error => ObjectError::Refused(error.to_string()),
        }
    }

    fn settle_removal(&self, path: &Path) -> Result<(), ObjectError> {
        // What was removed is not to come back after a power cut; the client syncs what it writes alone.
        let place = self.root.join(path.as_ref());
        place.parent().map_or(Ok(()), sync_dir).map_err(no_answer)
    }

    fn remove_unfinished(&self, prefix: &Path) -> Result<(), ObjectError> {
        remove_staged(&self.root.join(prefix.as_ref())).map_err(no_answer)
    }
}

fn no_answer(error: io::Error) -> ObjectError {
    ObjectError::NoAnswer(error.to_string())
}

/// What was removed from a directory stays removed.
fn sync_dir(dir: &LocalPath) -> io::Result<()> {
    if RealEnv.exists(dir)? { RealEnv.sync_dir(dir) } else { Ok(()) }
}

/// Removes files that are no objects: the bytes of an object lie in `NAME#N` until they are all there, and a listing
/// does not show that.
fn remove_staged(dir: &LocalPath) -> io::Result<()> {
    let is_staged = |name: &str| {
        let number = name.rsplit_once('#').map(|(_, number)| number);
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    if !RealEnv.exists(dir)? {
        return Ok(());
    }
    let mut has_removed = false;
    for entry in RealEnv.list(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_staged(&path)?;
        } else if is_staged(&entry.name) {
            RealEnv.remove(&path)?;
            has_removed = true;
        }
    }
    if has_removed { sync_dir(dir) } else { Ok(()) }
}
