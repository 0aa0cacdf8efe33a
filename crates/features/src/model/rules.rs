//! What a feature view asks of its rows when they are written: features that are computed, checks, and how fresh
//! it is to be kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json};
use thermae_formats::{Feature, FeatureView, History, Scalar, TierPolicy, ValueType};

use crate::expression::Column;

/// Most checks of one view.
pub const MAX_CHECKS: usize = 1_024;
/// How long rows stay in a quarantine where nothing is said, microseconds: 30 days.
pub const QUARANTINE_FOR_US: i64 = 30 * 24 * 3_600 * 1_000_000;
/// What is put behind a view's name for the view of its quarantine.
const QUARANTINE: &str = "__quarantine";
/// The first features of a quarantine, before those of its view.
pub const QUARANTINE_FEATURES: [(&str, ValueType); 3] = [
    ("quarantine_reasons", ValueType::List(Scalar::String)),
    ("quarantine_event_time", ValueType::Scalar(Scalar::Timestamp)),
    ("quarantine_created_time", ValueType::Scalar(Scalar::Timestamp)),
];

/// What becomes of a row that fails a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is written and counted.
    Warn,
    /// It is kept in the view's quarantine, with the reasons.
    Quarantine,
    /// It is not written; the writer is told.
    #[default]
    Refuse,
}

impl OnFailure {
    /// As definitions call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Quarantine => "quarantine",
            Self::Refuse => "refuse",
        }
    }
}

/// Tests of one feature's values, or of rows. A null passes all of them but `max_null_rate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// The feature; none for tests of whole rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The least value that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Json>,
    /// The greatest value that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Json>,
    /// The values that pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Json>,
    /// What the whole text must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The part of values that may be null, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_null_rate: Option<Number>,
    /// How old, in event time, a row may be when it is written; of whole rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// What becomes of rows that fail; what the view says, if it is not said here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// What a feature view asks of its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Features that are computed from others of the row, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub computed: BTreeMap<String, String>,
    /// What rows are tested for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// What becomes of rows that fail a check that does not say it.
    pub on_failure: OnFailure,
    /// How long rows stay in quarantine, microseconds; 0 is without limit.
    pub quarantine_for_us: i64,
    /// How old the newest event time may be, microseconds; 0 is without limit.
    pub fresh_within_us: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            computed: BTreeMap::new(),
            checks: Vec::new(),
            on_failure: OnFailure::default(),
            quarantine_for_us: QUARANTINE_FOR_US,
            fresh_within_us: 0,
        }
    }
}

impl Rules {
    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether rows may go to a quarantine.
    pub fn has_quarantine(&self) -> bool {
        let goes =
            |check: &Check| check.on_failure.unwrap_or(self.on_failure) == OnFailure::Quarantine;
        self.checks.iter().any(goes)
    }

    /// The columns that expressions of a view's features may name: what is stored as it comes.
    pub fn columns(&self, view: &FeatureView) -> Vec<Column> {
        let is_stored = |feature: &&Feature| !self.computed.contains_key(&feature.name);
        let stored = view.features.iter().filter(is_stored);
        stored.map(|feature| Column::new(&feature.name, feature.value_type.clone())).collect()
    }
}

/// Name of the quarantine of a view.
pub fn quarantine_name(view: &str) -> String {
    format!("{view}{QUARANTINE}")
}

/// The view in which rows of another are kept that failed its checks: under the same join keys, so that an entity
/// lies and is erased there as everywhere, with the reasons, and with every bit of the row.
pub fn quarantine_of(view: &FeatureView, rules: &Rules) -> FeatureView {
    let own = QUARANTINE_FEATURES.map(|(name, value_type)| Feature::new(name, value_type));
    let features = own.into_iter().chain(view.features.iter().cloned()).collect();
    FeatureView {
        version: view.version,
        entities: view.entities.clone(),
        tiers: TierPolicy {
            keep_for_us: rules.quarantine_for_us,
            history: History::Full,
            ..TierPolicy::default()
        },
        owner: view.owner.clone(),
        description: format!("rows that failed checks of {}@{}", view.name, view.version),
        ..FeatureView::new(
            &view.project,
            quarantine_name(&view.name),
            view.join_keys.clone(),
            features,
        )
    }
}
