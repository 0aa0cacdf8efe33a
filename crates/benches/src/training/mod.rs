//! `bench training`: features put onto a spine as they were at its times, beside DuckDB's ASOF JOIN and Polars'
//! join_asof over the same rows. Each runs in a process of its own, whose peak of memory is told.

mod archive;
mod data;
pub mod join;
mod load;
mod parquet;
mod peers;
mod report;

use crate::files::Output;
use crate::machine::Machine;
use crate::stats::Spread;
use anyhow::{Context, bail, ensure};
use data::Sizes;
use report::{Line, Report};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of two answers that are compared at once.
const COMPARED_BYTES: usize = 1 << 20;

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Rows of history
    #[arg(long, default_value_t = 10_000_000)]
    history: u64,
    /// Rows of the spine
    #[arg(long, default_value_t = 1_000_000)]
    spine: u64,
    /// Threads of each
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Memory of our read, in MiB
    #[arg(long, default_value_t = 512)]
    budget_mib: usize,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the data lie; what is there of the same sizes is used again [default: target/bench-data]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Join the same history out of an archive, too
    #[arg(long)]
    archive: bool,
    /// Leave the peers out
    #[arg(long)]
    alone: bool,
}

/// What one process says of its join.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Joined {
    /// From the request to the last row of the answer.
    pub seconds: f64,
    /// Of ours, until the answer could be read.
    #[serde(default)]
    pub joined_s: f64,
    /// Rows of the answer.
    pub rows: u64,
    /// Rows that found a version.
    pub found: u64,
    /// The most memory that the process had.
    pub peak_bytes: u64,
    /// Of whoever joined.
    pub version: String,
}

/// Who joins.
struct Target {
    name: &'static str,
    command: Box<dyn Fn() -> anyhow::Result<Command>>,
    /// Files, and folders of files, that it reads.
    inputs: Vec<PathBuf>,
}

/// Runs everything, prints the table, writes the files.
///
/// # Errors
/// An answer was wrong, or a process failed: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options)?;
    let (json, markdown) = ("benchmarks/training.json", "benchmarks/training.md");
    options.output.publish(&report, json, &report.markdown(), markdown)
}

