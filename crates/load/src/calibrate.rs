//! The constants of this machine: what each part of a request costs a core, what a row costs in memory, and how
//! latency grows with load. Measured in a few minutes, over the wire of a server that serves.

mod requests;

use requests::{HUNDRED, operations, views};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fit::fit;
use crate::machine::Machine;
use crate::outcome::{HEADROOM_MIN, Step};
use crate::run::{Run, Tick};
use crate::shape::{Shape, payload_bytes, slot_bytes};
use crate::target::{Target, Way};
use crate::workload::{Drive, Operation, View, Workload};

/// Version of the document.
pub const FORMAT: u32 = 2;
/// Requests that a peak is taken from, at least.
const REQUESTS_MIN: f64 = 50.0;
/// Passes of a calibration.
pub const PASSES: usize = 3;
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
    /// Rows of the largest view. Each view is to be several times as large as the processor's caches: of data that they
    /// hold a part of, that part is another one on every machine, and in every minute of one that others share.
    pub entities: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { seconds: 1.0, entities: 2_000_000 }
    }
}

/// Measures a server, in [`PASSES`].
///
/// # Errors
/// No server, or one that refuses the views.
pub fn calibrate(
    way: &Way,
    drive: &Drive,
    effort: Effort,
    told: &mut dyn FnMut(Tick),
) -> Result<Calibration, Error> {
    let mut passes = Passes::new(drive, effort)?;
    for _ in 0..PASSES {
        passes.measure(way, told)?;
    }
    passes.finish(way, told)
}

/// A calibration under way: of what is measured again the best counts. A machine that others share has slow minutes, and
/// whatever is to be compared with a calibration belongs between its passes.
#[derive(Debug)]
pub struct Passes {
    views: Vec<View>,
    drive: Drive,
    measured: Vec<Measured>,
}

impl Passes {
    /// Nothing measured yet.
    ///
    /// # Errors
    /// None of views that are right.
    pub fn new(drive: &Drive, effort: Effort) -> Result<Self, Error> {
        let seconds = effort.seconds;
        let drive = Drive { seconds, warm_up_s: seconds / 4.0, ..drive.clone() };
        Ok(Self { views: views(effort.entities)?, drive, measured: Vec::new() })
    }

    fn workload(&self, name: &str, operations: Vec<Operation>) -> Workload {
        Workload {
            name: name.to_owned(),
            description: "calibration".to_owned(),
            views: self.views.clone(),
            operations,
            drive: self.drive.clone(),
        }
    }

    /// Measures everything, at a server that need not be that of the pass before.
    ///
    /// # Errors
    /// No server, or one that refuses the views.
    pub fn measure(&mut self, way: &Way, told: &mut dyn FnMut(Tick)) -> Result<(), Error> {
        if !matches!(way, Way::Wire { .. }) {
            let what =
                "a calibration is of a server over its wire: --server HOST:PORT or unix:/PATH";
            return Err(Error::Given(what.to_owned()));
        }
        for (at, (what, operations)) in operations().into_iter().enumerate() {
            let mut workload = self.workload(what, operations);
            workload.drive.in_flight = in_flight_at_peak(&workload);
            let one = measure(way, what, &workload, told)?;
            keep_best(&mut self.measured, at, one);
        }
        let rows = self.views.iter().map(|view| view.entities).sum();
        all_hot(Target::open(way.clone())?.figures()?.hot_rows, rows)
    }

    /// What the passes until now came to; latency and memory are of this server, which the last of them measured.
    ///
    /// # Errors
    /// No pass yet, or no server.
    pub fn finish(&self, way: &Way, told: &mut dyn FnMut(Tick)) -> Result<Calibration, Error> {
        let mut measured = self.measured.clone();
        let parts: Vec<Vec<f64>> = measured.iter().map(|one| one.shape.parts().to_vec()).collect();
        let figures: Vec<f64> = measured.iter().map(|one| one.core_us).collect();
        let (costs_us, worst_fit) = fit(&parts, &figures);
        for one in &mut measured {
            one.fitted_us = one.shape.cost(&costs_us);
        }
        let hundred = operations().into_iter().zip(&measured).find(|(of, _)| of.0 == HUNDRED);
        let Some(((_, hundred), peak)) = hundred else {
            return Err(Error::Given("a calibration of nothing".to_owned()));
        };
        let at_load = at_load(way, self.workload(HUNDRED, hundred), peak, told)?;
        let figures = Target::open(way.clone())?.figures()?;
        let bytes = memory(&figures, &self.views);
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
}

/// Whether a server has room for the rows that a calibration reads: what was measured of others is the disk's.
fn all_hot(hot_rows: u64, rows: u64) -> Result<(), Error> {
    if hot_rows >= rows {
        return Ok(());
    }
    Err(Error::Given(format!(
        "only {hot_rows} of the {rows} rows that a calibration reads found room in the server's hot tables: start it with \
         more memory (2 GiB are enough), or calibrate with fewer --entities"
    )))
}

/// Puts a measurement at its place, unless a better one is there.
fn keep_best(measured: &mut Vec<Measured>, at: usize, one: Measured) {
    match measured.get_mut(at) {
        Some(before) if before.per_s >= one.per_s => {}
        Some(before) => *before = one,
        None => measured.push(one),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_room_for_the_rows_is_no_measure() {
        assert!(all_hot(10, 10).is_ok() && all_hot(11, 10).is_ok());
        let told = all_hot(9, 10).map_err(|error| error.to_string());
        assert!(told.is_err_and(|told| told.contains("9 of the 10 rows")));
    }

    #[test]
    fn of_several_passes_the_best_counts() {
        let one = |per_s: f64| Measured {
            what: String::new(),
            shape: Shape::default(),
            per_s,
            core_us: 1e6 / per_s,
            fitted_us: 0.0,
            headroom: 2.0,
        };
        let mut measured = Vec::new();
        for pass in [[10.0, 5.0], [20.0, 4.0], [15.0, 6.0]] {
            for (at, per_s) in pass.into_iter().enumerate() {
                keep_best(&mut measured, at, one(per_s));
            }
        }
        assert_eq!(measured, [one(20.0), one(6.0)]);
    }
}
