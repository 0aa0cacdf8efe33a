//! A bucket that fails on the wire in every way that one can: a small S3 server of our own, over objects in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bucket;
mod campaign;
mod server;
