//! `thermae backfill`: history. The load is that of `thermae ingest`, row for row; what is told differs.
//!
//! The ordering rule makes one load do for both: a row becomes the online value of its entity only if nothing
//! newer, by event time, is there.

use std::time::Duration;

use serde_json::Value as Json;
use thermae_client::Client;

use super::args::{Global, IngestArgs};
use super::connect::{connect, failed};
use super::exit::{Done, Failure};
use super::ingest::{self, Said};
use crate::table::thousands;

/// How long figures of a shard may be behind, and a little.
const FIGURES_BEHIND: Duration = Duration::from_millis(150);

/// Runs the command.
pub fn run(args: &IngestArgs, global: &Global) -> Result<Done, Failure> {
    let client = connect(global)?;
    let before = late_rows(&client)?;
    ingest::load_and_say(&client, args, global, |_| {
        std::thread::sleep(FIGURES_BEHIND);
        let late = late_rows(&client)?.saturating_sub(before);
        Ok(Said {
            field: Some(("late", Json::from(late))),
            text: format!(
                "{} rows were written that are older than the online value of their entity: they are history, and \
                 what is served stayed as it was\n",
                thousands(late)
            ),
        })
    })
}

/// Rows that the server took behind newer ones since it started, of all views and writers.
fn late_rows(client: &Client) -> Result<u64, Failure> {
    let text = client.stats().map_err(failed)?;
    let stats: Json = serde_json::from_str(&text)
        .map_err(|e| Failure::Failed(format!("the server's figures cannot be read: {e}")))?;
    let shards = stats["engine"]["shards"].as_array().into_iter().flatten();
    Ok(shards.filter_map(|shard| shard["rows_late"].as_u64()).sum())
}
