//! How the quickstart times a read.

use std::time::Instant;

use super::exit::Failure;

/// Reads timed for each figure.
const READS: usize = 1000;
/// Reads before them that are not counted: connections and caches get warm.
const WARM_UP_READS: usize = 100;

/// Latencies of one way in.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Latency {
    /// `TCP`, `unix socket` or `mapped memory`.
    pub way: &'static str,
    /// Keys of each read.
    pub keys: usize,
    /// Median, nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile, nanoseconds.
    pub p99_ns: u64,
}

/// Tail numbers that the example has; asked for again when they are fewer than wanted.
pub fn push_keys(
    count: usize,
    mut push: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    const TAIL_NUMBERS: [&str; 10] = [
        "N10156", "N102UW", "N103US", "N104UW", "N10575", "N105UW", "N107US", "N108UW", "N109UW",
        "N110UW",
    ];
    TAIL_NUMBERS.iter().cycle().take(count).try_for_each(|tail_number| push(tail_number))
}

/// Nanoseconds of each read, sorted.
pub fn time(mut read: impl FnMut() -> Result<(), Failure>) -> Result<Vec<u64>, Failure> {
    for _ in 0..WARM_UP_READS {
        read()?;
    }
    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let started = Instant::now();
        read()?;
        times.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok(times)
}

/// Median and 99th percentile of sorted times.
pub fn latency(way: &'static str, keys: usize, times: Vec<u64>) -> Latency {
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
    Latency { way, keys, p50_ns: at(50), p99_ns: at(99) }
}
