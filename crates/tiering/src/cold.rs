//! The cold tier: rows of all time as Parquet files, listed by a Delta Lake log. Bytes:
//! `docs/formats/archive.md`.
//!
//! A row's way: sorted rows of a view and a day -> `write.rs` (through `build.rs` into columns, through
//! `checked.rs` into checksummed bytes). And back: `file.rs` (a file by its verified tail) -> `scan.rs` (rows
//! in table order, through `fetch.rs` and `cells.rs`).

mod build;
mod cells;
mod checked;
mod columns;
mod encoding;
mod error;
mod fetch;
mod file;
mod footer;
mod meta;
mod objects;
mod scan;
#[cfg(test)]
mod tests;
mod values;
mod write;

pub use columns::Columns;
pub use error::ColdError;
pub use file::ColdFile;
pub use meta::{ARCHIVE_VERSION, FileMeta, Store};
pub use objects::{Listed, MemoryObjects, ObjectError, Objects, PutNew};
pub use scan::ColdScan;
pub use write::{FileRef, FileWriter, event_day};
