//! Mapped readers in processes of their own against a server that is written to, grows, and is
//! restarted and killed. Rows describe themselves: a torn, foreign or stale one shows.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use thermae_client::{
    Address, CellStatus, Client, Config, Mapped, MappedAnswer, ReadOptions, ViewFeatures,
    WriteBatch,
};
use thermae_formats::row_value::decode_value;
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value, ValueType,
};

use crate::model::Rng;
use crate::server_process::Server;

/// Entities at the end; writers begin with few, so that the table grows under the readers.
const ENTITIES: u64 = 40_000;
/// Rows a batch.
const BATCH_ROWS: u64 = 200;
/// Keys of one mapped read.
const READ_KEYS: usize = 100;
/// Event times count up from here, microseconds UTC.
const BASE_US: i64 = 1_700_000_000_000_000;
/// The view's features.
const FEATURES: [&str; 3] = ["number", "owner", "text"];

/// What one reader process saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Rows compared.
    pub rows: u64,
    /// Of them, read from the maps.
    pub hits: u64,
    /// Times that the tables were mapped anew.
    pub remaps: u64,
    /// Reads that failed while no server was there.
    pub failures: u64,
}

/// Runs the server, two reader processes of `reader` (which calls [`read_for`]) and a writer.
/// Returns the restarts; an error is a broken promise.
pub fn stress(binary: &Path, reader: &Path, dir: &Path, seconds: u64) -> Result<u64, String> {
    let mut rng = Rng::new(seconds);
    let mut server = Server::start(binary, dir, 2)?;
    let mut client = server.connect()?;
    let view = view().to_json().map_err(text)?;
    client.apply(&format!("{{\"views\":[{}]}}", String::from_utf8_lossy(&view))).map_err(text)?;
    let mut readers: Vec<Child> = (0..2)
        .map(|seed| {
            Command::new(reader)
                .arg("--reader")
                .arg(server.socket())
                .args([seconds.to_string(), seed.to_string()])
                .stdin(Stdio::null())
                .spawn()
                .map_err(text)
        })
        .collect::<Result<_, _>>()?;
    let started = Instant::now();
    let (mut number, mut restarts) = (0, 0);
    while started.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..20 + rng.below(200) {
            let share = 1 + ENTITIES * started.elapsed().as_secs() / seconds;
            write(&client, &mut rng, &mut number, share.min(ENTITIES))?;
        }
        drop(client);
        if rng.one_in(2) {
            server.kill()?
        } else {
            server.stop()?
        }
        restarts += 1;
        server = Server::start(binary, dir, 1 + rng.below(2) as usize)?;
        client = server.connect()?;
    }
    for reader in &mut readers {
        let status = reader.wait().map_err(text)?;
        if !status.success() {
            return Err(format!("a reader ended with {status}"));
        }
    }
    Ok(restarts)
}

fn write(client: &Client, rng: &mut Rng, number: &mut u64, entities: u64) -> Result<(), String> {
    let handle = client.view("test", "stress").map_err(text)?;
    let mut batch = WriteBatch::put(&handle);
    for _ in 0..BATCH_ROWS {
        *number += 1;
        let entity = rng.below(entities);
        let key = [KeyValue::Int(entity as i64)];
        let values = [
            Value::Int64(*number as i64),
            Value::Int64(entity as i64),
            Value::String(describe(entity, *number)),
        ];
        batch.push(&key, BASE_US + *number as i64, NO_TIME, &values).map_err(text)?;
    }
    let written = client.write(&mut batch).map_err(text)?;
    if written.all_ok() { Ok(()) } else { Err(written.message) }
}

/// A text of a length that depends on the write, so that rows change their size class.
fn describe(entity: u64, number: u64) -> String {
    format!("{entity} was written by {number} {}", "x".repeat((number % 97) as usize))
}

/// A reader process: reads until the time is over, and fails on the first wrong row.
pub fn read_for(socket: &Path, seconds: u64, seed: u64) -> Result<Seen, String> {
    let client =
        Client::connect(&Address::Unix(socket.to_owned()), Config::default()).map_err(text)?;
    let features = FEATURES.to_vec();
    let wanted = ViewFeatures { project: "test", view: "stress", version: 0, features };
    let plan = client.prepare(&[wanted]).map_err(text)?;
    let mut mapped = Mapped::open(&client, "test").map_err(text)?;
    let mut mapped_plan = mapped.plan(&plan).map_err(text)?;
    let types: Vec<ValueType> =
        plan.columns(0).iter().map(|column| column.value_type.clone()).collect();
    let (mut rng, mut seen, mut newest) = (Rng::new(seed), Seen::default(), HashMap::new());
    let mut answer = MappedAnswer::new();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        let mut keys = plan.keys(0).map_err(text)?;
        let entities: Vec<u64> = (0..READ_KEYS).map(|_| rng.below(ENTITIES)).collect();
        for &entity in &entities {
            keys.push_i64(entity as i64).map_err(text)?;
        }
        let options = ReadOptions::default();
        if mapped.get_many(&mut mapped_plan, 0, &keys, &options, &mut answer).is_err() {
            // Between two servers nobody can answer for what the map does not hold.
            seen.failures += 1;
            continue;
        }
        for (row, &entity) in entities.iter().enumerate() {
            check_row(&answer, &types, row, entity, &mut newest)?;
            seen.rows += 1;
        }
    }
    (seen.hits, seen.remaps) = (mapped.stats().hits, mapped.stats().remaps);
    Ok(seen)
}

fn check_row(
    answer: &MappedAnswer,
    types: &[ValueType],
    row: usize,
    entity: u64,
    newest: &mut HashMap<u64, i64>,
) -> Result<(), String> {
    let view = answer.view().ok_or("no answer")?;
    let last = newest.get(&entity).copied().unwrap_or(0);
    match view.cell(row, 0) {
        CellStatus::NotFound if last == 0 => return Ok(()),
        CellStatus::Present => {}
        other => return Err(format!("entity {entity}, last seen at {last}: {other:?}")),
    }
    let value = |column: usize| {
        let bytes = view.column(column).and_then(|values| values.value(row)).ok_or("no value")?;
        decode_value(&types[column], bytes).map_err(|e| e.reason.to_owned())
    };
    let (Value::Int64(number), Value::Int64(owner)) = (value(0)?, value(1)?) else {
        return Err(format!("entity {entity}: not the types that were written"));
    };
    if owner as u64 != entity || value(2)? != Value::String(describe(entity, number as u64)) {
        return Err(format!("entity {entity}: a foreign or torn row of {owner}, write {number}"));
    }
    if number < last {
        return Err(format!("entity {entity}: write {number} after {last} had been seen"));
    }
    newest.insert(entity, number);
    Ok(())
}

fn view() -> FeatureView {
    let features = vec![
        Feature::new(FEATURES[0], Scalar::Int64),
        Feature::new(FEATURES[1], Scalar::Int64),
        Feature::new(FEATURES[2], Scalar::String),
    ];
    FeatureView::new("test", "stress", vec![JoinKey::new("entity", KeyType::Int64)], features)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
