//! Which schema a row was written under: store-wide identifiers, and the record that the log keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::SchemaError;
use crate::schema::{FeatureView, MAX_VIEW_JSON_BYTES};

/// Most schemas of one store, over all views and their versions.
pub const MAX_SCHEMAS: usize = 65_535;

/// Longest catalogue record, in bytes: a definition and its two identifiers.
pub const MAX_ENTRY_JSON_BYTES: usize = MAX_VIEW_JSON_BYTES + 128;

/// Names one schema (of one view) store-wide; every row carries it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SchemaId(pub u16);

/// Names one view store-wide; all compatible schemas of a view share it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ViewId(pub u32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One schema of the catalogue, as a `Catalogue` log record carries it (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    /// The schema that rows name.
    pub schema_id: SchemaId,
    /// The view that it belongs to.
    pub view_id: ViewId,
    /// The definition; a later entry with the same `schema_id` replaces policies and metadata only.
    pub view: FeatureView,
}

impl CatalogueEntry {
    /// The entry as the bytes of a catalogue record, at most [`MAX_ENTRY_JSON_BYTES`].
    pub fn to_json(&self) -> Result<Vec<u8>, SchemaError> {
        self.view.validate()?;
        let json = serde_json::to_vec(self).map_err(|e| SchemaError::Json(e.to_string()))?;
        check_len(json.len())?;
        Ok(json)
    }

    /// Reads and validates a catalogue record's bytes; unknown fields are refused.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SchemaError> {
        check_len(bytes.len())?;
        let entry: Self =
            serde_json::from_slice(bytes).map_err(|e| SchemaError::Json(e.to_string()))?;
        entry.view.validate()?;
        Ok(entry)
    }
}

fn check_len(found: usize) -> Result<(), SchemaError> {
    if found <= MAX_ENTRY_JSON_BYTES {
        return Ok(());
    }
    Err(SchemaError::Json(format!("{found} bytes, the limit is {MAX_ENTRY_JSON_BYTES}")))
}
