//! The measured table of README.md, between its marks.

use super::part::{Part, Role};
use crate::stats::Spread;
use anyhow::Context;
use std::fmt::Write;

const BEGIN: &str = "<!-- measured:begin -->\n";
const END: &str = "<!-- measured:end -->";
/// The peers of the table, and what they are called.
const PEERS: [(&str, &str); 3] =
    [("valkey", "Valkey"), ("redis", "Redis"), ("memcached", "memcached")];

/// A line: what it says, and the group and place of its figure.
const LINES: [(&str, &str, &str); 6] = [
    ("1 key, spinning client", "One request at a time, spinning client: p50", "1 keys"),
    ("100 keys", "One request at a time, spinning client: p50", "100 keys"),
    ("1000 keys", "One request at a time, spinning client: p50", "1000 keys"),
    (
        "reads in flight, batches of 100",
        "Reads in flight over one connection",
        "100 rows x 32 in flight",
    ),
    (
        "durable writes, batches of 100",
        "Durable writes in flight over one connection",
        "100 rows x 16 in flight",
    ),
    ("memory, a row of 48 bytes", "Memory", "a row of 8 + 40 bytes"),
];

/// README.md with the table of this run.
///
/// # Errors
/// It has no marks, or the run lacks a figure.
pub fn with_table(readme: &str, wire: &Part) -> anyhow::Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("README.md has no measured:begin")?;
    let (_, after) = rest.split_once(END).context("README.md has no measured:end")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(wire)?))
}

fn table(wire: &Part) -> anyhow::Result<String> {
    let version = |name: &str| wire.versions.get(name).map_or("absent", String::as_str);
    let titles = PEERS.map(|(name, called)| format!("{called} {}", version(name)));
    let mut out = format!("| median | Thermae | {} |\n| --- | ---: |", titles.join(" | "));
    out.push_str(&" ---: |".repeat(PEERS.len()));
    out.push('\n');
    for (what, group, at) in LINES {
        let figure =
            wire.figure(group, at).with_context(|| format!("no figure of {group}, {at}"))?;
        let cell = |name: &str| {
            let line = figure.lines.iter().find(|line| line.who == name);
            let found = line.and_then(|line| Spread::of(line.rounds.iter().copied()));
            found.map_or(String::new(), |found| in_unit(found.median, &figure.unit))
        };
        let floor = figure
            .lines
            .iter()
            .any(|line| line.role == Role::Beside && line.who == "loopback floor");
        let beside = match floor && at == "1 keys" {
            true => format!(" (loopback alone: {})", cell("loopback floor")),
            false => String::new(),
        };
        let peers = PEERS.map(|(name, _)| cell(name)).join(" | ");
        // Writing into a String cannot fail.
        let _ = writeln!(out, "| {what}{beside} | {} | {peers} |", cell("thermae"));
    }
    let mapped = |at: &str| -> anyhow::Result<String> {
        let figure = wire.figure("No socket: p50", at).context("no mapped reads")?;
        let line = figure.lines.iter().find(|line| line.who == "thermae mapped");
        let found = line.and_then(|line| Spread::of(line.rounds.iter().copied()));
        Ok(in_unit(found.context("no mapped reads")?.median, &figure.unit))
    };
    let (one, many) = (mapped("1 keys")?, mapped("100 keys")?);
    let _ = writeln!(
        out,
        "| mapped on the same host: 1 key / 100 keys | {one} / {many} |{}",
        " |".repeat(PEERS.len())
    );
    Ok(out)
}

fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        "rows/s" if value >= 1e6 => format!("{:.1}M {unit}", value / 1e6),
        "rows/s" => format!("{:.0}k {unit}", value / 1e3),
        _ if value < 10.0 => format!("{value:.2} {unit}"),
        _ => format!("{value:.*} {unit}", usize::from(value < 100.0)),
    }
}
