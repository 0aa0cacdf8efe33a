#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use thermae_formats::{FeatureView, History, Value};

use super::read;
use crate::model::SourceHint;

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

fn only_view(text: &str) -> FeatureView {
    read("f.toml", text).unwrap().views().next().unwrap().clone()
}

fn wrong(change: (&str, &str)) -> String {
    assert!(GOOD.contains(change.0), "{change:?}");
    read("f.toml", &GOOD.replacen(change.0, change.1, 1)).unwrap_err().to_string()
}

#[test]
fn a_file_is_what_it_says() {
    let view = only_view(GOOD);
    assert_eq!((view.project.as_str(), view.name.as_str(), view.version), ("p", "weather", 1));
    assert_eq!((view.ttl_us, view.tiers.hot_for_us), (10_800_000_000, 604_800_000_000));
    assert_eq!(view.tiers.history, History::Latest);
    assert_eq!(view.features[0].default, Some(Value::Float64(1.0)));
    assert_eq!(view.owner, "team");
    let hint = SourceHint::from_source(&view.source);
    assert_eq!(hint.event_time.as_deref(), Some("time_hour"));
    assert_eq!(hint.map["temperature"], "temp");
}

#[test]
fn entities_that_share_a_key_give_it_once() {
    let text = GOOD.replace("[\"airport\"]", "[\"airport\", \"route\"]");
    let view = only_view(&text);
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
