//! The one integration binary: every test that spans crates, as modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod backups;
mod campaign;
mod cold;
mod corpora;
mod damage;
mod engine;
mod erase;
mod faults;
mod house;
mod over_wire;
mod readers;
mod scans;
mod tiers;
mod training;
mod wire_agreement;
