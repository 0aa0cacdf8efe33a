//! `thermae export`: the history of a view to a file.

use std::time::Instant;

use serde_json::json;
use thermae_client::{Client, Plan, ScanOptions};
use thermae_formats::KeyValue;
use thermae_formats::time::parse_timestamp_us;

use super::args::{ExportArgs, Global};
use super::connect::{connect, describe, failed, patiently};
use super::exit::{Done, Failure};
use super::{get, keys};
use crate::export::Export;
use crate::progress::{Progress, Unit};
use crate::table::thousands;

/// Runs the command.
pub fn run(args: &ExportArgs, global: &Global) -> Result<Done, Failure> {
    let from = time("--from", args.from.as_deref(), i64::MIN)?;
    let to = time("--to", args.to.as_deref(), i64::MAX)?;
    if from > to {
        return Err(Failure::Usage("--from lies behind --to: there is nothing between".to_owned()));
    }
    let client = connect(global)?;
    let views = std::slice::from_ref(&args.view);
    let asked = get::resolve(describe(&client)?, views)?;
    let Some(one) = asked.first() else { return Err(Failure::Failed("no view".to_owned())) };
    let needed = keys::needed(std::iter::once(&one.view))?;
    let names = one.view.join_keys.iter().map(|key| &key.name);
    let rows = keys::from_arguments(&args.key, &needed)?;
    let chosen = rows.iter().map(|row| keys::of_view(row, names.clone()));
    let plan = get::prepare(&client, &asked)?;
    let options = ScanOptions {
        event_times: from..=to,
        tombstones: args.deletions,
        ..ScanOptions::default()
    };
    let started = Instant::now();
    let mut file = Export::create(&args.out, &plan).map_err(Failure::of)?;
    {
        let bar = Progress::new(&one.view.name, None, Unit::Rows);
        if args.key.is_empty() {
            scan(&client, &plan, &options, None, &mut file, &bar)?;
        }
        for key in chosen {
            scan(&client, &plan, &options, Some(key), &mut file, &bar)?;
        }
    }
    let rows = file.rows();
    let bytes = file.finish().map_err(Failure::of)?;
    let seconds = started.elapsed().as_secs_f64();
    let (name, path) = (format!("{}/{}", one.view.project, one.view.name), args.out.display());
    if global.json {
        let (file, version) = (path.to_string(), one.view.version);
        let summary = json!({"view": name, "version": version, "features": one.features,
            "file": file, "rows": rows, "bytes": bytes, "seconds": seconds});
        println!("{summary}");
    } else {
        let (rows, bytes) = (thousands(rows), thousands(bytes));
        println!("exported {rows} rows of {name} to {path}: {bytes} bytes in {seconds:.1} s");
    }
    Ok(Done::All)
}

fn time(option: &str, text: Option<&str>, unsaid: i64) -> Result<i64, Failure> {
    let parse = |text| parse_timestamp_us(text);
    text.map_or(Ok(unsaid), parse).map_err(|e| Failure::Usage(format!("{option}: {e}")))
}

/// Writes all pages of a scan.
fn scan(
    client: &Client,
    plan: &Plan,
    options: &ScanOptions,
    key: Option<Vec<KeyValue>>,
    file: &mut Export,
    bar: &Progress,
) -> Result<(), Failure> {
    let options = ScanOptions { key, ..options.clone() };
    let mut place: Option<Vec<u8>> = None;
    loop {
        let page = patiently(|| client.scan(plan, &options, place.as_deref()))?;
        for row in page.rows() {
            file.push(row.map_err(failed)?).map_err(Failure::of)?;
        }
        bar.at(file.rows());
        match page.place() {
            Some(next) => place = Some(next.to_vec()),
            None => return Ok(()),
        }
    }
}
