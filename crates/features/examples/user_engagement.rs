//! A user_engagement view whose rows are checked when they are written: null rate, range, set and regex; what fails
//! is kept aside with its reasons. Then what is computed when rows are written, when they are read, and for training.
//!
//! `cargo run -p thermae-features --example user_engagement`

use std::error::Error;
use std::io::{StdoutLock, Write, stdout};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use serde_json::Value as Json;
use thermae_engine::store::Row;
use thermae_engine::training::{MemorySpine, Progress};
use thermae_engine::{Outcome, Refusal, Scan, ScanOptions};
use thermae_features::FeatureStore;
use thermae_features::store::{Ask, EntityRows, HistoricalOptions, PushOptions};
use thermae_formats::time::parse_timestamp_us;
use thermae_formats::{KeyValue, Value, ValueType};

const DEFINITIONS: &str = include_str!("../../../examples/user_engagement/features.toml");
const EVENTS: &str = include_str!("../../../examples/user_engagement/events.ndjson");
const VIEW: &str = "user_engagement";

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = stdout().lock();
    let data = tempfile::tempdir()?;
    let store = FeatureStore::open(data.path())?;
    let applied = store.apply_toml(DEFINITIONS)?;
    for change in &applied.changes {
        writeln!(out, "+ {}", change.object)?;
    }
    let rows = read_rows(&store)?;
    let outcomes = store.push(VIEW, &rows, &PushOptions::default())?;
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    writeln!(
        out,
        "\n{} rows: {} written, {} in quarantine, {} refused",
        rows.len(),
        count(|outcome| matches!(outcome, Outcome::Ok { .. })),
        count(|outcome| matches!(outcome, Outcome::NotApplied(Refusal::Quarantined { .. }))),
        count(|outcome| matches!(outcome, Outcome::NotApplied(Refusal::FailsCheck { .. }))),
    )?;
    let snapshot = store.handle().snapshot()?;
    let kept = Scan::open(&snapshot, "user_engagement__quarantine", &[], &ScanOptions::default())?;
    for row in kept {
        let row = row?;
        let reasons =
            row.values.and_then(|values| values.into_iter().next()).unwrap_or(Value::Null);
        writeln!(out, "  user {:?}: {}", row.key, reasons.to_json())?;
    }
    // Figures are at most 100 ms old.
    let health = loop {
        let health = store.health().into_iter().find(|health| health.name == VIEW);
        let health = health.ok_or("the view is not there")?;
        if health.newest_event_time.is_some() {
            break health;
        }
        std::thread::yield_now();
    };
    writeln!(out, "\nhealth: {}", serde_json::to_string_pretty(&health)?)?;
    serve_and_train(&store, &mut out)?;
    store.close()?;
    Ok(())
}

/// The same service, served and trained on: the same values.
fn serve_and_train(store: &FeatureStore, out: &mut StdoutLock<'_>) -> Result<(), Box<dyn Error>> {
    let at = parse_timestamp_us("2026-11-25T00:00:00Z")?;
    let (ids, today) = ([1, 2, 6], [30.0, 0.0, 12.5]);
    let users = EntityRows::new()
        .with("user_id", ids.map(KeyValue::Int).to_vec())
        .with_request("minutes_today", today.map(Value::Float64).to_vec());
    let ask = Ask::service("churn").at(at);
    writeln!(out, "\nserved to a model:")?;
    for column in store.get_online_features(&ask, &users)?.columns {
        let values: Vec<Json> = column.values.iter().map(Value::to_json).collect();
        writeln!(out, "  {}: {}", column.name, Json::from(values))?;
    }
    let spine = RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
        ("minutes_today", Arc::new(Float64Array::from(today.to_vec())) as ArrayRef),
        ("event_timestamp", Arc::new(TimestampMicrosecondArray::from(vec![at; 3])) as ArrayRef),
    ])?;
    let spine = MemorySpine::new(spine.schema(), vec![spine])?;
    let progress = Progress::new();
    let options = HistoricalOptions::default();
    let answer = store.get_historical_features(&ask, &options, &spine, &progress)?;
    writeln!(out, "\ntrained on:")?;
    for batch in answer.rows {
        let batch = batch?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()).skip(3) {
            writeln!(out, "  {}: {column:?}", field.name())?;
        }
    }
    Ok(())
}

/// The rows of the file, as the view has them.
fn read_rows(store: &FeatureStore) -> Result<Vec<Row>, Box<dyn Error>> {
    let catalogue = store.handle().catalogue();
    let view = &catalogue.resolve(VIEW)?.latest.definition;
    let mut rows = Vec::new();
    for line in EVENTS.lines() {
        let row: Json = serde_json::from_str(line)?;
        let user = row["user_id"].as_i64().ok_or("a row without user")?;
        let at = parse_timestamp_us(row["at"].as_str().ok_or("a row without time")?)?;
        let value = |name: &str, value_type: &ValueType| Value::from_json(value_type, &row[name]);
        let values = view.features.iter().map(|one| value(&one.name, &one.value_type));
        rows.push(Row::new([KeyValue::Int(user)], at, values.collect::<Result<Vec<_>, _>>()?));
    }
    Ok(rows)
}
