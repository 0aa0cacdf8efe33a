//! The file as written, before it is checked as a whole. Serde refuses unknown keys with their line.

use std::collections::BTreeMap;

use serde::Deserialize;
use thermae_formats::value_json::Loose;
use thermae_formats::{KeyType, ValueType};
use toml::Spanned;

use crate::ingest::SourceHint;

/// The only version of the format.
pub const FORMAT: i64 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub format: Spanned<i64>,
    pub project: Spanned<String>,
    #[serde(default)]
    pub owner: String,
    #[serde(default)]
    pub entities: BTreeMap<String, Entity>,
    #[serde(default)]
    pub views: BTreeMap<Spanned<String>, View>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    pub join_keys: Vec<Key>,
    #[serde(default)]
    #[expect(dead_code, reason = "for the file's readers; the registry will keep it")]
    pub description: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub name: String,
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    #[serde(default)]
    pub entities: Vec<Spanned<String>>,
    pub version: Option<u32>,
    #[serde(default)]
    pub description: String,
    pub owner: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub ttl: Spanned<String>,
    #[serde(default)]
    pub tiers: Tiers,
    #[serde(default)]
    pub source: SourceHint,
    pub features: Vec<Feature>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    pub hot_for: Option<Spanned<String>>,
    pub warm_for: Option<Spanned<String>>,
    pub keep_for: Option<Spanned<String>>,
    pub history: Option<Spanned<String>>,
    #[serde(default)]
    pub serve_from_cold: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub name: Spanned<String>,
    #[serde(rename = "type")]
    pub value_type: ValueType,
    pub default: Option<Loose>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}
