//! `bench crosscheck`: the loop of `thermae bench` and `redis-benchmark`, on the same Redis, the same load, in turns.
//! Two programs that were written apart and agree are more to be believed than either.

mod session;
mod tool;

use crate::document::part::{Figure, Part, Role};
use crate::document::shown;
use crate::files::{Output, in_folder};
use crate::machine::{Machine, cpu_seconds};
use crate::peers::{Peer, Program, Purpose, Speaks, program};
use crate::pin;
use crate::stats::Spread;
use anyhow::ensure;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use thermae_load::clock::{Clock, RealClock};
use thermae_load::drive::{Driver, Pace, SECOND_NS, Watch, Window};
use thermae_load::maker::{Maker, Shared};
use thermae_load::presets::{preset, resized};

/// The other tool may be off ours by this share, either way.
const AGREE: f64 = 0.10;
/// From this share of its core on, the server is what bounds the rate, whoever asks. The rest of that core is the
/// kernel's work for it that is not counted as its own.
const BOUND: f64 = 0.85;
/// Bytes of a value, and keys.
const VALUE_BYTES: usize = 40;
const KEYS: u64 = 100_000;

/// What a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// So many GETs in one write: `-P`.
    Gets(u32),
    /// One MGET of so many keys.
    Mget(u32),
}

/// The loads: the last is bound by the client, and shows why it is.
const LOADS: [(&str, Asks); 4] = [
    ("MGET of 100 keys", Asks::Mget(100)),
    ("MGET of 30 keys", Asks::Mget(30)),
    ("16 GETs in a pipeline", Asks::Gets(16)),
    ("one GET", Asks::Gets(1)),
];

impl Asks {
    fn keys(self) -> u32 {
        match self {
            Self::Gets(keys) | Self::Mget(keys) => keys,
        }
    }
}

/// What to compare.
#[derive(clap::Args)]
pub struct Options {
    /// Connections, one request in flight on each
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Rounds of both, in turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a round of ours; the other tool gets as many requests as that takes
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[command(flatten)]
    output: Output,
}

/// What one tool says of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tool {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

/// That, and what the kernel says of the round.
#[derive(Debug, Clone, Copy)]
struct Round {
    tool: Tool,
    /// Processor time of the server over the round's time.
    server_busy: f64,
    /// Processor time of the tool for a request, microseconds.
    client_us: f64,
}

/// Both tools' rounds of one load.
struct Rounds {
    name: &'static str,
    ours: Vec<Round>,
    theirs: Vec<Round>,
}

impl Rounds {
    fn ratio(&self, pick: fn(&Round) -> f64) -> Option<Spread> {
        let of = |rounds: &[Round]| rounds.iter().map(pick).collect::<Vec<_>>();
        Spread::of_ratio(&of(&self.ours), &of(&self.theirs))
    }

    /// Whether the server was what bounded both.
    fn is_bound(&self) -> bool {
        let busy = |rounds: &[Round]| Spread::of(rounds.iter().map(|round| round.server_busy));
        [busy(&self.ours), busy(&self.theirs)].iter().flatten().all(|busy| busy.median >= BOUND)
    }

    fn agrees(&self) -> bool {
        let close =
            |ratio: Option<Spread>| ratio.is_some_and(|of| (of.median - 1.0).abs() <= AGREE);
        close(self.ratio(|round| round.tool.per_s)) && close(self.ratio(|round| round.tool.p50_us))
    }
}

/// The key that redis-benchmark makes of a number.
fn key(row: u64) -> String {
    format!("key:{row:012}")
}

struct Nobody;

impl Watch for Nobody {
    fn ended(&self, _: u64, _: u64) {}
}

fn ours(address: SocketAddr, options: &Options, asks: Asks, seed: u64) -> anyhow::Result<Tool> {
    let mut workload = resized(preset("point")?, Some(KEYS), Some(asks.keys()));
    workload.drive.seed = seed;
    let shared = Shared::new(workload)?;
    let mut session = session::Gets::connect(address, options.connections, asks)?;
    let clock = RealClock::start();
    let start_ns = clock.now_ns();
    let end_ns = start_ns + (options.seconds * SECOND_NS as f64) as u64;
    // Measured from the first request on, as redis-benchmark does.
    let window = Window { start_ns, measured_ns: start_ns, end_ns };
    let driver = Driver { clock: &clock, pace: Pace::Closed, window, seed, watch: &Nobody };
    let recorded = driver.run(&mut session, &mut Maker::new(&shared, 0, 1), 1)?;
    let found = recorded.operations.first().map_or(0, |tally| tally.found);
    let latency = recorded.service();
    let wanted = latency.len() * u64::from(asks.keys());
    ensure!(found == wanted, "{found} of {wanted} keys were there");
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    let per_s = recorded.answered as f64 / options.seconds;
    Ok(Tool { per_s, p50_us: at(0.5), p99_us: at(0.99) })
}

/// Runs a tool, with what the kernel says of it and of the server meanwhile.
fn round(server: u32, run: impl FnOnce() -> anyhow::Result<Tool>) -> anyhow::Result<Round> {
    let server = server.to_string();
    let (begin, client_before) = (cpu_seconds(&server)?.0, cpu_seconds("self")?);
    let started = Instant::now();
    let tool = run()?;
    let wall = started.elapsed().as_secs_f64();
    let (end, client) = (cpu_seconds(&server)?.0, cpu_seconds("self")?);
    let client_s = client.0 + client.1 - client_before.0 - client_before.1;
    Ok(Round {
        tool,
        server_busy: (end - begin) / wall,
        client_us: client_s / (tool.per_s * wall).max(1.0) * 1e6,
    })
}

