//! The result of `bench beside`.

use crate::machine::Machine;
use crate::report::{spread, taken};
use crate::stats::{Latency, Spread};
use serde::Serialize;
use std::fmt::Write;

/// p99 beside a load over p99 without, at most, where there are two cores.
const P99_RATIO_MAX: f64 = 2.0;

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Seconds of each phase in each round.
    pub seconds: f64,
    /// Reads due a second, of 100 rows.
    pub reads_per_s: u64,
    /// Rows due a second while loading.
    pub rows_per_s: u64,
    /// Memory of the server, as told to it.
    pub memory: String,
    /// Rows there before.
    pub rows: u64,
    /// Reads alone, by round.
    pub idle: Vec<Phase>,
    /// Reads beside writes, by round.
    pub loading: Vec<Phase>,
    /// Reads beside training reads, by round.
    pub training: Vec<Phase>,
    /// Rows of the spine of a training read.
    pub spine_rows: u64,
    /// p99 beside writes over p99 alone.
    pub p99_ratio: Spread,
    /// p99 beside training reads over p99 alone.
    pub p99_ratio_training: Spread,
}

/// One phase of one round.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// Of reads, from when they were due.
    pub latency: Latency,
    /// Its length.
    pub seconds: f64,
    /// Rows that training reads answered.
    pub rows_trained: u64,
    /// Rows that memtables and tables have more than before.
    pub rows_added: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Merges committed.
    pub merges: u64,
    /// Bytes that both wrote.
    pub moved_bytes: u64,
    /// Rows that left the hot table.
    pub evictions: u64,
    /// Keys that the hot table could not tell.
    pub asked_below: u64,
}

impl Report {
    /// The page for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Hot reads beside a load\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}: {} interleaved rounds of {} s a phase, medians with min-max.\n\n\
             A server with one shard and {} of memory holds {} rows of ten float32, more than its hot table. A blocking \
             client asks {} times a second for 100 of 20,000 rows, which so stay hot; latency counts from when a request \
             was due. While loading, another connection writes new keys, {} durable rows a second in batches of 100. The \
             client is bound to the second core; the server's threads are not bound, so that flushes and merges share \
             the two cores with both. While training, a third connection asks again and again for a spine of {} rows with all \
             features, from the upload of the spine to the last piece of the answer; that client has the second core, too, at a lower \
             priority.\n",
            taken(&self.command, &self.machine),
            self.rounds,
            self.seconds,
            self.memory,
            self.rows,
            self.reads_per_s,
            self.rows_per_s,
            self.spine_rows,
        );
        out.push_str("| phase | reads | p50 us | p99 us | p99.9 us | max us | rows/s | flushes | merges | MiB moved/s ");
        out.push_str("| evictions | keys asked below | rows trained/s |\n");
        out.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        let lines = [
            ("reads alone", &self.idle),
            ("beside the load", &self.loading),
            ("beside training reads", &self.training),
        ];
        for (name, phases) in lines {
            line(&mut out, name, phases);
        }
        let ratios = [("the load", self.p99_ratio), ("training reads", self.p99_ratio_training)];
        for (name, ratio) in ratios {
            let verdict = if ratio.median <= P99_RATIO_MAX { "reached" } else { "**missed**" };
            let _ = writeln!(
                out,
                "\np99 beside {name} over p99 alone, at most {P99_RATIO_MAX} on two cores: {}, {verdict}.",
                spread(Some(ratio), 2)
            );
        }
        out
    }
}

fn line(out: &mut String, name: &str, phases: &[Phase]) {
    let of =
        |figure: fn(&Phase) -> f64, digits| spread(Spread::of(phases.iter().map(figure)), digits);
    let sum = |figure: fn(&Phase) -> u64| phases.iter().map(figure).sum::<u64>();
    let _ = writeln!(
        out,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        sum(|phase| phase.latency.requests),
        of(|phase| phase.latency.p50_ns as f64 / 1e3, 0),
        of(|phase| phase.latency.p99_ns as f64 / 1e3, 0),
        of(|phase| phase.latency.p999_ns as f64 / 1e3, 0),
        of(|phase| phase.latency.max_ns as f64 / 1e3, 0),
        of(|phase| phase.rows_added as f64 / phase.seconds, 0),
        sum(|phase| phase.flushes),
        sum(|phase| phase.merges),
        of(|phase| phase.moved_bytes as f64 / phase.seconds / f64::from(1 << 20), 1),
        sum(|phase| phase.evictions),
        sum(|phase| phase.asked_below),
        of(|phase| phase.rows_trained as f64 / phase.seconds, 0),
    );
}
