//! Reads on schedule: a request that leaves late because the one before was slow counts from when it was
//! due, so that no stall hides.

use crate::measure::check;
use crate::stats::{Latency, histogram};
use crate::target::Reader;
use crate::workload::Dice;
use std::time::{Duration, Instant};

/// How long before a request is due the reader wakes up and waits by polling: a timer may be late.
const AWAKE: Duration = Duration::from_micros(150);

/// When requests leave, and of which rows.
pub struct Schedule {
    /// Requests a second.
    pub per_s: u64,
    /// For how long.
    pub time: Duration,
    /// Rows to choose from: `0..rows`.
    pub rows: u64,
}

impl Schedule {
    /// Reads of `batch` rows, compared with what they must be.
    ///
    /// # Errors
    /// A broken connection, or a wrong answer.
    pub fn run(&self, reader: &mut dyn Reader, batch: usize, seed: u64) -> anyhow::Result<Latency> {
        let (mut dice, mut recorded) = (Dice::new(seed), histogram()?);
        let (mut ids, mut rows) = (vec![0; batch], Vec::new());
        let period = Duration::from_secs_f64(1.0 / self.per_s as f64);
        let started = Instant::now();
        let mut due = started;
        while due - started < self.time {
            dice.fill(&mut ids, self.rows);
            wait_until(due);
            reader.read(&ids, &mut rows)?;
            recorded.record(due.elapsed().as_nanos() as u64)?;
            let at = (dice.next_u64() % batch as u64) as usize;
            check(&ids, &rows, at..at + 1)?;
            due += period;
        }
        Ok(Latency::of(&recorded))
    }
}

fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(AWAKE));
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}
