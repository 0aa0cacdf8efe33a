//! The archive at work.

mod attach;
mod backups;
mod campaign;
mod damage;
