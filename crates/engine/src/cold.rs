//! The archive as readers and openers see it: its tables (`view_tables.rs`), where snapshots find them
//! ([`Shelf`]), figures and options. What fills it is `archive.rs`.

mod figures;
mod options;
mod shelf;
mod view_tables;

pub use thermae_tiering::cold::{LocalObjects, Objects, OpenOptions, is_url, open_url};

pub use figures::ArchiveFigures;
pub use options::ArchiveOptions;
pub(crate) use shelf::{Attached, Tables};
pub use shelf::{ColdPart, Shelf};
pub(crate) use view_tables::{Door, Suspect, Tended, ViewTables};
