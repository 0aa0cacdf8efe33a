//! Targets side by side: A B C, A B C, ..., each opened for its turn alone.

use crate::measure::{self, Load};
use crate::report::{LatencyLine, RateLine};
use crate::stats::{Latency, Spread};
use crate::target::{Pipeline, Reader};
use anyhow::Context;

/// The target that the others are compared with.
pub const OURS: &str = "thermae";

/// A named way to open a target.
pub struct Entry<'a, T: ?Sized> {
    /// Name in the results.
    pub name: String,
    /// Whether its answers hold rows (the floor's do not).
    pub checked: bool,
    /// Opens it for one measurement.
    pub open: Box<dyn FnMut() -> anyhow::Result<Box<T>> + 'a>,
}

impl<'a, T: ?Sized> Entry<'a, T> {
    /// An entry whose answers are checked.
    pub fn new(name: impl Into<String>, open: impl FnMut() -> anyhow::Result<Box<T>> + 'a) -> Self {
        Self { name: name.into(), checked: true, open: Box::new(open) }
    }
}

/// Latencies of all entries at one batch size, interleaved.
///
/// # Errors
/// A target broke or answered wrongly.
pub fn latency(
    entries: &mut [Entry<'_, dyn Reader + '_>],
    waiting: &str,
    load: Load,
    rounds: usize,
) -> anyhow::Result<Vec<LatencyLine>> {
    let mut found: Vec<Vec<Latency>> = vec![Vec::new(); entries.len()];
    for round in 0..rounds {
        for (entry, found) in entries.iter_mut().zip(&mut found) {
            let load = Load { checked: entry.checked, seed: load.seed + round as u64, ..load };
            let failed = || format!("{} at {} keys, {waiting}", entry.name, load.batch);
            let mut target = (entry.open)().with_context(failed)?;
            found.push(measure::latency(&mut *target, load).with_context(failed)?);
        }
    }
    let p50s = |at: usize| found[at].iter().map(|round| round.p50_ns as f64).collect::<Vec<_>>();
    let ours = entries.iter().position(|entry| entry.name == OURS);
    let line = |(at, entry): (usize, &Entry<'_, dyn Reader + '_>)| {
        Some(LatencyLine {
            target: entry.name.clone(),
            waiting: waiting.to_owned(),
            keys: load.batch,
            rounds: found[at].clone(),
            p50_us: Spread::of(p50s(at).into_iter().map(|nanoseconds| nanoseconds / 1e3))?,
            over_ours: ours.and_then(|ours| Spread::of_ratio(&p50s(at), &p50s(ours))),
        })
    };
    entries.iter().enumerate().map(line).collect::<Option<_>>().context("no rounds")
}

/// Rates of all entries with `window` requests in flight, interleaved.
///
/// # Errors
/// A target broke or answered wrongly.
pub fn rate(
    entries: &mut [Entry<'_, dyn Pipeline + '_>],
    what: &str,
    load: Load,
    window: usize,
    rounds: usize,
) -> anyhow::Result<Vec<RateLine>> {
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); entries.len()];
    for round in 0..rounds {
        for (entry, found) in entries.iter_mut().zip(&mut found) {
            let load = Load { seed: load.seed + round as u64, ..load };
            let failed = || format!("{what} of {}, {window} in flight", entry.name);
            let mut target = (entry.open)().with_context(failed)?;
            found.push(measure::rate(&mut *target, load, window).with_context(failed)?);
        }
    }
    let ours = entries.iter().position(|entry| entry.name == OURS);
    let line = |(at, entry): (usize, &Entry<'_, dyn Pipeline + '_>)| {
        Some(RateLine {
            what: what.to_owned(),
            target: entry.name.clone(),
            keys: load.batch,
            window,
            rounds: found[at].clone(),
            rows_per_s: Spread::of(found[at].iter().copied())?,
            ours_over: ours.and_then(|ours| Spread::of_ratio(&found[ours], &found[at])),
        })
    };
    entries.iter().enumerate().map(line).collect::<Option<_>>().context("no rounds")
}
