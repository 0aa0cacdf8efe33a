//! The measuring loops: one request at a time for latency, a full window for rate.

use crate::stats::{Latency, histogram};
use crate::target::{Pipeline, Reader};
use crate::workload::{Dice, FEATURES, is_row};
use anyhow::ensure;
use std::time::{Duration, Instant};

/// What one measurement asks.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Rows that the target holds.
    pub rows: u64,
    /// Rows a request.
    pub batch: usize,
    /// Measured time.
    pub time: Duration,
    /// Seed of the keys: equal for targets measured side by side.
    pub seed: u64,
    /// Whether answers are checked (the floor has none).
    pub checked: bool,
}

/// Latencies of requests one after the other, warmed up first. Every row of the warm-up and one row of
/// each measured answer is compared with what it must be.
///
/// # Errors
/// A broken connection, or a wrong answer.
pub fn latency(reader: &mut dyn Reader, load: Load) -> anyhow::Result<Latency> {
    let mut dice = Dice::new(load.seed);
    let (mut ids, mut rows) = (vec![0; load.batch], Vec::new());
    let warm = Instant::now();
    while warm.elapsed() < load.time / 5 {
        dice.fill(&mut ids, load.rows);
        reader.read(&ids, &mut rows)?;
        if load.checked {
            check(&ids, &rows, 0..ids.len())?;
        }
    }
    let mut recorded = histogram()?;
    let started = Instant::now();
    while started.elapsed() < load.time {
        dice.fill(&mut ids, load.rows);
        let sent = Instant::now();
        reader.read(&ids, &mut rows)?;
        recorded.record(sent.elapsed().as_nanos() as u64)?;
        if load.checked {
            let at = (dice.next_u64() % load.batch as u64) as usize;
            check(&ids, &rows, at..at + 1)?;
        }
    }
    Ok(Latency::of(&recorded))
}

/// Compares those of the answered rows that `range` names with what rows `ids` must be.
///
/// # Errors
/// One is not as written, or there are more or fewer than were asked for.
pub fn check(ids: &[u64], rows: &[f32], range: std::ops::Range<usize>) -> anyhow::Result<()> {
    ensure!(rows.len() == ids.len() * FEATURES, "{} values for {} rows", rows.len(), ids.len());
    for at in range {
        let row = &rows[at * FEATURES..(at + 1) * FEATURES];
        ensure!(is_row(ids[at], row), "row {} is not as written: {row:?}", ids[at]);
    }
    Ok(())
}

/// Rows a second with `window` requests in flight, after a warm-up.
///
/// # Errors
/// A broken connection, or an answer that lacks rows.
pub fn rate(pipeline: &mut dyn Pipeline, load: Load, window: usize) -> anyhow::Result<f64> {
    let mut dice = Dice::new(load.seed);
    let mut ids = vec![0; load.batch];
    for _ in 0..window {
        dice.fill(&mut ids, load.rows);
        pipeline.send(&ids)?;
    }
    let (mut rows, mut answers) = (0u64, 0u64);
    let mut started = Instant::now();
    let mut warm = false;
    loop {
        let received = pipeline.receive()?;
        ensure!(received == load.batch, "{received} rows of {} answered", load.batch);
        rows += received as u64;
        answers += 1;
        // The clock is asked once in a while: it is not what is measured.
        if answers % 16 == 0 || window == 1 {
            let elapsed = started.elapsed();
            if !warm && elapsed >= load.time / 5 {
                (warm, rows, started) = (true, 0, Instant::now());
            } else if warm && elapsed >= load.time {
                let rate = rows as f64 / elapsed.as_secs_f64();
                for _ in 0..window - 1 {
                    pipeline.receive()?;
                }
                return Ok(rate);
            }
        }
        dice.fill(&mut ids, load.rows);
        pipeline.send(&ids)?;
    }
}
