//! The object store as the archive and backups see it: calls that wait for their answer, made by helper threads
//! alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use thiserror::Error;

/// Why an object store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// It may or may not have been done: the answer did not come, or came cut short.
    #[error("the object store did not answer ({0}): try again")]
    NoAnswer(String),
    /// It was not done, and will not be until somebody changes something.
    #[error("the object store refuses ({0}): check its address, rights and free space")]
    Refused(String),
}

impl ObjectError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::NoAnswer(_))
    }
}

/// What became of an object that was to be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutNew {
    /// It is there now, durably.
    Created,
    /// One of that name was there before, and is as it was.
    Exists,
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in microseconds UTC by the object store's clock.
    pub modified_us: i64,
}

/// The next piece of an object that is uploaded, none at its end; an error gives the upload up.
pub type Pieces<'a> = dyn FnMut() -> Result<Option<Bytes>, ObjectError> + 'a;

/// An object store. Paths are relative to the archive's root, their parts separated by `/`.
///
/// An object is there whole or not at all; a listing shows everything that was written before it. And a call that fails with [`ObjectError::NoAnswer`] may have
/// taken effect.
pub trait Objects: Send + Sync {
    /// Writes an object if there is none of that name, atomically; it is durable when this returns.
    ///
    /// # Errors
    /// Any; see the trait.
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError>;
    /// Writes an object in place of the one of that name, if there is one; readers find the one or the other, whole.
    /// It is durable when this returns.
    ///
    /// # Errors
    /// Any; see the trait.
    fn replace(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError>;
    /// Writes an object that may be larger than memory, whole or not at all; it is durable when this returns. One
    /// of that name may be replaced or stay: the name must say what is in it.
    ///
    /// # Errors
    /// Any, see the trait; or what `pieces` gives.
    fn put_pieces(&self, path: &str, pieces: &mut Pieces<'_>) -> Result<(), ObjectError> {
        let mut all = Vec::new();
        while let Some(piece) = pieces()? {
            all.extend_from_slice(&piece);
        }
        self.replace(path, all.into())
    }
    /// The length of an object, in bytes.
    ///
    /// # Errors
    /// Any; see the trait.
    fn length(&self, path: &str) -> Result<u64, ObjectError> {
        self.get(path).map(|bytes| bytes.len() as u64)
    }
    /// Reads bytes of an object; fewer than asked where it ends before.
    ///
    /// # Errors
    /// Any; see the trait.
    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError>;
    /// Reads a whole object.
    ///
    /// # Errors
    /// Any; see the trait.
    fn get(&self, path: &str) -> Result<Bytes, ObjectError>;
    /// All objects whose path begins with `prefix`, which ends in `/`, and is greater than `after`, in the
    /// order of their paths.
    ///
    /// # Errors
    /// Any; see the trait.
    fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, ObjectError>;
    /// Removes an object; that there was none is no error.
    ///
    /// # Errors
    /// Any; see the trait.
    fn delete(&self, path: &str) -> Result<(), ObjectError>;
    /// Removes what uploads below `prefix` that did not end have left beside the objects, where a store keeps such
    /// things. No upload is under way there.
    ///
    /// # Errors
    /// Any; see the trait.
    fn remove_unfinished(&self, prefix: &str) -> Result<(), ObjectError> {
        let _ = prefix;
        Ok(())
    }
}

/// Objects in memory: for tests, and for trying things out.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryObjects {
    fn objects(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects for MemoryObjects {
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError> {
        let mut objects = self.objects();
        if objects.contains_key(path) {
            return Ok(PutNew::Exists);
        }
        objects.insert(path.to_owned(), bytes);
        Ok(PutNew::Created)
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.objects().insert(path.to_owned(), bytes);
        Ok(())
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let whole = self.get(path)?;
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
        let (begin, end) = (within(range.start), within(range.end));
        Ok(whole.slice(begin..end.max(begin)))
    }

    fn get(&self, path: &str) -> Result<Bytes, ObjectError> {
        self.objects().get(path).cloned().ok_or(ObjectError::NotFound)
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, ObjectError> {
        let objects = self.objects();
        let found =
            objects.iter().filter(|(path, _)| path.starts_with(prefix) && &path[..] > after);
        let listed = |(path, bytes): (&String, &Bytes)| Listed {
            path: path.clone(),
            bytes: bytes.len() as u64,
            modified_us: 0,
        };
        Ok(found.map(listed).collect())
    }

    fn delete(&self, path: &str) -> Result<(), ObjectError> {
        self.objects().remove(path);
        Ok(())
    }
}
