//! `thermae quarantine`: rows that failed checks, with the reasons, a JSON document a line.

use std::io::{BufWriter, Write, stdout};

use serde_json::{Map, Value as Json, json};
use thermae_client::{ScanOptions, ScannedRow};
use thermae_features::model::QUARANTINE_FEATURES;
use thermae_formats::time::format_timestamp_us;
use thermae_formats::{FeatureView, KeyValue, NO_TIME, Value};

use super::args::{Global, QuarantineArgs};
use super::connect::{choose, connect, describe, failed, patiently, quarantine_of};
use super::exit::{Done, Failure};
use super::view_ref::{ViewFeaturesRef, ViewRef};
use super::{get, keys};

/// Runs the command.
pub fn run(args: &QuarantineArgs, global: &Global) -> Result<Done, Failure> {
    let client = connect(global)?;
    let views = describe(&client)?;
    let of = choose(views.clone(), &args.view)?.definition;
    let Some(view) = quarantine_of(&views, &of) else {
        return Err(Failure::Failed(format!(
            "{}@{} has no quarantine: none of its checks says on_failure = \"quarantine\"",
            of.name, of.version
        )));
    };
    let (project, name) = (Some(view.project.clone()), view.name.clone());
    let view = ViewRef { project, name, version: Some(view.version) };
    let asked = get::resolve(views, &[ViewFeaturesRef { view, features: Vec::new() }])?;
    let Some(one) = asked.first() else { return Err(Failure::Failed("no view".to_owned())) };
    let rows = keys::from_arguments(&args.key, &one.view.join_keys)?;
    let names = one.view.join_keys.iter().map(|key| &key.name);
    let mut keys: Vec<_> = rows.iter().map(|row| Some(keys::of_view(row, names.clone()))).collect();
    if keys.is_empty() {
        keys.push(None);
    }
    let plan = get::prepare(&client, &asked)?;
    let (mut out, mut left) = (BufWriter::new(stdout().lock()), args.limit);
    let wrote = |result: std::io::Result<()>| {
        result.map_err(|e| Failure::Failed(format!("the output cannot be written: {e}")))
    };
    for key in keys {
        let (options, mut place) = (ScanOptions { key, ..ScanOptions::default() }, None::<Vec<u8>>);
        loop {
            let page = patiently(|| client.scan(&plan, &options, place.as_deref()))?;
            for row in page.rows() {
                if left == Some(0) {
                    return wrote(out.flush()).map(|()| Done::All);
                }
                left = left.map(|left| left - 1);
                wrote(writeln!(out, "{}", line(&one.view, &row.map_err(failed)?)))?;
            }
            match page.place() {
                Some(next) => place = Some(next.to_vec()),
                None => break,
            }
        }
    }
    wrote(out.flush()).map(|()| Done::All)
}

/// A row as JSON: its key, why it is here and since when, and what it was.
fn line(view: &FeatureView, row: &ScannedRow) -> Json {
    let key = view.join_keys.iter().zip(&row.key).map(|(key, value)| {
        let value = match value {
            KeyValue::Int(number) => json!(number),
            other => json!(other.to_string()),
        };
        (key.name.clone(), value)
    });
    let key: Map<String, Json> = key.collect();
    let values = row.values.as_deref().unwrap_or_default();
    let own = |at: usize| values.get(at).map_or(Json::Null, Value::to_json);
    let [reasons, event_time, created_time] = [own(0), own(1), own(2)];
    let features = view.features.iter().zip(values).skip(QUARANTINE_FEATURES.len());
    let features: Map<String, Json> =
        features.map(|(feature, value)| (feature.name.clone(), value.to_json())).collect();
    // Rows of a store from before have no created time.
    let at = if row.created_time == NO_TIME { row.event_time } else { row.created_time };
    json!({
        "key": key,
        "reasons": reasons,
        "quarantined_at": format_timestamp_us(at),
        "event_time": event_time,
        "created_time": created_time,
        "row": features,
    })
}
