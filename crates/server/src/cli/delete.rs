//! `thermae delete`: tombstones for some entities.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use thermae_client::WriteBatch;
use thermae_formats::time::{format_timestamp_us, parse_timestamp_us};
use thermae_formats::wire::RowOutcome;

use super::args::{DeleteArgs, Global};
use super::connect::{connect, failed, find_view};
use super::exit::{Done, Failure};
use super::keys;

/// Runs the command.
pub fn run(args: &DeleteArgs, global: &Global) -> Result<Done, Failure> {
    let event_time = match &args.event_time {
        Some(text) => {
            parse_timestamp_us(text).map_err(|e| Failure::Usage(format!("--event-time: {e}")))?
        }
        None => now_us(),
    };
    let client = connect(global)?;
    let view = find_view(&client, &args.view)?.definition;
    let rows = keys::from_arguments(&args.key, &view.join_keys)?;
    let handle = client.view_version(&view.project, &view.name, view.version).map_err(failed)?;
    let mut batch = WriteBatch::delete(&handle);
    for row in &rows {
        let key = keys::of_view(row, view.join_keys.iter().map(|k| &k.name));
        batch.push_key(&key, event_time).map_err(failed)?;
    }
    let written = client.write(&mut batch).map_err(failed)?;
    let refused = written.outcomes.iter().filter(|o| !matches!(o, RowOutcome::Ok { .. })).count();
    if global.json {
        let outcomes: Vec<String> = written.outcomes.iter().map(outcome_name).collect();
        println!(
            "{}",
            json!({
                "view": format!("{}/{}", view.project, view.name),
                "version": view.version,
                "event_time": format_timestamp_us(event_time),
                "outcomes": outcomes,
            })
        );
    } else if refused == 0 {
        let what = if rows.len() == 1 {
            "1 entity".to_owned()
        } else {
            format!("{} entities", rows.len())
        };
        println!("deleted {what} of {}, as of {}", view.name, format_timestamp_us(event_time));
    }
    if refused > 0 {
        return Err(Failure::Failed(format!(
            "{refused} of {} deletes failed: {}",
            rows.len(),
            written.message
        )));
    }
    Ok(Done::All)
}

fn outcome_name(outcome: &RowOutcome) -> String {
    match outcome {
        RowOutcome::Ok { .. } => "Ok".to_owned(),
        RowOutcome::NotApplied(reason) => reason.to_string(),
        RowOutcome::Overloaded { .. } => "Overloaded".to_owned(),
        // Deletes are not checked.
        RowOutcome::FailsCheck { .. } => "FailsCheck".to_owned(),
        RowOutcome::Quarantined { .. } => "Quarantined".to_owned(),
        RowOutcome::InDoubt => "InDoubt".to_owned(),
    }
}

/// The wall clock in microseconds.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