fn measure(options: &Options) -> anyhow::Result<Report> {
    let sizes = match options.output.small {
        true => Sizes { history: 20_000, spine: 2_000 },
        false => Sizes { history: options.history, spine: options.spine },
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let below = options.folder.clone().unwrap_or_else(|| root.join("target/bench-data"));
    let folder = below.join(format!("training-{}-{}", sizes.history, sizes.spine));
    let load_rows_per_s = prepare(&folder, &sizes)?;
    let machine = Machine::here();
    let archived = options.archive.then(|| prepare_archive(&folder, &sizes)).transpose()?;
    let mut targets = vec![ours("thermae", options, &folder)?];
    if options.archive {
        targets.push(ours(FROM_ARCHIVE, options, &folder)?);
    }
    let mut absent = Vec::new();
    if !options.alone {
        match peers::python() {
            Ok(python) => targets.extend(peers::targets(&python, &folder, options.threads)),
            Err(error) => absent.push(format!("duckdb, polars: {error:#}")),
        }
    }
    absent.iter().for_each(|line| eprintln!("not measured: {line}"));
    let answers = check(&targets, &folder, &sizes)?;
    let rounds = if options.output.small { 1 } else { options.rounds };
    let mut lines: Vec<Line> = answers.iter().map(Line::new).collect();
    for round in 1..=rounds {
        for (target, line) in targets.iter().zip(&mut lines) {
            target.inputs.iter().try_for_each(|input| warm(input))?;
            let joined = target.join(None)?;
            ensure!(
                (joined.rows, joined.found) == (line.rows, line.found),
                "{} answered otherwise in round {round}",
                target.name
            );
            eprintln!("round {round}: {} {:.2} s", target.name, joined.seconds);
            line.add(target.name, &joined);
        }
    }
    let ours: Vec<f64> = lines[0].seconds.clone();
    let peers = lines.iter().filter(|line| !is_ours(&line.name));
    let best = peers.min_by(|a, b| a.median().total_cmp(&b.median()));
    let over_best = best.and_then(|best| Spread::of_ratio(&best.seconds, &ours));
    Ok(Report {
        command: command(options),
        machine,
        rounds,
        threads: options.threads,
        budget_mib: options.budget_mib,
        history: sizes.history,
        spine: sizes.spine,
        keys: sizes.keys(),
        load_memory_mib: load::load_memory_bytes(&sizes) >> 20,
        load_rows_per_s,
        archived,
        lines,
        over_best,
        absent,
    })
}

fn command(options: &Options) -> String {
    let Options { history, spine, threads, budget_mib, .. } = options;
    format!(
        "cargo xtask bench training --history {history} --spine {spine} --threads {threads} --budget-mib {budget_mib}"
    )
}

/// Makes the files and the store unless they are there; rows that were loaded a second, if they were now.
fn prepare(folder: &Path, sizes: &Sizes) -> anyhow::Result<Option<f64>> {
    let done = folder.join("done");
    if done.exists() {
        return Ok(None);
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    eprintln!("writing {} and {} rows as Parquet", sizes.history, sizes.spine);
    parquet::write(folder, sizes)?;
    eprintln!("loading {} rows into a store", sizes.history);
    let rows_per_s = load::load(&folder.join("store"), sizes)?;
    std::fs::write(done, "")?;
    eprintln!("loaded, {rows_per_s:.0} rows/s");
    Ok(Some(rows_per_s))
}

/// Fills the archive unless it is there.
fn prepare_archive(folder: &Path, sizes: &Sizes) -> anyhow::Result<archive::Archived> {
    let (done, store, objects) = archive_paths(folder);
    if let Ok(text) = std::fs::read_to_string(&done) {
        return Ok(serde_json::from_str(&text)?);
    }
    for left in [&store, &objects].into_iter().filter(|left| left.exists()) {
        std::fs::remove_dir_all(left)?;
    }
    eprintln!("archiving {} rows", sizes.history);
    let archived = archive::fill(&folder.join("store"), &store, &objects, sizes)?;
    std::fs::write(done, serde_json::to_string(&archived)?)?;
    eprintln!("archived, {:.0} rows/s", archived.rows_per_s);
    Ok(archived)
}

/// What tells that it is whole, the store, and the archive.
fn archive_paths(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    (folder.join("archived"), folder.join("store-archived"), folder.join("archive"))
}

/// The name of ours where superseded versions lie in an archive alone.
const FROM_ARCHIVE: &str = "thermae (archive)";

fn is_ours(name: &str) -> bool {
    name.starts_with("thermae")
}

fn ours(name: &'static str, options: &Options, folder: &Path) -> anyhow::Result<Target> {
    let program = std::env::current_exe()?;
    let (threads, budget_mib) = (options.threads, options.budget_mib);
    let folder = folder.to_owned();
    let mut inputs = vec![parquet::spine_path(&folder)];
    inputs.extend(match name == FROM_ARCHIVE {
        true => [archive_paths(&folder).1.join("warm"), archive_paths(&folder).2].into(),
        false => vec![folder.join("store/warm")],
    });
    let command = move || {
        let mut command = Command::new(&program);
        command.arg("training-join").arg("--store");
        if name == FROM_ARCHIVE {
            let (_, store, objects) = archive_paths(&folder);
            command.arg(store).arg("--archive").arg(objects);
        } else {
            command.arg(folder.join("store"));
        }
        command.arg("--spine").arg(parquet::spine_path(&folder));
        command.args(["--threads", &threads.to_string()]);
        command.args(["--budget-mib", &budget_mib.to_string()]);
        Ok(command)
    };
    Ok(Target { name, command: Box::new(command), inputs })
}

/// Reads a file, or all files below a folder, into the page cache: what others took meanwhile may have pushed it out.
fn warm(input: &Path) -> anyhow::Result<()> {
    if input.is_dir() {
        for entry in std::fs::read_dir(input)? {
            warm(&entry?.path())?;
        }
        return Ok(());
    }
    std::io::copy(&mut std::fs::File::open(input)?, &mut std::io::sink())?;
    Ok(())
}

impl Target {
    /// Joins, in a process of its own; writes the answer if that is asked for.
    fn join(&self, answer: Option<&Path>) -> anyhow::Result<Joined> {
        let mut command = (self.command)()?;
        if let Some(answer) = answer {
            if is_ours(self.name) {
                command.arg("--answer");
            }
            command.arg(answer);
        }
        let output = command.output().with_context(|| format!("{} does not start", self.name))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} ended with {}: {said}", self.name, output.status);
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().last().context("it said nothing")?;
        serde_json::from_str(line).with_context(|| format!("{} said {line:?}", self.name))
    }
}

/// Runs each once, which also warms the page cache, and compares their answers row by row.
fn check(targets: &[Target], folder: &Path, sizes: &Sizes) -> anyhow::Result<Vec<Joined>> {
    let path = |target: &Target| folder.join(format!("answer-{}", target.name));
    let mut answers = Vec::new();
    for target in targets {
        let joined = target.join(Some(&path(target)))?;
        let (name, rows) = (target.name, joined.rows);
        ensure!(rows == sizes.spine, "{name} answered {rows} rows of {}", sizes.spine);
        ensure!(joined.found > 0, "{name} found nothing");
        compare(&path(&targets[0]), &path(target), target.name)?;
        answers.push(joined);
    }
    targets.iter().try_for_each(|target| std::fs::remove_file(path(target)))?;
    Ok(answers)
}

/// Compares the bytes of two answers.
fn compare(ours: &Path, theirs: &Path, name: &str) -> anyhow::Result<()> {
    let open = |path: &Path| Ok::<_, anyhow::Error>(BufReader::new(File::open(path)?));
    let (mut ours, mut theirs, mut at) = (open(ours)?, open(theirs)?, 0);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    loop {
        for (file, bytes) in [(&mut ours, &mut one), (&mut theirs, &mut other)] {
            bytes.clear();
            file.take(COMPARED_BYTES as u64).read_to_end(bytes)?;
        }
        if let Some(differs) = one.iter().zip(&other).position(|(a, b)| a != b) {
            let row = (at + differs) / crate::workload::VALUE_BYTES;
            bail!("row {row} is another in the answer of {name} than in ours");
        }
        ensure!(one.len() == other.len(), "the answer of {name} has another length than ours");
        if one.is_empty() {
            return Ok(());
        }
        at += one.len();
    }
}
