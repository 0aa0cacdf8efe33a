//! What a definition says about the file that feeds a view, so that `ingest` need not be told again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `source` of a view in a definitions file. It travels in `FeatureView::source` as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceHint {
    /// The file, for people; relative to the definitions file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The column that holds the event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// The column that holds the created time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<String>,
    /// The event time of all rows, where the file has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Column in the file -> join key or feature, where the names differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
}

impl SourceHint {
    /// Reads what [`SourceHint::to_source`] wrote; any other text (a person's note) is no hint.
    pub fn from_source(source: &str) -> Self {
        serde_json::from_str(source).unwrap_or_default()
    }

    /// The hint as text for `FeatureView::source`; empty if it says nothing.
    pub fn to_source(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        // A struct of strings always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}
