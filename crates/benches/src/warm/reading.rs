//! Reads of a store that is larger than its memory.

use super::load::{PUBLISHED, tiers};
use super::rows::{Rows, keys};
use crate::policy::trace::Zipf;
use crate::stats::{Latency, histogram};
use crate::workload::Dice;
use anyhow::ensure;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::time::{Duration, Instant};
use thermae_engine::Store;
use thermae_engine::handle::Found;
use thermae_engine::tiers::TierReads;
use thermae_hot::RowBuf;

/// One round of look-ups.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Look-ups a second.
    pub look_ups_per_s: f64,
    /// Of a whole fetch.
    pub latency: Latency,
    /// Processor time of the whole process for a look-up, microseconds.
    pub cpu_us: f64,
    /// Of it that of the threads that ask, microseconds.
    pub asker_cpu_us: f64,
    /// Share that the hot table answered.
    pub hot_share: f64,
    /// Look-ups that tables answered with a row.
    pub warm_hits: u64,
    /// Look-ups that tables had no row for.
    pub misses: u64,
    /// Blocks read for each of those two together.
    pub blocks_per_look_up: f64,
}

/// Which keys are asked for.
pub enum Asked<'a> {
    /// Any that are there, evenly.
    Uniform,
    /// Any that are not there.
    Missing,
    /// Some far more often than others.
    Skewed(&'a Zipf),
}

impl Asked<'_> {
    /// The next key, of `rows` that are there.
    pub fn id(&self, dice: &mut Dice, rows: u64) -> u64 {
        let word = dice.next_u64();
        match self {
            Asked::Uniform => word % rows,
            Asked::Missing => rows + word % (1 << 40),
            Asked::Skewed(zipf) => {
                let rank = zipf.rank((word >> 11) as f64 / (1u64 << 53) as f64);
                // By a prime: neighbours in rank are none in the order of loading.
                u64::from(rank) * 2_654_435_761 % rows
            }
        }
    }
}

/// A store and its rows, to be read.
pub struct Reading<'a> {
    /// The store.
    pub store: &'a Store,
    /// What its rows are.
    pub rows: &'a Rows,
    /// How many.
    pub count: u64,
}

