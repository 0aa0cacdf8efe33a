//! Crash campaigns: the production shard code over a simulated machine, one seed a run.

mod erases;
mod history;
mod rows;
mod run;
mod scans;
mod world;

pub use erases::{EraseReport, erase_run};
pub use history::PartitionHistory;
pub use run::{Plant, Report, run};
pub use scans::{Held, ScanReport, scan_run};
pub use world::{Tiers, World};
