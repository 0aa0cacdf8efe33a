//! What a feature view is, and what makes a definition acceptable.

use std::collections::{BTreeMap, HashSet};

use crate::error::{SchemaError, ValueError};
use crate::types::{KeyType, ValueType};
use crate::value::Value;

/// Longest name of a project, view, feature, join key or entity, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// Most features of one view.
pub const MAX_FEATURES: usize = 4_096;
/// Most join keys of one view.
pub const MAX_JOIN_KEYS: usize = 32;
/// Most entities of one view.
pub const MAX_ENTITIES: usize = 32;
/// Longest encoded entity key, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;
/// Largest encoded row value, in bytes.
pub const MAX_ROW_VALUE_BYTES: usize = 500_000;
/// Longest definition as JSON, in bytes.
pub const MAX_VIEW_JSON_BYTES: usize = 1 << 20;

/// One feature of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name, unique in the view.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// What rows older than the feature read as, and what a write that omits it stores; null if absent.
    pub default: Option<Value>,
    /// What it means, for people.
    pub description: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
}

impl Feature {
    /// A feature without default, description and tags.
    pub fn new(name: impl Into<String>, value_type: impl Into<ValueType>) -> Self {
        Self {
            name: name.into(),
            value_type: value_type.into(),
            default: None,
            description: String::new(),
            tags: BTreeMap::new(),
        }
    }

    /// The same feature with a default.
    #[must_use]
    pub fn with_default(mut self, default: Value) -> Self {
        self.default = Some(default);
        self
    }

    /// The default, or null.
    pub fn default_value(&self) -> Value {
        self.default.clone().unwrap_or(Value::Null)
    }
}

/// One join key of a view; their declared order is their order in the encoded key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JoinKey {
    /// Its name, unique in the view.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
}

impl JoinKey {
    /// A join key.
    pub fn new(name: impl Into<String>, key_type: KeyType) -> Self {
        Self { name: name.into(), key_type }
    }
}

/// Which versions of a row are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum History {
    /// The newest only.
    Latest,
    /// All, for point-in-time joins.
    #[default]
    Full,
}

impl History {
    /// `latest` or `full`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Full => "full",
        }
    }
}

/// How long rows stay in each tier, by event time, in microseconds; 0 is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TierPolicy {
    /// How long a row may stay in hot.
    pub hot_for_us: i64,
    /// How long a row stays in warm at least.
    pub warm_for_us: i64,
    /// After how long a row is removed from every tier.
    pub keep_for_us: i64,
    /// Which versions are kept.
    pub history: History,
    /// Whether the newest version of a key, too, may leave warm for the archive, from where it is read then.
    pub serve_from_cold: bool,
}

/// A feature view: what its rows are keyed by, what they hold, and for how long.
///
/// `project`, `name` and `version` name it; views of different versions are served side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureView {
    /// The project.
    pub project: String,
    /// Its name in the project.
    pub name: String,
    /// Its version, 1 or more.
    pub version: u32,
    /// Names of the entities that its join keys describe.
    pub entities: Vec<String>,
    /// Its join keys; none for a view without entity.
    pub join_keys: Vec<JoinKey>,
    /// Its features, at least one.
    pub features: Vec<Feature>,
    /// How old, in event time, a row may be when it is served, in microseconds; 0 is without limit.
    pub ttl_us: i64,
    /// Where rows live for how long.
    pub tiers: TierPolicy,
    /// Who answers for it.
    pub owner: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// What it is, for people.
    pub description: String,
    /// Where its rows come from.
    pub source: String,
}

impl FeatureView {
    /// A view of version 1 without limits of time and without metadata.
    pub fn new(
        project: impl Into<String>,
        name: impl Into<String>,
        join_keys: Vec<JoinKey>,
        features: Vec<Feature>,
    ) -> Self {
        Self {
            project: project.into(),
            name: name.into(),
            version: 1,
            entities: Vec::new(),
            join_keys,
            features,
            ttl_us: 0,
            tiers: TierPolicy::default(),
            owner: String::new(),
            tags: BTreeMap::new(),
            description: String::new(),
            source: String::new(),
        }
    }

