//! The ladder: the same rows read through each layer, from plain memory to the wire; what each adds, and why.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thermae_engine::catalogue::View;
use thermae_engine::options::Options;
use thermae_engine::reads::{Key, Lookup, RowBuf};
use thermae_engine::store::Store;

use crate::clock::{Clock, RealClock};
use crate::dice::Dice;
use crate::drive::{Driver, Pace, SECOND_NS, Watch, Window};
use crate::embedded::EmbeddedSession;
use crate::error::Error;
use crate::machine::Machine;
use crate::maker::{Maker, Request, Shared};
use crate::mapped::MappedSession;
use crate::presets::{preset, resized};
use crate::run::{Goal, Run, Tick};
use crate::session::{Done, End, Session};
use crate::target::Way;
use crate::wire::WireSession;
use crate::workload::{PROJECT, Workload};

/// Float32 of a row, and of a slot of the hot table: 80 bytes.
const FEATURES: usize = 10;
const SLOT_FLOATS: usize = 20;

/// One rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// What was read through.
    pub name: String,
    /// Keys of a request.
    pub keys: u32,
    /// Half of the requests, one after the other, were quicker, nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were.
    pub p99_ns: u64,
    /// More than the rung it stands on, nanoseconds; `None` of the first.
    pub more_ns: Option<i64>,
    /// Share of the time that it added.
    pub lost_share: Option<f64>,
    /// For what.
    pub why: String,
}

/// Reads through the store from so many threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Threads that read.
    pub threads: usize,
    /// Rows a second.
    pub rows_per_s: f64,
    /// Over that many times what one thread reads.
    pub efficiency: f64,
}

/// The ladder of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ladder {
    /// Where.
    pub machine: Machine,
    /// Rows that are read.
    pub rows: u64,
    /// Bottom first.
    pub rungs: Vec<Rung>,
    /// With more threads.
    pub scaling: Vec<Scaling>,
    /// What was not measured, and why.
    pub absent: Vec<String>,
}

/// What is measured.
pub struct LadderOptions<'a> {
    /// An empty directory for a store.
    pub folder: &'a Path,
    /// A server, for the rungs above the store; none, and they are absent.
    pub server: Option<&'a str>,
    /// Rows.
    pub rows: u64,
    /// Seconds a figure.
    pub seconds: f64,
}

struct Nobody;

impl Watch for Nobody {
    fn ended(&self, _: u64, _: u64) {}
}

/// Rows as plain memory, in slots as large as the hot table's: copying them is what there is to pay at least.
struct MemorySession {
    slots: Vec<[f32; SLOT_FLOATS]>,
    out: Vec<f32>,
    done: Vec<Done>,
}

impl MemorySession {
    fn new(rows: u64) -> Self {
        let mut dice = Dice::new(1);
        let slots = (0..rows).map(|_| [(dice.next_u64() >> 40) as f32; SLOT_FLOATS]).collect();
        Self { slots, out: Vec::new(), done: Vec::new() }
    }
}

impl Session for MemorySession {
    fn room(&self) -> usize {
        usize::from(self.done.is_empty())
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        self.out.clear();
        for row in request.parts.iter().flat_map(|(_, rows)| rows) {
            let slot = &self.slots[(*row % self.slots.len() as u64) as usize];
            self.out.extend_from_slice(&slot[..FEATURES]);
        }
        std::hint::black_box(&self.out);
        let rows = request.rows() as u32;
        self.done.push(Done { token, end: End::Answered { rows, found: rows } });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.done);
        Ok(())
    }
}

/// The hot table alone: hash, look up, verify, copy.
struct HotSession {
    store: Arc<Store>,
    view: Arc<View>,
    row: RowBuf,
    out: Vec<u8>,
    done: Vec<Done>,
}

impl Session for HotSession {
    fn room(&self) -> usize {
        usize::from(self.done.is_empty())
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        let reads = self.store.handle().reads();
        let rows = request.parts.first().map_or(&[][..], |(_, rows)| rows);
        let bytes: Vec<[u8; 8]> = rows.iter().map(|row| row.to_le_bytes()).collect();
        let key = |bytes: &'_ [u8; 8]| (reads.hash(bytes), *bytes);
        let hashed: Vec<(u64, [u8; 8])> = bytes.iter().map(key).collect();
        let keys: Vec<Key<'_>> = hashed
            .iter()
            .map(|(entity_hash, bytes)| Key { entity_hash: *entity_hash, bytes })
            .collect();
        self.out.clear();
        let (out, mut found) = (&mut self.out, 0);
        reads.multi_get(&self.view, &keys, &mut self.row, |_, row| {
            if let Lookup::Found(row) = row {
                out.extend_from_slice(row.value());
                found += 1;
            }
        });
        std::hint::black_box(&self.out);
        let rows = rows.len() as u32;
        self.done.push(Done { token, end: End::Answered { rows, found } });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.done);
        Ok(())
    }
}

