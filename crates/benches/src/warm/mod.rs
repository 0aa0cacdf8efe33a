//! `bench warm`: rows on disk, many times what memory holds. Load, every row read back, look-ups beside
//! the device's own random reads, skewed reads.

mod device;
pub mod load;
pub mod reading;
mod report;
pub mod rows;

use crate::files::{Output, in_folder};
use crate::machine::{self, Machine};
use crate::policy::trace::Zipf;
use crate::stats::Spread;
use crate::workload::Dice;
use anyhow::{Context, ensure};
use reading::{Asked, Reading, Round};
use report::{DeviceLine, ReadLine, Report, SETTING};
use rows::Rows;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thermae_engine::{Options as StoreOptions, Store};
use thermae_load::device::{Device, is_in_memory};

/// Keys in flight, and as many reads of the device.
pub const DEPTHS: [usize; 3] = [1, 32, 256];
/// How many hot budgets the data must be, in rows.
const TIMES_HOT: f64 = 10.0;
/// Skewed reads go on until a stretch of them has its share of hot answers grow by less than this.
const SETTLED_SHARE: f64 = 0.005;
/// Such stretches at most.
const FILLS_MAX: u64 = 30;
/// The exponent of the skewed reads.
pub const EXPONENT: f64 = 0.99;

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Rows to load
    #[arg(long, default_value_t = 1_200_000)]
    rows: u64,
    /// Memory of the store, at least 4MiB (its hot table is what queues, memtables and filters leave)
    #[arg(long, default_value = "16MiB", value_parser = memory_bytes)]
    memory: u64,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each figure in each round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Below which directory, on a real disk, the store lies while it is measured [default: target/bench-data]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// `16MiB`, or `1GiB`.
///
/// # Errors
/// It is neither.
pub fn memory_bytes(text: &str) -> Result<u64, String> {
    let number = |suffix| text.strip_suffix(suffix).and_then(|digits| digits.parse::<u64>().ok());
    let mebibytes = number("MiB").or_else(|| number("GiB").map(|gibibytes| gibibytes << 10));
    mebibytes.map(|count| count << 20).ok_or_else(|| format!("{text:?} is not like 16MiB or 1GiB"))
}

/// Runs everything, prints the tables, writes the files.
///
/// # Errors
/// A row was not as written, or the store or the device failed: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let below = options.folder.as_deref();
    let report = in_folder(below, "warm", |folder| measure(options, folder))?;
    let (json, markdown) = ("benchmarks/warm.json", "benchmarks/warm.md");
    options.output.publish(&report, json, &report.markdown(), markdown)
}

fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let is_small = options.output.small;
    ensure!(
        is_small || !is_in_memory(folder),
        "{} is in memory: choose --folder on a disk",
        folder.display()
    );
    let (count, memory_bytes) =
        if is_small { (40_000, 4 << 20) } else { (options.rows, options.memory) };
    let time = Duration::from_secs_f64(if is_small { 0.05 } else { options.seconds });
    let machine = Machine::here();
    // Without polling, so that the processor time of a look-up is that of its work.
    let setting = StoreOptions { memory_bytes, spin_us: 0, ..StoreOptions::default() };
    let store = Store::open_with(folder, setting)?;
    let rows = Rows::define(&store)?;
    eprintln!("loading {count} rows below {}", folder.display());
    let load = load::load(&store, folder, &rows, count)?;
    let times = load.rows_per_hot_row;
    ensure!(is_small || times >= TIMES_HOT, "the data is only {times:.1} hot tables: more --rows");
    let reading = Reading { store: &store, rows: &rows, count };
    eprintln!(
        "loaded, {:.0} rows/s, at rest after {:.1} s; reading back",
        load.rows_per_s, load.settled_s
    );
    let verified = reading.verify(if is_small { 7 } else { 1 })?;
    let peak_resident_bytes = machine::peak_resident_bytes()?;
    eprintln!("{verified} rows are right; measuring look-ups");
    let mut report = Report {
        command: command(options),
        rounds: if is_small { 1 } else { options.rounds },
        seconds: time.as_secs_f64(),
        memory_bytes,
        machine,
        setting: SETTING.into(),
        load,
        verified,
        peak_resident_bytes,
        device: Vec::new(),
        reads: Vec::new(),
        skewed: Vec::new(),
    };
    uniform(&mut report, &reading, Device::of_files(&folder.join("warm"), ".tbl")?, time)?;
    skewed(&mut report, &reading, time)?;
    store.close()?;
    Ok(report)
}

/// What takes these figures again.
fn command(options: &Options) -> String {
    let (rows, mebibytes) = (options.rows, options.memory >> 20);
    format!("cargo xtask bench warm --rows {rows} --memory {mebibytes}MiB")
}

/// The device, hits and misses, interleaved.
fn uniform(
    report: &mut Report,
    reading: &Reading<'_>,
    mut device: Device,
    time: Duration,
) -> anyhow::Result<()> {
    let mut dice = Dice::new(42);
    let mut device_rates = vec![Vec::new(); DEPTHS.len()];
    let mut device_cpu_us = vec![Vec::new(); DEPTHS.len()];
    let mut hits: Vec<Vec<Round>> = vec![Vec::new(); DEPTHS.len()];
    let mut misses: Vec<Vec<Round>> = vec![Vec::new(); DEPTHS.len()];
    for round in 0..report.rounds {
        for at in 0..DEPTHS.len() {
            let (rate, cpu_us) = device::rate(&mut device, &mut dice, DEPTHS[at], time)?;
            device_rates[at].push(rate);
            device_cpu_us[at].push(cpu_us);
            let seed = (round * DEPTHS.len() + at) as u64;
            hits[at].push(reading.round(&Asked::Uniform, DEPTHS[at], time, seed)?);
            misses[at].push(reading.round(&Asked::Missing, DEPTHS[at], time, seed)?);
        }
    }
    for ((depth, rates), cpu_us) in DEPTHS.iter().zip(&device_rates).zip(&device_cpu_us) {
        let reads_per_s = Spread::of(rates.iter().copied()).context("no rounds")?;
        let cpu_us = Spread::of(cpu_us.iter().copied()).context("no rounds")?;
        let rounds = rates.clone();
        report.device.push(DeviceLine { depth: *depth, rounds, reads_per_s, cpu_us });
    }
    for (what, found) in [("hit", hits), ("miss", misses)] {
        for (at, rounds) in found.into_iter().enumerate() {
            let line = ReadLine::of(what, DEPTHS[at], rounds, Some(&device_rates[at]));
            report.reads.push(line.context("no rounds")?);
        }
    }
    Ok(())
}

/// Skewed reads, once the hot table has had so many of them that its share hardly grows any more.
fn skewed(report: &mut Report, reading: &Reading<'_>, time: Duration) -> anyhow::Result<()> {
    let zipf = Zipf::new(u32::try_from(reading.count)?, EXPONENT);
    let asked = Asked::Skewed(&zipf);
    let mut share = 0.0;
    for fill in 0..FILLS_MAX {
        let before =
            std::mem::replace(&mut share, reading.round(&asked, 32, time * 3, fill)?.hot_share);
        if share - before < SETTLED_SHARE {
            break;
        }
    }
    let rounds =
        (0..report.rounds).map(|round| reading.round(&asked, 32, time, FILLS_MAX + round as u64));
    let rounds = rounds.collect::<anyhow::Result<Vec<_>>>()?;
    report.skewed.push(ReadLine::of("zipf 0.99", 32, rounds, None).context("no rounds")?);
    Ok(())
}
