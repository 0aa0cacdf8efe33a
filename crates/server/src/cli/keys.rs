//! Entity rows to ask for: `--key origin=JFK,dest=LAX`, or a file with a column for each join key.

use std::collections::BTreeMap;
use std::path::Path;

use thermae_formats::{FeatureView, JoinKey, KeyType, KeyValue};

use super::exit::Failure;
use crate::ingest::cell::{Cell, Reader};
use crate::ingest::csv::CsvOptions;
use crate::ingest::{Source, coerce};

/// Most rows of one command.
const MAX_ROWS: usize = 1_000_000;

/// One entity row: the value of every join key that some view needs.
pub type EntityRow = BTreeMap<String, KeyValue>;

/// The join keys that the views need, each once, in the order of first use.
///
/// # Errors
/// [`Failure::Usage`] if two views need one name in two types that no value has both.
pub fn needed<'a>(
    views: impl IntoIterator<Item = &'a FeatureView>,
) -> Result<Vec<JoinKey>, Failure> {
    let is_int = |t: KeyType| matches!(t, KeyType::Int32 | KeyType::Int64);
    let mut all: Vec<JoinKey> = Vec::new();
    for key in views.into_iter().flat_map(|view| &view.join_keys) {
        match all.iter_mut().find(|k| k.name == key.name) {
            None => all.push(key.clone()),
            Some(there) if there.key_type == key.key_type => {}
            // Both name the same entity; what fits the narrower fits both.
            Some(there) if is_int(there.key_type) && is_int(key.key_type) => {
                there.key_type = KeyType::Int32;
            }
            Some(there) => {
                return Err(Failure::Usage(format!(
                    "the join key {} is {} in one view and {} in another: ask for them separately",
                    key.name, there.key_type, key.key_type
                )));
            }
        }
    }
    Ok(all)
}

/// Reads the rows of `--key`.
///
/// # Errors
/// [`Failure::Usage`] naming what is wrong with which.
pub fn from_arguments(arguments: &[String], needed: &[JoinKey]) -> Result<Vec<EntityRow>, Failure> {
    arguments
        .iter()
        .map(|text| one(text, needed).map_err(|e| Failure::Usage(format!("--key {text}: {e}"))))
        .collect()
}

fn one(text: &str, needed: &[JoinKey]) -> Result<EntityRow, String> {
    let names = || needed.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut row = EntityRow::new();
    // A comma separates only where NAME= of a join key follows, so that values may hold commas.
    let mut rest = text;
    while !rest.is_empty() {
        let (name, tail) = rest
            .split_once('=')
            .ok_or_else(|| format!("write NAME=VALUE; the join keys are: {}", names()))?;
        let key = needed
            .iter()
            .find(|k| k.name == name)
            .ok_or_else(|| format!("there is no join key {name:?}; there are: {}", names()))?;
        let starts = needed.iter().filter_map(|k| tail.find(&format!(",{}=", k.name)));
        let (value, next) = match starts.min() {
            Some(at) => (&tail[..at], &tail[at + 1..]),
            None => (tail, ""),
        };
        let value = KeyValue::parse(name, key.key_type, value).map_err(|e| e.to_string())?;
        if row.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} is given twice; for another entity add another --key"));
        }
        rest = next;
    }
    match needed.iter().find(|k| !row.contains_key(&k.name)) {
        Some(missing) => {
            Err(format!("{} is missing; the join keys are: {}", missing.name, names()))
        }
        None => Ok(row),
    }
}

