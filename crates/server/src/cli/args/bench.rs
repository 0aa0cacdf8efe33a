//! What can be typed behind `thermae bench` and `thermae plan`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use thermae_load::search::Promise;

use crate::serve::size::Size;

/// What says how a workload is driven, and nothing of a measurement that has workloads of its own.
const DRIVEN: [&str; 12] = [
    "workload",
    "mapped",
    "memory",
    "cores",
    "keys",
    "warm_up",
    "threads",
    "connections",
    "in_flight",
    "poisson",
    "logged",
    "seed",
];

/// `thermae bench`
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("goal").args(["peak", "rate", "find", "calibrate", "ladder", "check", "print", "list", "from"])),
    after_help = "\
A workload is a preset (--list shows them) or a TOML file (--print shows one: edit it). Its views
are defined in the project `bench` and loaded unless they are there already; nothing else of the
store is touched.

Keys are uniform, zipf, latest, hotspot, or replay (a trace: one key a line, or a column of a CSV):
  keys = { distribution = \"hotspot\", rows = 0.1, requests = 0.9 }
  keys = { distribution = \"replay\", file = \"trace.csv\", column = 1 }

Scheduled rates are open loop: requests leave when they are due, whatever the server does, and
latency counts from then. The client polls, one core a thread: give it cores of its own (taskset),
or it is what you measure. What the client alone can do is measured too, and results near that are
marked client-bound.

Examples:
  thermae bench ranking --find p99=2ms --html ranking.html
  thermae bench ycsb-b --rate 20000,50000,100000 --connections 8 --out ycsb-b.json
  thermae bench point --embedded /tmp/bench --memory 2GiB
  thermae bench batch --mapped --server unix:/run/thermae.sock
  thermae bench --calibrate --out here.json && thermae plan shop.toml --calibration here.json"
)]
pub struct BenchArgs {
    /// The workload: a preset's name or a TOML file
    #[arg(value_name = "PRESET|FILE.toml", default_value = "point")]
    pub workload: String,
    /// Closed loop: the peak rate. The default
    #[arg(long)]
    pub peak: bool,
    /// Scheduled rates, requests a second, one after the other
    #[arg(long, value_name = "RATE,..", value_delimiter = ',', value_parser = parse_rate)]
    pub rate: Vec<f64>,
    /// Search the highest scheduled rate with this promise: p99=2ms, p99.9=500us
    #[arg(long, value_name = "QUANTILE=TIME", value_parser = parse_promise)]
    pub find: Option<Promise>,
    /// Measure the constants that `thermae plan` computes with, in a few minutes
    #[arg(long)]
    pub calibrate: bool,
    /// From memory to the wire and from the disk to the store: what each layer adds, and what becomes of more threads
    #[arg(long, conflicts_with_all = DRIVEN)]
    pub ladder: bool,
    /// Check this harness: a server with known stalls must show them in p99 and p99.9
    #[arg(long, conflicts_with_all = DRIVEN, conflicts_with_all = ["embedded", "entities"])]
    pub check: bool,
    /// Print the workload as TOML and stop
    #[arg(long)]
    pub print: bool,
    /// List the presets and stop
    #[arg(long)]
    pub list: bool,
    /// Make the report of a result that was written by --out
    #[arg(long, value_name = "FILE.json", requires = "html")]
    pub from: Option<PathBuf>,
    /// Measure a store in this process, in this directory, instead of a server; of a ladder, the disk of this directory
    #[arg(long, value_name = "DIR", conflicts_with = "mapped")]
    pub embedded: Option<PathBuf>,
    /// Read through the maps of the server on this machine (--server unix:/PATH)
    #[arg(long)]
    pub mapped: bool,
    /// Embedded: memory of the store
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub memory: Size,
    /// Embedded: shards
    #[arg(long, value_name = "N", default_value = "1")]
    pub cores: usize,
    /// Rows of each view
    #[arg(long, value_name = "N")]
    pub entities: Option<u64>,
    /// Keys that a request asks of each view
    #[arg(long, value_name = "N")]
    pub keys: Option<u32>,
    /// Seconds measured, a step
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Seconds driven before that
    #[arg(long, value_name = "S")]
    pub warm_up: Option<f64>,
    /// Threads of the client
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Connections over all threads [default: one a thread]
    #[arg(long, value_name = "N")]
    pub connections: Option<usize>,
    /// Requests in flight on a connection, at most; a calibration finds its own
    #[arg(long, value_name = "N", conflicts_with = "calibrate")]
    pub in_flight: Option<usize>,
    /// Requests come like those of many users, instead of evenly
    #[arg(long)]
    pub poisson: bool,
    /// Acknowledge writes once a killed server would keep them; the default is once a power cut would not take them
    #[arg(long)]
    pub logged: bool,
    /// Seed of keys and arrivals
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write the result here
    #[arg(long, value_name = "FILE.json")]
    pub out: Option<PathBuf>,
    /// Write a report here, of a run or of a ladder: one page with plots that needs nothing else
    #[arg(long, value_name = "FILE.html", conflicts_with_all = ["calibrate", "check", "print", "list"])]
    pub html: Option<PathBuf>,
}