/// Measures every rung that there is.
///
/// # Errors
/// A store that does not open, a server that refuses.
pub fn ladder(options: &LadderOptions<'_>, told: &mut dyn FnMut(Tick)) -> Result<Ladder, Error> {
    let machine = Machine::here();
    let memory_bytes = (options.rows * 160).max(64 << 20) * 2;
    let data = options.folder.join("data");
    let way = Way::Embedded { data: data.clone(), memory_bytes, cores: 1 };
    let (mut rungs, mut absent) = (Vec::new(), Vec::new());
    for keys in [1_u32, 100] {
        let workload = workload(options, keys)?;
        // The rows are loaded through a run of its own, which then lets the directory go.
        Run::open(way.clone(), workload.clone(), told)?.load()?;
        rungs.extend(in_process(options, &data, memory_bytes, workload, keys, told)?);
    }
    let scaling = scaling(options, &way, told)?;
    match options.server {
        Some(server) => above(options, server, &mut rungs, &mut absent, told)?,
        None => absent.push("mapped, wire: no server was given (--server)".to_owned()),
    }
    absent.push("device: cargo xtask bench warm has its random reads".to_owned());
    rungs.sort_by_key(|rung| rung.keys);
    explain(&mut rungs);
    Ok(Ladder { machine, rows: options.rows, rungs, scaling, absent })
}

fn workload(options: &LadderOptions<'_>, keys: u32) -> Result<Workload, Error> {
    let mut workload = resized(preset("batch")?, Some(options.rows), Some(keys));
    workload.drive.in_flight = 1;
    workload.drive.seconds = options.seconds;
    workload.drive.warm_up_s = options.seconds / 4.0;
    Ok(workload)
}

fn in_process(
    options: &LadderOptions<'_>,
    data: &Path,
    memory_bytes: u64,
    workload: Workload,
    keys: u32,
    told: &mut dyn FnMut(Tick),
) -> Result<Vec<Rung>, Error> {
    let settings =
        Options { memory_bytes, cores: 1, preload_bytes: u64::MAX, ..Options::default() };
    let store = Arc::new(Store::open_with(data, settings)?);
    let shared = Shared::new(workload)?;
    let catalogue = store.handle().catalogue();
    let name = format!("{PROJECT}/{}", shared.workload.views[0].name);
    let view = Arc::clone(catalogue.resolve(&name)?);
    let mut rungs = Vec::new();
    let memory: Box<dyn Session> = Box::new(MemorySession::new(options.rows));
    rungs.push(rung("memory", keys, &shared, memory, told)?);
    let (row, out, done) = (RowBuf::default(), Vec::new(), Vec::new());
    let hot: Box<dyn Session> =
        Box::new(HotSession { store: Arc::clone(&store), view, row, out, done });
    rungs.push(rung("hot table", keys, &shared, hot, told)?);
    let whole: Box<dyn Session> = Box::new(EmbeddedSession::open(&store, &shared)?);
    rungs.push(rung("store", keys, &shared, whole, told)?);
    Ok(rungs)
}

fn above(
    options: &LadderOptions<'_>,
    server: &str,
    rungs: &mut Vec<Rung>,
    absent: &mut Vec<String>,
    told: &mut dyn FnMut(Tick),
) -> Result<(), Error> {
    let way = Way::Wire { server: server.to_owned() };
    for keys in [1_u32, 100] {
        let workload = workload(options, keys)?;
        Run::open(way.clone(), workload.clone(), told)?.load()?;
        let shared = Shared::new(workload)?;
        let address = server.parse::<thermae_client::Address>()?;
        match MappedSession::open(&address, &shared, 1) {
            Ok(session) => rungs.push(rung("mapped", keys, &shared, Box::new(session), told)?),
            Err(error) if keys == 1 => absent.push(format!("mapped: {error}")),
            Err(_) => {}
        }
        let session = WireSession::open(&address, &shared, 1, true)?;
        rungs.push(rung("wire", keys, &shared, Box::new(session), told)?);
    }
    Ok(())
}

