//! `bench flash`: more rows than memory, over the wire. Ours has a hot table and tables on disk; memcached's extstore
//! keeps every key in memory and values in a file, which it reads through the system's page cache.

use crate::document::part::{Figure, Part, Role};
use crate::document::shown;
use crate::files::{Output, in_folder};
use crate::machine::Machine;
use crate::memcached::Memcached;
use crate::ours::{self, Server};
use crate::page_cache::{Dropping, fill};
use crate::peers::{Peer, Program, Speaks, program};
use crate::pin;
use crate::recovery::wide;
use crate::socket::Waiting;
use crate::stats::histogram;
use crate::workload::Dice;
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thermae_load::zipf::Zipf;

/// Clients, each with one request in flight.
const CLIENTS: usize = 8;
/// Keys of a request.
const KEYS: [usize; 2] = [1, 32];
/// Rows that are sent to memcached before it gets time to write.
const CHUNK: u64 = 250;
/// That time: its writer has the same core as its server.
const PAUSE: Duration = Duration::from_millis(10);
/// How often what it has forgotten is written again.
const PASSES: usize = 20;

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Rows of 1000 bytes
    #[arg(long, default_value_t = 250_000)]
    rows: u64,
    /// Memory of each in MiB
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each figure in each round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// A client of one of them.
enum Client {
    Ours(wide::Reads),
    Memcached(Memcached),
}

impl Client {
    /// Reads rows, all of which must be there, and compares one.
    fn read(&mut self, ids: &[u64], compared: usize) -> anyhow::Result<()> {
        let memcached = match self {
            Self::Ours(reads) => return reads.read(ids, compared).map(|_| ()),
            Self::Memcached(memcached) => memcached,
        };
        memcached.send_get(ids)?;
        let mut is_right = false;
        let found = memcached.receive_get(wide::VALUE_BYTES, |id, value| {
            is_right |= id == ids[compared] && value == wide::blob(id);
        })?;
        // A key that is asked for twice is answered twice.
        ensure!(found == ids.len() && is_right, "memcached has {found} of {} rows", ids.len());
        Ok(())
    }
}

/// Which keys are asked for.
#[derive(Clone, Copy)]
enum Asked {
    Uniform,
    Skewed,
}

/// One of those that are compared.
struct Target<'a> {
    name: &'static str,
    role: Role,
    process: u32,
    open: Box<dyn Fn() -> anyhow::Result<Client> + Sync + 'a>,
    /// Where it has files that the page cache holds, and whether they are dropped meanwhile.
    pages: Option<(&'a Path, bool)>,
}

/// What one round of one of them came to.
#[derive(Clone, Copy)]
struct Round {
    look_ups_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    device_bytes: f64,
}

/// Runs everything, prints the tables, writes the files.
///
/// # Errors
/// A row was not as written, or not there: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let options = match options.output.small {
        true => &Options {
            output: options.output.clone(),
            rows: 5000,
            memory_mib: 64,
            rounds: 1,
            seconds: 0.1,
        },
        false => options,
    };
    let machine = Machine::here();
    if pin::cores() >= 2 {
        pin::to_core(pin::CLIENT_CORE)?;
    }
    let part = in_folder(None, "flash", |folder| measure(options, machine, folder))?;
    let markdown = shown("flash", &part)?;
    options.output.publish(&part, "benchmarks/flash.json", &markdown, None)
}

