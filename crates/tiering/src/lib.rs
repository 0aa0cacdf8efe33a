//! Warm trees, and tier policies as pure functions.
//!
//! `ttl` only masks at read (`formats::visibility`); `keep_for` alone removes; `hot_for` and
//! `warm_for` only move. The archive is `cold/`, behind the feature `cold`.
//!
//! The life of a row on disk: `memtable.rs` -> `flush.rs` (sorted tables, a checkpoint) -> `tree.rs`
//! (named by one commit) -> `compact/plan.rs` (when it is rewritten) -> `compact/run.rs` and `merge.rs`
//! (what becomes of it then). `worker.rs` does all of it, in small steps.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

pub mod admit;
pub mod asof;
pub mod buffers;
#[cfg(feature = "cold")]
pub mod cold;
pub mod compact;
pub mod departures;
pub mod divide;
pub mod erase;
pub mod error;
pub mod files;
pub mod flush;
pub mod history;
pub mod memtable;
pub mod merge;
pub mod pace;
pub mod residency;
pub mod rules;
pub mod spill;
pub mod table;
#[cfg(test)]
mod testing;
pub mod tree;
mod tree_read;
pub mod worker;

pub use error::WarmError;
