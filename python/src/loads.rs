//! Rows of tables into an embedded store.

use thermae_engine::store::Row as StoreRow;
use thermae_engine::{Ack, Outcome};
use thermae_features::FeatureStore;
use thermae_features::store::{LoadReport, PushOptions, RowSource, SourceRow};
use thermae_server::ingest::Row;
use thermae_server::ingest::load::Report;

use crate::errors::{Fault, Result};
use crate::rows::RowStream;

/// Rows pushed together, at most.
const BATCH_ROWS_MAX: usize = 1_000;

/// Writes rows that were judged.
///
/// # Errors
/// Rows that the store refuses; the others are written.
pub fn push(
    store: &FeatureStore,
    view: &str,
    mut rows: RowStream<'_>,
    ack: Ack,
    producer: u64,
) -> Result<Report> {
    let (mut report, mut refused) = (Report::default(), Vec::new());
    while let Some(rows) = rows.next()? {
        for rows in rows.chunks(BATCH_ROWS_MAX) {
            let first = rows.first().map_or(1, |row| row.number);
            let options = PushOptions { ack, producer: (producer, first) };
            let batch: Vec<StoreRow> = rows.iter().cloned().map(store_row).collect();
            for (row, outcome) in (first - 1..).zip(store.push(view, &batch, &options)?) {
                report.rows += 1;
                settle(row, outcome, &mut report, &mut refused)?;
            }
        }
    }
    match refused.first() {
        None => Ok(report),
        Some((row, reason)) => {
            let (count, all) = (refused.len(), report.rows);
            let what = format!("{count} of {all} rows were refused, the others are written");
            Err(Fault::not_applied(format!("{what}: row {row}: {reason}"), refused))
        }
    }
}

fn settle(
    row: u64,
    outcome: Outcome,
    report: &mut Report,
    refused: &mut Vec<(u64, String)>,
) -> Result<()> {
    match outcome {
        Outcome::Ok { duplicate: false, .. } => report.accepted += 1,
        Outcome::Ok { duplicate: true, .. } => report.duplicate += 1,
        Outcome::NotApplied(reason) if reason.is_passing() => {
            return Err(Fault::overloaded(format!(
                "row {row}: {reason}; rows before it are written, push it and those behind it again"
            )));
        }
        Outcome::NotApplied(reason) => refused.push((row, reason.to_string())),
        Outcome::InDoubt => {
            let what = "it is in doubt whether it was written, and rows behind it were not";
            return Err(Fault::in_doubt(format!("row {row}: {what}")));
        }
    }
    Ok(())
}

fn store_row(row: Row) -> StoreRow {
    let Row { keys, values, event_time, created_time, .. } = row;
    StoreRow { key: keys, event_time, created_time, values }
}

/// A table as a source: a row's place in the order of arrival is its place in the table.
pub struct TableSource<'v> {
    /// Names it.
    pub name: String,
    /// Its rows.
    pub rows: RowStream<'v>,
}

impl RowSource for TableSource<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    /// A load asks for rows in their order.
    fn read(
        &mut self,
        after: u64,
    ) -> std::result::Result<Vec<SourceRow>, Box<dyn std::error::Error>> {
        while let Some(rows) = self.rows.next().map_err(|fault| fault.to_string())? {
            let behind = rows.into_iter().filter(|row| row.number > after);
            let source = |row: Row| SourceRow { sequence: row.number, row: store_row(row) };
            let behind: Vec<SourceRow> = behind.map(source).collect();
            if !behind.is_empty() {
                return Ok(behind);
            }
        }
        Ok(Vec::new())
    }
}

/// What a load did, as JSON.
///
/// # Errors
/// Rows that the store refused; the others are written.
pub fn loaded(report: LoadReport) -> Result<serde_json::Value> {
    if let Some((row, reason)) = report.refused.first() {
        let rows = report.refused.iter().map(|(row, why)| (row - 1, why.to_string())).collect();
        let what = format!("{} of {} rows were refused", report.refused.len(), report.rows);
        let what = format!("{what}, the others are written: row {}: {reason}", row - 1);
        return Err(Fault::not_applied(what, rows));
    }
    Ok(serde_json::json!({
        "rows": report.rows,
        "accepted": report.written,
        "duplicate": report.duplicate,
        "outside": report.outside,
        "reached": report.reached,
    }))
}