fn measure(options: &Options, machine: Machine, folder: &Path) -> anyhow::Result<Part> {
    let mut part = Part {
        command: "cargo xtask bench flash".into(),
        machine,
        setting: setting(options),
        ..Part::default()
    };
    let memory = format!("{}MiB", options.memory_mib);
    let server = Server::start(&ours::binary()?, &folder.join("ours"), &memory)?;
    server.define(&wide::definition())?;
    wide::write(&server, 0..options.rows)?;
    rest(&server)?;
    part.versions.insert("thermae".into(), env!("CARGO_PKG_VERSION").into());
    let place = folder.join("memcached");
    let peer = match program("memcached") {
        Ok(binary) => Some(extstore(binary, options, &place)?),
        Err(error) => {
            part.absent.push(format!("memcached with extstore: {error:#}"));
            None
        }
    };
    let mut targets = vec![Target {
        name: "thermae",
        role: Role::Ours,
        process: server.id(),
        open: Box::new(|| Ok(Client::Ours(wide::Reads::new(server.client(Waiting::Block)?)?))),
        pages: None,
    }];
    if let Some(peer) = &peer {
        part.versions.insert("memcached".into(), peer.version.clone());
        for (name, is_dropped) in [("memcached", false), ("memcached, pages dropped", true)] {
            targets.push(Target {
                name,
                role: Role::Peer,
                process: peer.id(),
                open: Box::new(|| Ok(Client::Memcached(peer.memcached(Waiting::Block)?))),
                pages: Some((&place, is_dropped)),
            });
        }
    }
    part.figures = figures(options, &targets)?;
    Ok(part)
}

fn setting(options: &Options) -> String {
    format!(
        "{} rows of 250 float32 under an int64 key, {} MiB of memory for each; servers on core 0, {CLIENTS} blocking clients on core 1, \
         one request in flight on each; {} interleaved rounds of {} s a figure; every answer is whole, and one row of it compared. \
         memcached keeps 1000-byte blobs with extstore (`crates/benches/peers/README.md`): an item of up to 100 bytes in memory for each \
         row, values in a file, read through the page cache, which is memory beside its budget: so it is measured with its \
         pages there, and while they are dropped every 20 ms. Ours reads past the page cache, survives a restart, and compresses its tables.",
        options.rows, options.memory_mib, options.rounds, options.seconds
    )
}

