//! What a load needs, in plain quantities.

use serde::Serialize;

use super::constants::Constants;
use super::describe::Description;
use super::row::RowBytes;
use super::spread::Spread;
use crate::shape::{Shape, key_bytes};
use crate::workload::{Kind, Operation, View, Workload};

const DAY_S: f64 = 86_400.0;

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
    /// Bytes a second into the servers or out of them, whichever is more: a network carries so much each way.
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
    let (mut cpu_us, mut keys, mut requests, mut rows_written) = (0.0, 0.0, 0.0, 0.0);
    let mut network = [0.0; 2];
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
        let each_way = on_the_wire(&workload, operation, &shape, constants);
        network.iter_mut().zip(each_way).for_each(|(sum, bytes)| *sum += per_s * bytes);
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
    let load_share = match constants.at_load.is_empty() {
        true => constants.load_share,
        false => share_at(&constants.at_load, over),
    };
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
        network_bytes_per_s: network[0].max(network[1]),
    };
    for (view, written) in workload.views.iter().zip(&written) {
        add_view(&mut sum, description, constants, view, view.entities as f64 * times, *written);
    }
    let fetched = keys * (1.0 - keep.hot_hits) * constants.blocks_per_key;
    let pieces = sum.disk_write_bytes_per_s.times(1.0 / constants.piece_bytes);
    sum.disk_iops = Spread::even(fetched).plus(pieces);
    sum
}

/// Bytes of a request and of its answer.
fn on_the_wire(
    workload: &Workload,
    operation: &Operation,
    shape: &Shape,
    constants: &Constants,
) -> [f64; 2] {
    let keys = operation.of.iter().map(|part| {
        let view = workload.views.iter().find(|view| view.name == part.view);
        view.map_or(0.0, |view| part.keys.mean() * key_bytes(view))
    });
    // Who reads rows and writes them again sends their keys twice.
    let keys = keys.sum::<f64>() * (shape.reads + shape.writes);
    let statuses = (shape.keys + shape.rows) * constants.status_bytes;
    [constants.frame_bytes + keys + shape.row_bytes, constants.frame_bytes + statuses + shape.bytes]
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
    let row = RowBytes::of(view, constants);
    let add = |to: &mut Spread, more: Spread| *to = to.plus(more);
    let history = written * DAY_S * keep.warm_days;
    sum.rows += rows;
    add(&mut sum.hot_bytes, row.hot.times(rows * keep.hot_rows));
    add(&mut sum.disk_bytes, row.disk.times(rows).plus(row.version.times(history)));
    add(&mut sum.filter_bytes, row.filters.times(rows));
    add(&mut sum.filter_bytes, Spread::even(constants.filter_bytes * history));
    add(&mut sum.disk_write_bytes_per_s, row.version.times(written * constants.write_factor));
    // The log is written once beside the tables.
    add(&mut sum.disk_write_bytes_per_s, Spread::even(written * row.stored));
    if keep.cold_days > 0.0 && written > 0.0 {
        add(&mut sum.cold_bytes, row.archived.times(written * DAY_S * keep.cold_days));
        let commits = constants.commits_per_minute * 60.0 * 24.0 * constants.days_a_month;
        sum.object_writes += commits * constants.objects_per_commit;
        sum.object_reads += commits * constants.objects_per_commit;
    }
}
