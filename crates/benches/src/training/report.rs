//! The result of `bench training`.

use super::Joined;
use super::archive::Archived;
use crate::machine::Machine;
use crate::report::{spread, taken};
use crate::stats::Spread;
use serde::Serialize;
use std::fmt::Write;

/// How many times quicker than the better of the peers it is to be.
const TIMES_WANTED: f64 = 3.0;
/// Rows that one core is to archive a second.
const ARCHIVED_ROWS_PER_S_WANTED: f64 = 500_000.0;
/// The most memory that it may take.
const PEAK_BYTES_MAX: u64 = 2 << 30;

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Threads of each.
    pub threads: usize,
    /// Memory of our read, in MiB, as told to it.
    pub budget_mib: usize,
    /// Rows of history.
    pub history: u64,
    /// Rows of the spine.
    pub spine: u64,
    /// Keys that both are of.
    pub keys: u64,
    /// Memory of the store while it was loaded, MiB.
    #[serde(default)]
    pub load_memory_mib: u64,
    /// Rows loaded a second, if they were loaded in this run.
    pub load_rows_per_s: Option<f64>,
    /// The archive, if ours joined out of one, too.
    pub archived: Option<Archived>,
    /// Who joined, ours first.
    pub lines: Vec<Line>,
    /// Seconds of the better peer over ours.
    pub over_best: Option<Spread>,
    /// What is missing, and why.
    pub absent: Vec<String>,
}

/// One of those who joined.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// Who.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Rows answered.
    pub rows: u64,
    /// Rows that found a version.
    pub found: u64,
    /// By round, from the request to the last row of the answer.
    pub seconds: Vec<f64>,
    /// Of ours, until the answer could be read.
    pub joined_s: Vec<f64>,
    /// The most memory of the process, by round.
    pub peak_bytes: Vec<u64>,
}

impl Line {
    /// Of an answer that was checked, without figures yet.
    pub fn new(joined: &Joined) -> Self {
        let Joined { rows, found, version, .. } = joined.clone();
        Self { rows, found, version, ..Self::default() }
    }

    /// Takes a round's figures.
    pub fn add(&mut self, name: &str, joined: &Joined) {
        self.name = name.into();
        self.seconds.push(joined.seconds);
        self.joined_s.push(joined.joined_s);
        self.peak_bytes.push(joined.peak_bytes);
    }

    /// Median of its seconds.
    pub fn median(&self) -> f64 {
        Spread::of(self.seconds.iter().copied()).map_or(f64::INFINITY, |seconds| seconds.median)
    }

    fn peak(&self) -> u64 {
        self.peak_bytes.iter().copied().max().unwrap_or_default()
    }
}

impl Report {
    /// The page for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Training reads\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}: {} interleaved rounds, medians with min-max.\n\n\
             {} rows of history (an int64 key, a time in microseconds, ten float32 of full mantissa; {} keys, over 30 days) \
             and {} rows of a spine (a number, a key, a time). Each is asked for all rows of the spine with the features as \
             they were at its time, {} threads each, in a process of its own, whose files were read before. DuckDB and Polars read both from \
             Parquet (Snappy, in order of time, of which Polars is told); DuckDB may answer in any order. Ours reads the spine from \
             the same file and the history from the tables of a store that was loaded row by row in order of time, with {} MiB (it is open before, as their modules are loaded; \
             its files are read through the page cache, as theirs are), with {} MiB for the read beside the {} MiB of the store, and answers in the order of the spine. \
             Seconds count from the request until the whole answer is there, in Arrow batches. All answers were compared, \
             row by row, before: they are equal.\n",
            taken(&self.command, &self.machine),
            self.rounds,
            self.history,
            self.keys,
            self.spine,
            self.threads,
            self.load_memory_mib,
            self.budget_mib,
            super::load::MEMORY_BYTES >> 20,
        );
        out.push_str(
            "| who | seconds | rows of history/s | peak memory MiB | rows found | over ours |\n",
        );
        out.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
        let ours = self.lines.first().map(|line| line.seconds.clone()).unwrap_or_default();
        for line in &self.lines {
            let _ = writeln!(
                out,
                "| {} {} | {} | {:.1}M | {} | {} | {} |",
                line.name,
                line.version,
                spread(Spread::of(line.seconds.iter().copied()), 2),
                self.history as f64 / line.median() / 1e6,
                line.peak() >> 20,
                line.found,
                spread(Spread::of_ratio(&line.seconds, &ours), 2),
            );
        }
        self.goals(&mut out);
        for line in &self.absent {
            let _ = writeln!(out, "\n**Not measured**: {line}.");
        }
        out
    }

    /// What was to be reached, and whether it was.
    fn goals(&self, out: &mut String) {
        let verdict = |reached: bool| if reached { "reached" } else { "**missed**" };
        if let Some(times) = self.over_best {
            let _ = writeln!(
                out,
                "\nThe better peer over ours, at least {TIMES_WANTED}: {}, {}.",
                spread(Some(times), 2),
                verdict(times.median >= TIMES_WANTED)
            );
        }
        let peak = self.lines.first().map(Line::peak).unwrap_or_default();
        let _ = writeln!(
            out,
            "\nPeak memory of ours, below {} MiB: {} MiB, {}.",
            PEAK_BYTES_MAX >> 20,
            peak >> 20,
            verdict(peak < PEAK_BYTES_MAX)
        );
        if let Some(rows_per_s) = self.load_rows_per_s {
            let _ = writeln!(out, "\nThe store was loaded at {rows_per_s:.0} durable rows/s.");
        }
        if let Some(Archived { rows_per_s, bytes_per_row }) = self.archived {
            let _ = writeln!(
                out,
                "\n*thermae (archive)*: a copy of the store whose superseded versions lie in its archive alone (Parquet on a local \
                 directory, {bytes_per_row:.0} bytes a row). One thread archived {rows_per_s:.0} rows/s, reading the tables included; \
                 at least {ARCHIVED_ROWS_PER_S_WANTED:.0}: {}.",
                verdict(rows_per_s >= ARCHIVED_ROWS_PER_S_WANTED)
            );
        }
    }
}
