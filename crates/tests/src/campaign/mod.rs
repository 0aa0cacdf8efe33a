//! Crash campaigns: the production shard code over a simulated machine, one seed a run.

mod backups;
mod cold;
mod erases;
mod history;
mod objects;
mod rows;
mod run;
mod scans;
mod world;

pub use backups::{BackupReport, backup_run};
pub use cold::{ColdReport, cold_run};
pub use erases::{EraseReport, erase_run};
pub use history::PartitionHistory;
pub use objects::FailingObjects;
pub use run::{Plant, Report, run};
pub use scans::{Held, ScanReport, scan_run};
pub use world::{Tiers, World};
