//! What turns a store into a feature store: a registry of what there is, and [`FeatureStore`].
//!
//! Definitions ([`definitions`]) are objects ([`model`]); the registry ([`registry`]) plans what they change,
//! refuses what would break a reader, and keeps them; [`lineage`] says what depends on what; and the feature
//! store ([`store`]) reads and writes by their names.
#![forbid(unsafe_code)]

pub mod definitions;
pub mod error;
pub mod lineage;
pub mod model;
pub mod registry;
pub mod state;
pub mod store;

pub use definitions::{DefinitionError, Definitions};
pub use error::{Error, Refusal};
pub use registry::{Change, ChangeAction, Plan, Registry};
pub use state::State;
pub use store::FeatureStore;
