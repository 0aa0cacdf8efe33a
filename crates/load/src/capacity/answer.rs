//! The answer: machines, what limits them, what they cost, what breaks first.

use serde::Serialize;

use super::constants::{Constant, Constants};
use super::describe::{Description, Prices};
use super::needs::{Needs, needs};
use super::row::RowBytes;
use super::spread::Spread;
use crate::calibrate::Calibration;
use thermae_engine::memory::{Given, MemoryPlan, least_bytes};
use thermae_formats::hot_layout::header::whole_map_bytes;

const MIB: u64 = 1 << 20;
const GIB: f64 = (1_u64 << 30) as f64;

/// One resource of the machines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource {
    /// What.
    pub name: &'static str,
    /// In what.
    pub unit: &'static str,
    /// How much is needed.
    pub need: Spread,
    /// How much of it a machine has, for planning.
    pub per_node: f64,
    /// Machines that this resource alone would take.
    pub nodes: f64,
}

/// A resource that runs out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Break {
    /// Which.
    pub name: &'static str,
    /// When the load is so many times as large.
    pub at_times: f64,
    /// In so many years of the growth described; `None` without growth.
    pub in_years: Option<f64>,
}

/// What a month costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Of what.
    pub currency: String,
    /// The machines.
    pub nodes: f64,
    /// The archive's bytes.
    pub object_bytes: f64,
    /// The archive's requests.
    pub object_requests: f64,
    /// All of it.
    pub month: f64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The description's name.
    pub name: String,
    /// What is needed now.
    pub now: Needs,
    /// What is needed at the end of the years planned.
    pub then: Needs,
    /// How many times as large it is then.
    pub times: f64,
    /// What one row of each view takes.
    pub rows: Vec<RowBytes>,
    /// The resources, as they are needed then.
    pub resources: Vec<Resource>,
    /// Machines.
    pub nodes: f64,
    /// What they are bought for.
    pub bottleneck: &'static str,
    /// `--memory` of each server, bytes.
    pub memory_option_bytes: f64,
    /// A month, with the archive as large as it is then; `None` without prices.
    pub cost: Option<Cost>,
    /// Resources of those machines in the order in which they run out as load grows from now.
    pub breaks: Vec<Break>,
    /// Every constant, with its source.
    pub constants: Vec<Constant>,
    /// What to know, the uncertainty first.
    pub notes: Vec<String>,
}

/// Bytes that a server of so much `--memory`, so many shards, and an archive or none, keeps from its store: for its
/// connections and for what is on its way to the archive.
pub type Reserved = fn(memory_bytes: u64, shards: u64, has_archive: bool) -> u64;

/// What rows and index can take of a hot table that may have so many bytes.
pub(super) fn usable(hot_bytes: u64, constants: &Constants) -> f64 {
    whole_map_bytes(hot_bytes) as f64 * constants.hot_usable
}

/// Memory of a server whose hot table, filters and block indices take this much, over so many shards: what
/// `--memory` must say, by the store's own division of it.
fn memory_for(
    description: &Description,
    constants: &Constants,
    reserved: Reserved,
    hot_bytes: f64,
    filter_bytes: f64,
) -> f64 {
    let shards = description.node.cores.round().max(1.0) as u64;
    let has_archive = description.keep.cold_days > 0.0;
    let per_shard = |bytes: f64| (bytes / shards as f64) as u64;
    let enough = |memory_bytes: u64| {
        let reserved_bytes = reserved(memory_bytes, shards, has_archive);
        let pinned_bytes = per_shard(filter_bytes);
        let given = Given { memory_bytes, reserved_bytes, shards, pinned_bytes, flush_bytes: 0 };
        memory_bytes >= least_bytes(shards, reserved_bytes)
            && usable(MemoryPlan::divide(&given).hot_bytes, constants) >= hot_bytes / shards as f64
    };
    // In whole MiB, as it is written.
    let (mut low, mut high) = (0_u64, least_bytes(shards, 0).div_ceil(MIB));
    while !enough(high * MIB) && high < 1 << 30 {
        (low, high) = (high, high * 2);
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if enough(middle * MIB) { high = middle } else { low = middle }
    }
    (high * MIB) as f64
}

fn resources(
    description: &Description,
    constants: &Constants,
    reserved: Reserved,
    needs: &Needs,
) -> Vec<Resource> {
    let (node, fill) = (&description.node, constants.fill);
    let memory = |hot: f64, filter: f64| memory_for(description, constants, reserved, hot, filter);
    let memory = Spread {
        best: memory(needs.hot_bytes.best, needs.filter_bytes.best),
        average: memory(needs.hot_bytes.average, needs.filter_bytes.average),
        worst: memory(needs.hot_bytes.worst, needs.filter_bytes.worst),
    };
    let one = |name, unit, need: Spread, per_node: f64| Resource {
        name,
        unit,
        need,
        per_node,
        nodes: need.average / per_node.max(1e-9),
    };
    let network = Spread::even(needs.network_bytes_per_s * 8.0 / 1e9);
    vec![
        one("cores", "cores", needs.cores, node.cores),
        one("memory", "GiB", memory.times(1.0 / GIB), node.memory_gib * fill),
        one("disk", "GiB", needs.disk_bytes.times(1.0 / GIB), node.disk_gib * fill),
        one("disk operations", "a second", needs.disk_iops, node.disk_iops * fill),
        one("network", "Gbit/s", network, node.network_gbps * fill),
    ]
}

