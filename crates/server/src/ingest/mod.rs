//! Loading files: Parquet, CSV and NDJSON into a feature view.
//!
//! A row's way: [`source`] knows the file and its digest, a reader ([`parquet`], [`csv`], [`ndjson`])
//! yields bounded batches of [`cell`]s, [`mapping`] says which column feeds what, [`coerce`] makes
//! typed values of them or a reason why not, [`load`] sends what is good by a [`writer`] and
//! [`rejects`] keeps what is not.

pub mod arrow_cell;
pub mod cell;
pub mod coerce;
pub mod csv;
pub mod error;
pub mod load;
pub mod mapping;
pub mod ndjson;
pub mod parquet;
pub mod rejects;
pub mod rows;
pub mod source;
pub mod writer;

#[cfg(test)]
mod coerce_tests;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod load_tests;

pub use cell::{Batch, Cell, Column};
pub use error::IngestError;
pub use mapping::{Mapping, MappingOptions};
pub use rows::{Rejection, Row, RowReader};
pub use source::{Format, Source};
pub use thermae_features::model::SourceHint;