/// One request after the other through a session.
fn rung(
    name: &str,
    keys: u32,
    shared: &Arc<Shared>,
    mut session: Box<dyn Session>,
    told: &mut dyn FnMut(Tick),
) -> Result<Rung, Error> {
    let drive = &shared.workload.drive;
    let all_ms = ((drive.seconds + drive.warm_up_s) * 1000.0) as u64;
    told(Tick::Step { name: format!("{name}, {keys} keys"), all_ms });
    let clock = RealClock::start();
    let start_ns = clock.now_ns();
    let measured_ns = start_ns + (drive.warm_up_s * SECOND_NS as f64) as u64;
    let end_ns = measured_ns + (drive.seconds * SECOND_NS as f64) as u64;
    let window = Window { start_ns, measured_ns, end_ns };
    let driver = Driver { clock: &clock, pace: Pace::Closed, window, seed: 1, watch: &Nobody };
    let mut maker = Maker::new(shared, 0, 1);
    let recorded = driver.run(session.as_mut(), &mut maker, 1)?;
    let all = recorded.service();
    let found = recorded.operations.first().map_or(0, |tally| tally.found);
    let rows = recorded.operations.first().map_or(0, |tally| tally.rows);
    if found < rows {
        let what = format!("{name}: {found} of {rows} rows were there; give it more memory");
        return Err(Error::Given(what));
    }
    let (p50_ns, p99_ns) = (all.value_at_quantile(0.5), all.value_at_quantile(0.99));
    let (name, why) = (name.to_owned(), String::new());
    Ok(Rung { name, keys, p50_ns, p99_ns, more_ns: None, lost_share: None, why })
}

/// What each rung stands on, and what it does more.
const STEPS: [(&str, &str, &str); 4] = [
    (
        "hot table",
        "memory",
        "hashing the key, the index (a line in another page), checks of checksum and key",
    ),
    ("store", "hot table", "partition and shard, ttl and expiry, the projection into columns"),
    (
        "mapped",
        "store",
        "splitting packed keys, liveness of the writer, one more copy of the answer",
    ),
    ("wire", "store", "the loopback itself, frames and their checksums on both sides, the client"),
];

fn explain(rungs: &mut [Rung]) {
    let before = rungs.to_vec();
    for rung in rungs {
        let Some((_, below, why)) = STEPS.iter().find(|(name, _, _)| *name == rung.name) else {
            rung.why = "copying rows whose places are known".to_owned();
            continue;
        };
        rung.why = (*why).to_owned();
        let below = before.iter().find(|other| other.name == *below && other.keys == rung.keys);
        if let Some(below) = below {
            let more = rung.p50_ns as i64 - below.p50_ns as i64;
            rung.more_ns = Some(more);
            rung.lost_share = Some(more as f64 / rung.p50_ns.max(1) as f64);
        }
    }
}

fn scaling(
    options: &LadderOptions<'_>,
    way: &Way,
    told: &mut dyn FnMut(Tick),
) -> Result<Vec<Scaling>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<Scaling> = Vec::new();
    for threads in [1, 2, 4, 8, 16].into_iter().filter(|threads| *threads <= cores) {
        let mut workload = workload(options, 100)?;
        (workload.drive.threads, workload.drive.connections) = (threads, threads);
        let outcome = Run::open(way.clone(), workload, told)?.measure(&Goal::Peak)?;
        let rows_per_s = outcome.steps.first().map_or(0.0, |step| step.rows_per_s);
        let one = found.first().map_or(rows_per_s, |first| first.rows_per_s);
        let efficiency = rows_per_s / (one * threads as f64).max(1e-9);
        found.push(Scaling { threads, rows_per_s, efficiency });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rung_is_compared_with_the_one_that_it_stands_on() {
        let rung = |name: &str, keys, p50_ns| Rung {
            name: name.to_owned(),
            keys,
            p50_ns,
            p99_ns: 0,
            more_ns: None,
            lost_share: None,
            why: String::new(),
        };
        let mut rungs = vec![
            rung("memory", 100, 2000),
            rung("hot table", 100, 10_000),
            rung("store", 100, 12_000),
            rung("wire", 100, 24_000),
            rung("wire", 1, 9_000),
        ];
        explain(&mut rungs);
        let more: Vec<_> = rungs.iter().map(|rung| rung.more_ns).collect();
        assert_eq!(more, [None, Some(8000), Some(2000), Some(12_000), None]);
        assert_eq!(rungs[3].lost_share, Some(0.5));
        assert!(rungs.iter().all(|rung| !rung.why.is_empty()));
    }
}
