//! Backup and restore: against the model, with crashes at every step, with damage, over real files.

mod bucket;
mod crashes;
mod faults;
mod model;
pub mod support;
