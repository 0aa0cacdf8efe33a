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
    /// Reads of the disk for it.
    pub blocks_per_key: f64,
    /// Of a core for flushes and merges of a row that was written.
    pub background_us: f64,
    /// Bytes of the hot table's index a row: best, average, worst.
    pub index_bytes: [f64; 3],
    /// Of a hot table, the share that rows and index can take before the first row is evicted: the rest is header,
    /// directory, marks, and room that growth keeps ready.
    pub hot_usable: f64,
    /// Bytes of filters and block indices a row on disk.
    pub filter_bytes: f64,
    /// Bytes of a row beside key and value in log and tables: times, sequence, lengths.
    pub row_beside_bytes: f64,
    /// Bytes in tables for one of key and value: best, average, worst.
    pub table_factor: [f64; 3],
    /// Bytes of the newest tables for one of live rows, superseded ones waiting for their merge: best, average,
    /// worst.
    pub space_factor: [f64; 3],
    /// Bytes that flushes and merges write for one that is flushed.
    pub write_factor: f64,
    /// Bytes of one write of the disk by the log, flushes and merges.
    pub piece_bytes: f64,
    /// Bytes in the archive for one of key and value: best, average, worst.
    pub cold_factor: [f64; 3],
    /// Bytes beside keys and values in a request, and in its answer.
    pub frame_bytes: f64,
    /// Bytes of an answer for each key: whether its row is there, or was written.
    pub status_bytes: f64,
    /// Commits of an archive, a view and minute.
    pub commits_per_minute: f64,
    /// Objects written for a commit, and read back.
    pub objects_per_commit: f64,
    /// Days of a month.
    pub days_a_month: f64,
    /// Shares of a machine's memory, disk and network that are planned with.
    pub fill: f64,
    /// Share of the peak that is planned with where no load was measured.
    pub load_share: f64,
    /// (share of the peak, p99 over the time that a request takes a core), rising.
    pub at_load: Vec<(f64, f64)>,
    /// How far measured costs are off what the arithmetic says, as a share.
    pub off: f64,
}

