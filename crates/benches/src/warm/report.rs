//! The result of `bench warm`: what is written as JSON, and the page made from it.

use super::load::Loaded;
use super::reading::Round;
use crate::machine::Machine;
use crate::report::{spread, taken};
use crate::stats::Spread;
use serde::Serialize;
use std::fmt::Write;

/// How the figures came about, for the JSON and the page alike.
pub const SETTING: &str = "One shard in the asking process, with a worker on threads of its own; nothing is pinned, and \
     the shard sleeps whenever it has nothing to do (`spin_us` 0), so that processor time is work. A row is an int64 key, \
     ten float32 and two short strings. For n keys in flight four threads ask, each for a quarter of them in one fetch \
     after the other, and compare one row of each (one thread for a single key); so at most n reads are in flight, and \
     fewer where a fetch drains, while the device's own rate is taken with n in flight throughout, of the same files, \
     through the same ring, past the page cache.";

/// What limits the load.
const LOAD_NOTE: &str = "\nWrites wait while two full memtables wait for the worker, so that the load is as quick as sorting and \
     writing tables, and merging them once there are too many, on what the machine leaves of a core.\n";

/// Blocks read for a hit, and for a miss, at most.
const BLOCKS_MAX: [(&str, f64); 2] = [("hit", 1.02), ("miss", 0.02)];
/// The share of the device's rate that look-ups with many in flight should reach.
const DEVICE_SHARE_MIN: f64 = 0.9;

/// What look-ups cost that the device's own reads do not.
const GOALS_NOTE: &str = "\nThe threads that ask read, verify and search their blocks themselves \
     ([decisions/0028](../decisions/0028-readers.md)). Where the device's rate is missed, the likely cause is the \
     processor: a second of all cores has no more look-ups than it divided by their processor time, and fewer where \
     other work shares the cores.\n";

/// Everything that one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that takes these figures again.
    pub command: String,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Measured seconds of each figure in each round.
    pub seconds: f64,
    /// Memory of the store.
    pub memory_bytes: u64,
    /// Where.
    pub machine: Machine,
    /// How.
    pub setting: String,
    /// The load and what it left.
    pub load: Loaded,
    /// Rows read back and compared.
    pub verified: u64,
    /// The most memory that the process had resident up to then, in bytes.
    pub peak_resident_bytes: u64,
    /// The device's own rates.
    pub device: Vec<DeviceLine>,
    /// Uniform look-ups.
    pub reads: Vec<ReadLine>,
    /// Skewed look-ups.
    pub skewed: Vec<ReadLine>,
}

/// The device at one depth.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceLine {
    /// Reads in flight.
    pub depth: usize,
    /// Each round.
    pub rounds: Vec<f64>,
    /// Reads of 4 KiB a second.
    pub reads_per_s: Spread,
    /// Processor time for a read, microseconds.
    pub cpu_us: Spread,
}

/// Look-ups of one kind with as many in flight.
#[derive(Debug, Clone, Serialize)]
pub struct ReadLine {
    /// Which keys.
    pub what: String,
    /// Keys in flight.
    pub keys: usize,
    /// Each round.
    pub rounds: Vec<Round>,
    /// Look-ups a second.
    pub look_ups_per_s: Spread,
    /// Blocks read for a look-up in tables.
    pub blocks_per_look_up: Spread,
    /// Share that the hot table answered.
    pub hot_share: Spread,
    /// Processor time of the process for a look-up, microseconds.
    pub cpu_us: Spread,
    /// Median latency of a fetch, microseconds.
    pub p50_us: Spread,
    /// 99th percentile, microseconds.
    pub p99_us: Spread,
    /// Blocks read a second over the device's rate with as many in flight.
    pub device_share: Option<Spread>,
}

impl ReadLine {
    /// Sums rounds up; `None` without any.
    pub fn of(
        what: &str,
        keys: usize,
        rounds: Vec<Round>,
        device: Option<&Vec<f64>>,
    ) -> Option<Self> {
        let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        let blocks: Vec<f64> = rounds
            .iter()
            .map(|round| round.look_ups_per_s * (1.0 - round.hot_share) * round.blocks_per_look_up)
            .collect();
        Some(ReadLine {
            what: what.to_owned(),
            keys,
            look_ups_per_s: of(|round| round.look_ups_per_s)?,
            blocks_per_look_up: of(|round| round.blocks_per_look_up)?,
            hot_share: of(|round| round.hot_share)?,
            cpu_us: of(|round| round.cpu_us)?,
            p50_us: of(|round| round.latency.p50_ns as f64 / 1e3)?,
            p99_us: of(|round| round.latency.p99_ns as f64 / 1e3)?,
            device_share: device.and_then(|device| Spread::of_ratio(&blocks, device)),
            rounds,
        })
    }
}

