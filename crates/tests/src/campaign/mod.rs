//! Crash campaigns: the production shard code over a simulated machine, one seed a run.

mod history;
mod run;
mod world;

pub use run::{Plant, Report, run};
pub use world::World;
