//! An object store's client as [`Objects`]: a directory of the local disk, or any other that `object_store` knows.

use std::io;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::StreamExt;
use futures_lite::future::block_on;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};

use thermae_env::{Env, RealEnv};

use super::objects::{Listed, ObjectError, Objects, PutNew};

/// Objects as files below a directory. Each is written beside its place, synced, linked into it, and its
/// directory synced: after a power cut it is there whole, or not at all.
pub struct LocalObjects {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
}

impl LocalObjects {
    /// The directory `root`, which is there.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub fn new(root: &LocalPath) -> Result<Self, ObjectError> {
        let store = LocalFileSystem::new_with_prefix(root).map_err(told)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), root: root.to_owned() })
    }

    fn read(&self, path: &str, options: GetOptions) -> Result<Bytes, ObjectError> {
        let path = parse(path)?;
        block_on(async { self.store.get_opts(&path, options).await?.bytes().await }).map_err(told)
    }
}

impl Objects for LocalObjects {
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError> {
        let path = parse(path)?;
        let options = PutOptions::from(PutMode::Create);
        match block_on(self.store.put_opts(&path, bytes.into(), options)) {
            Ok(_) => Ok(PutNew::Created),
            Err(Error::AlreadyExists { .. }) => Ok(PutNew::Exists),
            Err(error) => Err(told(error)),
        }
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let range = Some(GetRange::Bounded(range));
        self.read(path, GetOptions { range, ..GetOptions::default() })
    }

    fn get(&self, path: &str) -> Result<Bytes, ObjectError> {
        self.read(path, GetOptions::default())
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, ObjectError> {
        let below = parse(prefix)?;
        let found = async {
            let mut stream = self.store.list(Some(&below));
            let mut found: Vec<ObjectMeta> = Vec::new();
            while let Some(object) = stream.next().await {
                found.push(object?);
            }
            Ok(found)
        };
        let listed = |object: ObjectMeta| Listed {
            path: object.location.to_string(),
            bytes: object.size,
            modified_us: object.last_modified.timestamp_micros(),
        };
        let mut found: Vec<Listed> =
            block_on(found).map_err(told)?.into_iter().map(listed).collect();
        found.retain(|object| &object.path[..] > after);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn delete(&self, path: &str) -> Result<(), ObjectError> {
        let path = parse(path)?;
        match block_on(self.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(told(error)),
        }
        // What was removed is not to come back after a power cut; the client syncs what it writes alone.
        let place = self.root.join(path.as_ref());
        let synced = place.parent().map_or(Ok(()), sync_dir);
        synced.map_err(|error| ObjectError::NoAnswer(error.to_string()))
    }

    fn remove_unfinished(&self, prefix: &str) -> Result<(), ObjectError> {
        let below = parse(prefix)?;
        remove_staged(&self.root.join(below.as_ref()))
            .map_err(|error| ObjectError::NoAnswer(error.to_string()))
    }
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

fn parse(path: &str) -> Result<Path, ObjectError> {
    Path::parse(path.trim_end_matches('/')).map_err(|error| ObjectError::Refused(error.to_string()))
}

fn told(error: Error) -> ObjectError {
    match error {
        Error::NotFound { .. } => ObjectError::NotFound,
        // What a client could not classify may be of the network: whether it took effect is not known.
        Error::Generic { .. } => ObjectError::NoAnswer(error.to_string()),
        error => ObjectError::Refused(error.to_string()),
    }
}