impl Report {
    /// The page for people.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# The warm tier\n\nGenerated; do not edit. ");
        let _ = writeln!(
            out,
            "{}: {} interleaved rounds of {} s a figure, medians with min-max. The machine is shared and other work \
             ran beside this: compare within a run.\n\n{}",
            taken(&self.command, &self.machine),
            self.rounds,
            self.seconds,
            self.setting
        );
        self.load_table(&mut out);
        self.device_table(&mut out);
        out.push_str("\n## Uniform look-ups\n\n");
        read_table(&mut out, &self.reads);
        out.push_str("\n## Skewed look-ups (zipf 0.99)\n\n");
        read_table(&mut out, &self.skewed);
        self.goals(&mut out);
        out.push_str(
            "\n## Peers\n\nfjall and RocksDB on the same load and reads: [warm-peers.md](warm-peers.md).\n",
        );
        out
    }

    fn load_table(&self, out: &mut String) {
        let Loaded { tiers, .. } = &self.load;
        let _ = writeln!(out, "\n## Load\n\n| what | figure |\n| --- | ---: |");
        let mut line = |what: &str, figure: String| {
            let _ = writeln!(out, "| {what} | {figure} |");
        };
        line("rows, durable batches of 1000, 16 in flight", self.load.rows.to_string());
        line("rows/s", format!("{:.0}", self.load.rows_per_s));
        line("seconds until flushes and merges were done", format!("{:.1}", self.load.settled_s));
        line("CPU us a row of flushes and merges", format!("{:.2}", self.load.background_cpu_us));
        line("memory of the store, MiB", (self.memory_bytes >> 20).to_string());
        line(
            "peak of the process's resident memory, MiB",
            (self.peak_resident_bytes >> 20).to_string(),
        );
        line("hot table, MiB", (tiers.hot.budget_bytes >> 20).to_string());
        line("rows for one in the hot table", format!("{:.1}", self.load.rows_per_hot_row));
        line("payload for the hot budget", format!("{:.1}", self.load.payload_per_hot_byte));
        line("payload bytes a row", self.load.payload_bytes_per_row.to_string());
        line("bytes on disk a row in tables", format!("{:.1}", self.load.disk_bytes_per_row));
        line(
            "filter and index bytes a row in tables",
            format!("{:.2}", self.load.memory_bytes_per_row),
        );
        line("tables", tiers.latest.tables.to_string());
        line("flushes", tiers.movement.flushes.to_string());
        line("merges", tiers.movement.merges.to_string());
        line("write amplification of tables", format!("{:.2}", tiers.write_amplification));
        line("space amplification", format!("{:.2}", tiers.space_amplification));
        line("rows still in the memtable", tiers.memtable.rows.to_string());
        line("rows read back and compared, all right", self.verified.to_string());
        out.push_str(LOAD_NOTE);
    }

    fn device_table(&self, out: &mut String) {
        out.push_str("\n## The device's own random reads of 4 KiB\n\n");
        out.push_str("| in flight | reads/s | CPU us a read |\n| ---: | ---: | ---: |\n");
        for line in &self.device {
            let rate = spread(Some(line.reads_per_s), 0);
            let _ = writeln!(out, "| {} | {rate} | {} |", line.depth, spread(Some(line.cpu_us), 1));
        }
    }

    /// Which goals were reached, plainly.
    fn goals(&self, out: &mut String) {
        out.push_str("\n## Goals\n\n");
        for (what, most) in BLOCKS_MAX {
            for line in self.reads.iter().filter(|line| line.what == what) {
                let found = line.blocks_per_look_up.max;
                let verdict = if found <= most { "reached" } else { "**missed**" };
                let _ = writeln!(
                    out,
                    "* Blocks a {what} at most {most}, {} in flight: {found:.4}, {verdict}.",
                    line.keys
                );
            }
        }
        for line in self.reads.iter().filter(|line| line.what == "hit") {
            let Some(share) = line.device_share else { continue };
            let verdict = if share.median >= DEVICE_SHARE_MIN { "reached" } else { "**missed**" };
            let _ = writeln!(
                out,
                "* Blocks read a second at least {DEVICE_SHARE_MIN} of the device's rate, {} in flight: {}, {verdict}. \
                 A look-up takes {:.0} us of processor time.",
                line.keys,
                spread(Some(share), 2),
                line.cpu_us.median
            );
        }
        out.push_str(GOALS_NOTE);
    }
}

fn read_table(out: &mut String, lines: &[ReadLine]) {
    out.push_str("| keys | in flight | look-ups/s | blocks a look-up in tables | answered hot | CPU us a look-up ");
    out.push_str("| fetch p50 us | fetch p99 us | of the device's rate |\n");
    out.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for line in lines {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.1}% | {} | {} | {} | {} |",
            line.what,
            line.keys,
            spread(Some(line.look_ups_per_s), 0),
            spread(Some(line.blocks_per_look_up), 4),
            line.hot_share.median * 100.0,
            spread(Some(line.cpu_us), 1),
            spread(Some(line.p50_us), 0),
            spread(Some(line.p99_us), 0),
            // Look-ups that find nothing hardly touch the device.
            spread(line.device_share.filter(|_| line.what != "miss"), 2)
        );
    }
}
