//! Workloads by name. Sizes are small enough for a laptop; `--entities` and `--keys` change them.

use crate::error::Error;
use crate::keys::Keys;
use crate::workload::{Count, Drive, Features, Kind, Operation, Part, View, Workload};
use thermae_formats::KeyType;

/// A preset: its name, and what it stands for.
pub const PRESETS: &[(&str, &str)] = &[
    ("point", "one row of ten float32"),
    ("batch", "100 rows of ten float32, as one matrix"),
    ("ranking", "1 user and 500 items of 50 features each, from two views in one request"),
    ("ycsb-a", "YCSB A: half reads, half updates, zipf 0.99; 10 fields of 100 bytes"),
    ("ycsb-b", "YCSB B: 95% reads, 5% updates, zipf 0.99"),
    ("ycsb-c", "YCSB C: reads alone, zipf 0.99"),
    ("ycsb-d", "YCSB D: 95% reads of the newest rows, 5% inserts"),
    ("ycsb-e", "YCSB E: 95% of 1 to 100 rows that follow each other, 5% inserts"),
    ("ycsb-f", "YCSB F: half reads, half reads that write the row again, zipf 0.99"),
    ("twitter-c12", "44/1030 bytes, 80% sets, TTL 300 s, zipf 0.30"),
    ("twitter-c18", "18/37 bytes, 96% gets, zipf 2.10"),
    ("twitter-c19", "42/101 bytes, 75% gets, zipf 0.735"),
    ("twitter-c25", "49/28 bytes, gets alone, zipf 0.99"),
    ("twitter-c29", "36/799 bytes, 86% gets, zipf 1.23"),
    ("twitter-c52", "20/273 bytes, 91% gets, zipf 1.21"),
    ("load", "inserts alone, 100 rows of ten float32 a request"),
    (
        "feast-FxR",
        "Feast's grid: F features (50 to 250) of 25 views, R rows (1 to 100): feast-250x100",
    ),
];

/// The presets of Feast's grid: features times rows.
pub fn feast_grid() -> Vec<String> {
    let rows = [1, 10, 50, 100];
    let names = |features: u32| rows.map(|rows| format!("feast-{features}x{rows}"));
    [50, 100, 150, 200, 250].into_iter().flat_map(names).collect()
}

/// The workload of that name.
///
/// # Errors
/// No preset has that name; the names are told.
pub fn preset(name: &str) -> Result<Workload, Error> {
    let made = match name {
        "point" => Some(batch(name, 1)),
        "batch" => Some(batch(name, 100)),
        "ranking" => Some(ranking()),
        "load" => Some(load()),
        _ => {
            let ycsb = name.strip_prefix("ycsb-").and_then(ycsb);
            let twitter = || name.strip_prefix("twitter-").and_then(twitter);
            let feast = || name.strip_prefix("feast-").and_then(feast);
            ycsb.or_else(twitter).or_else(feast)
        }
    };
    let Some(mut workload) = made else {
        let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
        let what = format!("there is no preset {name:?}; there are {}", names.join(", "));
        return Err(Error::Given(what));
    };
    workload.name = name.to_owned();
    let told = PRESETS.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
    if let Some(told) = told {
        workload.description = told.to_owned();
    }
    workload.check()?;
    Ok(workload)
}

fn floats(count: usize) -> Vec<Features> {
    features("float32", count, 0)
}

fn features(value_type: &str, count: usize, bytes: usize) -> Vec<Features> {
    // The names are those above; one that did not parse would leave a view without features, which is refused.
    let made = value_type.parse().map(|value_type| Features { value_type, count, bytes });
    made.into_iter().collect()
}

fn view(name: &str, entities: u64, features: Vec<Features>) -> View {
    let name = name.to_owned();
    View { name, entities, key: KeyType::Int64, key_bytes: 0, ttl_s: 0, cold_after_s: 0, features }
}