/// `thermae plan`
#[derive(Args, Debug)]
#[command(after_help = "\
The description says what there is (views, rows, types), what is asked (requests a second, keys of
each view), how long rows are kept in each tier, how it grows, and what things cost.
docs/capacity.md has it all, and three plans that were compared with what was measured.

Examples:
  thermae bench --calibrate --out here.json
  thermae plan --example > shop.toml
  thermae plan shop.toml --calibration here.json
  thermae plan shop.toml --calibration here.json --verify")]
pub struct PlanArgs {
    /// The description; several only with --verify
    #[arg(value_name = "FILE.toml", required_unless_present = "example")]
    pub files: Vec<PathBuf>,
    /// What `thermae bench --calibrate --out FILE` wrote
    #[arg(long, value_name = "FILE.json")]
    pub calibration: Option<PathBuf>,
    /// Prices, instead of those of the description
    #[arg(long, value_name = "FILE.toml")]
    pub prices: Option<PathBuf>,
    /// Check plans against this machine: start a server with the planned memory, load the views, drive the requests at
    /// their peak, and tell how far the plan is off. Without --calibration one is measured, in turns with the plans
    #[arg(long, conflicts_with = "example")]
    pub verify: bool,
    /// Verifying: seconds measured, a third of them at a time
    #[arg(long, value_name = "S", default_value = "5", requires = "verify")]
    pub seconds: f64,
    /// Print a description to begin with
    #[arg(long)]
    pub example: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.01..=1e9).contains(&rate) => Ok(rate),
        _ => Err("write requests a second: 20000".to_owned()),
    }
}

fn parse_promise(text: &str) -> Result<Promise, String> {
    let wrong = || "write p99=2ms or p99.9=500us".to_owned();
    let (quantile, time) = text.split_once('=').ok_or_else(wrong)?;
    let quantile = match quantile.trim() {
        "p99" => 0.99,
        "p99.9" => 0.999,
        _ => return Err(wrong()),
    };
    let time = time.trim();
    let units = [("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let split = units.iter().find_map(|(unit, ns)| Some((time.strip_suffix(unit)?, ns)));
    let (number, ns) = split.ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let under = number * ns;
    if !(1e3..=6e10).contains(&under) {
        return Err("the time must be 1us to 60s".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(Promise { quantile, under_ns: under as u64 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn promises_are_read_and_others_refused() {
        assert_eq!(
            parse_promise("p99=2ms").unwrap(),
            Promise { quantile: 0.99, under_ns: 2_000_000 }
        );
        let tail = parse_promise("p99.9=0.5ms").unwrap();
        assert_eq!(tail, Promise { quantile: 0.999, under_ns: 500_000 });
        for text in ["p99", "p50=1ms", "p99=1", "p99=0ms", "p99=-1ms", "p99=x ms", "p99=2h"] {
            assert!(parse_promise(text).is_err(), "{text}");
        }
        assert!(parse_rate("0").is_err() && parse_rate("x").is_err() && parse_rate("5e4").is_ok());
    }
}