/// Cores are told with no less uncertainty than this, however well the costs fit.
const OFF_LEAST: f64 = 0.1;

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
            blocks_per_key: 1.0,
            background_us: 2.0,
            index_bytes: [best, average, worst],
            hot_usable: 0.92,
            filter_bytes: 1.35,
            row_beside_bytes: 14.0,
            table_factor: [tables * 0.6, tables, tables.max(1.1)],
            space_factor: [1.0, 1.5, 2.0],
            write_factor: 4.5,
            piece_bytes: 65_536.0,
            cold_factor: [0.3, 0.7, 1.05],
            frame_bytes: 256.0,
            status_bytes: 1.0,
            commits_per_minute: 1.0,
            objects_per_commit: 2.0,
            days_a_month: 30.4,
            fill: 0.8,
            load_share: 0.5,
            at_load: at_load.collect(),
            off: calibration.worst_fit.max(OFF_LEAST),
        }
    }

    /// All of them, for people.
    pub fn list(&self, calibration: &Calibration) -> Vec<Constant> {
        let machine = &calibration.machine;
        let shards = calibration.shards;
        let here = format!("{}, {shards} shards of {} cores", machine.cpu, machine.cores);
        let measured = || Source::Measured(here.clone());
        let or_given = |is_measured: bool, text: &str| match is_measured {
            true => measured(),
            false => given(text),
        };
        let costs = Shape::NAMES.iter().zip(&self.costs_us);
        let mut all: Vec<Constant> =
            costs.map(|(name, cost)| one(name, *cost, "us of a core", measured())).collect();
        let index = or_given(
            calibration.index_bytes_per_row > 0.0,
            "docs/formats/hot.md: 64 / 7 / load, at 84%",
        );
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
        if self.at_load.is_empty() {
            let why = given("an assumption: the calibration measured no load");
            all.push(one("share of the peak planned with", self.load_share, "", why));
        }
        let misfit =
            or_given(self.off > OFF_LEAST, "the least that is told, however well costs fit");
        all.push(one("cores may be off, either way", self.off, "", misfit));
        let written_down = [self.of_work(), self.of_memory(), self.of_tables(), self.of_archive()];
        all.extend(written_down.into_iter().flatten());
        all
    }

    /// Cores, disk and network, as far as no calibration measures them.
    fn of_work(&self) -> Vec<Constant> {
        vec![
            one(
                "a key read from a table",
                self.warm_read_us,
                "us of a core",
                given("docs/benchmarks/warm-peers.md: 7 us among 32 keys and more, 24 us alone"),
            ),
            one(
                "reads of the disk for it",
                self.blocks_per_key,
                "",
                given("docs/benchmarks/warm.md: blocks a hit"),
            ),
            one(
                "flushes and merges of a row",
                self.background_us,
                "us of a core",
                given("cargo xtask bench warm: 1.7 to 2.8 us a row"),
            ),
            one(
                "one write of log, flush or merge",
                self.piece_bytes,
                "bytes",
                given("an assumption: 64 KiB"),
            ),
            one(
                "a request, and an answer, beside keys and values",
                self.frame_bytes,
                "bytes",
                given("docs/protocol.md: headers, alignment of columns, about"),
            ),
            one(
                "a key's status in an answer",
                self.status_bytes,
                "bytes",
                given("docs/protocol.md"),
            ),
            one(
                "share of memory, disk, network planned with",
                self.fill,
                "",
                given("room to breathe"),
            ),
        ]
    }

    /// Hot tables, and what tables pin.
    fn of_memory(&self) -> Vec<Constant> {
        let [best, _, worst] = self.index_bytes;
        vec![
            one(
                "index of the hot table, best",
                best,
                "bytes",
                given("docs/formats/hot.md: 64 / 7 / load, at 93%"),
            ),
            one(
                "index of the hot table, worst",
                worst,
                "bytes",
                given("an assumption: half full, as a small table may be"),
            ),
            one(
                "share of a hot table that rows and index can take",
                self.hot_usable,
                "",
                given(
                    "thermae plan --verify: 0.95 to 0.98, the rest is header, directory and room to grow",
                ),
            ),
            one(
                "filters and block indices, a row",
                self.filter_bytes,
                "bytes",
                given("docs/benchmarks/warm.md: 1.32 bytes a row"),
            ),
        ]
    }

    /// Log and tables.
    fn of_tables(&self) -> Vec<Constant> {
        let [best, _, worst] = self.table_factor;
        let mut all = vec![
            one(
                "a row in log and tables beside key and value",
                self.row_beside_bytes,
                "bytes",
                given("docs/formats/warm.md: times, sequence, schema, lengths, about"),
            ),
            one(
                "tables for a byte of key and value, best",
                best,
                "bytes",
                given("an assumption: values compress to 0.6 of what noise does"),
            ),
            one(
                "tables for a byte of key and value, worst",
                worst,
                "bytes",
                given("an assumption: blocks and their filling take a tenth"),
            ),
            one(
                "written a byte flushed",
                self.write_factor,
                "bytes",
                given("docs/benchmarks/warm.md: write amplification of tables"),
            ),
        ];
        all.extend(cases(
            "newest tables for a byte of live rows",
            self.space_factor,
            "docs/architecture.md: what is superseded stays below the oldest table's size",
        ));
        all
    }

    /// The archive.
    fn of_archive(&self) -> Vec<Constant> {
        let mut all = vec![
            one(
                "commits of the archive, a view and minute",
                self.commits_per_minute,
                "",
                given("docs/decisions/0015-archive-at-work.md: one commit a view and minute"),
            ),
            one(
                "objects of a commit, written and read back",
                self.objects_per_commit,
                "",
                given("docs/formats/archive.md: a file of rows and an entry of the table log"),
            ),
            one("a month", self.days_a_month, "days", given("the calendar")),
        ];
        all.extend(cases(
            "archive for a byte of key and value",
            self.cold_factor,
            "an assumption: 0.3 where values repeat, 1.05 where they are noise",
        ));
        all
    }
}

/// Best, average and worst of a constant.
fn cases(name: &str, values: [f64; 3], source: &str) -> Vec<Constant> {
    let which = [", best", "", ", worst"];
    let named = which.iter().zip(values);
    named
        .map(|(case, value)| one(&format!("{name}{case}"), value, "bytes", given(source)))
        .collect()
}

fn given(text: &str) -> Source {
    Source::Given(text.to_owned())
}

fn one(name: &str, value: f64, unit: &'static str, source: Source) -> Constant {
    Constant { name: name.to_owned(), value, unit, source }
}