fn part(view: &str, keys: Count) -> Part {
    Part { view: view.to_owned(), keys, features: 0 }
}

fn operation(kind: Kind, weight: f64, of: Vec<Part>, keys: Keys) -> Operation {
    Operation { kind, weight, of, keys, same_keys: false, consecutive: false, matrix: false }
}

fn workload(views: Vec<View>, operations: Vec<Operation>) -> Workload {
    let (name, description) = (String::new(), String::new());
    Workload { name, description, views, operations, drive: Drive::default() }
}

fn batch(_name: &str, keys: u32) -> Workload {
    let parts = vec![part("rows", Count::Exactly(keys))];
    let read = Operation { matrix: true, ..operation(Kind::Read, 1.0, parts, Keys::Uniform) };
    workload(vec![view("rows", 1_000_000, floats(10))], vec![read])
}

fn load() -> Workload {
    let parts = vec![part("rows", Count::Exactly(100))];
    let insert = operation(Kind::Insert, 1.0, parts, Keys::Uniform);
    workload(vec![view("rows", 1, floats(10))], vec![insert])
}

fn ranking() -> Workload {
    let views = vec![view("user", 100_000, floats(50)), view("item", 100_000, floats(50))];
    let parts = vec![part("user", Count::Exactly(1)), part("item", Count::Exactly(500))];
    let keys = Keys::Zipf { exponent: 0.8 };
    let read = Operation { matrix: true, ..operation(Kind::Read, 1.0, parts, keys) };
    let mut workload = workload(views, vec![read]);
    workload.drive.in_flight = 4;
    workload
}

fn ycsb(letter: &str) -> Option<Workload> {
    let one = || vec![part("usertable", Count::Exactly(1))];
    let zipf = || Keys::Zipf { exponent: 0.99 };
    let latest = || Keys::Latest { exponent: 0.99 };
    let read = |weight, keys| operation(Kind::Read, weight, one(), keys);
    let write = |weight| operation(Kind::Write, weight, one(), zipf());
    let insert = |weight| operation(Kind::Insert, weight, one(), Keys::Uniform);
    let operations = match letter {
        "a" => vec![read(50.0, zipf()), write(50.0)],
        "b" => vec![read(95.0, zipf()), write(5.0)],
        "c" => vec![read(1.0, zipf())],
        "d" => vec![read(95.0, latest()), insert(5.0)],
        "e" => {
            let some = vec![part("usertable", Count::Between([1, 100]))];
            let scan = Operation { consecutive: true, ..operation(Kind::Read, 95.0, some, zipf()) };
            vec![scan, insert(5.0)]
        }
        "f" => vec![read(50.0, zipf()), operation(Kind::Modify, 50.0, one(), zipf())],
        _ => return None,
    };
    let table = View {
        key: KeyType::String,
        key_bytes: 23,
        ..view("usertable", 100_000, features("bytes", 10, 100))
    };
    Some(workload(vec![table], operations))
}

/// Shapes of Twitter's cache clusters (Yang et al., OSDI 2020): bytes of key and value, share of gets, exponent.
fn twitter(cluster: &str) -> Option<Workload> {
    let (key_bytes, bytes, gets, exponent, ttl_s) = match cluster {
        "c12" => (44, 1030, 20.0, 0.30, 300),
        "c18" => (18, 37, 96.0, 2.10, 0),
        "c19" => (42, 101, 75.0, 0.735, 0),
        "c25" => (49, 28, 100.0, 0.99, 0),
        "c29" => (36, 799, 86.0, 1.23, 0),
        "c52" => (20, 273, 91.0, 1.21, 0),
        _ => return None,
    };
    let one = || vec![part("objects", Count::Exactly(1))];
    let keys = || Keys::Zipf { exponent };
    let mut operations = vec![operation(Kind::Read, gets, one(), keys())];
    if gets < 100.0 {
        operations.push(operation(Kind::Write, 100.0 - gets, one(), keys()));
    }
    let features = features("bytes", 1, bytes);
    let objects =
        View { key: KeyType::Bytes, key_bytes, ttl_s, ..view("objects", 100_000, features) };
    Some(workload(vec![objects], operations))
}

