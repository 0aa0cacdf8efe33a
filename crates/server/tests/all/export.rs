//! `thermae export`: what comes out goes in again, every type, every bit.

use std::path::Path;

use serde_json::json;
use thermae_client::{Client, Config, Plan, ScanOptions, ScannedRow, ViewFeatures, WriteBatch};
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value, ValueType,
};

use crate::process::Server;

const SCALARS: [Scalar; 10] = [
    Scalar::Bool,
    Scalar::Int32,
    Scalar::Int64,
    Scalar::Float32,
    Scalar::Float64,
    Scalar::String,
    Scalar::Bytes,
    Scalar::Timestamp,
    Scalar::Uuid,
    Scalar::Json,
];

pub fn view() -> FeatureView {
    let scalars = SCALARS.iter().map(|scalar| ValueType::Scalar(*scalar));
    let lists = SCALARS.iter().map(|scalar| ValueType::List(*scalar));
    let others =
        [ValueType::Vector { dimension: 3 }, ValueType::Opaque { logical: "map".to_owned() }];
    let types = scalars.chain(lists).chain(others).enumerate();
    let features = types.map(|(at, value_type)| Feature::new(format!("f{at}"), value_type));
    let keys = [KeyType::Int32, KeyType::String, KeyType::Bytes, KeyType::Uuid, KeyType::Int64];
    let keys = keys.into_iter().enumerate();
    let keys = keys.map(|(at, key_type)| JoinKey::new(format!("k{at}"), key_type)).collect();
    FeatureView::new("test", "everything", keys, features.collect())
}

fn scalar(scalar: Scalar, n: u32) -> Value {
    match scalar {
        Scalar::Bool => Value::Bool(n.is_multiple_of(2)),
        Scalar::Int32 => Value::Int32(i32::MIN + n as i32),
        Scalar::Int64 => Value::Int64(i64::MAX - i64::from(n)),
        Scalar::Float32 => Value::Float32(match n % 4 {
            0 => f32::from_bits(0x7FC0_0001),
            1 => -0.0,
            2 => f32::NEG_INFINITY,
            _ => 0.1 + n as f32,
        }),
        Scalar::Float64 => Value::Float64(if n.is_multiple_of(3) { -0.0 } else { 0.1 }),
        Scalar::String => Value::String(format!("zero\0 \"{n}\", \u{e9}\n")),
        Scalar::Bytes => Value::Bytes(vec![0, 255, n as u8]),
        Scalar::Timestamp => Value::Timestamp(1_700_000_000_000_001 + i64::from(n)),
        Scalar::Uuid => Value::Uuid([n as u8; 16]),
        Scalar::Json => Value::Json(format!("{{\"n\": {n}}}")),
    }
}

pub fn values(n: u32) -> Vec<Value> {
    let mut values: Vec<Value> = SCALARS.iter().map(|kind| scalar(*kind, n)).collect();
    for kind in SCALARS {
        values.push(Value::List((0..n % 3).map(|at| scalar(kind, n + at)).collect()));
    }
    values.push(Value::Vector(vec![n as f32, f32::NAN, -0.0]));
    values.push(Value::Opaque(vec![n as u8, 0]));
    // Every value is null once.
    let nulls = values.len() as u32 * 2;
    if n % nulls < nulls / 2 {
        values[(n % nulls) as usize] = Value::Null;
    }
    values
}

pub fn key(n: u32) -> Vec<KeyValue> {
    vec![
        KeyValue::Int(i64::from(n % 40) - 20),
        KeyValue::String(format!("key, {}", n % 40)),
        KeyValue::Bytes(vec![0, n as u8 % 40]),
        KeyValue::Uuid([n as u8 % 40; 16]),
        KeyValue::Int(i64::MAX),
    ]
}

fn start(folder: &Path, name: &str) -> (Server, Client, Plan) {
    let server = Server::start(&folder.join(name));
    let client = Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap();
    client.apply(&json!({ "views": [view()] }).to_string()).unwrap();
    let wanted =
        ViewFeatures { project: "test", view: "everything", version: 0, features: Vec::new() };
    let plan = client.prepare(&[wanted]).unwrap();
    (server, client, plan)
}

