//! The file as written, before it is checked as a whole. Serde refuses unknown keys with their line.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use thermae_formats::value_json::Loose;
use thermae_formats::{JoinKey, ValueType};
use toml::Spanned;

use crate::model::{
    About, Check, Lifecycle, Name, OnDemandFeature, OnFailure, Pick, RequestField,
    Source as SourceObject, SourceHint,
};

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
    pub domain: String,
    #[serde(default)]
    pub team: String,
    #[serde(default)]
    pub entities: BTreeMap<Spanned<String>, Entity>,
    #[serde(default)]
    pub sources: BTreeMap<Spanned<String>, Source>,
    #[serde(default)]
    pub views: BTreeMap<Spanned<String>, View>,
    #[serde(default)]
    pub on_demand: BTreeMap<Spanned<String>, OnDemand>,
    #[serde(default)]
    pub services: BTreeMap<Spanned<String>, Service>,
    #[serde(default)]
    pub models: BTreeMap<Spanned<String>, Model>,
}

/// A table that may say who answers for what it declares; serde's `flatten` would let unknown keys through.
macro_rules! table {
    (pub struct $name:ident { $($body:tt)* }) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($body)*
            #[serde(default)]
            pub description: String,
            pub owner: Option<String>,
            pub domain: Option<String>,
            pub team: Option<String>,
            #[serde(default)]
            pub tags: BTreeMap<String, String>,
            #[serde(default)]
            pub lifecycle: Lifecycle,
        }

        impl $name {
            pub fn about(&self, file: &File) -> About {
                let or = |own: &Option<String>, all: &str| {
                    own.clone().unwrap_or_else(|| all.to_owned())
                };
                let mut tags = self.tags.clone();
                tags.retain(|key, _| !key.is_empty());
                About {
                    description: self.description.clone(),
                    owner: or(&self.owner, &file.owner),
                    domain: or(&self.domain, &file.domain),
                    team: or(&self.team, &file.team),
                    tags,
                    lifecycle: self.lifecycle,
                }
            }
        }
    };
}

table! {
    pub struct Entity {
        pub join_keys: Vec<JoinKey>,
    }
}

table! {
    pub struct Source {
        pub file: Option<String>,
        pub event_time: Option<String>,
        pub created_time: Option<String>,
        pub at: Option<String>,
        #[serde(default)]
        pub map: BTreeMap<String, String>,
        #[serde(default)]
        pub upstream: Vec<String>,
    }
}

impl Source {
    pub fn object(&self) -> SourceObject {
        let hint = SourceHint {
            file: self.file.clone(),
            event_time: self.event_time.clone(),
            created_time: self.created_time.clone(),
            at: self.at.clone(),
            map: self.map.clone(),
        };
        SourceObject { hint, upstream: self.upstream.clone() }
    }
}

table! {
    pub struct View {
        #[serde(default)]
        pub entities: Vec<Spanned<String>>,
        pub version: Option<u32>,
        pub ttl: Spanned<String>,
        #[serde(default)]
        pub tiers: Tiers,
        #[serde(default)]
        pub source: SourceRef,
        #[serde(default)]
        pub checks: Vec<Check>,
        #[serde(default)]
        pub on_failure: OnFailure,
        pub quarantine_for: Option<Spanned<String>>,
        pub fresh_within: Option<Spanned<String>>,
        pub features: Vec<Feature>,
    }
}

table! {
    pub struct OnDemand {
        pub version: Option<u32>,
        #[serde(default)]
        pub inputs: Vec<Pick>,
        #[serde(default)]
        pub request: Vec<RequestField>,
        pub features: Vec<OnDemandFeature>,
    }
}

table! {
    pub struct Service {
        pub version: Option<u32>,
        pub features: Vec<Pick>,
    }
}

table! {
    pub struct Model {
        pub version: Option<u32>,
        #[serde(default)]
        pub services: Vec<Name>,
        #[serde(default)]
        pub features: Vec<Pick>,
    }
}

/// The source of a view: said where it stands, or by name.
#[derive(Debug)]
pub enum SourceRef {
    Inline(SourceHint),
    Named(String),
}

impl Default for SourceRef {
    fn default() -> Self {
        Self::Inline(SourceHint::default())
    }
}

impl<'de> Deserialize<'de> for SourceRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = SourceRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a source, or { file = \"...\", event_time = \"...\" }")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<SourceRef, E> {
                Ok(SourceRef::Named(name.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<SourceRef, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                SourceHint::deserialize(map).map(SourceRef::Inline)
            }
        }
        deserializer.deserialize_any(Either)
    }
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
    pub expression: Option<String>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}
