//! The archive at work: what is in tables is copied to Parquet files on an object store, and reads of history go
//! through both.
//!
//! A helper thread does it in small steps ([`Archiver::step`]); no shard waits for it. Each round: it asks every
//! shard for its tables (`flushed.rs`), looks once through those that are new (`survey.rs`), archives what they
//! have beyond the archive's own marks (`view_tables.rs`), tends the files, and then tells the merges what may
//! leave the warm tier (`hand_over.rs`). Readers find the newest tables on the [`Shelf`].

mod archiver;
mod attach;
mod collect;
mod figures;
mod hand_over;
mod options;
mod shelf;
mod survey;
mod thread;
mod view_tables;

pub use thermae_tiering::cold::LocalObjects;

pub use archiver::{Archiver, Step};
pub use figures::ArchiveFigures;
pub use options::ArchiveOptions;
pub use shelf::{ColdPart, Shelf};
pub(crate) use thread::ArchiverThread;
