//! `bench crosscheck`: the loop of `thermae bench` and `redis-benchmark`, on the same Redis, the same load, in turns.
//! Two programs that were written apart and agree are more to be believed than either.

use crate::files::{Output, in_folder};
use crate::machine::Machine;
use crate::peers::{self, Peer};
use crate::pin;
use crate::socket::is_again;
use crate::stats::Spread;
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use thermae_load::Error;
use thermae_load::clock::{Clock, RealClock};
use thermae_load::drive::{Driver, Pace, SECOND_NS, Watch, Window};
use thermae_load::maker::{Maker, Request, Shared};
use thermae_load::presets::{preset, resized};
use thermae_load::session::{Done, End, Session};

/// The other tool may be off ours by this share, either way.
const AGREE: f64 = 0.10;
/// Bytes of a value, and keys.
const VALUE_BYTES: usize = 40;
const KEYS: u64 = 100_000;

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

/// One tool in one round.
#[derive(Debug, Clone, Copy, Serialize)]
struct Round {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    redis: String,
    connections: usize,
    ours: Vec<Round>,
    theirs: Vec<Round>,
    /// Ours over theirs, round by round.
    rate_ratio: Option<Spread>,
    p50_ratio: Option<Spread>,
    agrees: bool,
}

/// GETs over many connections, one in flight on each; never waits.
struct Gets {
    connections: Vec<Connection>,
    free: Vec<usize>,
}

struct Connection {
    stream: TcpStream,
    token: Option<u64>,
    received: Vec<u8>,
}

impl Gets {
    fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let connect = |_| -> std::io::Result<Connection> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(Connection { stream, token: None, received: Vec::new() })
        };
        let connections = (0..count).map(connect).collect::<Result<_, _>>()?;
        Ok(Self { connections, free: (0..count).collect() })
    }
}

/// The key that redis-benchmark makes of a number.
fn key(row: u64) -> String {
    format!("key:{row:012}")
}

fn broken(error: std::io::Error) -> Error {
    Error::System { what: "the connection to redis", source: error }
}

impl Session for Gets {
    fn room(&self) -> usize {
        self.free.len()
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        let Some(at) = self.free.pop() else { return Ok(()) };
        let row = request.parts.first().and_then(|(_, rows)| rows.first()).copied().unwrap_or(0);
        let text = format!("*2\r\n$3\r\nGET\r\n$16\r\n{}\r\n", key(row));
        let connection = &mut self.connections[at];
        connection.token = Some(token);
        // So few bytes always fit into an empty socket.
        connection.stream.write_all(text.as_bytes()).map_err(broken)
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        let mut some = [0; 4096];
        for (at, connection) in self.connections.iter_mut().enumerate() {
            let Some(token) = connection.token else { continue };
            match connection.stream.read(&mut some) {
                Ok(0) => return Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => connection.received.extend_from_slice(&some[..len]),
                Err(error) if is_again(&error) => continue,
                Err(error) => return Err(broken(error)),
            }
            // "$40\r\n", the value, "\r\n"; or "$-1\r\n" for none.
            let whole = connection.received.len() >= VALUE_BYTES + 7;
            if connection.received.starts_with(b"$40\r\n") && !whole {
                continue;
            }
            let found = u32::from(whole);
            connection.received.clear();
            connection.token = None;
            self.free.push(at);
            done.push(Done { token, end: End::Answered { rows: 1, found } });
        }
        Ok(())
    }
}

struct Nobody;

impl Watch for Nobody {
    fn ended(&self, _: u64, _: u64) {}
}

fn ours(address: SocketAddr, options: &Options, seed: u64) -> anyhow::Result<Round> {
    let mut workload = resized(preset("point")?, Some(KEYS), Some(1));
    workload.drive.seed = seed;
    let shared = Shared::new(workload)?;
    let mut session = Gets::connect(address, options.connections)?;
    let clock = RealClock::start();
    let start_ns = clock.now_ns();
    let measured_ns = start_ns + SECOND_NS / 2;
    let end_ns = measured_ns + (options.seconds * SECOND_NS as f64) as u64;
    let window = Window { start_ns, measured_ns, end_ns };
    let driver = Driver { clock: &clock, pace: Pace::Closed, window, seed, watch: &Nobody };
    let recorded = driver.run(&mut session, &mut Maker::new(&shared, 0, 1), 1)?;
    let found = recorded.operations.first().map_or(0, |tally| tally.found);
    let latency = recorded.service();
    ensure!(found == latency.len(), "{found} of {} keys were there", latency.len());
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Round {
        per_s: recorded.answered as f64 / options.seconds,
        p50_us: at(0.5),
        p99_us: at(0.99),
    })
}

fn theirs(address: SocketAddr, options: &Options, requests: u64) -> anyhow::Result<Round> {
    let mut command = Command::new("redis-benchmark");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
        "--csv",
        "--precision",
        "3",
    ]);
    command.args(["-c", &options.connections.to_string(), "-n", &requests.to_string()]);
    command.args(["-r", &KEYS.to_string(), "-t", "get"]);
    let output =
        command.output().context("no redis-benchmark (Debian: apt-get install redis-tools)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    read_csv(&text).with_context(|| format!("redis-benchmark said {text:?}"))
}

