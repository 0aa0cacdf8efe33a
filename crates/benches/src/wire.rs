//! `bench wire`: the whole run, from starting the servers to the tables.

use crate::compare::{self, NULL, OURS, Piping, Reading};
use crate::document::shown;
use crate::files::{Output, in_folder};
use crate::floor::Floor;
use crate::ladder::{Embedded, Hot, Memory, Whole, slots};
use crate::machine::Machine;
use crate::mapped::Maps;
use crate::measure::Load;
use crate::ours::{self, Puts, Reads, Server};
use crate::peers::{self, Peer, Program, Purpose, Speaks};
use crate::pin;
use crate::report::{BytesLine, Report};
use crate::socket::Waiting;
use crate::workload::VALUE_BYTES;
use anyhow::Context;
use std::path::PathBuf;
use std::time::Duration;
use thermae_hot::RowBuf;
use thermae_load::null::NullServer;
use thermae_load::presets::preset;

const KEY_BYTES: usize = 8;
/// Requests in flight of the saturated reads.
const READ_WINDOW: usize = 32;
/// Requests in flight of the durable writes.
const WRITE_WINDOW: usize = 16;
const RATE_KEYS: usize = 100;

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each figure in each round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Rows that every target holds
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
}

/// The run's sizes, and where it works.
struct Run {
    rows: u64,
    rounds: usize,
    time: Duration,
    folder: PathBuf,
}

impl Run {
    fn load(&self, batch: usize) -> Load {
        Load { rows: self.rows, batch, time: self.time, seed: batch as u64, checked: true }
    }
}

/// Runs everything, prints the tables, writes the files.
///
/// # Errors
/// A target broke or answered wrongly: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let small = options.output.small;
    let report = in_folder(None, "wire", |folder| {
        let run = Run {
            rows: if small { 20_000 } else { options.rows },
            rounds: if small { 1 } else { options.rounds },
            time: Duration::from_secs_f64(if small { 0.05 } else { options.seconds }),
            folder: folder.to_owned(),
        };
        measure(&run)
    })?;
    let markdown = shown("wire", &report)?;
    options.output.publish(&report, "benchmarks/wire.json", &markdown, None)
}

fn measure(run: &Run) -> anyhow::Result<Report> {
    let (programs, absent) = peers::find();
    let mut report = Report {
        command: "cargo xtask bench wire".into(),
        rows: run.rows,
        rounds: run.rounds,
        seconds: run.time.as_secs_f64(),
        machine: Machine::here(),
        versions: [(OURS.to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
        absent,
        latency: Vec::new(),
        rates: Vec::new(),
        bytes: Vec::new(),
    };
    if pin::cores() < 2 {
        report.absent.push("pinning: there is one core; latencies mislead".into());
    } else {
        pin::to_core(pin::CLIENT_CORE)?;
    }
    reads(run, &programs, &mut report)?;
    ladder(run, &mut report)?;
    durable(run, &programs, &mut report)?;
    Ok(report)
}

/// Latency and rate of reads over the wire, and memory a row.
fn reads(run: &Run, programs: &[Program], report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&ours::binary()?, &run.folder.join("ours"), "1GiB")?;
    server.load(run.rows)?;
    let mut running = Vec::new();
    for program in programs {
        let folder = run.folder.join(program.name);
        let peer = Peer::start(program, Purpose::Memory, &folder)?;
        let empty = peer.used_bytes()?;
        peer.load(run.rows)?;
        report.versions.insert(program.name.into(), peer.version.clone());
        report.bytes.push(bytes(program.name, peer.used_bytes()? - empty, run.rows));
        running.push((program.name, peer));
    }
    let used = used_bytes(&server.client(Waiting::Block)?.stats()?)?;
    report.bytes.insert(0, bytes(OURS, used, run.rows));
    for waiting in [Waiting::Spin, Waiting::Block] {
        for keys in [1, 10, 100, 1000] {
            let mut entries = readers(&server, &running, waiting);
            let lines = compare::latency(&mut entries, waiting.name(), run.load(keys), run.rounds)?;
            report.latency.extend(lines);
        }
    }
    for keys in [1, 10, 100, 1000] {
        let open = || Maps::new(&ours::connect(&server.unix, Waiting::Block)?);
        let mut entries = vec![Reading::reading("thermae mapped", open)];
        let lines = compare::latency(&mut entries, "same host", run.load(keys), run.rounds)?;
        report.latency.extend(lines);
    }
    let null = nobody()?;
    let mut entries = vec![
        Piping::piping(OURS, || Reads::new(server.client(Waiting::Spin)?)),
        Piping::piping(NULL, || Reads::new(ours::connect(null.address(), Waiting::Spin)?)),
    ];
    for (name, peer) in &running {
        entries.push(Piping::piping(name, || peer.gets(Waiting::Spin)));
    }
    let load = run.load(RATE_KEYS);
    report.rates.extend(compare::rate(&mut entries, "read", load, READ_WINDOW, run.rounds)?);
    Ok(())
}

/// A server that has the same view and does nothing; it may have any core.
fn nobody() -> anyhow::Result<NullServer> {
    Ok(NullServer::start(&preset("batch")?, None)?)
}

/// The floor, ours and the peers, as readers.
fn readers<'a>(
    server: &'a Server,
    running: &'a [(&'static str, Peer)],
    waiting: Waiting,
) -> Vec<Reading<'a>> {
    let mut floor = Reading::reading("loopback floor", move || Floor::start(waiting));
    floor.checked = false;
    let ours = Reading::reading(OURS, move || Reads::new(server.client(waiting)?));
    let mut entries = vec![floor, ours];
    for (name, peer) in running {
        entries.push(Reading::reading(name, move || peer.reader(waiting)));
    }
    entries
}

