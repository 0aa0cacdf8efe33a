//! The constants of this machine: what each part of a request costs a core, what a row costs in memory, and how
//! latency grows with load. Measured in a few minutes, over the wire of a server that serves.

use serde::{Deserialize, Serialize};
use thermae_formats::KeyType;

use crate::error::Error;
use crate::fit::fit;
use crate::keys::Keys;
use crate::machine::Machine;
use crate::outcome::{HEADROOM_MIN, Step};
use crate::run::{Run, Tick};
use crate::shape::{Shape, payload_bytes, slot_bytes};
use crate::target::{Target, Way};
use crate::workload::{Count, Drive, Features, Kind, Operation, Part, View, Workload};

/// Version of the document.
pub const FORMAT: u32 = 2;
/// Requests that a peak is taken from, at least.
const REQUESTS_MIN: f64 = 50.0;
/// Requests in flight on a connection at the peak, at least and at most. Writes are the most, so that many share a flush
/// of the disk; of reads as many as have answers of [`ON_THE_WAY_BYTES`].
const IN_FLIGHT: (usize, usize) = (16, 512);
const ON_THE_WAY_BYTES: f64 = 256.0 * 1024.0;
/// Shares of the peak at which latency is measured.
const LOADS: [f64; 5] = [0.2, 0.4, 0.6, 0.75, 0.9];

/// One measurement of a calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What was driven.
    pub what: String,
    /// Its parts.
    pub shape: Shape,
    /// Requests a second at the peak.
    pub per_s: f64,
    /// Microseconds of a core a request, by that.
    pub core_us: f64,
    /// What the fitted costs say instead.
    pub fitted_us: f64,
    /// The client alone over this; below 1.3 the figure is the client's.
    pub headroom: f64,
}

/// Latency at a share of the peak.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtLoad {
    /// Of the peak.
    pub share: f64,
    /// 99 of 100 were quicker, as a multiple of the time that a request takes a core.
    pub p99_over_service: f64,
}

/// What `bench --calibrate` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Version of this document: 2.
    pub format: u32,
    /// Program and version.
    pub program: String,
    /// Where.
    pub machine: Machine,
    /// Shards of the server that was measured.
    pub shards: u64,
    /// What was measured.
    pub measured: Vec<Measured>,
    /// Microseconds of a core for each part of a request, in the order of [`Shape::NAMES`].
    pub costs_us: Vec<f64>,
    /// How far the worst of the measurements is off the fitted costs, as a share.
    pub worst_fit: f64,
    /// Bytes of the index of the hot table a row.
    pub index_bytes_per_row: f64,
    /// Resident memory of the server beside its hot table, bytes.
    pub base_bytes: f64,
    /// Bytes in tables on disk for one of key and value; 0 where nothing was flushed.
    pub table_bytes_per_byte: f64,
    /// How latency grows with load.
    pub at_load: Vec<AtLoad>,
}

/// How long a calibration measures, and over how many rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Seconds a measurement.
    pub seconds: f64,
    /// Rows of the largest view.
    pub entities: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { seconds: 3.0, entities: 500_000 }
    }
}

fn view(
    name: &str,
    entities: u64,
    value_type: &str,
    count: usize,
    bytes: usize,
) -> Result<View, Error> {
    let value_type =
        value_type.parse().map_err(|error| Error::Given(format!("type {value_type}: {error}")))?;
    let features = vec![Features { value_type, count, bytes }];
    Ok(View {
        name: name.to_owned(),
        entities,
        key: KeyType::Int64,
        key_bytes: 0,
        ttl_s: 0,
        cold_after_s: 0,
        features,
    })
}

fn operation(kind: Kind, of: &[&str], keys: u32, matrix: bool) -> Operation {
    let part =
        |view: &&str| Part { view: (*view).to_owned(), keys: Count::Exactly(keys), features: 0 };
    Operation {
        kind,
        weight: 1.0,
        of: of.iter().map(part).collect(),
        keys: Keys::Uniform,
        same_keys: false,
        consecutive: false,
        matrix,
    }
}

