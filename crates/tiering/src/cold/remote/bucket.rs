//! A bucket as [`Objects`].

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore};
use tokio::runtime::{Builder, Runtime};

use super::service::Refusal;
use crate::cold::client::{Client, Drive};
use crate::cold::objects::{Listed, ObjectError, Objects, Pieces, PutNew};

/// The object by which it is seen that a store keeps what is there.
const PROBE: &str = "thermae.probe";
/// Characters of an error that are repeated.
const WHAT_CHARS: usize = 300;

/// Objects of a bucket, below a prefix. Whichever helper thread calls runs the client meanwhile: between two
/// calls nothing runs.
pub(super) struct RemoteObjects {
    client: Client<Network>,
    /// Whether the store was seen to refuse a second object of one name.
    is_proven: AtomicBool,
}

impl RemoteObjects {
    /// The objects of `store` below `prefix`.
    ///
    /// # Errors
    /// The system refuses what a runtime needs.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, ObjectError> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let refused = |error: std::io::Error| ObjectError::Refused(error.to_string());
        let network = Network { runtime: runtime.map_err(refused)? };
        let store: Arc<dyn ObjectStore> = match prefix {
            "" => store,
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        };
        Ok(Self { client: Client::of(store, network), is_proven: AtomicBool::new(false) })
    }

    /// Sees, before anything relies on it, that a store does not write over what is there. There are some that
    /// do not know the condition and do not say so.
    fn prove(&self) -> Result<(), ObjectError> {
        if self.is_proven.load(Ordering::Acquire) {
            return Ok(());
        }
        let put = || self.client.put_new(PROBE, Bytes::from_static(b"thermae probe\n"));
        if put()? == PutNew::Created && put()? == PutNew::Created {
            let what = "it writes over objects that are there although it is asked not to (If-None-Match: *), so \
                        that no two writers are kept apart: use a store that knows conditional writes";
            return Err(ObjectError::Refused(what.to_owned()));
        }
        self.is_proven.store(true, Ordering::Release);
        Ok(())
    }
}

impl Objects for RemoteObjects {
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError> {
        self.prove()?;
        let put = self.client.put_new(path, bytes)?;
        // A store says the same of an object that another writer is just putting there, or removing.
        if put == PutNew::Exists && self.client.length(path) == Err(ObjectError::NotFound) {
            let what = "another call for the same object was under way".to_owned();
            return Err(ObjectError::NoAnswer(what));
        }
        Ok(put)
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.client.replace(path, bytes)
    }

    fn put_pieces(&self, path: &str, pieces: &mut Pieces<'_>) -> Result<(), ObjectError> {
        self.client.put_pieces(path, pieces)
    }

    fn length(&self, path: &str) -> Result<u64, ObjectError> {
        self.client.length(path)
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        self.client.get_range(path, range)
    }

    fn get(&self, path: &str) -> Result<Bytes, ObjectError> {
        self.client.get(path)
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, ObjectError> {
        self.client.list(prefix, after)
    }

    fn delete(&self, path: &str) -> Result<(), ObjectError> {
        self.client.delete(path)
    }
}

/// The network, and the runtime that drives it while somebody waits.
struct Network {
    runtime: Runtime,
}

impl Drive for Network {
    fn wait<F: Future>(&self, call: F) -> F::Output {
        self.runtime.block_on(call)
    }

    fn told(&self, error: Error) -> ObjectError {
        if let Some(refusal) = Refusal::under(&error) {
            return ObjectError::Refused(refusal.to_string());
        }
        match error {
            Error::NotFound { .. } => ObjectError::NotFound,
            error => ObjectError::NoAnswer(shortened(&error.to_string())),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WHAT_CHARS) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
