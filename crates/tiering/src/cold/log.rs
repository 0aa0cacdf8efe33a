//! The table log: which files a table is made of, and up to where each partition is archived. Delta Lake's
//! protocol, reader version 1 and writer version 2, as far as `docs/formats/archive.md` tells.

mod action;
mod checkpoint;
mod checkpoint_file;
mod commit;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;

pub use checkpoint::{begin_with, checkpoint};
pub use commit::{Changes, Committed, Definition, commit};
pub use snapshot::Snapshot;
