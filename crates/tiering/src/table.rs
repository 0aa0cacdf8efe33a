//! Sorted tables: written once from the front to the back, then read. Bytes: `docs/formats/warm.md`.

mod block_rows;
mod blocks;
mod check;
mod filter;
mod order;
mod pack;
mod path;
mod read;
mod rows;
mod scan;
mod search;
#[cfg(test)]
mod tests;
mod write;

pub use check::{TableCheck, verify_table};
pub use pack::Packing;
pub use path::{table_path, temporary_path};
pub use read::{Extent, Table};
pub use rows::ViewRows;
pub use scan::{Row, TableScan};
pub use search::Scratch;
pub use write::{TableSpec, TableWriter};
