//! The run: loads, every row read back, look-ups; engines take turns within each round.

use crate::child::Process;
use crate::engines::{KINDS, Kind};
use crate::lines::{LoadLine, ReadLine};
use crate::protocol::{Keys, Loaded, Order, ReadRound};
use crate::report::{Report, SETTING};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use thermae_benches::files::{Output, in_folder};
use thermae_benches::machine::Machine;
use thermae_benches::page_cache::{self, Dropping};
use thermae_benches::warm::{DEPTHS, memory_bytes};

/// Keys of a request of skewed look-ups.
const SKEWED_KEYS: usize = 32;
/// How much longer the skewed look-ups are that fill caches first.
const FILLING: f64 = 3.0;

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Rows to load
    #[arg(long, default_value_t = 2_400_000)]
    rows: u64,
    /// Memory budget of each engine, at least 8MiB (of a peer's, three quarters are for blocks)
    #[arg(long, default_value = "32MiB", value_parser = memory_bytes)]
    memory: u64,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each figure of look-ups in each round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Threads that ask, each one request at a time
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// Leave an engine out (may be repeated); without RocksDB its library need not be there
    #[arg(long, value_enum, value_name = "ENGINE")]
    without: Vec<Kind>,
    /// Compile RocksDB from source, with io_uring: needs g++, pkg-config, liburing-dev, libclang-dev and many minutes
    #[arg(long)]
    rocksdb_source: bool,
    /// Below which directory, on a real disk, stores lie while they are measured [default: target/bench-data]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs everything, prints the tables, writes the files.
///
/// # Errors
/// A row was not as written, or an engine failed: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let below = options.folder.as_deref();
    let report = in_folder(below, "warm-peers", |folder| Run::of(options, folder)?.measure())?;
    let (json, markdown) = ("benchmarks/warm-peers.json", "benchmarks/warm-peers.md");
    options.output.publish(&report, json, &report.markdown(), markdown)
}

/// Engines that were loaded in the last round, and what all rounds came to.
struct Loads {
    processes: Vec<Process>,
    rounds: Vec<Vec<Loaded>>,
    peak_mib: Vec<Vec<f64>>,
}

struct Run<'a> {
    folder: &'a Path,
    kinds: Vec<Kind>,
    report: Report,
    is_small: bool,
}

impl<'a> Run<'a> {
    fn of(options: &Options, folder: &'a Path) -> anyhow::Result<Self> {
        let is_small = options.output.small;
        let (rows, memory_bytes, seconds) = if is_small {
            (20_000, 8 << 20, 0.05)
        } else {
            (options.rows, options.memory, options.seconds)
        };
        let (mut kinds, mut absent) = (Vec::new(), Vec::new());
        for kind in KINDS {
            let reason = match kind.absent() {
                _ if options.without.contains(&kind) => Some("left out by `--without`"),
                reason => reason,
            };
            match reason {
                Some(reason) => absent.push(format!("{}: {reason}", kind.label())),
                None => kinds.push(kind),
            }
        }
        let labelled = |kind: &Kind| (kind.label().to_owned(), kind.settings(memory_bytes));
        let report = Report {
            command: "cargo xtask bench warm-peers".into(),
            rounds: if is_small { 1 } else { options.rounds },
            seconds,
            rows,
            memory_bytes,
            threads: options.threads,
            machine: Machine::here(),
            versions: Default::default(),
            absent,
            setting: SETTING.into(),
            settings: kinds.iter().map(labelled).collect(),
            loads: Vec::new(),
            verified: 0,
            reads: Vec::new(),
            goals: Vec::new(),
        };
        for line in &report.absent {
            eprintln!("not measured: {line}");
        }
        let is_source = cfg!(feature = "rocksdb-source");
        ensure!(is_source || !options.rocksdb_source, "built without the feature `rocksdb-source`");
        ensure!(report.rounds > 0 && report.threads > 0, "nothing to measure");
        Ok(Self { folder, kinds, report, is_small })
    }

