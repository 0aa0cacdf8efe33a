//! What there is: every object at one version, planned, applied and kept.
//!
//! One writer at a time; readers take the published version, which never changes under them. The engine's
//! catalogue has the feature views too, because rows are laid out by them. An apply that changes views goes:
//!
//! 1. the **intent** is written: what will be new;
//! 2. the views are defined in the engine, which is idempotent;
//! 3. the objects and the new version are written, and the intent goes, in one transaction;
//! 4. the version is published.
//!
//! A crash before 1 leaves nothing, one after it is completed by the next open: what 2 has done already does no
//! harm, because nobody finds a view whose name the published version does not have.

mod check;
mod compat;
mod database;
mod door;
mod plan;
mod records;
#[cfg(test)]
mod tests;
mod writer;

pub use database::FILE;
pub use plan::{Change, ChangeAction, MAX_OBJECTS, Plan};
pub use records::LogEntry;
pub use writer::{Applied, ApplyOptions, Published, Registry, ViewStore};
