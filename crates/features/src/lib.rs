//! What turns a store into a feature store: a registry of what there is, and [`FeatureStore`].
//!
//! Definitions ([`definitions`]) are objects ([`model`]); the registry ([`registry`]) plans what they change,
//! refuses what would break a reader, and keeps them; [`lineage`] says what depends on what; and the feature
//! store ([`store`]) reads and writes by their names.
#![forbid(unsafe_code)]

pub mod definitions;
pub mod error;
pub mod expression;
pub mod lineage;
pub mod model;
mod on_demand;
pub mod registry;
pub mod rules;
pub mod state;
pub mod store;
pub mod validation;

pub use definitions::{DefinitionError, Definitions};
pub use error::{Error, Refusal};
pub use registry::{Change, ChangeAction, Plan, Registry};
pub use state::State;
pub use store::FeatureStore;
