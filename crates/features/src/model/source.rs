//! Where rows come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thermae_formats::time::parse_timestamp_us;

/// What a definition says about the file that feeds a view, so that `ingest` need not be told again. It
/// travels in `FeatureView::source` as JSON.
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

    /// Checks its times.
    ///
    /// # Errors
    /// What is no time.
    pub fn check(&self) -> Result<(), String> {
        let at = self.at.as_deref().map(parse_timestamp_us).transpose();
        at.map(|_| ()).map_err(|problem| format!("at: {problem}"))
    }
}

/// A source that is an object of its own: several views may be fed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// How its files look, if it has any.
    #[serde(default)]
    pub hint: SourceHint,
    /// What it is made of outside: tables, topics, jobs. For lineage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
}

/// Most entries of [`Source::upstream`], and the longest of them, in bytes.
const MAX_UPSTREAM: usize = 256;

impl Source {
    pub(super) fn check(&self) -> Result<(), String> {
        self.hint.check()?;
        let is_good = |text: &String| !text.is_empty() && text.len() <= MAX_UPSTREAM;
        if self.upstream.len() > MAX_UPSTREAM || !self.upstream.iter().all(is_good) {
            return Err(format!(
                "upstream holds at most {MAX_UPSTREAM} names of 1 to {MAX_UPSTREAM} bytes"
            ));
        }
        Ok(())
    }
}
