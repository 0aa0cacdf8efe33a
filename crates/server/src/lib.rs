//! The thermae server and command line.
//!
//! [`serve`] starts and stops a server, [`net`] is the binary protocol on the shards' rings, and
//! [`http`] is the listener for metrics and health. [`cli`] is the `thermae` command; it reads
//! definitions, loads files by [`ingest`], writes them by [`export`], joins features onto a [`spine`], and shows [`table`]s and [`progress`].

#![allow(clippy::disallowed_methods)] // The edge: sockets, files and clocks that are not a shard's.

pub mod cli;
pub mod export;
pub mod http;
pub mod ingest;
pub mod net;
pub mod progress;
pub mod serve;
pub mod spine;
pub mod table;