/// Memory, hot table and store in this process.
fn ladder(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let embedded = Embedded::load(&run.folder.join("embedded"), run.rows, 1 << 30)?;
    let (embedded, memory) = (&embedded, slots(run.rows));
    for keys in [1, RATE_KEYS] {
        let mut entries = vec![
            Reading::reading("memory", || Ok(Memory(&memory))),
            Reading::reading("hot table", || Ok(Hot(embedded, RowBuf::default()))),
            Reading::reading("store", || Ok(Whole(embedded, RowBuf::default()))),
        ];
        let load = run.load(keys);
        report.latency.extend(compare::latency(&mut entries, "in process", load, run.rounds)?);
    }
    Ok(())
}

/// Writes that are acknowledged only when they survive a power cut.
fn durable(run: &Run, programs: &[Program], report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&ours::binary()?, &run.folder.join("ours-durable"), "1GiB")?;
    server.load(run.rows.min(1000))?;
    let mut running = Vec::new();
    // memcached has no log.
    for program in programs.iter().filter(|program| program.speaks == Speaks::Resp) {
        let folder = run.folder.join(format!("{}-durable", program.name));
        running.push((program.name, Peer::start(program, Purpose::Durable, &folder)?));
    }
    let null = nobody()?;
    let mut entries = vec![
        Piping::piping(OURS, || Puts::new(server.client(Waiting::Block)?)),
        Piping::piping(NULL, || Puts::new(ours::connect(null.address(), Waiting::Block)?)),
    ];
    for (name, peer) in &running {
        entries.push(Piping::piping(name, || peer.sets(Waiting::Block)));
    }
    let load = run.load(RATE_KEYS);
    let lines = compare::rate(&mut entries, "durable write", load, WRITE_WINDOW, run.rounds)?;
    report.rates.extend(lines);
    Ok(())
}

fn bytes(target: &str, used: u64, rows: u64) -> BytesLine {
    let per_row = used as f64 / rows as f64;
    let beside_payload = per_row - (KEY_BYTES + VALUE_BYTES) as f64;
    BytesLine { target: target.to_owned(), per_row, beside_payload }
}

/// Bytes of hot tables in use, out of the server's figures.
fn used_bytes(stats: &str) -> anyhow::Result<u64> {
    let stats: serde_json::Value = serde_json::from_str(stats)?;
    let shards = stats["engine"]["shards"].as_array().context("no shards in the figures")?;
    Ok(shards.iter().filter_map(|shard| shard["hot_used_bytes"].as_u64()).sum())
}
