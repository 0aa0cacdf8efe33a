//! The result of `bench wire`, and what pages of all benchmarks say alike.

use crate::machine::Machine;
use crate::stats::{Latency, Spread};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Rows held by every target.
    pub rows: u64,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Measured seconds of each figure in each round.
    pub seconds: f64,
    /// Where.
    pub machine: Machine,
    /// Version of each target.
    pub versions: BTreeMap<String, String>,
    /// What did not run, and why.
    pub absent: Vec<String>,
    /// One request at a time.
    pub latency: Vec<LatencyLine>,
    /// Many in flight: reads and durable writes.
    pub rates: Vec<RateLine>,
    /// Bytes of memory a row.
    pub bytes: Vec<BytesLine>,
}

/// Latency of one target, batch and way of waiting.
#[derive(Debug, Clone, Serialize)]
pub struct LatencyLine {
    /// What was measured.
    pub target: String,
    /// How the client waited; `in process` for the ladder.
    pub waiting: String,
    /// Keys a request.
    pub keys: usize,
    /// Each round.
    pub rounds: Vec<Latency>,
    /// Median latency over rounds, microseconds.
    pub p50_us: Spread,
    /// Its p50 over ours, round by round.
    pub over_ours: Option<Spread>,
}

/// Rows a second of one target.
#[derive(Debug, Clone, Serialize)]
pub struct RateLine {
    /// `read` or `durable write`.
    pub what: String,
    /// What was measured.
    pub target: String,
    /// Rows a request.
    pub keys: usize,
    /// Requests in flight.
    pub window: usize,
    /// Each round.
    pub rounds: Vec<f64>,
    /// Rows a second.
    pub rows_per_s: Spread,
    /// Ours over it, round by round.
    pub ours_over: Option<Spread>,
}

/// Memory of one target.
#[derive(Debug, Clone, Serialize)]
pub struct BytesLine {
    /// What was measured.
    pub target: String,
    /// Bytes a row, all in.
    pub per_row: f64,
    /// Of them beside the 8 bytes of key and 40 of values.
    pub beside_payload: f64,
}

/// By which command a page's figures were taken, and where.
pub fn taken(command: &str, machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, load_before, .. } = machine;
    let memory = machine.memory_bytes >> 30;
    format!(
        "Taken by `{command}` on {cpu} ({cores} cores, {memory} GiB, Linux {kernel}; load before: \
         {load_before})"
    )
}

/// What was measured, in which versions.
pub fn versions(versions: &BTreeMap<String, String>) -> String {
    let named: Vec<_> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!("Versions: {}", named.join(", "))
}

/// A median with its extremes, as the tables show it; nothing for none.
pub fn spread(value: Option<Spread>, digits: usize) -> String {
    match value {
        Some(Spread { median, min, max }) => {
            format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
        }
        None => "".into(),
    }
}