/// Writes every key with a value of 40 bytes.
fn load(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let value = "v".repeat(VALUE_BYTES);
    for first in (0..KEYS).step_by(1000) {
        let mut text = format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * 1000);
        for row in first..first + 1000 {
            write!(text, "$16\r\n{}\r\n$40\r\n{value}\r\n", key(row))?;
        }
        stream.write_all(text.as_bytes())?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        ensure!(&answer == b"+OK\r\n", "redis refused: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Runs both in turns and says whether they agree.
///
/// # Errors
/// The two do not agree where the server bounds both. Without Redis there are no figures, and the result says why.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let (rounds, seconds) =
        if options.output.small { (1, 0.3) } else { (options.rounds, options.seconds) };
    let options = &Options {
        rounds,
        seconds,
        output: options.output.clone(),
        connections: options.connections,
    };
    let mut part = Part {
        command: "cargo xtask bench crosscheck".into(),
        machine: Machine::here(),
        ..Part::default()
    };
    let mut is_bad = false;
    match (program("redis-server"), program("redis-benchmark")) {
        (Ok(binary), Ok(_)) => {
            let redis = Program { name: "redis", binary, speaks: Speaks::Resp };
            let (version, found) = measure(&redis, options)?;
            part.versions.insert("redis and redis-benchmark".into(), version);
            is_bad = found.iter().any(|load| load.is_bound() && !load.agrees())
                || !found.iter().any(Rounds::is_bound);
            part.setting = setting(options, &found);
            part.figures = found.iter().flat_map(figures).collect();
            part.figures
                .sort_by_key(|figure| GROUPS.iter().position(|group| *group == figure.group));
        }
        (server, tool) => {
            let errors = [server.err(), tool.err()].into_iter().flatten();
            part.absent =
                errors.map(|error| format!("redis-benchmark and Redis: {error:#}")).collect();
        }
    }
    let markdown = shown("crosscheck", &part)?;
    options.output.publish(&part, "benchmarks/crosscheck.json", &markdown, None)?;
    // The figures of a smoke test mean nothing.
    ensure!(!is_bad || options.output.small, "the two tools do not agree within 10%");
    Ok(())
}

fn measure(redis: &Program, options: &Options) -> anyhow::Result<(String, Vec<Rounds>)> {
    in_folder(None, "crosscheck", |folder| {
        let peer = Peer::start(redis, Purpose::Memory, folder)?;
        load(peer.address)?;
        let empty = |(name, _)| Rounds { name, ours: Vec::new(), theirs: Vec::new() };
        let mut found: Vec<Rounds> = LOADS.map(empty).into();
        pin::started_on(pin::CLIENT_CORE, || {
            for at in 0..options.rounds.max(1) {
                for ((_, asks), found) in LOADS.into_iter().zip(&mut found) {
                    let mine = round(peer.id(), || ours(peer.address, options, asks, at as u64))?;
                    let requests = (mine.tool.per_s * options.seconds).max(100.0) as u64;
                    found.ours.push(mine);
                    let theirs = || tool::run(peer.address, options, asks, requests);
                    found.theirs.push(round(peer.id(), theirs)?);
                }
            }
            Ok(())
        })?;
        Ok((peer.version.clone(), found))
    })
}

fn setting(options: &Options, found: &[Rounds]) -> String {
    let verdict = |load: &Rounds| {
        let verdict = match (load.is_bound(), load.agrees()) {
            (true, true) => "they agree within 10%",
            (true, false) => "they do **not** agree within 10%",
            (false, true) => "the tool is a limit, too; they agree all the same",
            (false, false) => "not compared: the server's core was not the limit, the tool was",
        };
        format!("{}: {verdict}", load.name)
    };
    format!(
        "Closed loop, {} connections with one request in flight on each, {KEYS} random keys with values of {VALUE_BYTES} \
         bytes, {} rounds in turns; the server on core 0, the tool on core 1. Two tools can agree on a server only where it \
         is the server that bounds the rate (its core busy for at least {BOUND} of the time, by the kernel's count). {}. \
         Both sleep until an answer is there. redis-benchmark registers each request with epoll before it writes it, and takes it \
         off again after, so that one GET costs it more system calls than the server.",
        options.connections,
        options.rounds,
        found.iter().map(verdict).collect::<Vec<_>>().join("; ")
    )
}

/// The groups of figures, in the order of the page.
const GROUPS: [&str; 6] = [
    "Requests a second",
    "Latency: p50",
    "Latency: p99",
    "The server's core: share that it was busy",
    "Processor time of the tool",
    "Ours over redis-benchmark",
];

fn figures(load: &Rounds) -> Vec<Figure> {
    let units = ["requests/s", "us", "us", "of the time", "us a request"];
    let picks: [fn(&Round) -> f64; 5] = [
        |round| round.tool.per_s,
        |round| round.tool.p50_us,
        |round| round.tool.p99_us,
        |round| round.server_busy,
        |round| round.client_us,
    ];
    let both = GROUPS.into_iter().zip(units).zip(picks).map(|((group, unit), pick)| {
        let mut figure = Figure::new(group, load.name, unit, unit == "requests/s");
        figure.add("thermae-load", Role::Beside, load.ours.iter().map(pick).collect());
        figure.add("redis-benchmark", Role::Beside, load.theirs.iter().map(pick).collect());
        figure
    });
    let mut found: Vec<Figure> = both.collect();
    let mut ratios = Figure::new(GROUPS[5], load.name, "times", true);
    for (who, pick) in [("rate", picks[0]), ("p50", picks[1])] {
        let each =
            load.ours.iter().zip(&load.theirs).map(|(ours, theirs)| pick(ours) / pick(theirs));
        ratios.add(who, Role::Beside, each.collect());
    }
    found.push(ratios);
    found
}
