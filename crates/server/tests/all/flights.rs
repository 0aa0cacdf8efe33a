//! The example's rows, all of them: what the quickstart loaded reads back bit for bit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use thermae_client::{Address, Client, Config, ReadOptions, ViewFeatures};
use thermae_features::definitions;
use thermae_formats::wire::CellStatus;
use thermae_formats::{FeatureView, KeyValue, Value};
use thermae_server::ingest::cell::Reader;
use thermae_server::ingest::csv::CsvOptions;
use thermae_server::ingest::{Mapping, MappingOptions, RowReader, Source};
use thermae_server::serve::{ServeOptions, start};

/// Keys of one read.
const CHUNK: usize = 500;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nycflights13").join(name)
}

/// The newest row of each key in a file: greatest event time, then created time, then the last.
fn newest(view: &FeatureView, file: &Path) -> Vec<(Vec<KeyValue>, Vec<Value>)> {
    let source = Source::new(file, None, CsvOptions::default()).unwrap();
    let mut reader = source.open().unwrap();
    let mapping = Mapping::resolve(view, reader.columns(), &MappingOptions::default()).unwrap();
    reader.select(&mapping.columns());
    let mut rows = RowReader::new(view, reader.columns(), mapping).unwrap();
    let mut newest = HashMap::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        rows.read(batch.as_ref(), |row| {
            let Ok(row) = row else { return };
            let order = (row.event_time, row.created_time, row.number);
            let place = newest.entry(row.key_bytes).or_insert((order, Vec::new(), Vec::new()));
            if order >= place.0 {
                *place = (order, row.keys, row.values);
            }
        });
    }
    newest.into_values().map(|(_, keys, values)| (keys, values)).collect()
}

/// Compares every key of a view; returns how many there were.
fn compare(client: &Client, view: &FeatureView, file: &Path) -> usize {
    let features: Vec<&str> = view.features.iter().map(|f| f.name.as_str()).collect();
    let wanted = ViewFeatures { project: "nyc", view: &view.name, version: 0, features };
    let plan = client.prepare(&[wanted]).unwrap();
    let expected = newest(view, file);
    // TTL is judged elsewhere; here every row counts, however old.
    let options = ReadOptions { read_time: i64::MIN / 2, ..ReadOptions::default() };
    for chunk in expected.chunks(CHUNK) {
        let mut keys = plan.keys(0).unwrap();
        for (key, _) in chunk {
            keys.push(key).unwrap();
        }
        let answer = client.read(&plan, &[&keys], &options).unwrap();
        for (row, (key, values)) in chunk.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let status = answer.status(0, row, column);
                let got = answer.value(0, row, column).unwrap();
                let is_null = *value == Value::Null;
                let wanted = if is_null { CellStatus::NullValue } else { CellStatus::Present };
                assert_eq!(status, wanted, "{} {key:?} column {column}", view.name);
                assert!(got.same_bits(value), "{} {key:?}: {got:?} != {value:?}", view.name);
            }
        }
    }
    expected.len()
}

#[test]
fn every_row_of_the_quickstart_reads_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let quickstart = Command::new(env!("CARGO_BIN_EXE_thermae"))
        .args(["quickstart", "--json", "--data"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(quickstart.status.success(), "{}", String::from_utf8_lossy(&quickstart.stderr));
    let running = start(ServeOptions {
        data: dir.path().to_path_buf(),
        listen: Some("127.0.0.1:0".to_owned()),
        unix: None,
        http: None,
        cores: 2,
        memory_bytes: 256 << 20,
        ..ServeOptions::default()
    })
    .unwrap();
    let address = Address::Tcp(running.tcp_addr().unwrap().to_string());
    let client = Client::connect(&address, Config::default()).unwrap();
    let defined = definitions::read_file(&example("features.toml")).unwrap();
    for (name, file, keys) in [
        ("weather_by_origin", "weather.parquet", 3),
        ("flights_by_tailnum", "flights.parquet", 3_832),
        ("route_last_flight", "flights.parquet", 218),
        ("carrier_daily", "carrier_daily.parquet", 16),
        ("dest_daily", "dest_daily.parquet", 105),
        ("planes", "planes.parquet", 3_322),
    ] {
        let view = defined.views().find(|view| view.name == name).unwrap();
        assert_eq!(compare(&client, view, &example("data").join(file)), keys, "{name}");
    }
    running.stop().unwrap();
}
