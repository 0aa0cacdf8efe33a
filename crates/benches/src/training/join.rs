//! Our training read, in a process of its own.

use super::load::{MEMORY_BYTES, VIEW};
use super::parquet::SpineFile;
use super::{Joined, archive};
use crate::machine::peak_resident_bytes;
use crate::workload::FEATURES;
use anyhow::{Context, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use thermae_engine::training::{Progress, Request, ViewJoin};
use thermae_engine::{Options as StoreOptions, Store};

/// What to join.
#[derive(clap::Args)]
pub struct Options {
    /// The store's directory
    #[arg(long)]
    store: PathBuf,
    /// Its archive, if it has one
    #[arg(long)]
    archive: Option<PathBuf>,
    /// The spine's file
    #[arg(long)]
    spine: PathBuf,
    /// Helper threads
    #[arg(long)]
    threads: usize,
    /// Memory of the read in MiB
    #[arg(long)]
    budget_mib: usize,
    /// Write what was found here
    #[arg(long)]
    answer: Option<PathBuf>,
}

/// Joins, and prints one line of JSON.
///
/// # Errors
/// The store or the read failed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let general = match &options.archive {
        Some(archive) => archive::options(archive)?,
        None => StoreOptions { memory_bytes: MEMORY_BYTES, spin_us: 0, ..StoreOptions::default() },
    };
    let store = Store::open_with(
        &options.store,
        StoreOptions {
            training_bytes: options.budget_mib << 20,
            training_threads: options.threads,
            ..general
        },
    )?;
    while options.archive.is_some() && !store.handle().is_archive_attached() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let spine = SpineFile::open(options.spine.clone())?;
    let file = options.answer.as_ref().map(File::create).transpose()?;
    let mut file = file.map(BufWriter::new);
    let progress = Progress::new();
    let joins = vec![ViewJoin::new(VIEW)];
    let request = Request { time_column: "at".into(), joins, ..Request::default() };
    let started = Instant::now();
    let mut joined = Joined { version: env!("CARGO_PKG_VERSION").into(), ..Joined::default() };
    let mut answer = store.history(&request, &spine, &progress)?;
    joined.joined_s = started.elapsed().as_secs_f64();
    // All of it is held at the end, as the peers' answers are.
    let mut batches = Vec::new();
    while let Some(batch) = answer.next_batch()? {
        batches.push(batch);
    }
    joined.seconds = started.elapsed().as_secs_f64();
    joined.peak_bytes = peak_resident_bytes()?;
    for batch in &batches {
        let first = batch.column_by_name("f0").context("an answer without features")?;
        joined.found += (batch.num_rows() - first.null_count()) as u64;
        if let Some(file) = &mut file {
            keep(batch, joined.rows, file)?;
        }
        joined.rows += batch.num_rows() as u64;
    }
    println!("{}", serde_json::to_string(&joined)?);
    store.close()?;
    Ok(())
}

/// Writes a batch of the answer whose first row is `first`.
fn keep(batch: &RecordBatch, first: u64, file: &mut impl Write) -> anyhow::Result<()> {
    let numbers = batch.column(0).as_primitive::<Int64Type>();
    let features = &batch.columns()[3..];
    ensure!(features.len() == FEATURES, "an answer of {} features", features.len());
    for row in 0..batch.num_rows() {
        let number = first + row as u64;
        ensure!(numbers.value(row) as u64 == number, "row {number} is not in its place");
        for feature in features {
            let feature = feature.as_primitive::<Float32Type>();
            let value = if feature.is_null(row) { f32::NAN } else { feature.value(row) };
            file.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(())
}
