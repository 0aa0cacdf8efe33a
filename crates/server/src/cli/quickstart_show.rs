//! What the quickstart prints.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::apply::AppliedView;
use super::args::QuickstartArgs;
use super::get_print;
use super::quickstart_read::Shown;
use super::quickstart_time::Latency;
use super::quickstart_training::Trained;
use crate::ingest::load::Report;
use crate::serve::options::DEFAULT_LISTEN;
use crate::table::{Table, nanoseconds, thousands};

/// One file in one view.
pub struct Loaded {
    /// The view.
    pub view: &'static str,
    /// The file.
    pub file: &'static str,
    /// What became of its rows.
    pub report: Report,
    /// How long it took.
    pub seconds: f64,
}

/// The server's step.
pub fn started(tcp: &str, unix: &Path, data: &Path, took: Duration) -> String {
    format!(
        "1. A server, inside this process: {tcp} and unix:{} ({:.1} s), data in {}",
        unix.display(),
        took.as_secs_f64(),
        data.display()
    )
}

/// The definitions' step.
pub fn applied(applied: &[AppliedView]) -> String {
    let names: Vec<&str> = applied.iter().map(|a| a.view.as_str()).collect();
    format!("2. {} feature views: {}", applied.len(), names.join(", "))
}

/// The loads' step.
pub fn loaded(loads: &[Loaded]) -> String {
    let mut table =
        Table::new(["view", "file", ">rows", ">accepted", ">duplicate", ">rejected", ">rows/s"]);
    for load in loads {
        let report = &load.report;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        #[expect(clippy::cast_possible_truncation, reason = "a rate for people")]
        #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
        let rate = (report.rows as f64 / load.seconds.max(1e-6)) as u64;
        table.row([
            load.view.to_owned(),
            load.file.to_owned(),
            thousands(report.rows),
            thousands(report.accepted),
            thousands(report.duplicate),
            thousands(report.rejected),
            thousands(rate),
        ]);
    }
    let mut out =
        format!("3. Rows, each acknowledged when it was safe on disk:\n{}", table.for_stdout());
    for load in loads {
        for reason in &load.report.reasons {
            let rows = thousands(reason.rows);
            out.push_str(&format!("   {}: {rows} rows rejected: {}\n", load.view, reason.reason));
        }
    }
    if loads.iter().all(|load| load.report.accepted == 0) {
        out.push_str("   All were there from an earlier run: a repeated load changes nothing.\n");
    }
    out.trim_end().to_owned()
}

/// The answers' step.
pub fn answers(shown: &[Shown]) -> String {
    let mut out = String::from("4. Features, read by the binary protocol:");
    for one in shown {
        let table = get_print::text(&one.asked, &one.answers);
        out.push_str(&format!("\n   {}\n   $ {}\n{}", one.title, one.command, table));
    }
    out.trim_end().to_owned()
}

/// The latencies' step.
pub fn latencies(latencies: &[Latency]) -> String {
    let mut table = Table::new(["way in", ">keys", ">p50", ">p99", ">p50 a key"]);
    for latency in latencies {
        table.row([
            latency.way.to_owned(),
            latency.keys.to_string(),
            nanoseconds(latency.p50_ns),
            nanoseconds(latency.p99_ns),
            nanoseconds(latency.p50_ns / latency.keys.max(1) as u64),
        ]);
    }
    let note = if cfg!(debug_assertions) {
        "   (a debug build; `cargo run --release -- quickstart` shows what it can do)\n"
    } else {
        ""
    };
    format!(
        "6. Latencies of 1,000 reads of 5 features, seen by the client:\n{}{note}",
        table.for_stdout()
    )
    .trim_end()
    .to_owned()
}

/// What to type next.
pub fn next(args: &QuickstartArgs, tcp: &str, data: &Path) -> String {
    let mut lines = vec!["Next:".to_owned()];
    let data = data.display();
    if args.serve {
        if tcp != DEFAULT_LISTEN {
            lines.push(format!("  export THERMAE_SERVER={tcp}"));
        }
        lines.push("  thermae describe".to_owned());
        lines.push(
            "  thermae get weather_by_origin --key origin=JFK --read-time 2013-12-31".to_owned(),
        );
        lines.push("  thermae stat".to_owned());
        lines.push("serving until Ctrl-C".to_owned());
    } else if args.data.is_some() {
        lines.push(format!("  thermae serve --data {data}    # in another terminal, then:"));
        lines.push(
            "  thermae get weather_by_origin --key origin=JFK --read-time 2013-12-31".to_owned(),
        );
        lines.push(format!("  thermae verify {data}           # when the server has stopped"));
    } else {
        lines
            .push("  thermae quickstart --data qs --serve     # the same, and it stays".to_owned());
        lines.push(
            "  thermae --help                           # define and load your own".to_owned(),
        );
    }
    lines.join("\n") + "\n"
}

/// Everything as one document.
pub fn json(
    applied: &[AppliedView],
    loads: &[Loaded],
    answers: &[Shown],
    trained: &Trained,
    latencies: &[Latency],
) -> Json {
    let loads: Vec<Json> = loads
        .iter()
        .map(|load| {
            json!({"view": load.view, "file": load.file, "seconds": load.seconds, "report": load.report})
        })
        .collect();
    let answers: Vec<Json> = answers
        .iter()
        .map(|one| {
            let answer = get_print::json(&one.asked, &one.answers);
            json!({"title": one.title, "command": one.command, "answer": answer})
        })
        .collect();
    let views: Vec<&str> = applied.iter().map(|a| a.view.as_str()).collect();
    json!({"views": views, "loads": loads, "answers": answers, "training": trained.json(),
        "latencies": latencies})
}
