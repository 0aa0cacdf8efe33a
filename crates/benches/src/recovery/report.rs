//! The result of `bench recovery`.

use crate::machine::Machine;
use crate::report::{spread, taken};
use crate::stats::Spread;
use serde::Serialize;
use std::fmt::Write;

/// Seconds to the first read, at most: after kill -9, after a planned stop.
const KILLED_S_MAX: f64 = 10.0;
const STOPPED_S_MAX: f64 = 1.0;

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Memory of the server, as told to it.
    pub memory: String,
    /// Rows in the end.
    pub rows: u64,
    /// Bytes of a row's values.
    pub value_bytes: usize,
    /// Bytes of the tables in the end.
    pub table_bytes: u64,
    /// Seconds of the load.
    pub load_s: f64,
    /// Rows read back and compared in the end.
    pub checked: u64,
    /// After kill -9.
    pub killed: Vec<Opened>,
    /// After a planned stop.
    pub stopped: Vec<Opened>,
}

/// One stop and the start after it.
#[derive(Debug, Clone, Serialize)]
pub struct Opened {
    /// From the signal until the process was gone.
    pub stop_s: f64,
    /// From the start of the next until it took connections.
    pub listening_s: f64,
    /// From the start until it had answered a read of the newest row.
    pub first_read_s: f64,
    /// Records replayed.
    pub records: u64,
}

impl Report {
    /// The page for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Recovery\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}.\n\nA server with one shard and {} of memory holds {} rows of {} bytes of values under an int64 key, \
             {:.1} GB in tables, loaded durably in {:.0} s. Before each stop 40,000 more are written; the kill comes when \
             the last is acknowledged. After the last start {} rows were read back and compared.\n",
            taken(&self.command, &self.machine),
            self.memory,
            self.rows,
            self.value_bytes,
            self.table_bytes as f64 / 1e9,
            self.load_s,
            self.checked,
        );
        out.push_str("| stopped by | times | seconds to stop | records replayed | seconds to listen | to the first read |\n");
        out.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
        for (name, opened) in [("kill -9", &self.killed), ("SIGTERM", &self.stopped)] {
            let of = |figure: fn(&Opened) -> f64, digits| {
                spread(Spread::of(opened.iter().map(figure)), digits)
            };
            let _ = writeln!(
                out,
                "| {name} | {} | {} | {} | {} | {} |",
                opened.len(),
                of(|one| one.stop_s, 2),
                of(|one| one.records as f64, 0),
                of(|one| one.listening_s, 2),
                of(|one| one.first_read_s, 2),
            );
        }
        out.push('\n');
        for (name, opened, most) in [
            ("kill -9", &self.killed, KILLED_S_MAX),
            ("a planned stop", &self.stopped, STOPPED_S_MAX),
        ] {
            let slowest = opened.iter().map(|one| one.first_read_s).fold(0.0, f64::max);
            let verdict = if slowest < most { "reached" } else { "**missed**" };
            let _ = writeln!(
                out,
                "* First read after {name} in less than {most} s: {slowest:.2} s at most, {verdict}."
            );
        }
        out
    }
}