/// All rows, but for their sequence; floats by their bits.
pub fn rows(client: &Client, plan: &Plan, options: &ScanOptions) -> Vec<String> {
    let (mut rows, mut place) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = client.scan(plan, options, place.as_deref()).unwrap();
        for row in page.rows() {
            let ScannedRow { key, event_time, created_time, values, .. } = row.unwrap();
            let values =
                values.map(|values| values.iter().map(Value::to_string).collect::<Vec<_>>());
            rows.push(format!("{key:?} {event_time} {created_time} {values:?}"));
        }
        match page.place() {
            Some(next) => place = Some(next.to_vec()),
            None => break,
        }
    }
    rows.sort();
    rows
}

#[test]
fn an_export_loads_into_a_fresh_store_to_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client, plan) = start(folder.path(), "from");
    let handle = client.view("test", "everything").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for n in 0..200 {
        let created = if n % 3 == 0 { NO_TIME } else { 1_600_000_000_000_000 };
        let event_time = 1_500_000_000_000_000 + i64::from(n / 40);
        batch.push(&key(n), event_time, created, &values(n)).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
    let mut deletes = WriteBatch::delete(&handle);
    deletes.push_key(&key(5), 1_500_000_000_000_000).unwrap();
    assert!(client.write(&mut deletes).unwrap().all_ok());
    let expected = rows(&client, &plan, &ScanOptions::default());
    assert_eq!(expected.len(), 200);
    for (name, place) in [("e.parquet", "p"), ("e.csv", "c"), ("e.ndjson", "n")] {
        let file = folder.path().join(name);
        let file = file.to_str().unwrap();
        let exported = server.run(&["export", "everything", "--out", file, "--json"]);
        let told: serde_json::Value = serde_json::from_slice(&exported.stdout)
            .unwrap_or_else(|e| panic!("{e}: {exported:?}"));
        assert_eq!((exported.status.code(), &told["rows"]), (Some(0), &json!(200)), "{told}");
        let (fresh, client, plan) = start(folder.path(), place);
        let loaded = fresh.run(&[
            "ingest",
            "everything",
            file,
            "--event-time",
            "event_timestamp",
            "--created-time",
            "created_timestamp",
        ]);
        let said = String::from_utf8_lossy(&loaded.stdout).into_owned();
        assert_eq!(loaded.status.code(), Some(0), "{name}: {said} {loaded:?}");
        let found = rows(&client, &plan, &ScanOptions::default());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(found.len(), expected.len());
        assert_eq!(fresh.stop(), 0);
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn parts_of_a_history_are_exported_and_what_cannot_be_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client, _) = start(folder.path(), "data");
    let handle = client.view("test", "everything").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for n in 0..120 {
        batch.push(&key(n), 1_000_000 * i64::from(n / 40), NO_TIME, &values(n)).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
    let mut deletes = WriteBatch::delete(&handle);
    deletes.push_key(&key(5), 3_000_000).unwrap();
    assert!(client.write(&mut deletes).unwrap().all_ok());
    let path = folder.path().join("out.csv");
    let file = path.to_str().unwrap();
    let lines = |arguments: &[&str]| {
        let all = [&["export", "everything:f1,f0", "--out", file], arguments].concat();
        let output = server.run(&all);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        let head = "k0,k1,k2,k3,k4,f1,f0,event_timestamp,created_timestamp,sequence,is_deleted";
        assert_eq!(text.lines().next(), Some(head));
        text.lines().count() - 1
    };
    assert_eq!(lines(&[]), 120);
    assert_eq!(lines(&["--deletions"]), 121);
    assert_eq!(lines(&["--from", "1970-01-01T00:00:01Z", "--to", "1970-01-01T00:00:01Z"]), 40);
    let one =
        "k0=-15,k1=key, 5,k2=0x0005,k3=05050505050505050505050505050505,k4=9223372036854775807";
    assert_eq!(lines(&["--key", one]), 3);
    std::fs::remove_file(&path).unwrap();
    for (arguments, code, words) in [
        (&["everything:nothing", "--out", file][..], 1, "no feature"),
        (&["everything", "--out", "out.xlsx"], 1, "format"),
        (&["everything", "--out", "/nowhere/out.csv"], 1, "/nowhere"),
        (&["everything", "--out", file, "--from", "2014-01-01", "--to", "2013-01-01"], 2, "--from"),
        (&["nobody", "--out", file], 1, "nobody"),
    ] {
        let output = server.run(&[&["export"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words) && !path.exists(), "{arguments:?}: {said}");
    }
    assert_eq!(server.stop(), 0);
}