/// The line of GET: "GET","rps","avg","min","p50","p95","p99","max", milliseconds.
fn read_csv(text: &str) -> anyhow::Result<Round> {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split(',').map(|field| field.trim_matches(['"', ' '])).collect())
        .collect();
    let head = rows.iter().find(|row| row.first() == Some(&"test")).context("no head")?;
    let get = rows.iter().find(|row| row.first() == Some(&"GET")).context("no GET")?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let at =
            head.iter().position(|found| *found == name).with_context(|| format!("no {name}"))?;
        Ok(get.get(at).with_context(|| format!("no {name}"))?.parse()?)
    };
    Ok(Round {
        per_s: field("rps")?,
        p50_us: field("p50_latency_ms")? * 1000.0,
        p99_us: field("p99_latency_ms")? * 1000.0,
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
/// No Redis, or the two do not agree.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let (rounds, seconds) =
        if options.output.small { (1, 0.3) } else { (options.rounds, options.seconds) };
    let options = &Options {
        rounds,
        seconds,
        output: options.output.clone(),
        connections: options.connections,
    };
    let (programs, skipped) =
        peers::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), false);
    let Some(redis) = programs.iter().find(|program| program.name == "redis") else {
        bail!("{}", skipped.join("; "));
    };
    let report = in_folder(None, "crosscheck", |folder| {
        let peer = Peer::start(redis, "memory.conf", folder)?;
        load(peer.address)?;
        let machine = Machine::here();
        let (mut mine, mut others) = (Vec::new(), VecDeque::new());
        pin::started_on(pin::CLIENT_CORE, || {
            for round in 0..options.rounds.max(1) {
                let one = ours(peer.address, options, round as u64)?;
                let requests = (one.per_s * options.seconds) as u64;
                others.push_back(theirs(peer.address, options, requests.max(1000))?);
                mine.push(one);
            }
            Ok(())
        })?;
        let theirs: Vec<Round> = others.into();
        let ratio = |pick: fn(&Round) -> f64| {
            let (over, under): (Vec<f64>, Vec<f64>) =
                (mine.iter().map(pick).collect(), theirs.iter().map(pick).collect());
            Spread::of_ratio(&over, &under)
        };
        let (rate_ratio, p50_ratio) = (ratio(|round| round.per_s), ratio(|round| round.p50_us));
        let close =
            |ratio: Option<Spread>| ratio.is_some_and(|of| (of.median - 1.0).abs() <= AGREE);
        let agrees = close(rate_ratio) && close(p50_ratio);
        let (redis, connections) = (peer.version.clone(), options.connections);
        Ok(Report {
            machine,
            redis,
            connections,
            ours: mine,
            theirs,
            rate_ratio,
            p50_ratio,
            agrees,
        })
    })?;
    options.output.publish(
        &report,
        "benchmarks/crosscheck.json",
        &markdown(&report),
        "benchmarks/crosscheck.md",
    )?;
    // The figures of a smoke test mean nothing.
    ensure!(report.agrees || options.output.small, "the two tools do not agree within 10%");
    Ok(())
}

fn markdown(report: &Report) -> String {
    let mut out = format!(
        "# Our loop beside redis-benchmark\n\nGenerated; do not edit. Taken by `cargo xtask bench crosscheck` on {} ({} \
         cores; load before: {}): GET of {KEYS} random keys with values of {VALUE_BYTES} bytes from Redis {}, {} \
         connections with one request in flight on each, closed loop, in turns; the server on core 0, the tool on \
         core 1.\n\n| tool | requests/s | p50 us | p99 us |\n| --- | ---: | ---: | ---: |\n",
        report.machine.cpu,
        report.machine.cores,
        report.machine.load_before,
        report.redis,
        report.connections
    );
    for (name, rounds) in [("thermae-load", &report.ours), ("redis-benchmark", &report.theirs)] {
        let show = |pick: fn(&Round) -> f64, digits: usize| {
            let spread = Spread::of(rounds.iter().map(pick));
            spread.map_or(String::new(), |of| {
                format!("{:.digits$} ({:.digits$}-{:.digits$})", of.median, of.min, of.max)
            })
        };
        let (rate, p50, p99) = (
            show(|round| round.per_s, 0),
            show(|round| round.p50_us, 0),
            show(|round| round.p99_us, 0),
        );
        // Writing into a String cannot fail.
        let _ = writeln!(out, "| {name} | {rate} | {p50} | {p99} |");
    }
    let ratio = |of: Option<Spread>| {
        of.map_or(String::new(), |of| format!("{:.3} ({:.3}-{:.3})", of.median, of.min, of.max))
    };
    let verdict =
        if report.agrees { "They agree within 10%." } else { "They do **not** agree within 10%." };
    let _ = writeln!(
        out,
        "\nOurs over theirs, round by round: rate {}, p50 {}. {verdict}",
        ratio(report.rate_ratio),
        ratio(report.p50_ratio)
    );
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_redis_benchmark_says_is_read_by_its_head() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                    \"p99_latency_ms\",\"max_latency_ms\"\n\"GET\",\"84745.77\",\"0.101\",\"0.040\",\"0.095\",\"0.127\",\
                    \"0.183\",\"0.311\"\n";
        let round = read_csv(text).unwrap();
        assert_eq!((round.per_s, round.p50_us, round.p99_us), (84_745.77, 95.0, 183.0));
        assert!(read_csv("\"test\",\"rps\"\n").is_err());
    }
}