    /// The feature of that name.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|f| f.name == name)
    }

    /// Types of the join keys, in key order.
    pub fn key_types(&self) -> Vec<KeyType> {
        self.join_keys.iter().map(|k| k.key_type).collect()
    }

    /// Checks names, duplicates, limits, types, defaults and policies.
    ///
    /// A definition that passes has a row layout. Its length as JSON is checked when it is written.
    pub fn validate(&self) -> Result<(), SchemaError> {
        self.validate_names()?;
        self.limit("the number of features", self.features.len(), MAX_FEATURES)?;
        self.limit("the number of join keys", self.join_keys.len(), MAX_JOIN_KEYS)?;
        self.limit("the number of entities", self.entities.len(), MAX_ENTITIES)?;
        if self.features.is_empty() {
            return Err(self.policy("features", "are missing: declare at least one"));
        }
        if self.version == 0 {
            return Err(self.policy("version", "is 0: versions begin at 1"));
        }
        for feature in &self.features {
            let bad_type = |source| SchemaError::BadType { feature: feature.name.clone(), source };
            feature.value_type.validate().map_err(bad_type)?;
            if let Some(default) = &feature.default {
                check_default(feature, default)?;
            }
        }
        let fixed = fixed_row_bytes(&self.features);
        self.limit("the fixed part of a row, in bytes,", fixed, MAX_ROW_VALUE_BYTES)?;
        self.validate_policies()
    }

    fn validate_names(&self) -> Result<(), SchemaError> {
        check_name("project", &self.project)?;
        check_name("feature view", &self.name)?;
        self.check_names("entity", self.entities.iter())?;
        self.check_names("join key", self.join_keys.iter().map(|k| &k.name))?;
        self.check_names("feature", self.features.iter().map(|f| &f.name))?;
        let keys: HashSet<&String> = self.join_keys.iter().map(|k| &k.name).collect();
        match self.features.iter().find(|f| keys.contains(&f.name)) {
            Some(both) => Err(self.duplicate("join key and feature", &both.name)),
            None => Ok(()),
        }
    }

    fn check_names<'a>(
        &self,
        what: &'static str,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), SchemaError> {
        let mut seen = HashSet::new();
        for name in names {
            check_name(what, name)?;
            if !seen.insert(name) {
                return Err(self.duplicate(what, name));
            }
        }
        Ok(())
    }

    fn validate_policies(&self) -> Result<(), SchemaError> {
        let tiers = &self.tiers;
        let durations = [
            ("ttl", self.ttl_us),
            ("hot_for", tiers.hot_for_us),
            ("warm_for", tiers.warm_for_us),
            ("keep_for", tiers.keep_for_us),
        ];
        for (what, duration_us) in durations {
            if duration_us < 0 {
                return Err(self.policy(what, "is negative: write 0 for no limit"));
            }
        }
        if tiers.serve_from_cold && tiers.history == History::Latest {
            let problem = "needs history = \"full\": a view without history is not archived";
            return Err(self.policy("serve_from_cold", problem));
        }
        if tiers.serve_from_cold && tiers.warm_for_us == 0 {
            let problem = "needs a warm_for: without one nothing leaves the warm tier";
            return Err(self.policy("serve_from_cold", problem));
        }
        Ok(())
    }

    pub(crate) fn limit(
        &self,
        what: &'static str,
        found: usize,
        limit: usize,
    ) -> Result<(), SchemaError> {
        if found <= limit {
            return Ok(());
        }
        let (found, limit) = (found as u64, limit as u64);
        Err(SchemaError::Limit { view: self.name.clone(), what, found, limit })
    }

    fn duplicate(&self, what: &'static str, name: &str) -> SchemaError {
        SchemaError::Duplicate { what, name: name.to_owned(), view: self.name.clone() }
    }

    fn policy(&self, what: &'static str, problem: &str) -> SchemaError {
        SchemaError::BadPolicy { view: self.name.clone(), what, problem: problem.to_owned() }
    }
}

/// Bytes that every row of these features takes: null bitmap, fixed values, one offset for each variable
/// value.
pub fn fixed_row_bytes(features: &[Feature]) -> usize {
    let fixed: usize = features.iter().map(|f| f.value_type.width_bytes().unwrap_or(4)).sum();
    features.len().div_ceil(8) + fixed
}

fn check_default(feature: &Feature, default: &Value) -> Result<(), SchemaError> {
    let bad = |source| SchemaError::BadDefault { feature: feature.name.clone(), source };
    default.check(&feature.value_type).map_err(bad)?;
    if let Value::Json(text) = default {
        let checked = Value::parse_scalar(crate::types::Scalar::Json, text);
        checked.map_err(|source: ValueError| bad(source))?;
    }
    Ok(())
}

/// Checks a name of anything that definitions name: 1 to [`MAX_NAME_CHARS`] letters, digits or `_`.
///
/// # Errors
/// The name, as `what`.
pub fn check_name(what: &'static str, name: &str) -> Result<(), SchemaError> {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME_CHARS
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        return Ok(());
    }
    Err(SchemaError::BadName { what, name: name.chars().take(MAX_NAME_CHARS + 1).collect() })
}
