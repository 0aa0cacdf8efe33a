//! `bench beside`: what loads do to the latency of hot reads. Reads leave on schedule: alone, beside writes of new
//! keys that have memtables flushed, tables merged and hot rows evicted, and beside training reads of all rows.

mod open_loop;
mod report;
mod training;

use crate::files::{Output, in_folder};
use crate::machine::Machine;
use crate::ours::{self, Puts, Reads, Server};
use crate::pin;
use crate::socket::Waiting;
use crate::stats::{Latency, Spread};
use crate::target::Pipeline;
use anyhow::Context;
use open_loop::Schedule;
use report::{Phase, Report};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use thermae_env::{SHORTEST_TURNS, ask_for_turns_of};
use training::Training;

/// Rows that are read all the time, and so are hot.
const HOT_ROWS: u64 = 20_000;
/// Rows of a read, and of a write.
const BATCH_ROWS: usize = 100;
/// Writes in flight at most; a load that falls further behind its schedule is slower than asked.
const WRITES_IN_FLIGHT: usize = 64;

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Reads a second, of 100 rows each
    #[arg(long, default_value_t = 1_000)]
    reads_per_s: u64,
    /// Durable rows written a second while loading, in batches of 100
    #[arg(long, default_value_t = 50_000)]
    rows_per_s: u64,
    /// Rows there before; the hot table holds fewer
    #[arg(long, default_value_t = 1_500_000)]
    rows: u64,
    /// Rows of the spine of a training read
    #[arg(long, default_value_t = 1_000_000)]
    spine: u64,
    /// Memory of the server
    #[arg(long, default_value = "96MiB")]
    memory: String,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each phase in each round
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
}

/// Runs everything, prints the table, writes the files.
///
/// # Errors
/// The server broke or answered wrongly: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let report = in_folder(None, "beside", |folder| measure(options, folder))?;
    let (json, markdown) = ("benchmarks/beside.json", "benchmarks/beside.md");
    options.output.publish(&report, json, &report.markdown(), markdown)
}

fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let is_small = options.output.small;
    let (rows, rounds, seconds) = match is_small {
        true => (HOT_ROWS, 1, 0.2),
        false => (options.rows, options.rounds, options.seconds),
    };
    let machine = Machine::here();
    let server = Server::start_anywhere(&ours::binary()?, folder, &options.memory)?;
    if pin::cores() > 1 {
        pin::to_core(pin::CLIENT_CORE)?;
    }
    // The other clients of this core are not to be waited for: elsewhere they would have cores of their own.
    let _ = ask_for_turns_of(SHORTEST_TURNS);
    server.load(rows)?;
    let load = Load { server: &server, next: AtomicU64::new(rows), rows_per_s: options.rows_per_s };
    let schedule = Schedule {
        per_s: options.reads_per_s,
        time: Duration::from_secs_f64(seconds),
        rows: HOT_ROWS,
    };
    let mut reader = Reads::new(server.client(Waiting::Block)?)?;
    // Whatever is not hot yet is asked for until it is.
    schedule.run(&mut reader, BATCH_ROWS, 0)?;
    let spine_rows = if is_small { 1_000 } else { options.spine };
    let training = Training { server: &server, rows, spine_rows };
    let (mut idle, mut loading, mut trained) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds as u64 {
        idle.push(phase(&server, || schedule.run(&mut reader, BATCH_ROWS, round))?);
        loading
            .push(phase(&server, || load.beside(|| schedule.run(&mut reader, BATCH_ROWS, round)))?);
        let mut answered = 0;
        let read = || {
            let read = || schedule.run(&mut reader, BATCH_ROWS, round);
            let (latency, rows) = training.beside(read)?;
            answered = rows;
            Ok(latency)
        };
        let phase = phase(&server, read)?;
        trained.push(Phase { rows_trained: answered, ..phase });
    }
    let p99 = |phases: &[Phase]| -> Vec<f64> {
        phases.iter().map(|phase| phase.latency.p99_ns as f64).collect()
    };
    let p99_ratio = Spread::of_ratio(&p99(&loading), &p99(&idle)).context("no rounds")?;
    let p99_ratio_training = Spread::of_ratio(&p99(&trained), &p99(&idle)).context("no rounds")?;
    Ok(Report {
        command: "cargo xtask bench beside".into(),
        machine,
        rounds,
        seconds,
        reads_per_s: options.reads_per_s,
        rows_per_s: options.rows_per_s,
        memory: options.memory.clone(),
        rows,
        idle,
        loading,
        training: trained,
        spine_rows,
        p99_ratio,
        p99_ratio_training,
    })
}

/// Runs one phase and says what the server's tiers did meanwhile.
fn phase(server: &Server, read: impl FnOnce() -> anyhow::Result<Latency>) -> anyhow::Result<Phase> {
    let figure = |tiers: &serde_json::Value, at: &str| {
        tiers.pointer(at).and_then(serde_json::Value::as_u64).unwrap_or_default()
    };
    let (before, started) = (server.tiers()?, Instant::now());
    let latency = read()?;
    let (after, seconds) = (server.tiers()?, started.elapsed().as_secs_f64());
    let passed = |at: &str| figure(&after, at).saturating_sub(figure(&before, at));
    let rows =
        |tiers: &serde_json::Value| figure(tiers, "/latest/rows") + figure(tiers, "/memtable/rows");
    Ok(Phase {
        latency,
        seconds,
        rows_trained: 0,
        rows_added: rows(&after).saturating_sub(rows(&before)),
        flushes: passed("/movement/flushes"),
        merges: passed("/movement/merges"),
        moved_bytes: passed("/movement/flushed_bytes") + passed("/movement/compacted_bytes"),
        evictions: passed("/hot/evictions"),
        asked_below: passed("/reads/asked"),
    })
}

/// Writes of new keys on schedule, over a connection of their own.
struct Load<'a> {
    server: &'a Server,
    /// The next new key.
    next: AtomicU64,
    rows_per_s: u64,
}

impl Load<'_> {
    /// Runs `read` while rows are written.
    fn beside<T>(&self, read: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| self.write(&is_over));
            let found = read();
            is_over.store(true, Ordering::Release);
            writing.join().map_err(|_| anyhow::anyhow!("the writer has panicked"))??;
            found
        })
    }

    fn write(&self, is_over: &AtomicBool) -> anyhow::Result<()> {
        let mut puts = Puts::new(self.server.client(Waiting::Block)?)?;
        let period = Duration::from_secs_f64(BATCH_ROWS as f64 / self.rows_per_s as f64);
        let (mut due, mut in_flight) = (Instant::now(), 0);
        while !is_over.load(Ordering::Acquire) {
            let first = self.next.fetch_add(BATCH_ROWS as u64, Ordering::Relaxed);
            puts.send(&(first..first + BATCH_ROWS as u64).collect::<Vec<_>>())?;
            in_flight += 1;
            if in_flight == WRITES_IN_FLIGHT {
                puts.receive()?;
                in_flight -= 1;
            }
            due += period;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        for _ in 0..in_flight {
            puts.receive()?;
        }
        Ok(())
    }
}
