//! The ladder: the same rows read through each layer, from plain memory to the wire, and from the disk to the store;
//! what each adds, and why.

mod disk;
mod sessions;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thermae_engine::options::Options;
use thermae_engine::store::Store;

use self::disk::{Disk, durable_write, warm};
use self::sessions::{HotSession, MemorySession};
use crate::clock::{Clock, RealClock};
use crate::drive::{Driver, Pace, SECOND_NS, Watch, Window};
use crate::embedded::EmbeddedSession;
use crate::error::Error;
use crate::machine::Machine;
use crate::maker::{Maker, Shared};
use crate::mapped::MappedSession;
use crate::presets::{preset, resized};
use crate::run::{Goal, Run, Tick};
use crate::session::Session;
use crate::target::Way;
use crate::wire::WireSession;
use crate::workload::{PROJECT, Workload};

/// Threads that scaling is measured with, as far as there are cores.
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// One rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// What was read or written through.
    pub name: String,
    /// Keys of a request; of the disk's reads, how many are in flight.
    pub keys: u32,
    /// Half of the requests, one after the other, were quicker, nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were.
    pub p99_ns: u64,
    /// Keys, or reads of the disk, a second.
    pub keys_per_s: f64,
    /// More than the rung it stands on, nanoseconds; `None` of the first.
    pub more_ns: Option<i64>,
    /// Share of the time that it added.
    pub lost_share: Option<f64>,
    /// For what.
    pub why: String,
}

impl Rung {
    /// The share of its time that it added, for people; nothing, where it was as quick as what it stands on.
    pub fn lost_text(&self) -> String {
        match self.lost_share {
            Some(share) if share > 0.0 => format!("{:.0}%", share * 100.0),
            Some(_) => "none".to_owned(),
            None => "-".to_owned(),
        }
    }
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
    /// What the threads could do if the store did nothing, over what they did.
    pub headroom: Option<f64>,
    /// That was the limit: the store can do more.
    pub is_client_bound: bool,
}

impl Scaling {
    /// What a reader must know of it.
    pub fn judgement(&self) -> &'static str {
        if self.is_client_bound { "client-bound" } else { "" }
    }
}

/// The ladder of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ladder {
    /// Where.
    pub machine: Machine,
    /// Rows that are read.
    pub rows: u64,
    /// Bottom first, in three families: reads of memory, reads of the disk, durable writes.
    pub rungs: Vec<Rung>,
    /// Bytes a second that the disk takes in one stream of durable writes of 1 MiB, four on their way.
    pub stream_bytes_per_s: Option<f64>,
    /// With more threads.
    pub scaling: Vec<Scaling>,
    /// What was not measured, and why.
    pub absent: Vec<String>,
}

/// What is measured.
pub struct LadderOptions<'a> {
    /// An empty directory on the disk that is to be measured.
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

/// Measures every rung that there is.
///
/// # Errors
/// A store that does not open, a server that refuses, a disk that fails.
pub fn ladder(options: &LadderOptions<'_>, told: &mut dyn FnMut(Tick)) -> Result<Ladder, Error> {
    let machine = Machine::here();
    // What cannot be driven is refused before anything is made of it.
    workload(options, 1)?.check()?;
    let memory_bytes = (options.rows * 160).max(64 << 20) * 2;
    let data = options.folder.join("data");
    let way = Way::Embedded { data: data.clone(), memory_bytes, cores: 1 };
    let (mut rungs, mut absent, mut stream_bytes_per_s) = (Vec::new(), Vec::new(), None);
    for keys in [1_u32, 100] {
        let workload = workload(options, keys)?;
        // The rows are loaded through a run of its own, which then lets the directory go.
        Run::open(way.clone(), workload.clone(), told)?.load()?;
        rungs.extend(in_process(&data, memory_bytes, workload, keys, told)?);
    }
    let scaling = scaling(options, &way, &mut absent, told)?;
    match options.server {
        Some(server) => above(options, server, &mut rungs, &mut absent, told)?,
        None => absent.push("mapped, wire: no server answers at --server".to_owned()),
    }
    match Disk::measure(options, told)? {
        Ok(disk) => {
            rungs.extend(disk.rungs);
            rungs.extend(warm(options, told)?);
            stream_bytes_per_s = Some(disk.stream_bytes_per_s);
        }
        Err(why) => absent.push(why),
    }
    explain(&mut rungs);
    Ok(Ladder { machine, rows: options.rows, rungs, stream_bytes_per_s, scaling, absent })
}

fn workload(options: &LadderOptions<'_>, keys: u32) -> Result<Workload, Error> {
    let mut workload = resized(preset("batch")?, Some(options.rows), Some(keys));
    workload.drive.in_flight = 1;
    workload.drive.seconds = options.seconds;
    workload.drive.warm_up_s = options.seconds / 4.0;
    Ok(workload)
}

fn in_process(
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
    let view = &shared.workload.views[0];
    let (rows, name) = (view.entities, format!("{PROJECT}/{}", view.name));
    let view = Arc::clone(store.handle().catalogue().resolve(&name)?);
    Ok(vec![
        rung("memory", keys, &shared, &mut MemorySession::new(rows), told)?,
        rung("hot table", keys, &shared, &mut HotSession::new(&store, view), told)?,
        rung("store", keys, &shared, &mut EmbeddedSession::open(&store, &shared)?, told)?,
        durable_write(&store, &shared, keys, told)?,
    ])
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
            Ok(mut session) => rungs.push(rung("mapped", keys, &shared, &mut session, told)?),
            Err(error) if keys == 1 => absent.push(format!("mapped: {error}")),
            Err(_) => {}
        }
        let mut session = WireSession::open(&address, &shared, 1, true)?;
        rungs.push(rung("wire", keys, &shared, &mut session, told)?);
    }
    Ok(())
}

