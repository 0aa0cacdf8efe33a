//! The result of `bench runtime`: what is written as JSON, and the tables made from it.

use super::load::Rate;
use crate::machine::Machine;
use crate::report::{spread, taken, versions};
use crate::stats::{Latency, Spread};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How the figures came about, for the JSON and the page alike.
pub const SETTING: &str = "Every server is one thread pinned to core 0, which polls without sleeping; the load \
     generator is one thread pinned to core 1 of the same process, which spins. Loopback TCP with NODELAY. All servers \
     run the same code on each request: split the frames, decode READ, answer with a matrix of ten float32 out of an \
     array in the nearest cache. There is no HELLO and no PREPARE. Requests are encoded beforehand, and every byte of \
     every answer is compared.";

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Measured seconds of each figure in each round.
    pub seconds: f64,
    /// Where.
    pub machine: Machine,
    /// How.
    pub setting: String,
    /// Version of each runtime that is not the kernel's.
    pub versions: BTreeMap<String, String>,
    /// What did not run, and why.
    pub skipped: Vec<String>,
    /// One request at a time.
    pub latency: Vec<LatencyLine>,
    /// Many in flight.
    pub rates: Vec<RateLine>,
}

/// Latency of one runtime at one batch size.
#[derive(Debug, Clone, Serialize)]
pub struct LatencyLine {
    /// Which runtime.
    pub target: String,
    /// Keys a request.
    pub keys: usize,
    /// Each round.
    pub rounds: Vec<Latency>,
    /// Median latency over rounds, microseconds.
    pub p50_us: Spread,
    /// 99th percentile over rounds, microseconds.
    pub p99_us: Spread,
    /// Its p50 over our ring's, round by round: less is quicker than ours.
    pub over_ours: Option<Spread>,
}

/// Requests a second of one runtime.
#[derive(Debug, Clone, Serialize)]
pub struct RateLine {
    /// Which runtime.
    pub target: String,
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub window: usize,
    /// Keys a request.
    pub keys: usize,
    /// Each round.
    pub rounds: Vec<Rate>,
    /// Requests a second.
    pub requests_per_s: Spread,
    /// Rows a second.
    pub rows_per_s: Spread,
    /// Its rate over our ring's, round by round: more is quicker than ours.
    pub over_ours: Option<Spread>,
    /// The share of the load generator's receives that completed no answer.
    pub waiting: Spread,
}

impl Report {
    /// The tables for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Runtimes\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}: {} interleaved rounds of {} s a \
             figure, medians with min-max. What they decide: [decisions/0001](../decisions/0001-runtime.md).\n",
            taken(&self.command, &self.machine),
            self.rounds,
            self.seconds
        );
        let _ = writeln!(out, "{}\n", self.setting);
        let _ = writeln!(
            out,
            "{}. `plain recv` asks each socket in turn, without any readiness. These machines are shared and \
             noisy: compare within a table.",
            versions(&self.versions)
        );
        for line in &self.skipped {
            let _ = writeln!(out, "\n* {line}");
        }
        self.latency_table(&mut out);
        self.rate_table(&mut out);
        out
    }

    fn latency_table(&self, out: &mut String) {
        out.push_str("\n## One connection, one request at a time\n\n");
        out.push_str("| keys | runtime | p50 us | p99 us | p50 over our ring's |\n");
        out.push_str("| ---: | --- | ---: | ---: | ---: |\n");
        for line in &self.latency {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                line.keys,
                line.target,
                spread(Some(line.p50_us), 2),
                spread(Some(line.p99_us), 1),
                spread(line.over_ours, 2)
            );
        }
    }

    fn rate_table(&self, out: &mut String) {
        out.push_str(
            "\n## Many requests in flight\n\n`client waited`: the share of the load generator's receives that \
             completed no answer; near 100% the server is the limit.\n\n",
        );
        out.push_str("| connections x in flight | keys | runtime | requests/s | rows/s ");
        out.push_str("| rate over our ring's | client waited |\n");
        out.push_str("| ---: | ---: | --- | ---: | ---: | ---: | ---: |\n");
        for line in &self.rates {
            let _ = writeln!(
                out,
                "| {} x {} | {} | {} | {} | {} | {} | {:.0}% |",
                line.connections,
                line.window,
                line.keys,
                line.target,
                spread(Some(line.requests_per_s), 0),
                spread(Some(line.rows_per_s), 0),
                spread(line.over_ours, 2),
                line.waiting.median * 100.0
            );
        }
    }
}
