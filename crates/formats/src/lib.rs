//! Bytes only: what a schema, an entity key, a row, the log, the hot table and a wire frame look like.
//!
//! Nothing here does I/O, reads a clock, or trusts its input: every decoder is bounded by the bytes it
//! was given, and an error names the field and the offset. `docs/formats.md` describes each format
//! before this crate codes it; `golden/` holds bytes that must never change within a format version.
#![forbid(unsafe_code)]

pub mod backup;
pub mod batch;
mod bits;
mod bytes_at;
pub mod catalogue;
pub mod checkpoint;
pub mod error;
#[cfg(test)]
mod golden;
pub mod hash;
pub mod hot_layout;
pub mod key;
pub mod key_value;
pub mod manifest;
pub mod projection;
mod projection_matrix;
pub mod row;
pub mod row_value;
pub mod schema;
pub mod schema_change;
pub mod schema_json;
pub mod segment;
pub mod table;
mod take;
pub mod text;
pub mod time;
pub mod types;
pub mod value;
pub mod value_json;
pub mod value_scalar;
pub mod value_text;
pub mod version;
pub mod visibility;
pub mod wire;

pub use bits::bits_of;
pub use catalogue::{CatalogueEntry, SchemaId, ViewId};
pub use error::{KeyError, ProjectionError, RowError, SchemaError, TypeError, ValueError};
pub use key::{decode_key, encode_key, split_key};
pub use projection::{Field, ProjectedRow, Projection};
pub use row::RowLayout;
pub use schema::{Feature, FeatureView, History, JoinKey, TierPolicy};
pub use schema_change::Change;
pub use time::NO_TIME;
pub use types::{KeyType, Scalar, ValueType};
pub use value::{KeyValue, Value};
