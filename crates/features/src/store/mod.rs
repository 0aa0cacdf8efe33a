//! `FeatureStore`: features by the names that people gave them, embedded in a process.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use thermae_features::store::{Ask, EntityRows, FeatureStore, PushOptions};
//! use thermae_engine::store::Row;
//! use thermae_formats::{KeyValue, Value};
//!
//! # let folder = tempfile::tempdir()?;
//! let store = FeatureStore::open(folder.path())?;
//! store.apply_toml(
//!     r#"
//!     format = 1
//!     project = "shop"
//!     [entities.user]
//!     join_keys = [{ name = "user", type = "int64" }]
//!     [views.activity]
//!     entities = ["user"]
//!     ttl = "7d"
//!     features = [{ name = "clicks", type = "int64" }, { name = "score", type = "float32" }]
//!     [services.ranking]
//!     features = ["activity:score,clicks"]
//!     "#,
//! )?;
//! let now_us = 1_700_000_000_000_000;
//! let row = Row::new([KeyValue::Int(7)], now_us, [Value::Int64(3), Value::Float32(0.5)]);
//! store.push("activity", &[row], &PushOptions::default())?;
//!
//! let users = EntityRows::new().with("user", vec![KeyValue::Int(7), KeyValue::Int(8)]);
//! let answer = store.get_online_features(&Ask::service("ranking").at(now_us), &users)?;
//! assert_eq!(answer.columns[0].name, "score");
//! assert_eq!(answer.columns[0].values, [Value::Float32(0.5), Value::Null]);
//! # Ok(()) }
//! ```

mod arrow_values;
mod ask;
mod backup;
mod computed;
mod erase;
mod gate;
mod health;
mod historical;
mod historical_rows;
mod laid;
mod load;
mod online;
mod push;
mod resolve;
mod wanted;

use std::path::Path;
use std::sync::Arc;

use thermae_engine::{Handle, Options, Store};
use thermae_env::{Env, RealEnv};

use crate::definitions::{self, Definitions};
use crate::error::Error;
use crate::lineage::Lineage;
use crate::model::Name;
use crate::registry::{Applied, ApplyOptions, Plan, Published, Registry};
use gate::RulesGate;
use resolve::Cache;

pub use ask::{Ask, EntityRows};
pub use health::ViewHealth;
pub use historical::{HistoricalAnswer, HistoricalOptions};
pub use historical_rows::HistoricalRows;
pub use load::{LoadReport, RowSource, SourceRow};
pub use online::{OnlineAnswer, OnlineColumn, ValueStatus};
pub use push::PushOptions;
pub use wanted::{EntityColumns, Wanted, WantedColumn, WantedKey};

/// A store with its registry. Every method may be called from any thread.
pub struct FeatureStore<E: Env = RealEnv> {
    env: E,
    handle: Handle<E>,
    registry: Registry<E>,
    cache: Cache,
    /// When it was opened, microseconds UTC.
    opened_us: i64,
    /// Kept open, if it was opened here.
    store: Option<Store<E>>,
}

impl FeatureStore<RealEnv> {
    /// Opens a directory with the default options, creating it when it does not exist.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(dir, Options::default())
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let store = Store::open_with(&dir, options)?;
        let features = Self::over(RealEnv, dir.as_ref(), store.handle().clone())?;
        Ok(FeatureStore { store: Some(store), ..features })
    }
}

impl<E: Env> FeatureStore<E> {
    /// The features of a store that somebody else has open and keeps open.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn over(env: E, dir: &Path, handle: Handle<E>) -> Result<Self, Error> {
        let registry = Registry::open(env.clone(), dir, handle.clone())?;
        handle.set_gate(Box::new(RulesGate::new(env.clone(), registry.place())));
        let (opened_us, cache) = (env.now_us(), Cache::default());
        Ok(FeatureStore { env, handle, registry, cache, opened_us, store: None })
    }

    /// When it was opened, microseconds UTC: since then rows that fail checks are counted.
    pub fn opened_us(&self) -> i64 {
        self.opened_us
    }

    /// The registry.
    pub fn registry(&self) -> &Registry<E> {
        &self.registry
    }

    /// The store below.
    pub fn handle(&self) -> &Handle<E> {
        &self.handle
    }

    /// Applies definitions: all or none.
    ///
    /// # Errors
    /// As [`Registry::apply`].
    pub fn apply(
        &self,
        definitions: &Definitions,
        options: &ApplyOptions,
    ) -> Result<Applied, Error> {
        self.registry.apply(definitions, options)
    }

    /// Applies definitions as a file holds them.
    ///
    /// # Errors
    /// As [`definitions::read`] and [`Registry::apply`].
    pub fn apply_toml(&self, text: &str) -> Result<Applied, Error> {
        self.apply(&definitions::read("definitions", text)?, &ApplyOptions::default())
    }

    /// What definitions would change.
    ///
    /// # Errors
    /// As [`Registry::plan`].
    pub fn plan(&self, definitions: &Definitions) -> Result<Plan, Error> {
        self.registry.plan(definitions)
    }

    /// What comes from what, at the present version.
    pub fn lineage(&self) -> (Arc<Published>, Lineage) {
        let published = self.registry.published();
        let lineage = Lineage::of(&published.state);
        (published, lineage)
    }

    /// Makes a view's bare name mean `view@version`: a data set that was loaded beside the old one is served
    /// from this moment on. The registry's version afterwards.
    ///
    /// # Errors
    /// As [`Registry::switch`].
    pub fn switch(&self, view: &str) -> Result<u64, Error> {
        self.registry.switch(&name(view)?, &ApplyOptions::default())
    }

    /// Goes back to the version that a view's bare name meant before.
    ///
    /// # Errors
    /// As [`Registry::switch_back`].
    pub fn switch_back(&self, view: &str) -> Result<u64, Error> {
        self.registry.switch_back(&name(view)?, &ApplyOptions::default())
    }

    /// Stops in order.
    ///
    /// # Errors
    /// What a shard ended with, or the registry's database cannot be written.
    pub fn close(self) -> Result<(), Error> {
        self.note_freshness()?;
        self.store.map_or(Ok(()), Store::close).map_err(Error::from)
    }
}

fn name(text: &str) -> Result<Name, Error> {
    text.parse().map_err(Error::Invalid)
}
