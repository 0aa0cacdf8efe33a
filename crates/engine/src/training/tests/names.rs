//! What columns are called, and requests that cannot be right.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, Scalar};

use super::super::*;
use super::world::World;

fn world() -> World {
    let view = |name: &str, features: &[&str]| {
        let features = features.iter().map(|name| Feature::new(*name, Scalar::Int64)).collect();
        FeatureView::new("p", name, vec![JoinKey::new("airport", KeyType::Int64)], features)
    };
    World::new(&[view("weather", &["wind", "rain"]), view("crowd", &["people", "wind"])])
}

fn spine(names: &[&str]) -> MemorySpine {
    let column = |name: &&str| {
        let column: ArrayRef = match *name {
            "at" => Arc::new(TimestampMicrosecondArray::from(vec![1])),
            _ => Arc::new(Int64Array::from(vec![1])),
        };
        ((*name).to_owned(), column)
    };
    let batch = RecordBatch::try_from_iter(names.iter().map(column)).unwrap();
    MemorySpine::new(batch.schema(), vec![batch]).unwrap()
}

/// Names of the answer's columns, or the error.
fn names(spine_names: &[&str], joins: Vec<ViewJoin>, full_names: bool) -> Result<String, String> {
    let request = Request { time_column: "at".to_owned(), joins, full_names, as_of_known: false };
    let batches = world().read_all(&request, &spine(spine_names)).map_err(|e| e.to_string())?;
    let schema = batches[0].schema();
    Ok(schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(" "))
}

#[test]
fn columns_are_called_after_features_or_after_views_and_features() {
    let weather = || ViewJoin::new("weather");
    let spine = ["airport", "at", "label"];
    assert_eq!(names(&spine, vec![weather()], false).unwrap(), "airport at label wind rain");
    let some = vec![ViewJoin::new("crowd").with_features(&["wind"]), weather()];
    assert_eq!(
        names(&spine, some, true).unwrap(),
        "airport at label crowd__wind weather__wind weather__rain"
    );
    let both = |alias: &str| weather().with_column("airport", alias).with_alias(alias);
    assert_eq!(
        names(&["from", "to", "at"], vec![both("from"), both("to")], true).unwrap(),
        "from to at from__wind from__rain to__wind to__rain"
    );
}

#[test]
fn names_that_would_be_twice_are_refused() {
    let spine = ["airport", "at"];
    let twice = vec![ViewJoin::new("weather"), ViewJoin::new("crowd")];
    let same = vec![ViewJoin::new("weather"), ViewJoin::new("weather")];
    let cases = [
        (names(&spine, twice, false), "\"wind\""),
        (names(&spine, same, true), "\"weather__wind\""),
        (names(&["airport", "at", "rain"], vec![ViewJoin::new("weather")], false), "\"rain\""),
    ];
    for (answer, name) in cases {
        let error = answer.unwrap_err();
        assert!(error.contains("two columns") && error.contains(name), "{error}");
    }
}

#[test]
fn requests_that_fit_neither_spine_nor_catalogue_say_what_there_is() {
    let weather = || ViewJoin::new("weather");
    let cases = [
        (names(&["airport", "time"], vec![weather()], false), "\"at\"", "airport, time"),
        (names(&["at", "code"], vec![weather()], false), "\"airport\"", "at, code"),
        (names(&["at"], vec![ViewJoin::new("wether")], false), "\"wether\"", "p/weather@1"),
        (
            names(&["airport", "at"], vec![weather().with_features(&["sun"])], false),
            "sun",
            "weather",
        ),
        (
            names(&["airport", "at"], vec![weather().with_column("port", "at")], false),
            "\"port\"",
            "airport",
        ),
        (names(&["airport", "at"], vec![weather(); MAX_JOINS + 1], false), "1024 views", "1025"),
    ];
    for (answer, what, there) in cases {
        let error = answer.unwrap_err();
        assert!(error.contains(what) && error.contains(there), "{error}");
    }
}
