//! Objects as files of a directory on the local disk.

use std::path::Path as LocalPath;
use std::sync::Arc;

use futures_lite::future::block_on;
use object_store::Error;
use object_store::local::LocalFileSystem;

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
        let store = LocalFileSystem::new_with_prefix(root).map_err(|e| Disk.told(e))?;
        Ok(Self::of(Arc::new(store.with_fsync(true)), Disk))
    }
}

/// A file system: calls are done when they return.
pub struct Disk;

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
}
