//! What a load needs, in plain quantities.

use serde::Serialize;

use super::constants::Constants;
use super::describe::Description;
use crate::shape::{Shape, payload_bytes, slot_bytes};
use crate::workload::{Kind, View};

const DAY_S: f64 = 86_400.0;

/// Best, average and worst case.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// Best case.
    pub best: f64,
    /// What to expect.
    pub average: f64,
    /// Worst case.
    pub worst: f64,
}

impl Spread {
    /// The same in all cases.
    pub fn even(value: f64) -> Self {
        Self { best: value, average: value, worst: value }
    }

    fn of(cases: [f64; 3]) -> Self {
        Self { best: cases[0], average: cases[1], worst: cases[2] }
    }

    fn add(&mut self, cases: [f64; 3]) {
        self.best += cases[0];
        self.average += cases[1];
        self.worst += cases[2];
    }

    /// The same times something.
    #[must_use]
    pub fn times(self, by: f64) -> Self {
        Self { best: self.best * by, average: self.average * by, worst: self.worst * by }
    }
}

/// What a load needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Needs {
    /// Requests a second.
    pub requests_per_s: f64,
    /// Keys read a second.
    pub keys_per_s: f64,
    /// Rows written a second.
    pub rows_per_s: f64,
    /// Rows, newest versions alone.
    pub rows: f64,
    /// Cores that would be busy all the time.
    pub busy_cores: Spread,
    /// Requests a second of this mix that one core makes when it is busy all the time.
    pub per_core_per_s: f64,
    /// Share of a core's time that requests may take so that the promise is kept.
    pub load_share: f64,
    /// Cores: busy ones over that share.
    pub cores: Spread,
    /// Longest request, microseconds of a core.
    pub service_us: f64,
    /// Hot tables, bytes.
    pub hot_bytes: Spread,
    /// Filters and block indices of tables, bytes.
    pub filter_bytes: Spread,
    /// Local disk, bytes.
    pub disk_bytes: Spread,
    /// Reads and writes of a disk a second.
    pub disk_iops: Spread,
    /// Bytes a second that flushes and merges write.
    pub disk_write_bytes_per_s: Spread,
    /// Archive, bytes.
    pub cold_bytes: Spread,
    /// Objects written a month.
    pub object_writes: f64,
    /// Objects read a month: each is read back before it is named.
    pub object_reads: f64,
    /// Bytes a second out of the servers.
    pub network_bytes_per_s: f64,
}

/// Share of the peak at which `p99_over_service` is at most `times`; none of the measured loads may do.
fn share_at(at_load: &[(f64, f64)], times: f64) -> f64 {
    let mut held = (0.0, 0.0);
    for (share, over) in at_load {
        if *over > times {
            // Between the last that held and the first that did not, in proportion.
            let part = ((times - held.1) / (over - held.1).max(1e-9)).clamp(0.0, 1.0);
            return held.0 + (share - held.0) * part;
        }
        held = (*share, *over);
    }
    held.0
}

/// What the description needs when it has grown `times` as large.
pub fn needs(description: &Description, constants: &Constants, times: f64) -> Needs {
    let workload = description.workload();
    let keep = &description.keep;
    let (mut cpu_us, mut keys, mut requests, mut rows_written, mut network) =
        (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut service_us = 0.0_f64;
    let mut written: Vec<f64> = vec![0.0; workload.views.len()];
    for (request, operation) in description.requests.iter().zip(&workload.operations) {
        let shape = Shape::of(&workload, operation);
        let per_s = request.per_s * times;
        let cold_keys = shape.keys * (1.0 - keep.hot_hits);
        let one_us = shape.cost(&constants.costs_us) + cold_keys * constants.warm_read_us;
        cpu_us += per_s * (one_us + shape.rows * constants.background_us);
        if per_s > 0.0 {
            service_us = service_us.max(one_us);
        }
        keys += per_s * shape.keys;
        requests += per_s;
        rows_written += per_s * shape.rows;
        network += per_s * (constants.frame_bytes + shape.bytes + shape.keys * 9.0);
        if request.kind != Kind::Read
            && let Some(view) = request.of.first().and_then(|part| workload.view_index(&part.view))
        {
            written[view] += per_s * shape.rows;
        }
    }
    let busy = cpu_us / 1e6;
    let off = constants.off;
    let busy_cores = Spread { best: busy * (1.0 - off), average: busy, worst: busy * (1.0 + off) };
    let over = description.target.p99_ms * 1000.0 / service_us.max(1e-9);
    let load_share =
        if constants.at_load.is_empty() { 0.5 } else { share_at(&constants.at_load, over) };
    let mut sum = Needs {
        requests_per_s: requests,
        keys_per_s: keys,
        rows_per_s: rows_written,
        rows: 0.0,
        busy_cores,
        per_core_per_s: requests / busy.max(1e-12),
        load_share,
        cores: busy_cores.times(1.0 / load_share.max(1e-6)),
        service_us,
        hot_bytes: Spread::default(),
        filter_bytes: Spread::default(),
        disk_bytes: Spread::default(),
        disk_iops: Spread::default(),
        disk_write_bytes_per_s: Spread::default(),
        cold_bytes: Spread::default(),
        object_writes: 0.0,
        object_reads: 0.0,
        network_bytes_per_s: network,
    };
    for (view, written) in workload.views.iter().zip(&written) {
        add_view(&mut sum, description, constants, view, view.entities as f64 * times, *written);
    }
    let fetched = keys * (1.0 - keep.hot_hits);
    let blocks_written = sum.disk_write_bytes_per_s.times(1.0 / 65_536.0);
    sum.disk_iops = Spread::even(fetched);
    sum.disk_iops.add([blocks_written.best, blocks_written.average, blocks_written.worst]);
    sum
}

fn add_view(
    sum: &mut Needs,
    description: &Description,
    constants: &Constants,
    view: &View,
    rows: f64,
    written: f64,
) {
    let keep = &description.keep;
    let (slot, payload) = (slot_bytes(view), payload_bytes(view));
    // What a row has beside key and value in a table: times, sequence, lengths.
    let stored = payload + 14.0;
    sum.rows += rows;
    let hot = rows * keep.hot_rows;
    sum.hot_bytes.add(constants.index_bytes.map(|index| hot * (slot + index)));
    let history = written * DAY_S * keep.warm_days;
    let factor = |at: usize| {
        constants.table_factor[at] * stored * (rows * constants.space_factor[at] + history)
    };
    sum.disk_bytes.add([factor(0), factor(1), factor(2)]);
    let filters =
        |at: usize| constants.filter_bytes * (rows * constants.space_factor[at] + history);
    sum.filter_bytes.add([filters(0), filters(1), filters(2)]);
    let flushed =
        Spread::of(constants.table_factor).times(written * stored * constants.write_factor);
    sum.disk_write_bytes_per_s.add([flushed.best, flushed.average, flushed.worst]);
    // The log is written once beside the tables.
    sum.disk_write_bytes_per_s.add([written * stored; 3]);
    if keep.cold_days > 0.0 && written > 0.0 {
        let archived = written * DAY_S * keep.cold_days * stored;
        sum.cold_bytes.add(constants.cold_factor.map(|factor| factor * archived));
        let commits = constants.commits_per_minute * 60.0 * 24.0 * 30.4;
        sum.object_writes += commits * constants.objects_per_commit;
        sum.object_reads += commits * constants.objects_per_commit;
    }
}
