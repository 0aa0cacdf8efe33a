#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use thermae_formats::{FeatureView, History, Value};

use super::read;
use crate::model::{Lifecycle, Object, SourceHint};

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

const WHOLE: &str = r#"format = 1
project = "p"
owner = "ann"
domain = "web"

[entities.user]
join_keys = [{ name = "uid", type = "int64" }]

[sources.log]
file = "log.parquet"
event_time = "at"
upstream = ["kafka:clicks"]

[views."clicks@2"]
entities = ["user"]
ttl = "1d"
source = "log"
lifecycle = "staged"
team = "core"
features = [{ name = "n", type = "int64" }]

[on_demand.rate]
inputs = ["clicks@2:n"]
features = [{ name = "r", type = "float64", expression = "n / 2" }]

[services.rank]
version = 3
features = ["clicks@2:n", { view = "rate", as = "other", rename = { r = "s" } }]

[models.ranker]
services = ["rank@3"]
"#;

#[test]
fn a_file_declares_objects_of_every_kind() {
    let defined = read("f.toml", WHOLE).unwrap();
    let ids: Vec<String> = defined.objects.iter().map(|object| object.id.to_string()).collect();
    assert_eq!(
        ids,
        [
            "entity p/user",
            "source p/log",
            "feature view p/clicks@2",
            "on-demand view p/rate@1",
            "feature service p/rank@3",
            "model p/ranker@1"
        ]
    );
    let about = &defined.objects[2].about;
    let told = (about.owner.as_str(), about.domain.as_str(), about.team.as_str());
    assert_eq!((told, about.lifecycle), (("ann", "web", "core"), Lifecycle::Staged));
    // What `ingest` is told of a source by name is what it says.
    let view = defined.views().next().unwrap();
    assert_eq!(SourceHint::from_source(&view.source).event_time.as_deref(), Some("at"));
    assert_eq!(defined.objects[2].source().map(String::as_str), Some("log"));
    for object in &defined.objects {
        let json = serde_json::to_string(object).unwrap();
        assert_eq!(&serde_json::from_str::<Object>(&json).unwrap(), object, "{json}");
    }
}

#[test]
fn errors_of_every_kind_name_their_line() {
    for (from, to, words) in [
        ("\"staged\"", "\"stagged\"", ["line 18", "stagged", "deprecated"]),
        (
            "source = \"log\"",
            "source = \"lag\"",
            ["line 14", "\"lag\" is not declared", "[sources.lag]"],
        ),
        ("clicks@2\"]", "clicks@two\"]", ["line 14", "clicks@two", "NAME@VERSION"]),
        ("ttl = \"1d\"", "ttl = \"1d\"\nversion = 3", ["line 14", "clicks@2", "NAME@VERSION"]),
        ("[\"clicks@2:n\"]", "[\"clicks@0:n\"]", ["line 23", "clicks@0", "number from 1"]),
        ("expression = ", "expresion = ", ["line 24", "expresion", "expression"]),
        ("expression = \"n / 2\"", "expression = \" \"", ["line 22", "\"r\"", "expression"]),
        ("as = \"other\"", "alias = \"other\"", ["line 28", "alias", "rename"]),
        ("\"clicks@2:n\", {", "\"clicks@2:n,n\", {", ["line 28", "clicks@2", "twice"]),
        ("version = 3", "version = 0", ["line 26", "version is 0", "begin at 1"]),
        ("services = [\"rank@3\"]", "", ["line 30", "reads nothing", "services"]),
        ("upstream = [", "at = \"x\"\nupstream = [", ["line 9", "at:", "x"]),
        (
            "int64\" }]\n\n[sources",
            "int64\" }, { name = \"uid\", type = \"bytes\" }]\n\n[sources",
            ["line 6", "uid", "twice"],
        ),
    ] {
        assert!(WHOLE.contains(from), "{from:?}");
        let error = read("f.toml", &WHOLE.replacen(from, to, 1)).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{from:?} -> {to:?}: {word:?} is not in: {error}");
        }
    }
}
