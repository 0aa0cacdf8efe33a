//! The rungs that a disk bears: what it gives by itself, look-ups of rows that lie on it, durable writes.

use std::sync::Arc;
use std::time::Duration;

use thermae_engine::options::Options;
use thermae_engine::store::Store;

use super::{LadderOptions, Rung, rung, workload};
use crate::clock::pause;
use crate::device::{Access, Device, LEAST_BYTES, is_in_memory};
use crate::embedded::EmbeddedSession;
use crate::error::Error;
use crate::figures::Figures;
use crate::maker::Shared;
use crate::run::{Run, Tick};
use crate::shape::payload_bytes;
use crate::target::Way;
use crate::workload::Kind;

/// Reads in flight, and keys of a request that all lie on the disk.
const DEPTHS: [u32; 3] = [1, 32, 256];
/// Bytes of the file that is read, for each row of the ladder, and at least and at most.
const FILE_BYTES_A_ROW: u64 = 1 << 10;
const FILE_BYTES_MIN: u64 = LEAST_BYTES;
const FILE_BYTES_MAX: u64 = 1 << 30;
/// What a row takes in the log beside key and value.
const LOG_BYTES_A_ROW: f64 = 40.0;
const BLOCK_BYTES: f64 = 4096.0;
/// Memory of the store whose rows lie on the disk: the least that it works with, or this part of a row's bytes.
const WARM_BYTES_MIN: u64 = 16 << 20;
const WARM_BYTES_A_ROW: u64 = 6;
/// Flushes and merges have ended when nothing moved between two looks; they are awaited so many of them.
const SETTLED: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 240;

/// What the disk gives.
pub struct Disk {
    /// Reads at random, durable writes.
    pub rungs: Vec<Rung>,
    /// As in [`super::Ladder`].
    pub stream_bytes_per_s: f64,
}

impl Disk {
    /// Measures it; why there is none to be measured, otherwise.
    ///
    /// # Errors
    /// The disk fails.
    pub fn measure(
        options: &LadderOptions<'_>,
        told: &mut dyn FnMut(Tick),
    ) -> Result<Result<Self, String>, Error> {
        let name = options.folder.display();
        if is_in_memory(options.folder) {
            let why =
                format!("disk, warm: {name} is in memory; --embedded DIR names one on a disk");
            return Ok(Err(why));
        }
        let bytes = (options.rows * FILE_BYTES_A_ROW).clamp(FILE_BYTES_MIN, FILE_BYTES_MAX);
        let mut device = match Device::fill(options.folder, bytes) {
            Ok(device) => device,
            Err(error) => return Ok(Err(format!("disk, warm: {error}"))),
        };
        let (one, stream_bytes_per_s) = (workload(options, 1)?, device.stream_bytes_per_s);
        let row_bytes = payload_bytes(&one.views[0]) + LOG_BYTES_A_ROW;
        let shared = Shared::new(one)?;
        let mut rungs = Vec::new();
        for depth in DEPTHS {
            device.turn_to(Access::Read { depth: depth as usize });
            rungs.push(rung("disk read", depth, &shared, &mut device, told)?);
        }
        for rows in [1_u32, 100] {
            let blocks = (f64::from(rows) * row_bytes / BLOCK_BYTES).ceil().max(1.0) as usize;
            device.turn_to(Access::Write { blocks });
            let mut found = rung("disk write", rows, &shared, &mut device, told)?;
            // One request of the device stands for all the rows that fit into its blocks.
            found.keys_per_s *= f64::from(rows);
            rungs.push(found);
        }
        Ok(Ok(Self { rungs, stream_bytes_per_s }))
    }
}

/// Look-ups of rows most of which are in tables, because the store has memory for few of them.
///
/// # Errors
/// A store that does not open, or that does not come to rest.
pub fn warm(options: &LadderOptions<'_>, told: &mut dyn FnMut(Tick)) -> Result<Vec<Rung>, Error> {
    let data = options.folder.join("warm");
    let memory_bytes = WARM_BYTES_MIN.max(options.rows * WARM_BYTES_A_ROW);
    let way = Way::Embedded { data: data.clone(), memory_bytes, cores: 1 };
    Run::open(way, workload(options, 1)?, told)?.load()?;
    let settings = Options { memory_bytes, cores: 1, preload_bytes: 0, ..Options::default() };
    let store = Arc::new(Store::open_with(&data, settings)?);
    settle(&store)?;
    let mut rungs = Vec::new();
    for keys in DEPTHS {
        let shared = Shared::new(workload(options, keys)?)?;
        let before = figures(&store)?.below_hot;
        let mut session = EmbeddedSession::open(&store, &shared)?;
        let mut found = rung("warm", keys, &shared, &mut session, told)?;
        let below = (figures(&store)?.below_hot - before) as f64;
        let drive = &shared.workload.drive;
        let asked = found.keys_per_s * (drive.seconds + drive.warm_up_s);
        let hot = (100.0 - 100.0 * below / asked.max(1.0)).clamp(0.0, 100.0);
        found.why = format!("; about {hot:.0}% of the keys were hot");
        rungs.push(found);
    }
    Ok(rungs)
}

fn figures(store: &Store) -> Result<Figures, Error> {
    let engine = serde_json::to_value(store.handle().stats())
        .map_err(|error| Error::Given(format!("the store's figures: {error}")))?;
    Ok(Figures::from_engine(&engine))
}

/// Waits until flushes and merges are done.
fn settle(store: &Store) -> Result<(), Error> {
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        let moved = figures(store)?.moved_bytes;
        if before == Some(moved) {
            return Ok(());
        }
        before = Some(moved);
        pause(SETTLED);
    }
    Err(Error::Given("the store does not come to rest; is the machine busy?".to_owned()))
}

/// Rows written over those that are there, each request durable before the next.
///
/// # Errors
/// As [`rung`].
pub fn durable_write(
    store: &Arc<Store>,
    shared: &Arc<Shared>,
    keys: u32,
    told: &mut dyn FnMut(Tick),
) -> Result<Rung, Error> {
    let mut workload = shared.workload.clone();
    for operation in &mut workload.operations {
        (operation.kind, operation.matrix) = (Kind::Write, false);
    }
    let writes = Shared::new(workload)?;
    rung("durable write", keys, &writes, &mut EmbeddedSession::open(store, &writes)?, told)
}