/// One request after the other through a session, or as many at a time as it has room for.
fn rung(
    name: &str,
    keys: u32,
    shared: &Arc<Shared>,
    session: &mut dyn Session,
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
    let recorded = driver.run(session, &mut maker, 1)?;
    let all = recorded.service();
    let found = recorded.operations.first().map_or(0, |tally| tally.found);
    let rows = recorded.operations.first().map_or(0, |tally| tally.rows);
    if let Some(why) = recorded.first_failure {
        return Err(Error::Given(format!("{name}: {why}")));
    }
    if found < rows {
        let what = format!("{name}: {found} of {rows} rows were there; give it more memory");
        return Err(Error::Given(what));
    }
    let (p50_ns, p99_ns) = (all.value_at_quantile(0.5), all.value_at_quantile(0.99));
    let keys_per_s = recorded.rows as f64 / drive.seconds;
    let (name, why) = (name.to_owned(), String::new());
    Ok(Rung { name, keys, p50_ns, p99_ns, keys_per_s, more_ns: None, lost_share: None, why })
}

/// The rungs of each family from the bottom up: its name, what it stands on, what its time is for.
const STEPS: [(&str, Option<&str>, &str); 9] = [
    ("memory", None, "copying rows whose places are known"),
    (
        "hot table",
        Some("memory"),
        "hashing the key, the index (a line in another page), checks of checksum and key",
    ),
    (
        "store",
        Some("hot table"),
        "partition and shard, ttl and expiry, the projection into columns",
    ),
    (
        "mapped",
        Some("store"),
        "splitting packed keys, liveness of the writer, one more copy of the answer",
    ),
    (
        "wire",
        Some("store"),
        "the loopback itself, frames and their checksums on both sides, the client",
    ),
    ("disk read", None, "a block of 4 KiB past the page cache, as many of them in flight as keys"),
    (
        "warm",
        Some("disk read"),
        "waking the shard and the reader, finding and unpacking the block, all on one thread; a request waits for the \
         last of its reads before the next begins",
    ),
    ("disk write", None, "as many blocks as the rows take, in their place, durable when it ends"),
    (
        "durable write",
        Some("disk write"),
        "waking the shard and the writer, the frame of the log, applying the rows to hot table and memtable",
    ),
];

/// Puts the rungs in order and says what each adds to the one that it stands on.
fn explain(rungs: &mut [Rung]) {
    let place = |name: &str| STEPS.iter().position(|step| step.0 == name).unwrap_or(STEPS.len());
    let family = |at: usize| STEPS.iter().take(at + 1).filter(|step| step.1.is_none()).count();
    rungs.sort_by_key(|rung| (family(place(&rung.name)), rung.keys, place(&rung.name)));
    let before = rungs.to_vec();
    for rung in rungs {
        let Some((_, below, why)) = STEPS.get(place(&rung.name)) else { continue };
        let measured = std::mem::take(&mut rung.why);
        rung.why = format!("{why}{measured}");
        let is_below =
            |other: &&Rung| Some(other.name.as_str()) == *below && other.keys == rung.keys;
        let below = before.iter().find(is_below);
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
    absent: &mut Vec<String>,
    told: &mut dyn FnMut(Tick),
) -> Result<Vec<Scaling>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<Scaling> = Vec::new();
    for threads in THREADS.into_iter().filter(|threads| *threads <= cores) {
        let mut workload = workload(options, 100)?;
        (workload.drive.threads, workload.drive.connections) = (threads, threads);
        let outcome = Run::open(way.clone(), workload, told)?.measure(&Goal::Peak)?;
        let Some(step) = outcome.steps.first() else { continue };
        let (rows_per_s, headroom) = (step.rows_per_s, step.headroom);
        let is_client_bound = step.is_client_bound;
        let one = found.first().map_or(rows_per_s, |first| first.rows_per_s);
        let efficiency = rows_per_s / (one * threads as f64).max(1e-9);
        found.push(Scaling { threads, rows_per_s, efficiency, headroom, is_client_bound });
    }
    let lacking: Vec<_> = THREADS.iter().filter(|threads| **threads > cores).collect();
    if !lacking.is_empty() {
        let more: Vec<_> = lacking.iter().map(ToString::to_string).collect();
        let more = more.join(", ");
        absent
            .push(format!("scaling to {more} threads: {cores} cores are all that there are here"));
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
            keys_per_s: 0.0,
            more_ns: None,
            lost_share: None,
            why: String::new(),
        };
        let mut rungs = vec![
            rung("warm", 32, 4000),
            rung("wire", 1, 9_000),
            rung("wire", 100, 24_000),
            rung("memory", 100, 2000),
            rung("hot table", 100, 10_000),
            rung("store", 100, 12_000),
            rung("disk read", 1, 500),
            rung("disk read", 32, 3000),
        ];
        rungs[0].why = "; 3% were hot".to_owned();
        explain(&mut rungs);
        let more: Vec<_> = rungs.iter().map(|rung| rung.more_ns).collect();
        let families = [None, None, Some(8000), Some(2000), Some(12_000), None, None, Some(1000)];
        assert_eq!(more, families);
        assert_eq!((rungs[0].keys, rungs[4].lost_share), (1, Some(0.5)));
        assert!(
            rungs[7].why.contains("last of its reads") && rungs[7].why.ends_with("3% were hot")
        );
        assert!(rungs.iter().all(|rung| !rung.why.is_empty()));
    }
}
