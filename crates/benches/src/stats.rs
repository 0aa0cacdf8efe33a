//! Medians over rounds with their spread, and percentiles within a round.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The middle of several rounds, with the extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Median of the rounds.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of some rounds; `None` of none.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }

    /// The spread of the ratio of two targets, round by round: both ran side by side in each.
    pub fn of_ratio(over: &[f64], under: &[f64]) -> Option<Self> {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under))
    }
}

/// Latencies of one round, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Requests measured.
    pub requests: u64,
    /// Half were quicker.
    pub p50_ns: u64,
    /// 99 of 100 were quicker.
    pub p99_ns: u64,
    /// 999 of 1000 were quicker.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

impl Latency {
    /// Percentiles of recorded nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            requests: histogram.len(),
            p50_ns: histogram.value_at_quantile(0.5),
            p99_ns: histogram.value_at_quantile(0.99),
            p999_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
        }
    }
}

/// An empty histogram of nanoseconds up to a minute, three digits.
///
/// # Errors
/// Never in practice: the bounds are fixed and valid.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        let ratio = Spread::of_ratio(&[6.0, 8.0, 10.0], &[2.0, 2.0, 2.0]).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (4.0, 3.0, 5.0));
    }

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut recorded = histogram().unwrap();
        for nanoseconds in 1..=1000u64 {
            recorded.record(nanoseconds * 1000).unwrap();
        }
        let latency = Latency::of(&recorded);
        assert_eq!(latency.requests, 1000);
        assert!((499_000..=501_000).contains(&latency.p50_ns), "{latency:?}");
        assert!((989_000..=991_000).contains(&latency.p99_ns) && latency.max_ns >= 1_000_000);
    }
}
