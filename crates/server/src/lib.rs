//! The thermae server and command line.
//!
//! [`serve`] starts and stops a server, [`net`] is the binary protocol on the shards' rings, and
//! [`http`] is the listener for metrics and health. [`cli`] is the `thermae` command; it reads
//! definitions, loads files by [`ingest`], writes them by [`export`], joins features onto a [`spine`], and shows [`table`]s and [`progress`].

#![allow(clippy::disallowed_methods)] // The edge: sockets, files and clocks that are not a shard's.

#[cfg(feature = "serve")]
pub mod cli;
#[cfg(feature = "serve")]
pub mod export;
#[cfg(feature = "serve")]
pub mod http;
pub mod ingest;
#[cfg(feature = "serve")]
pub mod net;
#[cfg(feature = "serve")]
pub mod progress;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "serve")]
pub mod spine;
#[cfg(feature = "serve")]
pub mod table;
