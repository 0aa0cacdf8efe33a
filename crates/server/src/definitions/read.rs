//! From a file to feature views, each error with its line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thermae_formats::time::{parse_duration_us, parse_timestamp_us};
use thermae_formats::{FeatureView, History, JoinKey, TierPolicy, Value};
use toml::Spanned;

use super::file;

/// Larger files are not definitions, whatever they are.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What a file defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Definitions {
    /// The project of all views.
    pub project: String,
    /// The views, by name.
    pub views: Vec<FeatureView>,
}

/// Why a file defines nothing.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The system would not read it.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not the TOML that is expected.
    #[error("{file}: {text}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong, with line, column and the line itself.
        text: String,
    },
    /// It is, but what it says cannot be.
    #[error("{file}, line {line}: {problem}")]
    Wrong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Reads a definitions file from disk.
///
/// # Errors
/// A [`DefinitionError`] naming the file and, where there is one, the line.
pub fn read_file(path: &Path) -> Result<Definitions, DefinitionError> {
    let io = |source| DefinitionError::Io { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
        return Err(io(std::io::Error::other(
            "it is larger than 16 MiB; is it a definitions file?",
        )));
    }
    read(&path.display().to_string(), &std::fs::read_to_string(path).map_err(io)?)
}

/// Reads definitions from text; `file` is named in errors.
///
/// # Errors
/// A [`DefinitionError`] naming the line.
pub fn read(file: &str, text: &str) -> Result<Definitions, DefinitionError> {
    let parsed: file::File = toml::from_str(text).map_err(|e| DefinitionError::Syntax {
        file: file.to_owned(),
        text: e.to_string().trim_end().to_owned(),
    })?;
    let reader = Reader { file, text };
    if *parsed.format.get_ref() != file::FORMAT {
        let problem = format!(
            "format {} is not known; this version reads format {}",
            parsed.format.get_ref(),
            file::FORMAT
        );
        return Err(reader.wrong(parsed.format.span(), problem));
    }
    let mut views = Vec::with_capacity(parsed.views.len());
    for (name, view) in &parsed.views {
        views.push(reader.view(&parsed, name, view)?);
    }
    if views.is_empty() {
        return Err(
            reader.wrong(parsed.project.span(), "it defines no views: add [views.NAME]".to_owned())
        );
    }
    Ok(Definitions { project: parsed.project.into_inner(), views })
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, span: Range<usize>, problem: String) -> DefinitionError {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        DefinitionError::Wrong { file: self.file.to_owned(), line, problem }
    }

    fn view(
        &self,
        file: &file::File,
        name: &Spanned<String>,
        view: &file::View,
    ) -> Result<FeatureView, DefinitionError> {
        let features =
            view.features.iter().map(|f| self.feature(f)).collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = &view.source.at {
            parse_timestamp_us(at).map_err(|problem| {
                self.wrong(name.span(), format!("the source of {}: at: {problem}", name.get_ref()))
            })?;
        }
        let mut tags: BTreeMap<String, String> = view.tags.clone();
        tags.retain(|key, _| !key.is_empty());
        let defined = FeatureView {
            version: view.version.unwrap_or(1),
            entities: view.entities.iter().map(|e| e.get_ref().clone()).collect(),
            ttl_us: self.duration(&view.ttl)?,
            tiers: self.tiers(&view.tiers)?,
            owner: view.owner.clone().unwrap_or_else(|| file.owner.clone()),
            tags,
            description: view.description.clone(),
            source: view.source.to_source(),
            ..FeatureView::new(
                file.project.get_ref().clone(),
                name.get_ref().clone(),
                self.join_keys(file, view)?,
                features,
            )
        };
        defined
            .validate()
            .map_err(|e| self.wrong(self.place(name, view, &e.to_string()), e.to_string()))?;
        Ok(defined)
    }

    /// Where a view's problem is: at the last feature that the message quotes, or at the view's name.
    fn place(&self, name: &Spanned<String>, view: &file::View, problem: &str) -> Range<usize> {
        let quoted = |f: &&file::Feature| problem.contains(&format!("{:?}", f.name.get_ref()));
        view.features.iter().rev().find(quoted).map_or_else(|| name.span(), |f| f.name.span())
    }

    /// The join keys of the view's entities, in their order.
    fn join_keys(
        &self,
        file: &file::File,
        view: &file::View,
    ) -> Result<Vec<JoinKey>, DefinitionError> {
        let mut keys: Vec<JoinKey> = Vec::new();
        for entity in &view.entities {
            let Some(declared) = file.entities.get(entity.get_ref()) else {
                let there: Vec<&str> = file.entities.keys().map(String::as_str).collect();
                let problem = format!(
                    "the entity {:?} is not declared: add [entities.{}]; declared are: {}",
                    entity.get_ref(),
                    entity.get_ref(),
                    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
                );
                return Err(self.wrong(entity.span(), problem));
            };
            for key in &declared.join_keys {
                // Two entities may share a key; a key of two types cannot be.
                match keys.iter().find(|k| k.name == key.name) {
                    None => keys.push(JoinKey::new(key.name.clone(), key.key_type)),
                    Some(there) if there.key_type == key.key_type => {}
                    Some(there) => {
                        let (one, two) = (there.key_type, key.key_type);
                        let problem = format!("the join key {:?} is {one} and {two}", key.name);
                        return Err(self.wrong(entity.span(), problem));
                    }
                }
            }
        }
        Ok(keys)
    }

    fn feature(
        &self,
        feature: &file::Feature,
    ) -> Result<thermae_formats::Feature, DefinitionError> {
        let name = feature.name.get_ref().clone();
        let mut made = thermae_formats::Feature::new(name, feature.value_type.clone());
        made.description.clone_from(&feature.description);
        made.tags.clone_from(&feature.tags);
        if let Some(loose) = &feature.default {
            let value = Value::from_loose(&feature.value_type, loose).map_err(|e| {
                self.wrong(
                    feature.name.span(),
                    format!("default of feature {:?}: {e}", feature.name.get_ref()),
                )
            })?;
            made = made.with_default(value);
        }
        Ok(made)
    }

    fn duration(&self, text: &Spanned<String>) -> Result<i64, DefinitionError> {
        parse_duration_us(text.get_ref()).map_err(|problem| self.wrong(text.span(), problem))
    }

    fn tiers(&self, tiers: &file::Tiers) -> Result<TierPolicy, DefinitionError> {
        let or_unlimited = |text: &Option<Spanned<String>>| match text {
            Some(text) => self.duration(text),
            None => Ok(0),
        };
        let history = match &tiers.history {
            None => History::default(),
            Some(text) => match text.get_ref().as_str() {
                "full" => History::Full,
                "latest" => History::Latest,
                other => {
                    let problem = format!("history {other:?} is neither \"full\" nor \"latest\"");
                    return Err(self.wrong(text.span(), problem));
                }
            },
        };
        Ok(TierPolicy {
            hot_for_us: or_unlimited(&tiers.hot_for)?,
            warm_for_us: or_unlimited(&tiers.warm_for)?,
            keep_for_us: or_unlimited(&tiers.keep_for)?,
            history,
            serve_from_cold: tiers.serve_from_cold,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const GOOD: &str = r#"format = 1
project = "p"
owner = "team"

[entities.airport]
join_keys = [{ name = "origin", type = "string" }]

[entities.route]
join_keys = [{ name = "origin", type = "string" }, { name = "dest", type = "string" }]

[views.weather]
entities = ["airport"]
ttl = "3h"
source = { file = "w.parquet", event_time = "time_hour", map = { temperature = "temp" } }
tiers = { hot_for = "7d", history = "latest" }
features = [
  { name = "temp", type = "float64", default = 1, description = "degrees" },
  { name = "emb", type = "vector<float32, 3>" },
]
"#;

    fn wrong(change: (&str, &str)) -> String {
        assert!(GOOD.contains(change.0), "{change:?}");
        read("f.toml", &GOOD.replacen(change.0, change.1, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_what_it_says() {
        let view = read("f.toml", GOOD).unwrap().views.remove(0);
        assert_eq!((view.project.as_str(), view.name.as_str(), view.version), ("p", "weather", 1));
        assert_eq!((view.ttl_us, view.tiers.hot_for_us), (10_800_000_000, 604_800_000_000));
        assert_eq!(view.tiers.history, History::Latest);
        assert_eq!(view.features[0].default, Some(Value::Float64(1.0)));
        assert_eq!(view.owner, "team");
        let hint = crate::ingest::SourceHint::from_source(&view.source);
        assert_eq!(hint.event_time.as_deref(), Some("time_hour"));
        assert_eq!(hint.map["temperature"], "temp");
    }

    #[test]
    fn entities_that_share_a_key_give_it_once() {
        let text = GOOD.replace("[\"airport\"]", "[\"airport\", \"route\"]");
        let view = read("f.toml", &text).unwrap().views.remove(0);
        let names: Vec<&str> = view.join_keys.iter().map(|k| k.name.as_str()).collect();
        assert_eq!(names, ["origin", "dest"]);
    }

    #[test]
    fn every_error_names_its_line_and_what_to_do() {
        for (change, words) in [
            (("ttl = \"3h\"", "tll = \"3h\""), ["line 13", "unknown field `tll`", "`ttl`"]),
            (
                ("description = \"degrees\"", "descr = \"d\""),
                ["line 17", "unknown field `descr`", "`tags`"],
            ),
            (("event_time = ", "event_tmie = "), ["line 14", "event_tmie", "`created_time`"]),
            (("\"float64\"", "\"double\""), ["line 17", "unknown type", "float64"]),
            (("\"3h\"", "\"3 hours\""), ["line 13", "not a duration", "24h"]),
            (("\"3h\"", "3"), ["line 13", "invalid type", "string"]),
            (("[\"airport\"]", "[\"airprot\"]"), ["line 12", "not declared", "airport, route"]),
            (("default = 1", "default = \"x\""), ["line 17", "default of feature \"temp\"", "x"]),
            (("\"emb\"", "\"temp\""), ["line 18", "declared twice", "temp"]),
            (("\"emb\"", "\"origin\""), ["line 18", "origin", "join key"]),
            (("\"latest\"", "\"some\""), ["line 15", "neither", "latest"]),
            (
                ("\"latest\"", "\"latest\", serve_from_cold = true"),
                ["line 11", "serve_from_cold", "history"],
            ),
            (("format = 1", "format = 2"), ["line 1", "format 2", "reads format 1"]),
            (("format = 1\n", ""), ["line 1", "missing field", "format"]),
            (("[views.weather]", "[views.\"we ather\"]"), ["line 11", "we ather", "letters"]),
        ] {
            let error = wrong(change);
            for word in words {
                assert!(error.contains(word), "{word:?} is not in: {error}");
            }
        }
    }

    #[test]
    fn a_view_defined_twice_is_an_error() {
        let again = format!("{GOOD}\n[views.weather]\nttl = \"1h\"\nfeatures = []\n");
        let error = read("f.toml", &again).unwrap_err().to_string();
        assert!(error.contains("duplicate") && error.contains("line 21"), "{error}");
    }

    #[test]
    fn a_file_without_views_or_without_features_defines_nothing() {
        let error = read("f.toml", "format = 1\nproject = \"p\"\n").unwrap_err().to_string();
        assert!(error.contains("no views"), "{error}");
        let text = "format = 1\nproject = \"p\"\n[views.v]\nttl = \"0\"\nfeatures = []\n";
        let error = read("f.toml", text).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("features"), "{error}");
    }
}
