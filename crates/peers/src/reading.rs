//! Look-ups by several threads at once, each one request at a time.

use crate::engines::{Engine, Reader};
use crate::process::Usage;
use crate::protocol::{Keys, Order, ReadRound};
use crate::rows::Rows;
use anyhow::ensure;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use thermae_benches::policy::trace::Zipf;
use thermae_benches::stats::{Latency, histogram};
use thermae_benches::warm::reading::Asked;
use thermae_benches::workload::Dice;

/// Keys of a request while every row is compared.
const VERIFY_KEYS: usize = 256;

/// A store whose rows `0..count` are written.
pub struct Reading<'a> {
    /// The store.
    pub engine: &'a dyn Engine,
    /// What its rows are.
    pub rows: &'a Rows,
    /// How many.
    pub count: u64,
    /// The law of skewed look-ups, once there are any.
    pub zipf: Option<&'a Zipf>,
}

impl Reading<'_> {
    /// Reads one row in `step` and compares it, whole.
    ///
    /// # Errors
    /// A row is not there, or is not as written.
    pub fn verify(&self, step: u64) -> anyhow::Result<u64> {
        let mut ids = (0..self.count).step_by(step.max(1) as usize);
        let (mut reader, mut verified) = (self.engine.reader(), 0);
        loop {
            let ids: Vec<u64> = ids.by_ref().take(VERIFY_KEYS).collect();
            if ids.is_empty() {
                return Ok(verified);
            }
            self.request(&mut *reader, &ids, None)?;
            verified += ids.len() as u64;
        }
    }

    /// Measures what is ordered, after a warm-up.
    ///
    /// # Errors
    /// A wrong answer.
    pub fn round(&self, order: &Order) -> anyhow::Result<ReadRound> {
        self.spell(order, order.seconds / 5.0, !order.seed)?;
        let before = Usage::now()?;
        let (recorded, seconds) = self.spell(order, order.seconds, order.seed)?;
        let after = Usage::now()?;
        let look_ups = (recorded.len() * order.batch as u64).max(1) as f64;
        Ok(ReadRound {
            look_ups_per_s: look_ups / seconds,
            cpu_us: (after.cpu_s - before.cpu_s) * 1e6 / look_ups,
            latency: Latency::of(&recorded),
            device_bytes: (after.device_bytes - before.device_bytes) as f64 / look_ups,
        })
    }

    /// All threads for a time: every latency, and the seconds until the last of them had its answer.
    fn spell(
        &self,
        order: &Order,
        seconds: f64,
        seed: u64,
    ) -> anyhow::Result<(Histogram<u64>, f64)> {
        let started = Instant::now();
        let until = started + Duration::from_secs_f64(seconds);
        let mut recorded = histogram()?;
        std::thread::scope(|scope| {
            let askers: Vec<_> = (0..order.threads as u64)
                .map(|thread| {
                    let dice = Dice::new(seed.wrapping_mul(1000).wrapping_add(thread));
                    scope.spawn(move || self.ask(order, dice, until))
                })
                .collect();
            for asker in askers {
                let died = |_| Err(anyhow::anyhow!("a thread that asks died"));
                recorded.add(asker.join().unwrap_or_else(died)?)?;
            }
            anyhow::Ok(())
        })?;
        Ok((recorded, started.elapsed().as_secs_f64()))
    }

    /// Requests of one thread, one after the other.
    fn ask(&self, order: &Order, mut dice: Dice, until: Instant) -> anyhow::Result<Histogram<u64>> {
        let asked = match (order.keys, self.zipf) {
            (Keys::Hit, _) => Asked::Uniform,
            (Keys::Miss, _) => Asked::Missing,
            (Keys::Zipf, Some(zipf)) => Asked::Skewed(zipf),
            (Keys::Zipf, None) => anyhow::bail!("skewed look-ups without a law"),
        };
        let (mut reader, mut recorded) = (self.engine.reader(), histogram()?);
        while Instant::now() < until {
            let ids: Vec<u64> = (0..order.batch).map(|_| asked.id(&mut dice, self.count)).collect();
            let compared = (dice.next_u64() % order.batch as u64) as usize;
            let sent = Instant::now();
            self.request(&mut *reader, &ids, Some(compared))?;
            recorded.record(sent.elapsed().as_nanos() as u64)?;
        }
        Ok(recorded)
    }

    /// One request. Of every key it is seen whether there is a row; the row at `compared`, or every
    /// one for none, is compared whole.
    fn request(
        &self,
        reader: &mut dyn Reader,
        ids: &[u64],
        compared: Option<usize>,
    ) -> anyhow::Result<()> {
        let (mut answers, mut wrong) = (0, None);
        reader.read(ids, &mut |at, answer| {
            answers += 1;
            let is_there = ids[at] < self.count;
            let is_compared = compared.is_none_or(|compared| compared == at);
            let right = match answer {
                Some(answer) if is_there && is_compared => self.rows.check(ids[at], &answer),
                answer if is_there == answer.is_some() => Ok(()),
                _ => Err(anyhow::anyhow!("row {} of {}: {answer:?}", ids[at], self.count)),
            };
            if let Err(error) = right {
                wrong = Some(error);
            }
        })?;
        wrong.map_or(Ok(()), Err)?;
        ensure!(answers == ids.len(), "{answers} answers for {} keys", ids.len());
        Ok(())
    }
}
