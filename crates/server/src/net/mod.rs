//! The binary protocol on a shard's ring.

pub mod counters;
pub mod histogram;
