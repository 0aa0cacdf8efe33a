//! Definition files: TOML that a user wrote, as `thermae apply` reads it.

use thermae_features::definitions::{DefinitionError, Definitions, read};
use thermae_features::model::Object;
use thermae_formats::{FeatureView, RowLayout};

/// What the file is called in errors.
const FILE: &str = "features.toml";

/// What is accepted is valid and reaches the server, which takes it as JSON, as it was read; what is
/// refused names its line and says why.
pub fn definitions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read(FILE, text) {
        Ok(definitions) => accepted(&definitions),
        Err(error) => refused(&error, text),
    }
}

fn accepted(definitions: &Definitions) {
    assert!(!definitions.objects.is_empty(), "a file that defines nothing is refused");
    for object in &definitions.objects {
        assert_eq!(object.id.project, definitions.project);
        object.validate().expect("an accepted object is valid");
        let json = serde_json::to_string(object).expect("an accepted object can be sent");
        let read = serde_json::from_str::<Object>(&json).expect("what is sent is read");
        assert_eq!(&read, object, "the server gets another object");
    }
    for view in definitions.views() {
        view.validate().expect("an accepted view is valid");
        RowLayout::new(&view.features).expect("an accepted view has a row layout");
        let json = view.to_json().expect("an accepted view can be sent");
        assert_eq!(
            FeatureView::from_json(&json).as_ref(),
            Ok(view),
            "the server gets another view"
        );
    }
}

fn refused(error: &DefinitionError, text: &str) {
    let told = error.to_string();
    assert!(told.starts_with(FILE), "which file? {told}");
    match error {
        DefinitionError::Wrong { line, problem, .. } => {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            assert!((1..=lines).contains(line), "line {line} of {lines}: {told}");
            assert!(!problem.is_empty(), "what is wrong? {told}");
        }
        DefinitionError::Syntax { text, .. } => {
            assert!(text.contains("at line "), "which line? {told}");
        }
        DefinitionError::Io { .. } => panic!("nothing is read from disk: {told}"),
    }
}

/// Files to start from: the examples of the repository, and one that uses every key once.
pub(crate) fn seeds() -> [(&'static str, &'static [u8]); 4] {
    [
        ("nycflights13", include_bytes!("../../examples/nycflights13/features.toml")),
        ("user-engagement", include_bytes!("../../examples/user_engagement/features.toml")),
        ("every-key", EVERY_KEY.as_bytes()),
        ("entityless", ENTITYLESS.as_bytes()),
    ]
}

const ENTITYLESS: &str = r#"format = 1
project = "p"
[views.v]
ttl = "0"
features = [{ name = "a", type = "bool", default = true }]
"#;

const EVERY_KEY: &str = r#"format = 1
project = "shop"
owner = "team"
domain = "sales"
team = "ranking"
[entities.user]
description = "who buys"
owner = "people"
lifecycle = "deprecated"
join_keys = [{ name = "uid", type = "uuid" }]
[entities.item]
join_keys = [{ name = "shelf", type = "int32" }, { name = "item", type = "string" }]
[views.scores]
entities = ["user", "item"]
version = 2
ttl = "1h30m"
owner = "other"
description = "how well they match"
tags = { tier = "gold" }
tiers = { hot_for = "7d", warm_for = "30d", keep_for = "52w", history = "latest" }
source = { file = "s.csv", event_time = "when", created_time = "made", map = { id = "uid" } }
features = [
  { name = "a", type = "int64", default = -9223372036854775808, tags = { unit = "cents" } },
  { name = "b", type = "float32", default = nan, description = "of 1" },
  { name = "c", type = "string", default = "x\u0000y" },
  { name = "d", type = "bytes", default = "0x00ff" },
  { name = "e", type = "timestamp", default = "2013-01-01T00:00:00Z" },
  { name = "f", type = "json", default = "{\"k\": [1, 2.0]}" },
  { name = "g", type = "list<int32>", default = [1, -2] },
  { name = "h", type = "vector<float32, 2>", default = [0.5, -0.0] },
  { name = "i", type = "opaque<map>" },
]
[sources.clicks]
file = "c.ndjson"
event_time = "when"
created_time = "made"
at = "2013-01-01"
map = { id = "uid" }
upstream = ["kafka:clicks"]
[views."clicks@3"]
ttl = "0"
source = "clicks"
domain = "web"
team = "tracking"
lifecycle = "staged"
on_failure = "warn"
quarantine_for = "1d"
fresh_within = "1h"
checks = [
  { feature = "n", min = -5, max = 9007199254740993, max_null_rate = 0.5, on_failure = "quarantine" },
  { feature = "n", set = [1, 2] },
  { feature = "s", regex = "a|b", on_failure = "refuse" },
  { max_age = "2d" },
]
features = [
  { name = "n", type = "int64" },
  { name = "s", type = "string" },
  { name = "m", type = "float64", expression = "n / 2" },
]
[on_demand.rates]
version = 2
inputs = ["scores:a", { view = "clicks@3", features = ["n"] }]
request = [{ name = "hour", type = "int64" }]
features = [{ name = "rate", type = "float64", expression = "a / n", description = "of an hour" }]
[services.ranking]
version = 4
tags = { tier = "gold" }
features = [
  "scores:a,b",
  { view = "shop/scores", features = ["c"], as = "there", join_keys = { uid = "seller" }, rename = { c = "city" } },
]
[models.ranker]
version = 5
services = ["ranking@4"]
features = ["clicks@3:n"]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_accepted() {
        for (name, file) in seeds() {
            let text = std::str::from_utf8(file).expect("a seed is text");
            if let Err(error) = read(name, text) {
                panic!("{error}");
            }
        }
    }
}
