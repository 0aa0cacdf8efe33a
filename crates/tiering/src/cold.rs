//! The cold tier: rows of all time as Parquet files, listed by a Delta Lake log. Bytes:
//! `docs/formats/archive.md`.
//!
//! A row's way: sorted rows of a view and a day -> `write.rs` (through `build.rs` into columns, through
//! `checked.rs` into checksummed bytes). And back: `file.rs` (a file by its verified tail) -> `scan.rs` (rows
//! in table order, through `fetch.rs` and `cells.rs`). `batch.rs` makes files of rows that come in any order,
//! `archive.rs` uploads them and has them named by a commit of the table log, `log/`.

mod archive;
mod batch;
mod build;
mod cells;
mod checked;
mod client;
mod columns;
mod copy;
mod encoding;
mod error;
mod fetch;
mod file;
mod find;
mod footer;
mod format;
mod local;
mod log;
mod meta;
mod objects;
mod open_files;
pub mod plan;
mod remote;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
mod values;
mod write;

pub use archive::{Archive, table_path};
pub use batch::Batch;
pub use columns::{Columns, scalar_type};
pub use copy::{check_object, copy_object};
pub use error::ColdError;
pub use file::ColdFile;
pub use find::find_version;
pub use format::ARCHIVE_VERSION;
pub use local::LocalObjects;
pub use log::{Changes, Committed, Definition, Snapshot, begin_with, checkpoint, commit};
pub use meta::{FileMeta, Store};
pub use objects::{Listed, MemoryObjects, ObjectError, Objects, Pieces, PutNew};
pub use open_files::OpenFiles;
pub use remote::{OpenOptions, is_url, open_url};
pub use rows::{ColdRows, ColdSource};
pub use scan::ColdScan;
pub use write::{FileRef, FileWriter, event_day};