/// The views that a calibration reads and writes.
fn views(entities: u64) -> Result<Vec<View>, Error> {
    let mut views = vec![
        view("cal_narrow", entities, "float32", 10, 0)?,
        view("cal_wide", entities / 4, "float32", 50, 0)?,
        view("cal_text", entities / 4, "bytes", 10, 20)?,
        view("cal_long", entities / 4, "bytes", 1, 400)?,
    ];
    for at in 0..8 {
        // Together they are as large as the others: their rows, too, come from memory.
        views.push(view(&format!("cal_many{at}"), entities / 8, "float32", 10, 0)?);
    }
    Ok(views)
}

/// What is measured: each tells the costs of some parts apart from the others.
fn operations() -> Vec<(&'static str, Operation)> {
    use Kind::{Read, Write};
    let many = [
        "cal_many0",
        "cal_many1",
        "cal_many2",
        "cal_many3",
        "cal_many4",
        "cal_many5",
        "cal_many6",
        "cal_many7",
    ];
    vec![
        ("1 key x 10 float32", operation(Read, &["cal_narrow"], 1, true)),
        ("100 keys x 10 float32", operation(Read, &["cal_narrow"], 100, true)),
        ("1000 keys x 10 float32", operation(Read, &["cal_narrow"], 1000, true)),
        ("100 keys x 50 float32", operation(Read, &["cal_wide"], 100, true)),
        ("500 keys x 50 float32", operation(Read, &["cal_wide"], 500, true)),
        ("100 keys x 10 float32 in columns", operation(Read, &["cal_narrow"], 100, false)),
        ("100 keys x 50 float32 in columns", operation(Read, &["cal_wide"], 100, false)),
        ("8 views of 10 keys", operation(Read, &many, 10, true)),
        ("8 views of 10 keys in columns", operation(Read, &many, 10, false)),
        ("8 views of 1 key in columns", operation(Read, &many, 1, false)),
        ("20 keys x 10 texts", operation(Read, &["cal_text"], 20, false)),
        ("20 keys x 400 bytes", operation(Read, &["cal_long"], 20, false)),
        ("1 row written", operation(Write, &["cal_narrow"], 1, false)),
        ("100 rows written", operation(Write, &["cal_narrow"], 100, false)),
        ("100 rows of 400 bytes written", operation(Write, &["cal_long"], 100, false)),
    ]
}

/// Measures a server.
///
/// # Errors
/// No server, or one that refuses the views.
pub fn calibrate(
    way: &Way,
    drive: &Drive,
    effort: Effort,
    told: &mut dyn FnMut(Tick),
) -> Result<Calibration, Error> {
    if !matches!(way, Way::Wire { .. }) {
        let what = "a calibration is of a server over its wire: --server HOST:PORT or unix:/PATH";
        return Err(Error::Given(what.to_owned()));
    }
    let views = views(effort.entities)?;
    let drive = Drive { seconds: effort.seconds, warm_up_s: effort.seconds / 4.0, ..drive.clone() };
    let workload = |name: &str, operation: Operation| Workload {
        name: name.to_owned(),
        description: "calibration".to_owned(),
        views: views.clone(),
        operations: vec![operation],
        drive: drive.clone(),
    };
    let mut measured = Vec::new();
    for (what, operation) in operations() {
        let mut workload = workload(what, operation);
        workload.drive.in_flight = in_flight_at_peak(&workload);
        measured.push(measure(way, what, &workload, told)?);
    }
    let parts: Vec<Vec<f64>> = measured.iter().map(|one| one.shape.parts().to_vec()).collect();
    let figures: Vec<f64> = measured.iter().map(|one| one.core_us).collect();
    let (costs_us, worst_fit) = fit(&parts, &figures);
    for one in &mut measured {
        one.fitted_us = one.shape.cost(&costs_us);
    }
    let (_, hundred) = operations().swap_remove(1);
    let at_load = at_load(way, workload("100 keys x 10 float32", hundred), &measured[1], told)?;
    let target = Target::open(way.clone())?;
    let figures = target.figures()?;
    let bytes = memory(&figures, &views);
    Ok(Calibration {
        format: FORMAT,
        program: concat!("thermae ", env!("CARGO_PKG_VERSION")).to_owned(),
        machine: Machine::here(),
        shards: figures.shards,
        measured,
        costs_us,
        worst_fit,
        index_bytes_per_row: bytes.0,
        base_bytes: bytes.1,
        table_bytes_per_byte: bytes.2,
        at_load,
    })
}

