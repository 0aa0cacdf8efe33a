//! `thermae stat`: what the server holds and how it does.

mod archive;
mod quality;
mod tiers;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::args::{Global, StatArgs};
use super::connect::{connect, failed};
use super::delete::now_us;
use super::exit::{Done, Failure};
use super::health::{self, Told};
use crate::table::{Table, bytes, nanoseconds, thousands};

/// What this command shows of the server's figures; the rest is in `--json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Figures {
    engine: Engine,
    server: Server,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Engine {
    shards: Vec<Shard>,
    views: Vec<View>,
    archive: Option<archive::Archive>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shard {
    shard: u64,
    rows: u64,
    hot_used_bytes: u64,
    hot_budget_bytes: u64,
    rows_written: u64,
    rows_late: u64,
    rows_duplicate: u64,
    rows_refused: u64,
    damaged_tables: Vec<DamagedTable>,
    read_only: Option<String>,
    tiers: tiers::Tiers,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DamagedTable {
    path: String,
    offset_bytes: u64,
    what: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct View {
    project: String,
    name: String,
    version: u32,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    uptime_s: f64,
    connections: u64,
    requests: u64,
    errors: u64,
    reads: Latency,
    writes: Latency,
    views: BTreeMap<String, Served>,
    limit_hits: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Latency {
    count: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Served {
    hits: u64,
    misses: u64,
    expired: u64,
    corrupt: u64,
    unavailable: u64,
}

impl Served {
    /// Keys read.
    fn keys(&self) -> u64 {
        self.hits + self.misses + self.expired + self.corrupt + self.unavailable
    }
}

/// Runs the command.
pub fn run(args: &StatArgs, global: &Global) -> Result<Done, Failure> {
    let client = connect(global)?;
    let text = client.stats().map_err(failed)?;
    let registry = client.registry(r#"{"health":true}"#).map_err(failed)?;
    if global.json {
        println!("{}", with_health(&text, &registry)?);
        return Ok(Done::All);
    }
    let figures: Figures = serde_json::from_str(&text)
        .map_err(|e| Failure::Failed(format!("the server's figures cannot be read: {e}")))?;
    let text = match args.tiers {
        true => tiers::show(&figures, now_us()),
        false => show(&figures, &health::read(&registry)?, now_us()),
    };
    print!("{text}");
    Ok(Done::All)
}

/// One document of both answers.
fn with_health(figures: &str, registry: &str) -> Result<Json, Failure> {
    let read = |text: &str| {
        serde_json::from_str::<Json>(text)
            .map_err(|e| Failure::Failed(format!("the server's figures cannot be read: {e}")))
    };
    let (mut figures, mut registry) = (read(figures)?, read(registry)?);
    for part in ["health", "counted_since"] {
        figures[part] = registry[part].take();
    }
    Ok(figures)
}

fn show(figures: &Figures, told: &Told, now_us: i64) -> String {
    let server = &figures.server;
    let mut parts = vec![format!(
        "up {:.0} s, {} connections, {} requests, {} errors\n",
        server.uptime_s,
        thousands(server.connections),
        thousands(server.requests),
        thousands(server.errors)
    )];
    parts.push(views(figures).for_stdout());
    parts.push(shards(&figures.engine.shards).for_stdout());
    parts.push(latencies(server).for_stdout());
    parts.extend(quality::table(told, now_us).map(|table| table.for_stdout()));
    let mut notes: Vec<String> = notes(figures);
    notes.extend(quality::notes(told, now_us));
    if !notes.is_empty() {
        parts.push(notes.join("\n") + "\n");
    }
    parts.join("\n")
}

fn views(figures: &Figures) -> Table {
    let mut table =
        Table::new(["view", ">rows", ">bytes", ">hit rate", ">hits", ">misses", ">too old"]);
    for view in &figures.engine.views {
        let name = format!("{}/{}", view.project, view.name);
        let served = figures.server.views.get(&format!("{name}@{}", view.version));
        let none = Served::default();
        let served = served.unwrap_or(&none);
        table.row([
            name,
            thousands(view.rows),
            bytes(view.bytes),
            hit_rate(served),
            thousands(served.hits),
            thousands(served.misses),
            thousands(served.expired),
        ]);
    }
    table
}

fn hit_rate(served: &Served) -> String {
    let total = served.keys() - served.corrupt - served.unavailable;
    if total == 0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    let percent = served.hits as f64 * 100.0 / total as f64;
    format!("{percent:.1}%")
}

fn shards(shards: &[Shard]) -> Table {
    let mut table = Table::new([
        ">shard",
        ">rows",
        ">memory used",
        ">of",
        ">written",
        ">late",
        ">duplicate",
        ">refused",
    ]);
    for shard in shards {
        table.row([
            shard.shard.to_string(),
            thousands(shard.rows),
            bytes(shard.hot_used_bytes),
            bytes(shard.hot_budget_bytes),
            thousands(shard.rows_written),
            thousands(shard.rows_late),
            thousands(shard.rows_duplicate),
            thousands(shard.rows_refused),
        ]);
    }
    table
}

fn latencies(server: &Server) -> Table {
    let mut table = Table::new(["inside the server", ">requests", ">p50", ">p99", ">p99.9"]);
    for (name, latency) in [("reads", &server.reads), ("writes", &server.writes)] {
        table.row([
            name.to_owned(),
            thousands(latency.count),
            nanoseconds(latency.p50_ns),
            nanoseconds(latency.p99_ns),
            nanoseconds(latency.p999_ns),
        ]);
    }
    table
}

/// What somebody should look at.
fn notes(figures: &Figures) -> Vec<String> {
    let mut notes = Vec::new();
    for shard in &figures.engine.shards {
        if let Some(why) = &shard.read_only {
            notes.push(format!("shard {} takes no writes: {why}", shard.shard));
        }
        for DamagedTable { path, offset_bytes, what } in &shard.damaged_tables {
            notes.push(format!(
                "{path} is damaged at offset {offset_bytes}: {what}; restore the directory from a backup"
            ));
        }
    }
    for (name, view) in figures.server.views.iter().filter(|(_, view)| view.corrupt > 0) {
        notes.push(format!("{name}: {} reads met a damaged row", thousands(view.corrupt)));
    }
    for (name, view) in figures.server.views.iter().filter(|(_, view)| view.unavailable > 0) {
        let reads = thousands(view.unavailable);
        notes.push(format!("{name}: {reads} reads of rows in the archive were not answered"));
    }
    for (limit, hits) in figures.server.limit_hits.iter().filter(|(_, hits)| **hits > 0) {
        notes.push(format!("the limit {limit} was hit {} times", thousands(*hits)));
    }
    notes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn figures_are_shown_and_what_is_wrong_is_noted() {
        let figures: Figures = serde_json::from_str(
            r#"{"engine":{"shards":[{"shard":0,"rows":26115,"hot_used_bytes":1048576,"hot_budget_bytes":2097152,
                "rows_written":30000,"read_only":"log failed","new_figure":1,
                "damaged_tables":[{"path":"d/warm/07.tbl","offset_bytes":4096,"what":"no checksum"}]}],
                "views":[{"project":"nyc","name":"weather","version":1,"rows":3,"bytes":300}]},
              "server":{"uptime_s":12,"reads":{"count":9,"p50_ns":8100,"p99_ns":20000,"p999_ns":20000},
                "views":{"nyc/weather@1":{"hits":3,"misses":1,"expired":0,"corrupt":0}},
                "limit_hits":{"connections":2,"malformed":0}}}"#,
        )
        .unwrap();
        let text = show(&figures, &Told::default(), 0);
        for part in [
            "nyc/weather     3  300 B     75.0%",
            "26,115",
            "1.0 MiB",
            "8.1 us",
            "shard 0 takes no writes: log failed",
            "d/warm/07.tbl is damaged at offset 4096: no checksum",
            "the limit connections was hit 2 times",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(!text.contains("malformed"), "{text}");
    }
}
