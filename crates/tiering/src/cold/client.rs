//! A client of `object_store` as [`Objects`]: what a directory and a bucket have in common.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_lite::StreamExt;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload,
};

use super::objects::{Listed, ObjectError, Objects, Pieces, PutNew};

/// Bytes of a part of an object that is uploaded in several: S3 takes 5 MiB at least and 10,000 parts at most.
const PART_BYTES: usize = 16 << 20;

/// What waits for a client's answers, and what its errors mean.
pub trait Drive: Send + Sync {
    /// Runs a call to its end on the calling thread.
    fn wait<F: Future>(&self, call: F) -> F::Output;
    /// What an error means for whoever called.
    fn told(&self, error: Error) -> ObjectError;
    /// Makes sure that an object that was removed stays so, where the store does not by itself.
    ///
    /// # Errors
    /// It may come back.
    fn settle_removal(&self, path: &Path) -> Result<(), ObjectError> {
        let _ = path;
        Ok(())
    }
    /// Removes what lies below `prefix` of objects that were never whole.
    ///
    /// # Errors
    /// Some may be left.
    fn remove_unfinished(&self, prefix: &Path) -> Result<(), ObjectError> {
        let _ = prefix;
        Ok(())
    }
}

/// Objects of a store, below a root.
pub struct Client<D> {
    store: Arc<dyn ObjectStore>,
    drive: D,
}

impl<D: Drive> Client<D> {
    /// Objects of `store`.
    pub(super) fn of(store: Arc<dyn ObjectStore>, drive: D) -> Self {
        Self { store, drive }
    }

    fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, ObjectError> {
        self.drive.wait(call).map_err(|error| self.drive.told(error))
    }

    fn read(&self, path: &str, options: GetOptions) -> Result<Bytes, ObjectError> {
        let path = parse(path)?;
        self.call(async { self.store.get_opts(&path, options).await?.bytes().await })
    }

    /// Uploads an object in parts, of which the first is there; what was uploaded is given up where that fails.
    fn put_parts(
        &self,
        path: &Path,
        first: Bytes,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), ObjectError> {
        let mut upload = self.call(self.store.put_multipart(path))?;
        let put = self.fill(path, &mut *upload, first, pieces);
        if put.is_err() {
            // Where this fails too, the bucket's rule for uploads that never ended removes the parts.
            let _ = self.call(upload.abort());
        }
        put
    }

    fn fill(
        &self,
        path: &Path,
        upload: &mut dyn MultipartUpload,
        first: Bytes,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), ObjectError> {
        let (mut part, mut bytes) = (first, 0);
        while !part.is_empty() {
            bytes += part.len() as u64;
            self.call(upload.put_part(part.into()))?;
            part = gather(pieces)?;
        }
        // Once it is complete there is no such upload any more: a repetition, after an answer that was lost, says so.
        self.call(upload.complete()).map(|_| ()).or_else(|error| {
            let is_there = self.call(self.store.head(path)).is_ok_and(|found| found.size == bytes);
            if is_there { Ok(()) } else { Err(error) }
        })
    }
}

impl<D: Drive> Objects for Client<D> {
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError> {
        let path = parse(path)?;
        let options = PutOptions::from(PutMode::Create);
        match self.drive.wait(self.store.put_opts(&path, bytes.into(), options)) {
            Ok(_) => Ok(PutNew::Created),
            Err(Error::AlreadyExists { .. }) => Ok(PutNew::Exists),
            Err(error) => Err(self.drive.told(error)),
        }
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let path = parse(path)?;
        self.call(self.store.put(&path, PutPayload::from(bytes))).map(|_| ())
    }

    fn put_pieces(&self, path: &str, pieces: &mut Pieces<'_>) -> Result<(), ObjectError> {
        let first = gather(pieces)?;
        if first.len() < PART_BYTES {
            return self.replace(path, first);
        }
        self.put_parts(&parse(path)?, first, pieces)
    }

    fn length(&self, path: &str) -> Result<u64, ObjectError> {
        let path = parse(path)?;
        self.call(self.store.head(&path)).map(|found| found.size)
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
        let offset = parse(after)?;
        let found = async {
            let mut stream = match after {
                "" => self.store.list(Some(&below)),
                _ => self.store.list_with_offset(Some(&below), &offset),
            };
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
        let mut found: Vec<Listed> = self.call(found)?.into_iter().map(listed).collect();
        found.retain(|object| &object.path[..] > after);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn delete(&self, path: &str) -> Result<(), ObjectError> {
        let path = parse(path)?;
        match self.call(self.store.delete(&path)) {
            Ok(()) | Err(ObjectError::NotFound) => self.drive.settle_removal(&path),
            Err(error) => Err(error),
        }
    }

    fn remove_unfinished(&self, prefix: &str) -> Result<(), ObjectError> {
        self.drive.remove_unfinished(&parse(prefix)?)
    }
}

/// The next pieces together: as many bytes as a part has, or what is left.
fn gather(pieces: &mut Pieces<'_>) -> Result<Bytes, ObjectError> {
    let mut part = BytesMut::new();
    while part.len() < PART_BYTES {
        match pieces()? {
            Some(piece) => part.extend_from_slice(&piece),
            None => break,
        }
    }
    Ok(part.freeze())
}

fn parse(path: &str) -> Result<Path, ObjectError> {
    Path::parse(path.trim_end_matches('/')).map_err(|error| ObjectError::Refused(error.to_string()))
}
