//! `bench runtime`: our ring beside epoll and glommio, each serving the same work over our protocol,
//! so that the choice of [decision 0001](../../../../docs/decisions/0001-runtime.md) can be checked.

mod epoll;
#[cfg(all(feature = "glommio", target_os = "linux"))]
mod glommio;
mod load;
mod peer;
mod place;
mod plain;
mod pool;
mod report;
mod ring;
mod server;
mod service;

use crate::files::Output;
use crate::machine::Machine;
use crate::pin;
use crate::stats::{Latency, Spread};
use anyhow::Context;
use load::{Client, Rate};
use pool::Pool;
use report::{LatencyLine, RateLine, Report, SETTING};
use server::{OURS, RUNTIMES, Running};
use std::time::Duration;

/// Keys of the requests sent one at a time.
const LATENCY_KEYS: [usize; 2] = [1, 100];
/// Connections, requests in flight on each, keys a request.
const RATES: [(usize, usize, usize); 2] = [(64, 32, 1), (1, 32, 100)];

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
    /// Interleaved rounds
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Measured seconds of each figure in each round
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
}

/// Runs everything, prints the tables, writes the files.
///
/// # Errors
/// A server broke or answered wrongly: then there are no figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let small = options.output.small;
    let mut report = Report {
        command: "cargo xtask bench runtime".into(),
        rounds: if small { 1 } else { options.rounds },
        seconds: if small { 0.05 } else { options.seconds },
        machine: Machine::here(),
        setting: SETTING.into(),
        versions: [("thermae".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
        skipped: Vec::new(),
        latency: Vec::new(),
        rates: Vec::new(),
    };
    for runtime in RUNTIMES {
        let version = runtime.version.map(|version| (runtime.name.into(), version.into()));
        report.versions.extend(version);
    }
    if !cfg!(feature = "glommio") {
        report.skipped.push("glommio: skipped, built without the feature `glommio`".into());
    }
    if pin::cores() < 2 {
        report.skipped.push("pinning: skipped, there is one core; the figures mislead".into());
    } else {
        pin::to_core(pin::CLIENT_CORE)?;
    }
    for keys in LATENCY_KEYS {
        latency(&mut report, keys)?;
    }
    for (connections, window, keys) in RATES {
        rate(&mut report, connections, window, keys)?;
    }
    let (json, markdown) = ("benchmarks/runtime.json", "benchmarks/runtime.md");
    options.output.publish(&report, json, &report.markdown(), markdown)
}

/// One measurement of every runtime, A B C, A B C, ...: for each runtime its rounds, ours first.
fn interleaved<T>(
    rounds: usize,
    pool: &Pool,
    connections: usize,
    mut measure: impl FnMut(&mut [Client<'_>]) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Vec<T>>> {
    let mut found: Vec<Vec<T>> = RUNTIMES.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (runtime, found) in RUNTIMES.iter().zip(&mut found) {
            let failed = || format!("{}, {connections} connections", runtime.name);
            let server = Running::start(*runtime, connections).with_context(failed)?;
            let connect = |_| Client::connect(server.address, pool);
            let clients = (0..connections).map(connect).collect::<Result<Vec<_>, _>>();
            let mut clients = clients.with_context(failed)?;
            let measured = measure(&mut clients);
            // The server ends with its clients.
            drop(clients);
            let measured = match (server.join(), measured) {
                (Ok(()), measured) => measured,
                (Err(broken), Ok(_)) => Err(broken),
                (Err(broken), Err(error)) => Err(error.context(format!("{broken:#}"))),
            };
            found.push(measured.with_context(failed)?);
        }
    }
    Ok(found)
}

fn latency(report: &mut Report, keys: usize) -> anyhow::Result<()> {
    let time = Duration::from_secs_f64(report.seconds);
    let measure = |clients: &mut [Client<'_>]| load::latency(&mut clients[0], time);
    let found = interleaved(report.rounds, &Pool::new(keys)?, 1, measure)?;
    let micros = |rounds: &[Latency], ns: fn(&Latency) -> u64| -> Vec<f64> {
        rounds.iter().map(|round| ns(round) as f64 / 1e3).collect()
    };
    let p50s: Vec<_> = found.iter().map(|rounds| micros(rounds, |round| round.p50_ns)).collect();
    let p99s: Vec<_> = found.iter().map(|rounds| micros(rounds, |round| round.p99_ns)).collect();
    for (at, runtime) in RUNTIMES.iter().enumerate() {
        report.latency.push(LatencyLine {
            target: runtime.name.into(),
            keys,
            rounds: found[at].clone(),
            p50_us: Spread::of(p50s[at].iter().copied()).context("no rounds")?,
            p99_us: Spread::of(p99s[at].iter().copied()).context("no rounds")?,
            over_ours: Spread::of_ratio(&p50s[at], &p50s[ours()?]),
        });
    }
    Ok(())
}

fn rate(report: &mut Report, connections: usize, window: usize, keys: usize) -> anyhow::Result<()> {
    let time = Duration::from_secs_f64(report.seconds);
    let measure = |clients: &mut [Client<'_>]| load::rate(clients, window, time);
    let found = interleaved(report.rounds, &Pool::new(keys)?, connections, measure)?;
    let rates =
        |rounds: &[Rate]| -> Vec<f64> { rounds.iter().map(|round| round.requests_per_s).collect() };
    let ours = rates(&found[ours()?]);
    for (runtime, rounds) in RUNTIMES.iter().zip(&found) {
        let requests = rates(rounds);
        let rows = requests.iter().map(|requests| requests * keys as f64);
        report.rates.push(RateLine {
            target: runtime.name.into(),
            connections,
            window,
            keys,
            rounds: rounds.clone(),
            requests_per_s: Spread::of(requests.iter().copied()).context("no rounds")?,
            rows_per_s: Spread::of(rows).context("no rounds")?,
            over_ours: Spread::of_ratio(&requests, &ours),
            waiting: Spread::of(rounds.iter().map(|round| round.waiting)).context("no rounds")?,
        });
    }
    Ok(())
}

fn ours() -> anyhow::Result<usize> {
    RUNTIMES.iter().position(|runtime| runtime.name == OURS).context("our ring is not measured")
}