/// How many times as large the load may become until `machines` lack a resource.
fn breaks(
    description: &Description,
    constants: &Constants,
    reserved: Reserved,
    machines: f64,
) -> Vec<Break> {
    let names = resources(description, constants, reserved, &needs(description, constants, 1.0));
    let per_year = description.growth.per_year;
    let mut found: Vec<Break> = names
        .iter()
        .enumerate()
        .map(|(at, resource)| {
            let fits = |times: f64| {
                let needs = needs(description, constants, times);
                resources(description, constants, reserved, &needs)[at].nodes <= machines
            };
            let (mut low, mut high) = (0.0, 1.0);
            while fits(high) && high < 1e6 {
                (low, high) = (high, high * 2.0);
            }
            while high - low > 0.001 * high {
                let middle = f64::midpoint(low, high);
                if fits(middle) { low = middle } else { high = middle }
            }
            let in_years = (per_year > 0.0 && low > 0.0).then(|| low.ln() / (1.0 + per_year).ln());
            Break { name: resource.name, at_times: low, in_years }
        })
        .collect();
    found.sort_by(|a, b| a.at_times.total_cmp(&b.at_times));
    found
}

/// Works a description out.
pub fn answer(description: &Description, calibration: &Calibration, reserved: Reserved) -> Answer {
    let constants = Constants::of(calibration);
    let growth = &description.growth;
    let times = (1.0 + growth.per_year).powi(i32::try_from(growth.years).unwrap_or(50));
    let now = needs(description, &constants, 1.0);
    let then = needs(description, &constants, times);
    let largest = if times >= 1.0 { &then } else { &now };
    let resources = resources(description, &constants, reserved, largest);
    let most = resources.iter().max_by(|a, b| a.nodes.total_cmp(&b.nodes));
    let (bottleneck, share) = most.map_or(("cores", 1.0), |most| (most.name, most.nodes));
    let nodes = share.ceil().max(1.0);
    // What a server takes whatever it holds is taken by each.
    let (hot, filters) = (then.hot_bytes.average / nodes, then.filter_bytes.average / nodes);
    let memory_option_bytes = memory_for(description, &constants, reserved, hot, filters);
    let cost = description.prices.as_ref().map(|prices| cost(prices, &then, nodes));
    Answer {
        name: description.name.clone(),
        rows: description.views.iter().map(|view| RowBytes::of(view, &constants)).collect(),
        breaks: breaks(description, &constants, reserved, nodes),
        notes: notes(description, calibration, &constants, &now, nodes),
        constants: constants.list(calibration),
        now,
        then,
        times,
        resources,
        nodes,
        bottleneck,
        memory_option_bytes,
        cost,
    }
}

fn cost(prices: &Prices, then: &Needs, nodes: f64) -> Cost {
    let price = |price: Option<f64>| price.unwrap_or(0.0);
    let object_bytes = then.cold_bytes.average / GIB * price(prices.object_gib_month);
    let object_requests = then.object_writes / 1000.0 * price(prices.object_1000_writes)
        + then.object_reads / 1000.0 * price(prices.object_1000_reads);
    let machines = nodes * prices.node_month;
    Cost {
        currency: prices.currency.clone(),
        nodes: machines,
        object_bytes,
        object_requests,
        month: machines + object_bytes + object_requests,
    }
}

fn notes(
    description: &Description,
    calibration: &Calibration,
    constants: &Constants,
    now: &Needs,
    nodes: f64,
) -> Vec<String> {
    let mut notes = vec![format!(
        "Uncertainty: the calibration's own measurements are off its fitted costs by up to {:.0}%, so cores are told \
         with {:.0}% either way; memory and disk are told for the best and the worst case of the formats. Cores are \
         those of the machine that was calibrated: others are quicker or slower.",
        calibration.worst_fit * 100.0,
        constants.off * 100.0
    )];
    let bound = calibration.client_bound();
    if !bound.is_empty() {
        let what = bound.join(", ");
        notes.push(format!("The client was the limit while calibrating {what}: those costs are too high, and so are cores."));
    }
    if nodes > 1.0 {
        notes.push(format!(
            "{nodes:.0} machines: this version serves from one. Split the views or the keys over servers yourself."
        ));
    }
    let least = constants.at_load.first().map_or(1.0, |(_, over)| *over) * now.service_us / 1000.0;
    if least > description.target.p99_ms {
        notes.push(format!(
            "The promise of {} ms is not kept at any load: the longest request takes a core {:.0} us, and its p99 {:.2} ms \
             on an idle server. Ask for fewer keys in a request.",
            description.target.p99_ms, now.service_us, least
        ));
    }
    if description.keep.hot_hits < 1.0 {
        notes.push(
            "Keys that are not hot wait for a read of the disk: p99 of requests that have some is the disk's, 0.1 to 1 ms \
             more than what is planned with here."
                .to_owned(),
        );
    }
    if description.prices.is_none() {
        let what = "No prices, so no cost: a [prices] section, or --prices FILE.toml, adds it.";
        notes.push(what.to_owned());
    }
    if calibration.table_bytes_per_byte <= 0.0 {
        notes.push("Nothing was flushed while calibrating: tables are taken to be as large as what is in them.".to_owned());
    }
    notes
}
