//! The archive at work: what is in tables is copied to Parquet files on an object store, and then may leave the
//! tables.
//!
//! A helper thread does it in small steps ([`Archiver::step`]); no shard waits for it. Each round: it asks every
//! shard for its tables (`flushed.rs`), looks once through those that are new (`survey.rs`), archives what they
//! have beyond the archive's own marks (`collect.rs`), tends the files, and then tells the merges what may leave
//! the warm tier (`hand_over.rs`). Readers find the newest tables on the shelf (`cold/shelf.rs`).
//! Other helper threads read the newest rows that lie in the archive alone (`reader.rs`).

mod archiver;
mod attach;
mod collect;
mod hand_over;
mod reader;
mod survey;
mod thread;

pub use archiver::{Archiver, Step};
pub(crate) use attach::{ArchiveError, marker, put_marker};
pub use reader::ArchiveReader;
pub(crate) use thread::ArchiveThreads;
