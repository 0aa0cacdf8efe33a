//! Features that are picked out of one view, and what they are called where they are read.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use thermae_formats::schema::check_name;

use super::MAX_PICKS;
use super::id::Name;

/// Features of one view: `[ALIAS=]VIEW[@VERSION][:f1,f2]`, and, in the long form, other names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Pick {
    /// The feature view or on-demand view.
    pub view: Name,
    /// Its features, in order; none is all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// What full names call the view; its own name if there is none.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// From a join key of the view to what the request calls it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub join_keys: BTreeMap<String, String>,
    /// From a feature to what the answer calls it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
}

/// A text that is no pick.
pub type PickTextError = String;

impl Pick {
    /// All features of a view.
    pub fn all(view: Name) -> Self {
        let (features, alias) = (Vec::new(), None);
        Pick { view, features, alias, join_keys: BTreeMap::new(), rename: BTreeMap::new() }
    }

    /// What full names begin with.
    pub fn prefix(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.view.name)
    }

    /// What the answer calls a feature of it.
    pub fn column(&self, feature: &str, full_names: bool) -> String {
        match (self.rename.get(feature), full_names) {
            (Some(name), _) => name.clone(),
            (None, true) => format!("{}__{feature}", self.prefix()),
            (None, false) => feature.to_owned(),
        }
    }

    /// What the request calls a join key of the view.
    pub fn request_key<'a>(&'a self, join_key: &'a str) -> &'a str {
        self.join_keys.get(join_key).map_or(join_key, String::as_str)
    }

    fn check(&self) -> Result<(), String> {
        let bad = |e: thermae_formats::SchemaError| e.to_string();
        let mut seen = HashSet::new();
        for feature in &self.features {
            check_name("feature", feature).map_err(bad)?;
            if !seen.insert(feature) {
                return Err(format!("{} picks feature {feature:?} twice", self.view));
            }
        }
        self.alias.as_deref().map_or(Ok(()), |name| check_name("alias", name)).map_err(bad)?;
        for (from, to) in self.join_keys.iter().chain(&self.rename) {
            check_name("join key or feature", from).map_err(bad)?;
            check_name("column", to).map_err(bad)?;
        }
        Ok(())
    }
}

/// Checks picks that stand together.
pub(super) fn check_all(picks: &[Pick]) -> Result<(), String> {
    if picks.len() > MAX_PICKS {
        return Err(format!("{} views are picked from, the limit is {MAX_PICKS}", picks.len()));
    }
    picks.iter().try_for_each(Pick::check)
}

impl FromStr for Pick {
    type Err = PickTextError;

    fn from_str(text: &str) -> Result<Self, PickTextError> {
        let (alias, rest) = match text.split_once('=') {
            Some((alias, rest)) => (Some(alias.to_owned()), rest),
            None => (None, text),
        };
        let (view, features) = match rest.split_once(':') {
            None => (rest, Vec::new()),
            Some((view, features)) => (view, features.split(',').map(str::to_owned).collect()),
        };
        let view = view.parse().map_err(|e| {
            format!("{text:?} names no features: write VIEW:f1,f2 or ALIAS=VIEW@2:f1: {e}")
        })?;
        let pick = Pick { features, alias, ..Pick::all(view) };
        pick.check().map_err(|e| format!("{text:?}: {e}"))?;
        Ok(pick)
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(alias) = &self.alias {
            write!(f, "{alias}=")?;
        }
        write!(f, "{}", self.view)?;
        if !self.features.is_empty() {
            write!(f, ":{}", self.features.join(","))?;
        }
        let pairs = |pairs: &BTreeMap<String, String>| {
            let pairs: Vec<_> = pairs.iter().map(|(from, to)| format!("{from} as {to}")).collect();
            pairs.join(", ")
        };
        if !self.join_keys.is_empty() {
            write!(f, " (join key {})", pairs(&self.join_keys))?;
        }
        if !self.rename.is_empty() {
            write!(f, " (feature {})", pairs(&self.rename))?;
        }
        Ok(())
    }
}

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    view: Name,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default, rename = "as")]
    alias: Option<String>,
    #[serde(default)]
    join_keys: BTreeMap<String, String>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Pick {
    /// From either form.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Pick;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"VIEW:f1,f2\" or { view = \"VIEW\", features = [\"f1\"] }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pick, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Pick, A::Error> {
                let long = Long::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let Long { view, features, alias, join_keys, rename } = long;
                Ok(Pick { view, features, alias, join_keys, rename })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_pick_reads_as_it_is_written_and_nothing_is_guessed() {
        for text in ["v", "v:a", "v:a,b", "p/v@3:a", "x=v:a", "x=p/v@2"] {
            let pick: Pick = text.parse().unwrap();
            assert_eq!(pick.to_string(), text);
            let json = serde_json::to_string(&pick).unwrap();
            assert_eq!(serde_json::from_str::<Pick>(&json).unwrap(), pick, "{json}");
        }
        for text in ["", ":a", "v:", "v:a,", "v:a,a", "=v:a", "a b=v", "v:a:b", "v@0:a", "v:a-b"] {
            assert!(text.parse::<Pick>().is_err(), "{text:?}");
        }
        assert!(serde_json::from_str::<Pick>(r#"{"view":"v","feature":["a"]}"#).is_err());
    }

    #[test]
    fn columns_and_keys_are_called_as_it_was_said() {
        let json = r#"{"view":"weather","features":["temp","wind"],"as":"there",
            "join_keys":{"origin":"dest"},"rename":{"temp":"dest_temp"}}"#;
        let pick: Pick = serde_json::from_str(json).unwrap();
        assert_eq!((pick.request_key("origin"), pick.request_key("hour")), ("dest", "hour"));
        assert_eq!(pick.column("temp", true), "dest_temp");
        assert_eq!(pick.column("wind", true), "there__wind");
        assert_eq!(pick.column("wind", false), "wind");
    }
}
