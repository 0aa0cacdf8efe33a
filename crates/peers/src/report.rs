//! The result of `bench warm-peers`: what is written as JSON, and the page made from it.

use crate::engines::Setting;
use crate::goals::{Goal, goals};
use crate::lines::{LoadLine, ReadLine};
use crate::protocol::Keys;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use thermae_benches::machine::Machine;
use thermae_benches::report::{spread, taken, versions};

/// How the figures came about, for the JSON and the page alike.
pub const SETTING: &str = "Each engine is a process of its own with an empty folder on the same disk, told what to do \
     over a pipe; processor time, memory and bytes from the device are those of its process. Engines take turns within \
     each round. A row is an int64 key, ten float32 and two short strings, with an event time: a peer holds it under \
     the same 8 bytes of key, as 8 bytes of event time, a byte of flags (no created time, no expiry), and the very bytes \
     that ours encodes the values to. Keys are little-endian, so that rows do not arrive in the order of keys in any \
     engine. Every row is read back and compared whole before look-ups are measured; of each request in a measurement \
     one row is compared whole, and of all others it is seen whether they are there.";

/// What the figures of the load are.
const LOAD_NOTE: &str = "\nBatches of 1000 rows, 16 in flight, each acknowledged once it is durable. Rows/s counts until flushes and \
     merges have come to rest as well; a peer flushes its memtable at the end. Bytes of tables are for a row in tables, \
     bytes on disk with logs and all else. Memory is the most that was resident, the harness's few MiB with it.\n";

/// What the figures of look-ups are.
const READ_NOTE: &str = "\nDevice bytes are what the kernel read from the device for the process, for a look-up: next to none means that \
     the page cache answered, which is memory beside the budget.\n";

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Measured seconds of each figure of look-ups in each round.
    pub seconds: f64,
    /// Rows written.
    pub rows: u64,
    /// Budget of each engine.
    pub memory_bytes: u64,
    /// Threads that ask.
    pub threads: usize,
    /// Where.
    pub machine: Machine,
    /// Version of each engine, as it says itself.
    pub versions: BTreeMap<String, String>,
    /// What did not run, and why.
    pub absent: Vec<String>,
    /// How.
    pub setting: String,
    /// How each engine is set up.
    pub settings: Vec<(String, Vec<Setting>)>,
    /// The loads.
    pub loads: Vec<LoadLine>,
    /// Rows of each engine that were read back and compared.
    pub verified: u64,
    /// The look-ups.
    pub reads: Vec<ReadLine>,
    /// What was reached, and what not.
    pub goals: Vec<Goal>,
}

impl Report {
    /// Judges what was measured.
    pub fn judge(&mut self) {
        self.goals = goals(&self.loads, &self.reads);
    }

    /// The page for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# The warm tier beside its peers\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}: {} rows, a budget of {} MiB for each engine, {} threads that ask, one request each at a time; {} \
             interleaved rounds of {} s a figure, medians with min-max. The machine is shared and other work ran beside \
             this: compare within a run.\n\n{}.\n\n{}",
            taken(&self.command, &self.machine),
            self.rows,
            self.memory_bytes >> 20,
            self.threads,
            self.rounds,
            self.seconds,
            versions(&self.versions),
            self.setting
        );
        for line in &self.absent {
            let _ = writeln!(out, "\n**Not measured**: {line}.");
        }
        self.load_table(&mut out);
        out.push_str("\n## Look-ups\n");
        for (what, title) in [
            (Keys::Hit, "Uniform, of keys that are there"),
            (Keys::Miss, "Uniform, of keys that are not there"),
            (Keys::Zipf, "Skewed (zipf 0.99), once each engine has had three times as many"),
        ] {
            let _ = writeln!(out, "\n### {title}\n");
            self.read_table(&mut out, what);
        }
        out.push_str(READ_NOTE);
        self.goal_list(&mut out);
        self.setting_tables(&mut out);
        out
    }

    fn load_table(&self, out: &mut String) {
        out.push_str("\n## Load\n\n| engine | rows/s | acknowledged rows/s | CPU us a row | table bytes a row | bytes on disk a row |");
        out.push_str(" MiB resident, load | MiB resident, look-ups |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        for line in &self.loads {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {:.0} |",
                line.engine.label(),
                spread(Some(line.rows_per_s), 0),
                spread(Some(line.acknowledged_per_s), 0),
                spread(Some(line.cpu_us), 1),
                spread(Some(line.table_bytes_per_row), 1),
                spread(Some(line.folder_bytes_per_row), 1),
                spread(Some(line.load_mib), 0),
                line.read_mib
            );
        }
        out.push_str(LOAD_NOTE);
        let _ = writeln!(
            out,
            "\nRows of each engine read back and compared, all right: {}.",
            self.verified
        );
    }

    fn read_table(&self, out: &mut String, what: Keys) {
        out.push_str("| keys a request | engine | look-ups/s | CPU us a look-up | request p50 us | request p99 us |");
        out.push_str(
            " device bytes a look-up |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for line in self.reads.iter().filter(|line| line.what == what) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                line.keys,
                line.label(),
                spread(Some(line.look_ups_per_s), 0),
                spread(Some(line.cpu_us), 1),
                spread(Some(line.p50_us), 0),
                spread(Some(line.p99_us), 0),
                spread(Some(line.device_bytes), 0)
            );
        }
    }

    fn goal_list(&self, out: &mut String) {
        out.push_str("\n## Goals\n\nOurs over the peer, round by round.\n\n");
        for Goal { what, peer, ratio, is_reached } in &self.goals {
            let verdict = if *is_reached { "reached" } else { "**missed**" };
            let _ = writeln!(out, "* {what}, {peer}: {}, {verdict}.", spread(Some(*ratio), 2));
        }
    }

    fn setting_tables(&self, out: &mut String) {
        out.push_str("\n## Settings\n\nWhat is not named is as it comes.\n");
        for (engine, settings) in &self.settings {
            let _ =
                writeln!(out, "\n### {engine}\n\n| setting | value | why |\n| --- | --- | --- |");
            for Setting { name, value, why } in settings {
                let _ = writeln!(out, "| {name} | {value} | {why} |");
            }
        }
    }
}