impl Reading<'_> {
    /// Reads rows `0..count` in steps and compares each.
    ///
    /// # Errors
    /// A row is not there, or is not as written.
    pub fn verify(&self, step: u64) -> anyhow::Result<u64> {
        let mut all = (0..self.count).step_by(step.max(1) as usize);
        let mut verified = 0;
        loop {
            let ids: Vec<u64> = all.by_ref().take(256).collect();
            if ids.is_empty() {
                return Ok(verified);
            }
            let bytes: Vec<[u8; 8]> = ids.iter().map(|id| id.to_le_bytes()).collect();
            let (mut right, mut wrong) = (0, None);
            let keys = keys(self.store, &bytes);
            self.store.handle().read(
                &self.rows.view,
                &keys,
                &mut RowBuf::default(),
                |at, found| match self.rows.check(ids[at], &found) {
                    Ok(()) => right += 1,
                    Err(error) => wrong = Some(error),
                },
            )?;
            wrong.map_or(Ok(()), Err)?;
            ensure!(right == ids.len(), "{right} answers for {} keys", ids.len());
            verified += right as u64;
        }
    }

    /// Look-ups of `in_flight` keys at a time, in fetches of a part of them each by [`askers`] threads.
    /// One row of each fetch is compared.
    ///
    /// # Errors
    /// A wrong answer.
    pub fn round(
        &self,
        asked: &Asked<'_>,
        in_flight: usize,
        time: Duration,
        seed: u64,
    ) -> anyhow::Result<Round> {
        let before = self.settled_reads()?;
        let (process, started) = (cpu(ClockId::ProcessCPUTime), Instant::now());
        let shares = std::thread::scope(|scope| {
            let ask = |asker| move || self.ask(asked, in_flight, time, seed << 8 | asker);
            let asking: Vec<_> = (0..askers(in_flight)).map(|n| scope.spawn(ask(n))).collect();
            asking.into_iter().map(|share| share.join()).collect::<Vec<_>>()
        });
        let seconds = started.elapsed().as_secs_f64();
        let process = cpu(ClockId::ProcessCPUTime) - process;
        let (mut recorded, mut look_ups, mut asker) = (histogram()?, 0, 0.0);
        for share in shares {
            let share =
                share.map_err(|_| anyhow::anyhow!("a thread that asked has panicked"))??;
            recorded.add(share.recorded)?;
            look_ups += share.look_ups;
            asker += share.cpu_s;
        }
        let after = self.settled_reads()?;
        let warm_hits = after.warm_hits - before.warm_hits;
        let misses = (after.misses_filtered + after.misses_read)
            - (before.misses_filtered + before.misses_read);
        let blocks = after.blocks_read - before.blocks_read;
        Ok(Round {
            look_ups_per_s: look_ups as f64 / seconds,
            latency: Latency::of(&recorded),
            cpu_us: process * 1e6 / look_ups as f64,
            asker_cpu_us: asker * 1e6 / look_ups as f64,
            hot_share: 1.0 - (after.asked - before.asked) as f64 / look_ups as f64,
            warm_hits,
            misses,
            blocks_per_look_up: blocks as f64 / (warm_hits + misses).max(1) as f64,
        })
    }

    /// What one of the askers does: one fetch after the other.
    fn ask(
        &self,
        asked: &Asked<'_>,
        in_flight: usize,
        time: Duration,
        seed: u64,
    ) -> anyhow::Result<Share> {
        let keys = in_flight / askers(in_flight) as usize;
        let (mut dice, before) = (Dice::new(seed), cpu(ClockId::ThreadCPUTime));
        let (started, mut recorded, mut look_ups) = (Instant::now(), histogram()?, 0);
        while started.elapsed() < time {
            let ids: Vec<u64> = (0..keys).map(|_| asked.id(&mut dice, self.count)).collect();
            let sent = Instant::now();
            self.fetch(&ids, (dice.next_u64() % keys as u64) as usize)?;
            recorded.record(sent.elapsed().as_nanos() as u64)?;
            look_ups += keys as u64;
        }
        Ok(Share { recorded, look_ups, cpu_s: cpu(ClockId::ThreadCPUTime) - before })
    }

    /// Reads `ids`, and compares the one at `checked`.
    fn fetch(&self, ids: &[u64], checked: usize) -> anyhow::Result<()> {
        let bytes: Vec<[u8; 8]> = ids.iter().map(|id| id.to_le_bytes()).collect();
        let keys = keys(self.store, &bytes);
        let mut right = Ok(());
        self.store.handle().read(&self.rows.view, &keys, &mut RowBuf::default(), |at, found| {
            let is_there = ids[at] < self.count;
            if at == checked && is_there {
                right = self.rows.check(ids[at], &found);
            } else if is_there != matches!(found, Found::Row(_)) {
                right = Err(anyhow::anyhow!("row {} of {}: {found:?}", ids[at], self.count));
            }
        })?;
        right
    }

    /// Figures of reads, once the shard has published the last of them.
    fn settled_reads(&self) -> anyhow::Result<TierReads> {
        std::thread::sleep(PUBLISHED);
        let reads = tiers(self.store.handle())?.reads;
        ensure!(reads.failed == 0, "{} look-ups failed", reads.failed);
        Ok(reads)
    }
}

/// What one asker found.
struct Share {
    recorded: Histogram<u64>,
    look_ups: u64,
    cpu_s: f64,
}

/// Threads that ask, so that one's fetch drains while those of the others are in flight.
pub fn askers(in_flight: usize) -> u64 {
    if in_flight < 4 { 1 } else { 4 }
}

/// Processor time so far, seconds.
pub fn cpu(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