    fn measure(mut self) -> anyhow::Result<Report> {
        let Loads { mut processes, rounds, peak_mib } = self.load()?;
        for process in &mut processes {
            self.report.versions.insert(process.kind.label().into(), process.version.clone());
            self.report.verified = process.verify(if self.is_small { 7 } else { 1 })?;
        }
        eprintln!("every row is right; measuring look-ups");
        self.look_ups(&mut processes, &[Keys::Hit, Keys::Miss], &DEPTHS)?;
        let loads = rounds.into_iter().zip(peak_mib);
        for (process, (rounds, peak_mib)) in processes.iter_mut().zip(loads) {
            let read_mib = mebibytes(process.peak_resident_bytes()?);
            let line = LoadLine::of(process.kind, rounds, &peak_mib, read_mib);
            self.report.loads.push(line.context("no rounds")?);
        }
        for process in &mut processes {
            process.read(self.order(Keys::Zipf, SKEWED_KEYS, u64::MAX, FILLING))?;
        }
        self.look_ups(&mut processes, &[Keys::Zipf], &[SKEWED_KEYS])?;
        processes.into_iter().try_for_each(Process::close)?;
        self.report.judge();
        Ok(self.report)
    }

    /// Loads every engine in each round, in a new store. Those of the last round stay.
    fn load(&self) -> anyhow::Result<Loads> {
        let engines = self.kinds.len();
        let mut loads = Loads {
            processes: Vec::new(),
            rounds: vec![Vec::new(); engines],
            peak_mib: vec![Vec::new(); engines],
        };
        let Report { rounds, rows, memory_bytes, .. } = self.report;
        for round in 0..rounds {
            for (at, kind) in self.kinds.iter().enumerate() {
                let folder = self.folder.join(format!("{at}-{round}"));
                let mut process = Process::start(*kind, &folder, memory_bytes)?;
                let loaded = process.load(rows)?;
                loads.peak_mib[at].push(mebibytes(process.peak_resident_bytes()?));
                let (name, rate) = (kind.label(), loaded.rows_per_s());
                eprintln!("round {}: {name} loaded {rows} rows, {rate:.0} rows/s", round + 1);
                loads.rounds[at].push(loaded);
                if round + 1 < rounds {
                    process.close()?;
                } else {
                    loads.processes.push(process);
                }
            }
        }
        Ok(loads)
    }

    fn order(&self, keys: Keys, batch: usize, seed: u64, times: f64) -> Order {
        let Report { seconds, threads, .. } = self.report;
        Order { keys, batch, threads, seconds: seconds * times, seed }
    }

    /// Look-ups of all kinds and sizes, round by round.
    fn look_ups(
        &mut self,
        processes: &mut [Process],
        kinds: &[Keys],
        batches: &[usize],
    ) -> anyhow::Result<()> {
        let figures: Vec<(Keys, usize)> =
            kinds.iter().flat_map(|keys| batches.iter().map(|batch| (*keys, *batch))).collect();
        let contenders = contenders(processes);
        let mut found: Vec<Vec<ReadRound>> = vec![Vec::new(); figures.len() * contenders.len()];
        for round in 0..self.report.rounds {
            for (figure, (keys, batch)) in figures.iter().enumerate() {
                for (place, (at, is_dropped)) in contenders.iter().enumerate() {
                    let process = &mut processes[*at];
                    if process.kind.uses_page_cache() && !is_dropped {
                        // As it would be had nobody dropped its pages for the figure before.
                        page_cache::fill(&process.folder)?;
                    }
                    let _dropping = is_dropped.then(|| Dropping::start(&process.folder));
                    let seed = (round * figures.len() + figure) as u64;
                    let measured = process.read(self.order(*keys, *batch, seed, 1.0))?;
                    found[figure * contenders.len() + place].push(measured);
                }
            }
        }
        let mut found = found.into_iter();
        for (keys, batch) in figures {
            for (at, is_dropped) in &contenders {
                let engine = (processes[*at].kind, *is_dropped);
                let line = ReadLine::of(keys, batch, engine, found.next().unwrap_or_default());
                self.report.reads.push(line.context("no rounds")?);
            }
        }
        Ok(())
    }
}

/// Each process, and whether its pages are to be dropped; one that uses the page cache runs both ways.
fn contenders(processes: &[Process]) -> Vec<(usize, bool)> {
    let ways = |process: &Process| if process.kind.uses_page_cache() { 2 } else { 1 };
    let each = processes.iter().enumerate();
    each.flat_map(|(at, process)| (0..ways(process)).map(move |way| (at, way == 1))).collect()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
