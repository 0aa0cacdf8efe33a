//! Workloads driven at a store on schedule, what they measured, and what that says of capacity.
//!
//! ```text
//! workload (TOML, presets) -> Maker: requests -> drive: one thread's loop -> Session: a way in
//!                              keys, values       intended times, clock      wire | embedded | mapped | null
//! run: threads, samples, progress -> outcome: JSON -> report: one HTML page
//!                                        └ calibrate -> capacity: arithmetic, no I/O
//! ```
#![forbid(unsafe_code)]

pub mod calibrate;
pub mod capacity;
pub mod clock;
pub mod device;
pub mod dice;
pub mod drive;
#[cfg(test)]
mod drive_tests;
pub mod embedded;
pub mod error;
pub mod figures;
pub mod fit;
pub mod honesty;
pub mod keys;
pub mod ladder;
pub mod machine;
pub mod maker;
pub mod mapped;
pub mod null;
pub mod outcome;
pub mod presets;
pub mod report;
pub mod run;
pub mod search;
pub mod session;
pub mod shape;
pub mod target;
pub mod values;
pub mod verify;
pub mod wire;
pub mod workload;
pub mod zipf;

pub use error::Error;
