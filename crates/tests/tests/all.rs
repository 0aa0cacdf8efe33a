//! The one integration binary: every test that spans crates, as modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod campaign;
mod corpora;
mod damage;
mod engine;
mod erase;
mod faults;
mod house;
mod over_wire;
mod scans;
mod tiers;
mod wire_agreement;