/// Waits until flushes and merges have come to rest: figures of tiers that stay as they are.
fn rest(server: &Server) -> anyhow::Result<()> {
    let (begin, mut before, mut same) = (Instant::now(), server.tiers()?, 0);
    while same < 5 {
        ensure!(
            begin.elapsed() < Duration::from_secs(120),
            "the server's tables do not come to rest"
        );
        std::thread::sleep(Duration::from_millis(100));
        let now = server.tiers()?;
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// memcached with all rows in its file or its memory.
fn extstore(binary: PathBuf, options: &Options, folder: &Path) -> anyhow::Result<Peer> {
    std::fs::create_dir_all(folder)?;
    let gib = ((options.rows * 2 * wide::VALUE_BYTES as u64) >> 30) + 1;
    let file = folder.join("extstore");
    let sizes = "ext_page_size=16,ext_threads=4";
    let extended = format!("{sizes},ext_path={}:{gib}G", file.display());
    let options_of =
        [format!("--memory-limit={}", options.memory_mib), format!("--extended={extended}")];
    let program = Program { name: "memcached", binary, speaks: Speaks::Memcached };
    let peer = Peer::start_with(&program, &options_of.map(PathBuf::from))?;
    let mut connection = peer.memcached(Waiting::Block)?;
    let mut missing: Vec<u64> = (0..options.rows).collect();
    for _ in 0..PASSES {
        for chunk in missing.chunks(CHUNK as usize) {
            connection.set(chunk.iter().map(|id| (*id, wide::blob(*id))))?;
            std::thread::sleep(PAUSE);
        }
        missing = absent_rows(&mut connection, options.rows)?;
        if missing.is_empty() {
            return Ok(peer);
        }
    }
    bail!("memcached forgets {} rows of {}", missing.len(), options.rows)
}

/// What it has not, or not any more.
fn absent_rows(connection: &mut Memcached, rows: u64) -> anyhow::Result<Vec<u64>> {
    let mut missing = Vec::new();
    for first in (0..rows).step_by(CHUNK as usize) {
        let ids: Vec<u64> = (first..rows.min(first + CHUNK)).collect();
        let (mut is_there, mut is_right) = (vec![false; ids.len()], true);
        connection.send_get(&ids)?;
        connection.receive_get(wide::VALUE_BYTES, |id, value| {
            is_right &= value == wide::blob(id);
            if let Some(there) = is_there.get_mut((id - first) as usize) {
                *there = true;
            }
        })?;
        ensure!(is_right, "memcached answers another row than was written");
        missing.extend(ids.iter().zip(is_there).filter(|(_, there)| !there).map(|(id, _)| *id));
    }
    Ok(missing)
}

fn figures(options: &Options, targets: &[Target<'_>]) -> anyhow::Result<Vec<Figure>> {
    type Pick = fn(&Round) -> f64;
    let picks: [(&str, &str, bool, Pick); 4] = [
        ("Look-ups", "look-ups/s", true, |round| round.look_ups_per_s),
        ("A request: p50", "us", false, |round| round.p50_us),
        ("A request: p99", "us", false, |round| round.p99_us),
        ("Read from the device", "bytes a look-up", false, |round| round.device_bytes),
    ];
    let mut found = vec![Vec::new(); picks.len()];
    for (asked, what) in [(Asked::Uniform, "uniform"), (Asked::Skewed, "zipf 0.99")] {
        for keys in KEYS {
            let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); targets.len()];
            for at in 0..options.rounds {
                for (target, rounds) in targets.iter().zip(&mut rounds) {
                    let measured = round(options, target, asked, keys, at as u64);
                    rounds.push(
                        measured
                            .with_context(|| format!("{}, {keys} keys, {what}", target.name))?,
                    );
                }
            }
            for ((group, unit, is_more_better, pick), found) in picks.iter().zip(&mut found) {
                let mut figure =
                    Figure::new(group, format!("{what}, {keys} keys"), unit, *is_more_better);
                for (target, rounds) in targets.iter().zip(&rounds) {
                    // Bytes from the device are a cost, told and not judged: next to none means the page cache.
                    let role =
                        if *group == "Read from the device" { Role::Beside } else { target.role };
                    figure.add(target.name, role, rounds.iter().map(pick).collect());
                }
                found.push(figure);
            }
        }
    }
    Ok(found.concat())
}

fn device_bytes(process: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.context("no read_bytes of a process")?.parse().context("read_bytes")
}

/// All clients at once for a while.
fn round(
    options: &Options,
    target: &Target<'_>,
    asked: Asked,
    keys: usize,
    seed: u64,
) -> anyhow::Result<Round> {
    if let Some((folder, false)) = target.pages {
        fill(folder)?;
    }
    let _dropping = target
        .pages
        .filter(|(_, is_dropped)| *is_dropped)
        .map(|(folder, _)| Dropping::start(folder));
    let read_before = device_bytes(target.process)?;
    let begin = Instant::now();
    let seconds = options.seconds;
    let each = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let seed = seed * CLIENTS as u64 + client as u64;
                scope.spawn(move || drive(options.rows, seconds, target, asked, keys, seed))
            })
            .collect();
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|end| end.unwrap_or_else(|_| bail!("a client panicked")))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let wall = begin.elapsed().as_secs_f64();
    let mut all = histogram()?;
    for one in each {
        all.add(one)?;
    }
    let look_ups = (all.len() * keys as u64) as f64;
    Ok(Round {
        look_ups_per_s: look_ups / wall,
        p50_us: all.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: all.value_at_quantile(0.99) as f64 / 1e3,
        device_bytes: (device_bytes(target.process)? - read_before) as f64 / look_ups,
    })
}

/// One client: latencies of its requests.
fn drive(
    rows: u64,
    seconds: f64,
    target: &Target<'_>,
    asked: Asked,
    keys: usize,
    seed: u64,
) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    /// Ranks are spread over the rows: those asked for most are not those written first.
    const SPREAD: u64 = 7_368_787;
    let (mut client, mut dice) = ((target.open)()?, Dice::new(seed));
    let (zipf, mut found) = (Zipf::new(rows, 0.99), histogram()?);
    let mut ids = vec![0; keys];
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds {
        match asked {
            Asked::Uniform => dice.fill(&mut ids, rows),
            Asked::Skewed => ids.fill_with(|| zipf.rank(&mut dice) * SPREAD % rows),
        }
        let compared = (dice.next_u64() % keys as u64) as usize;
        let sent = Instant::now();
        client.read(&ids, compared)?;
        found.record(sent.elapsed().as_nanos() as u64)?;
    }
    Ok(found)
}