/// Requests in flight with which a core is the limit, and its caches are not.
pub fn in_flight_at_peak(workload: &Workload) -> usize {
    let reads = (ON_THE_WAY_BYTES / Shape::mean(workload).bytes.max(1.0)) as usize;
    if workload.writes() { IN_FLIGHT.1 } else { reads.clamp(IN_FLIGHT.0, IN_FLIGHT.1) }
}

/// The peak of one workload; longer, where so little was answered that the figure would mean nothing.
fn measure(
    way: &Way,
    what: &str,
    workload: &Workload,
    told: &mut dyn FnMut(Tick),
) -> Result<Measured, Error> {
    for longer in [1.0, 5.0, 20.0] {
        let mut workload = workload.clone();
        workload.drive.seconds *= longer;
        workload.drive.warm_up_s *= longer;
        let shape = Shape::mean(&workload);
        let mut run = Run::open(way.clone(), workload, &mut *told)?;
        run.load()?;
        let shards = run.target().figures()?.shards.max(1) as f64;
        let mut step = run.peak()?;
        if step.answered_per_s * step.seconds < REQUESTS_MIN {
            continue;
        }
        step.with_client(Some(run.client_alone()?));
        // The peak keeps every shard busy: that many cores made that many requests.
        let (per_s, what) = (step.answered_per_s, what.to_owned());
        let (core_us, headroom) = (shards * 1e6 / per_s, step.headroom.unwrap_or(0.0));
        return Ok(Measured { what, shape, per_s, core_us, fitted_us: 0.0, headroom });
    }
    Err(Error::Given(format!(
        "{what}: too little was answered to measure it; is the machine busy?"
    )))
}

/// Index bytes a row, bytes beside the hot table, bytes in tables for one of payload.
fn memory(figures: &crate::figures::Figures, views: &[View]) -> (f64, f64, f64) {
    let rows = figures.hot_rows.max(1) as f64;
    let entities: f64 = views.iter().map(|view| view.entities as f64).sum();
    let mean = |bytes: &dyn Fn(&View) -> f64| {
        views.iter().map(|view| view.entities as f64 * bytes(view)).sum::<f64>() / entities.max(1.0)
    };
    let slots = mean(&|view| slot_bytes(view));
    let payload = mean(&|view| payload_bytes(view));
    let index = (figures.hot_used_bytes as f64 / rows - slots).max(0.0);
    let base = figures.process.resident_bytes.saturating_sub(figures.hot_budget_bytes) as f64;
    let tables = match figures.table_rows {
        0 => 0.0,
        rows => figures.table_bytes as f64 / rows as f64 / payload,
    };
    (index, base, tables)
}

fn at_load(
    way: &Way,
    workload: Workload,
    peak: &Measured,
    told: &mut dyn FnMut(Tick),
) -> Result<Vec<AtLoad>, Error> {
    let mut run = Run::open(way.clone(), workload, told)?;
    let mut found = Vec::new();
    for share in LOADS {
        let step: Step = run.step(Some(peak.per_s * share))?;
        let p99_us = step.latency.p99_ns as f64 / 1000.0;
        found.push(AtLoad { share, p99_over_service: p99_us / peak.core_us });
    }
    Ok(found)
}

impl Calibration {
    /// Reads a calibration.
    ///
    /// # Errors
    /// Another document, or one of another version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let told = |why: String| {
            Error::Given(format!(
                "this is no calibration (thermae bench --calibrate --out FILE makes one): {why}"
            ))
        };
        let found: Self = serde_json::from_str(text).map_err(|error| told(error.to_string()))?;
        if found.format != FORMAT {
            return Err(told(format!("its format is {}, not {FORMAT}", found.format)));
        }
        if found.costs_us.len() != Shape::PARTS
            || found.costs_us.iter().any(|cost| !(0.0..1e9).contains(cost))
        {
            return Err(told("its costs are not those of this program".to_owned()));
        }
        Ok(found)
    }

    /// Measurements that the client limited.
    pub fn client_bound(&self) -> Vec<&str> {
        let bound = self.measured.iter().filter(|one| one.headroom < HEADROOM_MIN);
        bound.map(|one| one.what.as_str()).collect()
    }
}
