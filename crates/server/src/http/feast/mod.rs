//! Features as Feast's feature server gives them by HTTP: its routes, its shapes, our store.

mod asked;
mod columns;
mod files;
mod materialize;
mod online;
mod push;
mod values;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use thermae_env::RealEnv;
use thermae_features::FeatureStore;

use super::reply::Failure;
use crate::serve::limits::Limits;

pub(super) use asked::Asked;
pub(super) use materialize::{materialize, materialize_incremental};
pub(super) use online::{answer, online};
pub(super) use push::{push, write};

/// What the routes are, as OpenAPI says it; `docs/openapi.json` is the same file.
pub(super) const OPENAPI: &str = include_str!("../../../../../docs/openapi.json");

/// What requests for features are answered from.
pub struct Features {
    store: OnceLock<Arc<FeatureStore<RealEnv>>>,
    limits: Limits,
    source_dir: Option<PathBuf>,
    /// Held while files are loaded: one request at a time does that.
    loading: Mutex<()>,
}

impl Features {
    /// Without a store yet: there is none before the log is recovered. Files to materialise lie below `source_dir`.
    pub fn new(limits: Limits, source_dir: Option<PathBuf>) -> Self {
        Self { store: OnceLock::new(), limits, source_dir, loading: Mutex::new(()) }
    }

    /// From now on requests are answered from `store`.
    pub fn open(&self, store: Arc<FeatureStore<RealEnv>>) {
        // Nobody else sets it.
        let _ = self.store.set(store);
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The store, once it is open.
    pub fn opened(&self) -> Option<&FeatureStore<RealEnv>> {
        self.store.get().map(Arc::as_ref)
    }

    fn store(&self) -> Result<&FeatureStore<RealEnv>, Failure> {
        self.opened().ok_or_else(|| Failure::passing("the server is starting"))
    }

    fn source_dir(&self) -> Option<&Path> {
        self.source_dir.as_deref()
    }
}
