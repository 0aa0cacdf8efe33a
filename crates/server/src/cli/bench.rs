//! `thermae bench`: a workload driven at a store, and what came of it.

mod others;
pub mod plan;
mod show;
mod verify;

use std::path::Path;

use serde::Serialize;
use thermae_engine::cold::ArchiveOptions;
use thermae_load::outcome::Outcome;
use thermae_load::presets::{PRESETS, preset, resized};
use thermae_load::run::{Goal, Run, Tick};
use thermae_load::target::Way;
use thermae_load::workload::{Arrivals, Workload};
use thermae_load::{Error, report};

use super::args::BenchArgs;
use super::args::Global;
use super::exit::{Done, Failure};
use crate::progress::{Progress, Unit};
use crate::serve::Limits;
use crate::table::Table;

/// Largest file of a workload or a result, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Runs the command.
pub fn run(args: &BenchArgs, global: &Global) -> Result<Done, Failure> {
    if args.list {
        return list(global);
    }
    if let Some(path) = &args.from {
        let outcome: Outcome = serde_json::from_str(&read(path)?).map_err(|e| {
            Failure::Failed(format!("{} is no result of bench: {e}", path.display()))
        })?;
        write_files(&outcome, None, args.html.as_deref())?;
        return Ok(Done::All);
    }
    if args.check {
        return others::run_check(args, global);
    }
    if args.ladder {
        return others::run_ladder(args, global);
    }
    let workload = workload(args)?;
    if args.calibrate {
        return others::run_calibrate(args, &way(args, global), &workload.drive, global);
    }
    if args.print {
        let text = toml::to_string(&workload).map_err(Failure::of)?;
        print!("{text}");
        return Ok(Done::All);
    }
    let mut progress = Shown::default();
    let mut told = |tick: Tick| progress.show(&tick);
    let mut run = Run::open(way(args, global), workload, &mut told).map_err(failed)?;
    let outcome = run.measure(&goal(args)).map_err(failed)?;
    drop(run);
    drop(progress);
    write_files(&outcome, args.out.as_deref(), args.html.as_deref())?;
    if global.json {
        print_json(&outcome)?;
    } else {
        print!("{}", show::text(&outcome));
    }
    Ok(Done::All)
}

/// An error of a run, as a failure of the command.
pub fn failed(error: Error) -> Failure {
    match error {
        Error::Given(text) => Failure::Usage(text),
        Error::Client(error @ thermae_client::Error::Connect { .. }) => Failure::Unreachable(
            format!("{error}. Start one with `thermae serve`, or measure --embedded DIR"),
        ),
        other => Failure::of(other),
    }
}

fn list(global: &Global) -> Result<Done, Failure> {
    if global.json {
        let names: Vec<_> = PRESETS
            .iter()
            .map(|(name, what)| serde_json::json!({"name": name, "what": what}))
            .collect();
        print_json(&names)?;
        return Ok(Done::All);
    }
    let mut table = Table::new(["preset", "what it stands for"]);
    for (name, what) in PRESETS {
        table.row([*name, *what]);
    }
    print!("{}", table.for_stdout());
    Ok(Done::All)
}

/// The workload that is named, with what the command line changes of it.
fn workload(args: &BenchArgs) -> Result<Workload, Failure> {
    let name = &args.workload;
    let is_file = Path::new(name).extension().is_some_and(|extension| extension == "toml");
    let found = if is_file { Workload::from_toml(&read(Path::new(name))?) } else { preset(name) };
    let mut workload = resized(found.map_err(failed)?, args.entities, args.keys);
    let drive = &mut workload.drive;
    drive.threads = args.threads.unwrap_or(drive.threads);
    drive.connections = args.connections.unwrap_or(drive.connections).max(drive.threads);
    drive.in_flight = args.in_flight.unwrap_or(drive.in_flight);
    drive.seconds = args.seconds.unwrap_or(drive.seconds);
    drive.warm_up_s = args.warm_up.unwrap_or(drive.warm_up_s);
    drive.seed = args.seed.unwrap_or(drive.seed);
    drive.logged |= args.logged;
    if args.poisson {
        drive.arrivals = Arrivals::Poisson;
    }
    workload.check().map_err(failed)?;
    Ok(workload)
}

fn way(args: &BenchArgs, global: &Global) -> Way {
    match &args.embedded {
        Some(data) => {
            Way::Embedded { data: data.clone(), memory_bytes: args.memory.bytes, cores: args.cores }
        }
        None if args.mapped => Way::Mapped { server: global.server.clone() },
        None => Way::Wire { server: global.server.clone() },
    }
}

fn goal(args: &BenchArgs) -> Goal {
    match args.find {
        Some(promise) => Goal::Search(promise),
        None if args.rate.is_empty() => Goal::Peak,
        None => Goal::Rates(args.rate.clone()),
    }
}

/// Reads a file of a sensible size.
pub fn read(path: &Path) -> Result<String, Failure> {
    let name = path.display();
    let found = std::fs::metadata(path).map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    if found.len() > FILE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{name}: {} bytes are too many for this file",
            found.len()
        )));
    }
    std::fs::read_to_string(path).map_err(|e| Failure::Usage(format!("{name}: {e}")))
}

/// What a server keeps from its store: [`thermae_load::capacity::Reserved`].
pub fn reserved(memory_bytes: u64, shards: u64, has_archive: bool) -> u64 {
    let shards = usize::try_from(shards).unwrap_or(usize::MAX);
    let connections = Limits::default().within(memory_bytes, shards).memory_bytes(shards);
    let archive = if has_archive { ArchiveOptions::memory_bytes_within(memory_bytes) } else { 0 };
    connections + archive
}

/// Writes a file.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))
}

fn write_files(outcome: &Outcome, out: Option<&Path>, html: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = out {
        let text = serde_json::to_string_pretty(outcome).map_err(Failure::of)?;
        write(path, &(text + "\n"))?;
    }
    if let Some(path) = html {
        write(path, &report::page(outcome))?;
    }
    Ok(())
}

/// Prints a document.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(value).map_err(Failure::of)?);
    Ok(())
}

/// Shows how far a run has got.
#[derive(Default)]
pub struct Shown {
    bar: Option<Progress>,
    name: String,
    is_loading: bool,
}

impl Shown {
    /// Shows a tick.
    pub fn show(&mut self, tick: &Tick) {
        match tick {
            Tick::Loading { done, all } => {
                if !self.is_loading {
                    self.bar = Some(Progress::new("loading", Some(*all), Unit::Rows));
                    self.is_loading = true;
                }
                self.bar.iter().for_each(|bar| bar.at(*done));
            }
            Tick::Step { name, all_ms } => {
                // The bar before it goes first.
                self.bar = None;
                self.is_loading = false;
                self.name.clone_from(name);
                self.bar = Some(Progress::new(name, Some(*all_ms), Unit::Milliseconds));
            }
            Tick::Driving { at_ms, per_s } => {
                let Some(bar) = &self.bar else { return };
                bar.say(&format!("{}: {}/s", self.name, report::number(*per_s)));
                bar.at(*at_ms);
            }
        }
    }
}