/// Reads the rows of `--keys FILE`.
///
/// # Errors
/// [`Failure`] naming the file, and the row or column that is wrong.
pub fn from_file(path: &Path, needed: &[JoinKey]) -> Result<Vec<EntityRow>, Failure> {
    let source = Source::new(path, None, CsvOptions::default()).map_err(Failure::of)?;
    let mut reader = source.open().map_err(Failure::of)?;
    let mut columns = Vec::with_capacity(needed.len());
    for key in needed {
        let found = reader.columns().iter().position(|c| c.name == key.name);
        columns.push(found.ok_or_else(|| {
            let there: Vec<String> = reader.columns().iter().map(|c| c.name.clone()).collect();
            let there = there.join(", ");
            Failure::Failed(format!(
                "{} has no column {:?}; it has: {there}",
                path.display(),
                key.name
            ))
        })?);
    }
    reader.select(&columns);
    let mut rows = Vec::new();
    while let Some(batch) = reader.next_batch().map_err(Failure::of)? {
        for at in 0..batch.rows() {
            let wrong = |reason: &str| {
                Failure::Failed(format!("{}, row {}: {reason}", path.display(), rows.len() + 1))
            };
            if let Some(reason) = batch.broken(at) {
                return Err(wrong(reason));
            }
            let mut row = EntityRow::new();
            for (key, column) in needed.iter().zip(&columns) {
                let cell: Cell<'_> = batch.cell(*column, at);
                let value = coerce::key(&cell, &key.name, key.key_type).map_err(|e| wrong(&e))?;
                row.insert(key.name.clone(), value);
            }
            if rows.len() == MAX_ROWS {
                return Err(wrong("more rows than one command reads: split the file"));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The values of a view's join keys in a row, in their order.
pub fn of_view(row: &EntityRow, names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<KeyValue> {
    names.into_iter().filter_map(|name| row.get(name.as_ref()).cloned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn route() -> Vec<JoinKey> {
        vec![JoinKey::new("origin", KeyType::String), JoinKey::new("n", KeyType::Int32)]
    }

    fn read(text: &str) -> Result<EntityRow, String> {
        from_arguments(&[text.to_owned()], &route())
            .map(|mut rows| rows.remove(0))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn values_may_hold_commas_and_equal_signs() {
        let row = read("origin=a,b=c,n=-7").unwrap();
        assert_eq!(row["origin"], KeyValue::from("a,b=c"));
        assert_eq!(row["n"], KeyValue::Int(-7));
        assert_eq!(of_view(&row, ["n", "origin"]), [KeyValue::Int(-7), KeyValue::from("a,b=c")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("origin=JFK", ["n is missing", "origin, n"]),
            ("origin=JFK,n=x", ["--key", "int32"]),
            ("origin=JFK,n=3000000000", ["n", "int32"]),
            ("dest=JFK", ["no join key \"dest\"", "origin, n"]),
            ("JFK", ["NAME=VALUE", "origin, n"]),
            ("n=1,n=2,origin=a", ["n is given twice", "another --key"]),
        ] {
            let error = read(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }

    #[test]
    fn rows_of_a_file_are_typed_and_their_faults_located() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.csv");
        std::fs::write(&path, "n,origin\n1,JFK\n2,LGA\n").unwrap();
        let rows = from_file(&path, &route()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["origin"], KeyValue::from("LGA"));
        std::fs::write(&path, "n,origin\n1,JFK\n,LGA\n").unwrap();
        let error = from_file(&path, &route()).unwrap_err().to_string();
        assert!(error.contains("row 2") && error.contains("n is null"), "{error}");
        std::fs::write(&path, "n\n1\n").unwrap();
        let error = from_file(&path, &route()).unwrap_err().to_string();
        assert!(error.contains("no column \"origin\"") && error.contains("it has: n"), "{error}");
    }

    #[test]
    fn a_key_of_two_views_is_asked_once() {
        let feature = || vec![thermae_formats::Feature::new("f", thermae_formats::Scalar::Bool)];
        let a = FeatureView::new("p", "a", vec![JoinKey::new("id", KeyType::Int64)], feature());
        let b = FeatureView::new("p", "b", vec![JoinKey::new("id", KeyType::Int32)], feature());
        let c = FeatureView::new("p", "c", vec![JoinKey::new("id", KeyType::String)], feature());
        assert_eq!(needed([&a, &b]).unwrap(), [JoinKey::new("id", KeyType::Int32)]);
        assert!(needed([&a, &c]).unwrap_err().to_string().contains("id"));
    }
}
