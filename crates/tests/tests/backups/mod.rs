//! Backup and restore: against the model, with crashes at every step, with damage, over real files.

mod crashes;
mod faults;
mod model;
mod support;
