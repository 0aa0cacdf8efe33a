//! Filling the store with far more than its memory, and waiting until its tables rest.

use super::rows::{PAYLOAD_BYTES, Rows};
use crate::machine::cpu_seconds;
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use thermae_engine::handle::WriteTicket;
use thermae_engine::tiers::TierStats;
use thermae_engine::write::{Outcome, Refusal, WriteBatch};
use thermae_engine::{Handle, Store};
use thermae_env::{Env, RealEnv};
use thermae_tiering::compact::plan::CompactionPolicy;

/// Rows of a durable batch.
pub const BATCH_ROWS: u64 = 1000;
/// Batches in flight.
pub const IN_FLIGHT: usize = 16;
/// A shard publishes its figures at least every 100 ms.
pub const PUBLISHED: Duration = Duration::from_millis(250);
/// Tables that have not changed for this long rest.
pub const REST: Duration = Duration::from_secs(2);
/// A writer waits for room as long as this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Merges that take longer do not end.
const REST_MAX: Duration = Duration::from_secs(180);

/// What the load came to.
#[derive(Debug, Clone, Serialize)]
pub struct Loaded {
    /// Rows written.
    pub rows: u64,
    /// Rows acknowledged as durable a second.
    pub rows_per_s: f64,
    /// Seconds from the last acknowledgement until no flush or merge was left.
    pub settled_s: f64,
    /// Processor time of flushes and merges, microseconds a row.
    pub background_cpu_us: f64,
    /// Rows for one that the hot table has.
    pub rows_per_hot_row: f64,
    /// Payload of all rows for a byte of the hot budget.
    pub payload_per_hot_byte: f64,
    /// Bytes of the files of the warm tier for a row.
    pub disk_bytes_per_row: f64,
    /// Bytes of payload of a row: key, floats, strings.
    pub payload_bytes_per_row: u64,
    /// Bytes of filters and indices in memory for a row of tables.
    pub memory_bytes_per_row: f64,
    /// The tiers of the shard afterwards.
    pub tiers: TierStats,
}

/// Figures of the one shard.
///
/// # Errors
/// There is none, or its background work is in trouble.
pub fn tiers<E: Env>(handle: &Handle<E>) -> anyhow::Result<TierStats> {
    let tiers = handle.stats().shards.into_iter().next().context("a store without a shard")?.tiers;
    ensure!(tiers.trouble.is_none(), "the tables are in trouble: {:?}", tiers.trouble);
    Ok(tiers)
}

/// Writes rows `0..count` to the store in `folder` and waits until the tables rest.
///
/// # Errors
/// A row was not written, or the tables do not come to rest.
pub fn load(store: &Store, folder: &Path, rows: &Rows, count: u64) -> anyhow::Result<Loaded> {
    let started = Instant::now();
    let mut sent = VecDeque::new();
    for first in (0..count).step_by(BATCH_ROWS as usize) {
        let ids = first..(first + BATCH_ROWS).min(count);
        sent.push_back((ids.clone(), store.handle().submit_within(rows.batch(ids)?, PATIENCE)?));
        if sent.len() >= IN_FLIGHT {
            landed(store, rows, sent.pop_front())?;
        }
    }
    while !sent.is_empty() {
        landed(store, rows, sent.pop_front())?;
    }
    let (seconds, ended) = (started.elapsed().as_secs_f64(), Instant::now());
    let tiers = rest(store.handle(), &folder.join("warm"))?;
    let settled = ended.elapsed().saturating_sub(REST);
    let in_tables = tiers.latest.rows.max(1) as f64;
    Ok(Loaded {
        rows: count,
        rows_per_s: count as f64 / seconds,
        settled_s: settled.as_secs_f64(),
        background_cpu_us: background_cpu_us()? / count as f64,
        rows_per_hot_row: count as f64 / tiers.hot.rows.max(1) as f64,
        payload_per_hot_byte: (count * PAYLOAD_BYTES) as f64 / tiers.hot.budget_bytes as f64,
        disk_bytes_per_row: (tiers.latest.bytes + tiers.history.bytes) as f64 / in_tables,
        payload_bytes_per_row: PAYLOAD_BYTES,
        memory_bytes_per_row: tiers.latest.memory_bytes as f64 / in_tables,
        tiers,
    })
}

/// Processor time of this process's workers so far, microseconds: they have threads of their own.
fn background_cpu_us() -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        let name = std::fs::read_to_string(task.path().join("comm"))?;
        if name.starts_with("warm-") || name.starts_with("idle-") {
            seconds += cpu_seconds(&format!("self/task/{}", task.file_name().display()))?.0;
        }
    }
    Ok(seconds * 1e6)
}

fn landed(
    store: &Store,
    rows: &Rows,
    sent: Option<(Range<u64>, WriteTicket)>,
) -> anyhow::Result<()> {
    let (ids, ticket) = sent.context("nothing was sent")?;
    until_written(store, ticket, || rows.batch(ids.clone()))
}

/// Waits for a batch; where there was no room it is repeated after as long as the store says.
///
/// # Errors
/// A row was not written for another reason.
pub fn until_written(
    store: &Store,
    ticket: WriteTicket,
    batch: impl Fn() -> anyhow::Result<WriteBatch>,
) -> anyhow::Result<()> {
    let mut outcomes = ticket.wait();
    while let Some(bad) = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Ok { .. })) {
        let Outcome::NotApplied(Refusal::Overloaded { retry_ms }) = bad else {
            bail!("a row was not written: {bad:?}")
        };
        std::thread::sleep(Duration::from_millis(u64::from(*retry_ms).max(1)));
        outcomes = store.handle().write(batch()?)?;
    }
    Ok(())
}

/// Whether a flush or merge is writing in `folder`: a worker that gets no processor time looks idle, as it
/// does, with more tables than settle, before it has begun.
fn is_writing(folder: &Path) -> anyhow::Result<bool> {
    let entries = RealEnv.list(folder)?;
    Ok(entries.iter().any(|entry| entry.name.ends_with(".tmp")))
}

/// Waits until no memtable waits for its flush, no table is being written and none has changed for a while.
///
/// # Errors
/// The tables are in trouble, or do not come to rest.
pub fn rest<E: Env>(handle: &Handle<E>, folder: &Path) -> anyhow::Result<TierStats> {
    settle(|| {
        let now = tiers(handle)?;
        let settled_runs = CompactionPolicy::default().settled_runs as u64;
        let is_working =
            now.memtable.frozen > 0 || now.latest.tables > settled_runs || is_writing(folder)?;
        Ok((is_working, (now.latest, now.movement)))
    })?;
    tiers(handle)
}

/// Looks again and again until there has been no work for [`REST`] and what was seen has not changed. `look` says
/// whether there is work, and what it sees.
///
/// # Errors
/// Whatever `look` says, or there is work for minutes on end.
pub fn settle<T: PartialEq + Debug>(
    mut look: impl FnMut() -> anyhow::Result<(bool, T)>,
) -> anyhow::Result<()> {
    let (started, mut since) = (Instant::now(), Instant::now());
    let (_, mut last) = look()?;
    while since.elapsed() < REST {
        std::thread::sleep(PUBLISHED);
        let (is_working, now) = look()?;
        if is_working || now != last {
            since = Instant::now();
        }
        last = now;
        let waited = started.elapsed().as_secs();
        ensure!(started.elapsed() < REST_MAX, "no rest after {waited} s: {last:?}");
    }
    Ok(())
}
