//! The engine: threads, shards, partitions, log, recovery, catalogue; and `Store`, the embedding
//! API.
//!
//! A write's way: [`handle`] or a [`service`] splits it by owner (`outside`), the owner admits
//! and logs it (`owner`, [`log`]), and applies it when it is safe (`state`). A read's way:
//! [`reads`], on the calling thread, straight from the hot tables.
#![forbid(unsafe_code)]

mod anchor;
#[cfg(feature = "cold")]
pub mod archive;
#[cfg(feature = "cold")]
mod archived;
mod ascent;
mod asked;
pub mod background;
pub mod backup;
mod bases;
pub mod below;
pub mod catalogue;
mod checkpoint;
#[cfg(feature = "cold")]
pub mod cold;
mod cut;
mod erase;
pub mod error;
pub mod fetch;
mod flush;
mod flushed;
pub mod gate;
pub mod handle;
pub mod log;
mod manifests;
pub mod memory;
mod memtables;
mod merge;
pub mod message;
pub mod options;
mod outside;
mod owner;
mod partition;
mod pending;
pub mod planted;
pub mod reads;
mod replay;
mod room;
mod row_hash_map;
pub mod runtime;
pub mod scan;
mod scratch;
pub mod service;
mod shard;
pub mod snapshot;
mod state;
pub mod stats;
pub mod store;
mod table_readers;
pub mod tiers;
#[cfg(feature = "cold")]
pub mod training;
pub mod verify;
mod waiter;
mod warm;
pub mod write;

pub use catalogue::{Action, Applied, Catalogue, Schema, View};
pub use error::Error;
pub use fetch::{FetchBatch, Fetched};
pub use gate::Gate;
pub use handle::Handle;
pub use options::Options;
pub use reads::{Key, Reads, Visibility, visibility};
pub use runtime::{Engine, Opened, open};
pub use scan::{Scan, ScanOptions, ScannedRow};
pub use service::{Cx, NoService, Service};
pub use shard::Shard;
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use store::Store;
pub use write::{Ack, Level, Outcome, Refusal, RowWrite, Verdict, WriteBatch, WriteKind};

/// The examples of the README are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
