//! The thermae server and command line.
//!
//! [`serve`] starts and stops a server, [`net`] is the binary protocol on the shards' rings, and
//! [`http`] is the listener for metrics and health.

#![allow(clippy::disallowed_methods)] // The edge: sockets, files and clocks that are not a shard's.

pub mod http;
pub mod net;
pub mod serve;
