//! Definitions as JSON (in the log, on the wire) and as TOML (written by people).
//!
//! Both are strict: an unknown field is an error, so that a misspelt policy is never silently without
//! effect. Durations are integers in microseconds under names that end in `_us` (`ttl_us`), or text with a
//! unit under the plain name (`ttl = "24h"`); only the former is written.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::Serializer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::SchemaError;
use crate::schema::{Feature, FeatureView, History, JoinKey, MAX_VIEW_JSON_BYTES, TierPolicy};
use crate::time::parse_duration_us;
use crate::types::{KeyType, ValueType};
use crate::value::Value;
use crate::value_json::Loose;

impl FeatureView {
    /// The definition as JSON, after [`FeatureView::validate`]; at most [`MAX_VIEW_JSON_BYTES`].
    pub fn to_json(&self) -> Result<Vec<u8>, SchemaError> {
        self.validate()?;
        let json = serde_json::to_vec(self).map_err(|e| SchemaError::Json(e.to_string()))?;
        self.limit("the definition as JSON, in bytes,", json.len(), MAX_VIEW_JSON_BYTES)?;
        Ok(json)
    }

    /// Reads a definition of at most [`MAX_VIEW_JSON_BYTES`] and validates it.
    pub fn from_json(json: &[u8]) -> Result<Self, SchemaError> {
        if json.len() > MAX_VIEW_JSON_BYTES {
            let found = json.len();
            let problem = format!("{found} bytes, the limit is {MAX_VIEW_JSON_BYTES}");
            return Err(SchemaError::Json(problem));
        }
        let view: Self =
            serde_json::from_slice(json).map_err(|e| SchemaError::Json(e.to_string()))?;
        view.validate()?;
        Ok(view)
    }
}

/// A duration that people write: text with a unit, or 0.
///
/// A bare number other than 0 is refused: whether it means seconds or microseconds is a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(
    /// Microseconds.
    pub i64,
);

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Loose::deserialize(deserializer)? {
            Loose::Text(text) => parse_duration_us(&text).map(Self).map_err(D::Error::custom),
            Loose::Int(0) => Ok(Self(0)),
            _ => Err(D::Error::custom("a duration is text with a unit, as in \"24h\" or \"7d\"")),
        }
    }
}

/// The one of `name = "24h"` and `name_us = 86400000000` that is given; 0 if none.
fn duration(name: &str, human: Option<HumanDuration>, us: Option<i64>) -> Result<i64, String> {
    match (human, us) {
        (Some(_), Some(_)) => Err(format!("give either {name} or {name}_us, not both")),
        (Some(HumanDuration(us)), None) | (None, Some(us)) => Ok(us),
        (None, None) => Ok(0),
    }
}

#[derive(Serialize)]
struct FeatureOut<'a> {
    name: &'a str,
    r#type: &'a ValueType,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureIn {
    name: String,
    r#type: ValueType,
    #[serde(default)]
    default: Option<Loose>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Serialize for Feature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FeatureOut {
            name: &self.name,
            r#type: &self.value_type,
            default: self.default.as_ref().filter(|d| !d.is_null()).map(Value::to_json),
            description: &self.description,
            tags: &self.tags,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Feature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let FeatureIn { name, r#type: value_type, default, description, tags } =
            FeatureIn::deserialize(deserializer)?;
        let default = match default {
            None | Some(Loose::Null) => None,
            Some(loose) => Some(Value::from_loose(&value_type, &loose).map_err(|source| {
                D::Error::custom(SchemaError::BadDefault { feature: name.clone(), source })
            })?),
        };
        Ok(Self { name, value_type, default, description, tags })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinKeyRaw {
    name: String,
    r#type: KeyType,
}

impl Serialize for JoinKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        JoinKeyRaw { name: self.name.clone(), r#type: self.key_type }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JoinKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let JoinKeyRaw { name, r#type: key_type } = JoinKeyRaw::deserialize(deserializer)?;
        Ok(Self { name, key_type })
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for History {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = [Self::Latest, Self::Full].into_iter().find(|h| h.name() == text);
        known.ok_or_else(|| D::Error::unknown_variant(&text, &["latest", "full"]))
    }
}

#[derive(Serialize)]
struct TierPolicyOut {
    hot_for_us: i64,
    warm_for_us: i64,
    keep_for_us: i64,
    history: History,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    serve_from_cold: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierPolicyIn {
    hot_for: Option<HumanDuration>,
    hot_for_us: Option<i64>,
    warm_for: Option<HumanDuration>,
    warm_for_us: Option<i64>,
    keep_for: Option<HumanDuration>,
    keep_for_us: Option<i64>,
    #[serde(default)]
    history: History,
    #[serde(default)]
    serve_from_cold: bool,
}

impl Serialize for TierPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { hot_for_us, warm_for_us, keep_for_us, history, serve_from_cold } = *self;
        TierPolicyOut { hot_for_us, warm_for_us, keep_for_us, history, serve_from_cold }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TierPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = TierPolicyIn::deserialize(deserializer)?;
        let read = |name, human, us| duration(name, human, us).map_err(D::Error::custom);
        Ok(Self {
            hot_for_us: read("hot_for", raw.hot_for, raw.hot_for_us)?,
            warm_for_us: read("warm_for", raw.warm_for, raw.warm_for_us)?,
            keep_for_us: read("keep_for", raw.keep_for, raw.keep_for_us)?,
            history: raw.history,
            serve_from_cold: raw.serve_from_cold,
        })
    }
}

#[derive(Serialize)]
struct FeatureViewOut<'a> {
    project: &'a str,
    name: &'a str,
    version: u32,
    entities: &'a [String],
    join_keys: &'a [JoinKey],
    features: &'a [Feature],
    ttl_us: i64,
    tiers: TierPolicy,
    owner: &'a str,
    tags: &'a BTreeMap<String, String>,
    description: &'a str,
    source: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureViewIn {
    project: String,
    name: String,
    #[serde(default = "first_version")]
    version: u32,
    #[serde(default)]
    entities: Vec<String>,
    #[serde(default)]
    join_keys: Vec<JoinKey>,
    features: Vec<Feature>,
    ttl: Option<HumanDuration>,
    ttl_us: Option<i64>,
    #[serde(default)]
    tiers: TierPolicy,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    source: String,
}

fn first_version() -> u32 {
    1
}

impl Serialize for FeatureView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FeatureViewOut {
            project: &self.project,
            name: &self.name,
            version: self.version,
            entities: &self.entities,
            join_keys: &self.join_keys,
            features: &self.features,
            ttl_us: self.ttl_us,
            tiers: self.tiers,
            owner: &self.owner,
            tags: &self.tags,
            description: &self.description,
            source: &self.source,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FeatureView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = FeatureViewIn::deserialize(deserializer)?;
        Ok(Self {
            ttl_us: duration("ttl", raw.ttl, raw.ttl_us).map_err(D::Error::custom)?,
            project: raw.project,
            name: raw.name,
            version: raw.version,
            entities: raw.entities,
            join_keys: raw.join_keys,
            features: raw.features,
            tiers: raw.tiers,
            owner: raw.owner,
            tags: raw.tags,
            description: raw.description,
            source: raw.source,
        })
    }
}
