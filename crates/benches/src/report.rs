//! The result of a run: what is written as JSON, and the table made from it.

use crate::machine::Machine;
use crate::stats::{Latency, Spread};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

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
    pub skipped: Vec<String>,
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

impl Report {
    /// The tables for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Benchmarks\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}: {} rows of ten float32 \
             under an int64 key, {} interleaved rounds of {} s a figure, medians with min-max.\n",
            taken(&self.command, &self.machine),
            self.rows,
            self.rounds,
            self.seconds
        );
        let _ = writeln!(
            out,
            "{}. Servers on core 0, the load generator on core 1; the peers' settings and reasons \
             are in `crates/benches/peers/`. These machines are shared and noisy: compare within a row.\n",
            versions(&self.versions)
        );
        for line in &self.skipped {
            let _ = writeln!(out, "* {line}");
        }
        self.latency_table(&mut out);
        self.rate_table(&mut out);
        self.bytes_table(&mut out);
        out
    }

    fn latency_table(&self, out: &mut String) {
        out.push_str("\n## One request at a time\n\n");
        out.push_str("| keys | client | target | p50 us | p99 us | over thermae |\n");
        out.push_str("| ---: | --- | --- | ---: | ---: | ---: |\n");
        for line in &self.latency {
            let p99 = Spread::of(line.rounds.iter().map(|round| round.p99_ns as f64 / 1e3));
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                line.keys,
                line.waiting,
                line.target,
                spread(Some(line.p50_us), 2),
                spread(p99, 1),
                spread(line.over_ours, 2)
            );
        }
    }

    fn rate_table(&self, out: &mut String) {
        out.push_str("\n## Many requests in flight, one connection\n\n");
        out.push_str("| what | rows a request | in flight | target | rows/s | thermae over it |\n");
        out.push_str("| --- | ---: | ---: | --- | ---: | ---: |\n");
        for line in &self.rates {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                line.what,
                line.keys,
                line.window,
                line.target,
                spread(Some(line.rows_per_s), 0),
                spread(line.ours_over, 2)
            );
        }
    }

    fn bytes_table(&self, out: &mut String) {
        out.push_str("\n## Memory\n\n| target | bytes a row | beside key and values |\n");
        out.push_str("| --- | ---: | ---: |\n");
        for line in &self.bytes {
            let (row, beside) = (line.per_row, line.beside_payload);
            let _ = writeln!(out, "| {} | {row:.1} | {beside:.1} |", line.target);
        }
    }
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
