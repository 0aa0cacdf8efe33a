//! `bench recovery`: from a kill -9, or a planned stop, to the first answer of the next server, over
//! many GB of rows.

mod report;
pub mod wide;

use crate::files::{Output, in_folder};
use crate::machine::Machine;
use crate::ours::{self, Server};
use anyhow::{Context, ensure};
use report::{Opened, Report};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows written before each stop, so that there is something to replay.
const ROWS_BEFORE_STOP: u64 = 40_000;

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Bytes of values to load, in GB
    #[arg(long, default_value_t = 10.0)]
    gigabytes: f64,
    /// Memory of the server
    #[arg(long, default_value = "2GiB")]
    memory: String,
    /// Stops of each kind
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Below which directory, on a real disk, the store lies [default: target/bench-data]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs everything, prints the table, writes the files.
///
/// # Errors
/// The server broke or answered wrongly: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let below = options.folder.as_deref();
    let report = in_folder(below, "recovery", |folder| measure(options, folder))?;
    let (json, markdown) = ("benchmarks/recovery.json", "benchmarks/recovery.md");
    options.output.publish(&report, json, &report.markdown(), markdown)
}

fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let (gigabytes, memory, rounds) = match options.output.small {
        true => (0.02, "64MiB", 1),
        false => (options.gigabytes, options.memory.as_str(), options.rounds),
    };
    let (machine, binary) = (Machine::here(), ours::binary()?);
    let mut rows = (gigabytes * 1e9) as u64 / wide::VALUE_BYTES as u64;
    let mut server = Server::start_anywhere(&binary, folder, memory)?;
    server.define(&wide::definition())?;
    let started = Instant::now();
    wide::write(&server, 0..rows)?;
    let load_s = started.elapsed().as_secs_f64();
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for planned in [false, true] {
            wide::write(&server, rows..rows + ROWS_BEFORE_STOP)?;
            rows += ROWS_BEFORE_STOP;
            let stopping = Instant::now();
            if planned {
                server.stop()?;
            } else {
                drop(server);
            }
            let stop_s = stopping.elapsed().as_secs_f64();
            let opened;
            (server, opened) = open(&binary, folder, memory, rows, stop_s)?;
            if planned { stopped.push(opened) } else { killed.push(opened) }
        }
    }
    let tiers = server.tiers()?;
    let bytes = tiers.pointer("/latest/bytes").and_then(serde_json::Value::as_u64);
    let checked = wide::check(&server, rows, rows / 1000 + 1)?;
    Ok(Report {
        command: "cargo xtask bench recovery".into(),
        machine,
        memory: memory.to_owned(),
        rows,
        value_bytes: wide::VALUE_BYTES,
        table_bytes: bytes.context("no bytes of tables in the figures")?,
        load_s,
        checked,
        killed,
        stopped,
    })
}

/// Starts a server over `folder` and asks it for its newest row until it answers.
fn open(
    binary: &Path,
    folder: &Path,
    memory: &str,
    rows: u64,
    stop_s: f64,
) -> anyhow::Result<(Server, Opened)> {
    let started = Instant::now();
    let server = Server::start_anywhere(binary, folder, memory)?;
    let listening_s = started.elapsed().as_secs_f64();
    ensure!(wide::check(&server, rows, rows)? == 1, "the newest row was not asked for");
    let first_read_s = started.elapsed().as_secs_f64();
    let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let replay = log.lines().find_map(|line| line.trim().strip_prefix("replay"));
    let replayed = replay.unwrap_or_default().split_whitespace().next();
    let records = replayed.and_then(|word| word.parse().ok()).unwrap_or_default();
    // Its tables are looked through for a moment, as they would be before the next stop.
    std::thread::sleep(Duration::from_millis(200));
    Ok((server, Opened { stop_s, listening_s, first_read_s, records }))
}