fn feast(size: &str) -> Option<Workload> {
    const VIEWS: u32 = 25;
    let (wide, rows) = size.split_once('x')?;
    let (wide, rows): (u32, u32) = (wide.parse().ok()?, rows.parse().ok()?);
    if !wide.is_multiple_of(VIEWS) || !(VIEWS..=2500).contains(&wide) || !(1..=1000).contains(&rows)
    {
        return None;
    }
    let names: Vec<String> = (0..VIEWS).map(|at| format!("view{at:02}")).collect();
    let views = names.iter().map(|name| view(name, 10_000, floats((wide / VIEWS) as usize)));
    let parts = names.iter().map(|name| part(name, Count::Exactly(rows))).collect();
    let read = Operation { same_keys: true, ..operation(Kind::Read, 1.0, parts, Keys::Uniform) };
    let mut made = workload(views.collect(), vec![read]);
    made.description = format!("Feast's grid: {wide} features of 25 views, {rows} rows a request");
    made.drive.in_flight = 4;
    Some(made)
}

/// Other numbers of rows: of every view, and of every part of a request.
pub fn resized(mut workload: Workload, entities: Option<u64>, keys: Option<u32>) -> Workload {
    for view in &mut workload.views {
        view.entities = entities.unwrap_or(view.entities);
    }
    for part in workload.operations.iter_mut().flat_map(|operation| &mut operation.of) {
        part.keys = keys.map_or(part.keys, Count::Exactly);
    }
    workload
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_preset_is_a_sound_workload_and_survives_toml() {
        let named = PRESETS.iter().map(|(name, _)| (*name).to_owned());
        let names: Vec<String> =
            named.filter(|name| !name.contains("FxR")).chain(feast_grid()).collect();
        assert_eq!(names.len(), PRESETS.len() - 1 + 20);
        for name in names {
            let made = preset(&name).unwrap();
            assert_eq!(made.name, name);
            assert!(!made.description.is_empty());
            let text = toml::to_string(&made).unwrap();
            assert_eq!(Workload::from_toml(&text).unwrap(), made, "{text}");
        }
    }

    #[test]
    fn shapes_are_those_that_the_names_say() {
        let ranking = preset("ranking").unwrap();
        let asked: Vec<_> = ranking.operations[0].of.iter().map(|part| part.keys.mean()).collect();
        assert_eq!(asked, [1.0, 500.0]);
        assert!(ranking.views.iter().all(|view| view.columns().len() == 50));
        let feast = preset("feast-250x100").unwrap();
        let wide: usize = feast.views.iter().map(|view| view.columns().len()).sum();
        assert_eq!((feast.views.len(), wide), (25, 250));
        let c12 = preset("twitter-c12").unwrap();
        assert_eq!((c12.views[0].key_bytes, c12.views[0].ttl_s), (44, 300));
        let weights: Vec<_> = c12.operations.iter().map(|o| (o.kind, o.weight)).collect();
        assert_eq!(weights, [(Kind::Read, 20.0), (Kind::Write, 80.0)]);
    }

    #[test]
    fn what_there_is_not_is_answered_with_what_there_is() {
        for name in ["", "ycsb-g", "twitter-c1", "feast-51x1", "feast-50x0", "feast-50"] {
            let told = preset(name).unwrap_err().to_string();
            assert!(told.contains("ranking") && told.contains("feast-FxR"), "{told}");
        }
        let small = resized(preset("ranking").unwrap(), Some(10), Some(2));
        assert!(small.views.iter().all(|view| view.entities == 10));
        assert!(small.operations[0].of.iter().all(|part| part.keys == Count::Exactly(2)));
    }
}
