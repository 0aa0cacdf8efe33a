//! Targets side by side: A B C, A B C, ..., each opened for its turn alone.

use crate::measure::{self, Load};
use crate::report::{LatencyLine, RateLine};
use crate::stats::{Latency, Spread};
use crate::target::{Pipeline, Reader};
use anyhow::Context;

/// The target that the others are compared with.
pub const OURS: &str = "thermae";
/// Our client at a server that does nothing: what it can do at most.
pub const NULL: &str = "null server";

/// A named way to open a target.
pub struct Entry<'a, T: ?Sized> {
    /// Name in the results.
    pub name: String,
    /// Whether its answers hold rows (the floor's do not).
    pub checked: bool,
    open: Box<dyn FnMut() -> anyhow::Result<Box<T>> + 'a>,
}

/// A target for latency.
pub type Reading<'a> = Entry<'a, dyn Reader + 'a>;
/// A target for rate.
pub type Piping<'a> = Entry<'a, dyn Pipeline + 'a>;

impl<'a> Reading<'a> {
    /// A reader whose answers are checked.
    pub fn reading<R: Reader + 'a>(
        name: &str,
        mut open: impl FnMut() -> anyhow::Result<R> + 'a,
    ) -> Self {
        let open = move || open().map(|reader| Box::new(reader) as Box<dyn Reader + 'a>);
        Self { name: name.to_owned(), checked: true, open: Box::new(open) }
    }
}

impl<'a> Piping<'a> {
    /// A pipeline.
    pub fn piping<P: Pipeline + 'a>(
        name: &str,
        mut open: impl FnMut() -> anyhow::Result<P> + 'a,
    ) -> Self {
        let open = move || open().map(|pipeline| Box::new(pipeline) as Box<dyn Pipeline + 'a>);
        Self { name: name.to_owned(), checked: true, open: Box::new(open) }
    }
}

/// Latencies of all entries at one batch size, interleaved.
///
/// # Errors
/// A target broke or answered wrongly.
pub fn latency(
    entries: &mut [Reading<'_>],
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
    let line = |(at, entry): (usize, &Reading<'_>)| {
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
    entries: &mut [Piping<'_>],
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
    let line = |(at, entry): (usize, &Piping<'_>)| {
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
