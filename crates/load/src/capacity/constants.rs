//! The constants of a plan, each with where it comes from.

use serde::Serialize;

use crate::calibrate::Calibration;
use crate::shape::Shape;

/// Where a constant comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from", content = "where")]
pub enum Source {
    /// By the calibration.
    Measured(String),
    /// By a format, by a measurement that is written down, or by nobody better than us.
    Given(String),
}

/// One constant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Constant {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// Where from.
    pub source: Source,
}

/// What the arithmetic multiplies by.
#[derive(Debug, Clone, PartialEq)]
pub struct Constants {
    /// Microseconds of a core for each part of a request.
    pub costs_us: Vec<f64>,
    /// Of a core for a key that is read from a table, beside its share of the request.
    pub warm_read_us: f64,
    /// Of a core for flushes and merges of a row that was written.
    pub background_us: f64,
    /// Bytes of the hot table's index a row: best, average, worst.
    pub index_bytes: [f64; 3],
    /// Bytes of filters and block indices a row on disk.
    pub filter_bytes: f64,
    /// Bytes in tables for one of key and value: best, average, worst.
    pub table_factor: [f64; 3],
    /// Bytes of the newest tables for one of live rows, superseded ones waiting for their merge: best, average,
    /// worst.
    pub space_factor: [f64; 3],
    /// Bytes that flushes and merges write for one that is flushed.
    pub write_factor: f64,
    /// Bytes in the archive for one of key and value: best, average, worst.
    pub cold_factor: [f64; 3],
    /// Bytes beside keys and values in a request and its answer together.
    pub frame_bytes: f64,
    /// Commits of an archive, a view and minute.
    pub commits_per_minute: f64,
    /// Objects written for a commit.
    pub objects_per_commit: f64,
    /// Shares of a machine's memory, disk and network that are planned with.
    pub fill: f64,
    /// (share of the peak, p99 over the time that a request takes a core), rising.
    pub at_load: Vec<(f64, f64)>,
    /// How far measured costs are off what the arithmetic says, as a share.
    pub off: f64,
}

/// Index bytes a row when buckets of 64 bytes with 7 places are this full.
fn index_bytes(load: f64) -> f64 {
    64.0 / 7.0 / load
}

impl Constants {
    /// Those of a calibration, and those that are written down.
    pub fn of(calibration: &Calibration) -> Self {
        let measured = calibration.index_bytes_per_row;
        // Between the formats' own bounds, whatever was measured beside it.
        let (best, worst) = (index_bytes(0.93), index_bytes(0.5));
        let average = if measured > 0.0 { measured.clamp(best, worst) } else { index_bytes(0.84) };
        let tables = match calibration.table_bytes_per_byte {
            factor if factor > 0.0 => factor,
            _ => 1.0,
        };
        let at_load = calibration.at_load.iter().map(|at| (at.share, at.p99_over_service));
        Self {
            costs_us: calibration.costs_us.clone(),
            warm_read_us: 12.0,
            background_us: 2.0,
            index_bytes: [best, average, worst],
            filter_bytes: 1.35,
            table_factor: [tables * 0.6, tables, tables.max(1.1)],
            space_factor: [1.0, 1.5, 2.0],
            write_factor: 4.5,
            cold_factor: [0.3, 0.7, 1.05],
            frame_bytes: 256.0,
            commits_per_minute: 1.0,
            objects_per_commit: 2.0,
            fill: 0.8,
            at_load: at_load.collect(),
            off: calibration.worst_fit.max(0.1),
        }
    }

    /// All of them, for people.
    pub fn list(&self, calibration: &Calibration) -> Vec<Constant> {
        let machine = &calibration.machine;
        let shards = calibration.shards;
        let here = format!("{}, {shards} shards of {} cores", machine.cpu, machine.cores);
        let costs = Shape::NAMES.iter().zip(&self.costs_us);
        let measured = || Source::Measured(here.clone());
        let mut all: Vec<Constant> =
            costs.map(|(name, cost)| one(name, *cost, "us of a core", measured())).collect();
        let is_index_measured = calibration.index_bytes_per_row > 0.0;
        let index = match is_index_measured {
            true => measured(),
            false => given("docs/formats/hot.md: 64 / 7 / load, at 84%"),
        };
        all.push(one("index of the hot table, a row", self.index_bytes[1], "bytes", index));
        let tables = match calibration.table_bytes_per_byte > 0.0 {
            true => Source::Measured(format!("{here}; values that do not compress")),
            false => given("as large as key and value"),
        };
        all.push(one("tables for a byte of key and value", self.table_factor[1], "bytes", tables));
        for (share, times) in &self.at_load {
            let name = format!("p99 over the time of a core, at {:.0}% of the peak", share * 100.0);
            all.push(one(&name, *times, "times", measured()));
        }
        all.extend(self.written_down());
        all
    }

    /// Those that no calibration measures.
    fn written_down(&self) -> Vec<Constant> {
        let bounds = "docs/formats/hot.md: 64 / 7 / load, at 93% and 50%";
        let [best, worst] = [self.index_bytes[0], self.index_bytes[2]];
        let all = [
            (
                "a key read from a table",
                self.warm_read_us,
                "us of a core",
                "docs/benchmarks/warm-peers.md: 9 to 12 us a look-up",
            ),
            (
                "flushes and merges of a row",
                self.background_us,
                "us of a core",
                "cargo xtask bench warm: 1.7 to 2.8 us a row",
            ),
            (
                "tables for a byte of key and value, best",
                self.table_factor[0],
                "bytes",
                "an assumption: values compress to 0.6 of what noise does",
            ),
            (
                "tables for a byte of key and value, worst",
                self.table_factor[2],
                "bytes",
                "an assumption: blocks and their filling take a tenth",
            ),
            ("index of the hot table, best", best, "bytes", bounds),
            ("index of the hot table, worst", worst, "bytes", bounds),
            (
                "filters and block indices, a row",
                self.filter_bytes,
                "bytes",
                "docs/benchmarks/warm.md: 1.32 bytes a row",
            ),
            (
                "newest tables for a byte of live rows",
                self.space_factor[1],
                "bytes",
                "docs/architecture.md: what is superseded stays below the oldest table's size",
            ),
            ("written a byte flushed", self.write_factor, "bytes", "docs/benchmarks/warm.md"),
            (
                "archive for a byte of key and value",
                self.cold_factor[1],
                "bytes",
                "an assumption: 0.3 where values repeat, 1.05 where they are noise",
            ),
            (
                "a request and its answer beside keys and values",
                self.frame_bytes,
                "bytes",
                "docs/protocol.md: headers, statuses, alignment of columns, about",
            ),
            (
                "commits of the archive, a view and minute",
                self.commits_per_minute,
                "",
                "docs/decisions/0015-archive-at-work.md: one commit a view and minute",
            ),
            ("share of memory, disk, network planned with", self.fill, "", "room to breathe"),
        ];
        all.into_iter()
            .map(|(name, value, unit, source)| one(name, value, unit, given(source)))
            .collect()
    }
}

fn given(text: &str) -> Source {
    Source::Given(text.to_owned())
}

fn one(name: &str, value: f64, unit: &'static str, source: Source) -> Constant {
    Constant { name: name.to_owned(), value, unit, source }
}
