//! The quickstart's training read: weather and past delays joined onto flights at their scheduled time.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use serde_json::{Value as Json, json};
use thermae_client::Client;
use thermae_formats::{Value, ValueType};

use super::args::{Cli, Command, HistoryArgs};
use super::exit::Failure;
use super::history::{self, Report};
use super::history_plan::plan;
use crate::export::value_type;
use crate::ingest::cell::{Cell, Reader};
use crate::ingest::coerce::{self, Allow};
use crate::ingest::csv::CsvOptions;
use crate::ingest::{Column, Source};
use crate::table::{Table, thousands};

/// What is joined, as it is typed.
const VIEWS: [&str; 3] = [
    "nyc/weather_by_origin:temp,wind_speed,visib",
    "nyc/route_last_flight:dep_delay,arr_delay",
    "nyc/carrier_daily:late_share",
];
/// The spine's columns that are shown of a row.
const SHOWN: [&str; 4] = ["origin", "dest", "carrier", "sched_dep"];

/// A training read, and one of its rows.
pub struct Trained {
    command: String,
    file: PathBuf,
    report: Report,
    seconds: f64,
    /// The row's number, from 1.
    row: u64,
    /// Its columns' names and values.
    values: Vec<(String, Value)>,
}

/// Joins the features onto all flights; the answer goes to `out`.
///
/// # Errors
/// A [`Failure`] of the training read.
pub fn train(client: &Client, spine: &Path, out: &Path) -> Result<Trained, Failure> {
    let mut typed = vec!["thermae".to_owned(), "history".to_owned()];
    typed.extend(VIEWS.map(str::to_owned));
    let rest = ["--full-names", "--event-time", "sched_dep", "--spine"];
    typed.extend(rest.map(str::to_owned));
    typed.extend([spine, out].map(|path| path.display().to_string()));
    typed.insert(typed.len() - 1, "--out".to_owned());
    let command = typed.join(" ");
    let args = parse(typed)?;
    let started = Instant::now();
    let csv = CsvOptions::default();
    let source = Source::new(spine, None, csv.clone()).map_err(Failure::of)?;
    let report = history::join(client, source, &plan(client, &args)?, &args)?;
    let seconds = started.elapsed().as_secs_f64();
    let (row, values) = first_whole_row(&Source::new(out, None, csv).map_err(Failure::of)?)?;
    Ok(Trained { command, file: out.to_owned(), report, seconds, row, values })
}

fn parse(typed: Vec<String>) -> Result<HistoryArgs, Failure> {
    let cli = Cli::try_parse_from(typed).map_err(|e| Failure::Usage(e.to_string()))?;
    match cli.command {
        Command::History(args) => Ok(args),
        _ => Err(Failure::Usage("the quickstart's command is another one".to_owned())),
    }
}

/// The first row of a file whose features are all there.
fn first_whole_row(file: &Source) -> Result<(u64, Vec<(String, Value)>), Failure> {
    let mut reader = file.open().map_err(Failure::of)?;
    let columns = reader.columns().to_vec();
    let is_shown =
        |column: &&Column| SHOWN.contains(&column.name.as_str()) || column.name.contains("__");
    let mut number = 0;
    while let Some(batch) = reader.next_batch().map_err(Failure::of)? {
        for row in 0..batch.rows() {
            number += 1;
            let places = columns.iter().enumerate().filter(|(_, column)| is_shown(column));
            let values = places
                .map(|(at, column)| (column.name.clone(), value(column, &batch.cell(at, row))));
            let values: Vec<_> = values.collect();
            if values.iter().all(|(_, value)| *value != Value::Null) {
                return Ok((number, values));
            }
        }
    }
    Err(Failure::Failed(format!("{} has no row with all features", file.path.display())))
}

fn value(column: &Column, cell: &Cell<'_>) -> Value {
    let wanted = column.data_type.as_ref().and_then(|data_type| {
        value_type(&arrow_schema::Field::new(&column.name, data_type.clone(), true))
    });
    let read = |wanted: ValueType| coerce::value(cell, &wanted, Allow::default()).ok();
    wanted.and_then(read).unwrap_or(Value::Null)
}

impl Trained {
    /// The step as text.
    pub fn text(&self) -> String {
        let Self { command, file, report, seconds, row, values } = self;
        let names = ["column".to_owned(), format!("row {row}")];
        let mut table = Table::new(names);
        for (name, value) in values {
            table.row([name.clone(), value.to_string()]);
        }
        let time = values.iter().find(|(name, _)| name == "sched_dep");
        let time = time.map(|(_, value)| value.to_string()).unwrap_or_default();
        format!(
            "5. Training data: features of all flights as they were known when each was due to leave:\n   $ {command}\n   \
             {} rows with their features to {} in {seconds:.1} s. One of them, as of {time}:\n{}",
            thousands(report.rows),
            file.display(),
            table.for_stdout()
        )
        .trim_end()
        .to_owned()
    }

    /// The step as a document.
    pub fn json(&self) -> Json {
        let row: serde_json::Map<String, Json> =
            self.values.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        json!({"command": self.command, "file": self.file.display().to_string(),
            "rows": self.report.rows, "seconds": self.seconds, "row_number": self.row, "row": row})
    }
}
