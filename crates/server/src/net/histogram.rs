//! A latency histogram that one thread writes and any thread reads, without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sub-buckets per power of two: a recorded value is at most 1/8 above its bucket's lower edge.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Values from 2^40 ns (18 minutes) on share the last bucket.
const TOP_BIT: u32 = 40;
const BUCKETS: usize = (TOP_BIT - SUB_BITS + 1) as usize * SUB;

/// Counts of durations in nanoseconds, in log-linear buckets of 12.5% width.
///
/// Only the owning thread records, so an increment is a plain load and store; readers may see a
/// count some nanoseconds old, never a torn one.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }
}

fn bucket_of(value_ns: u64) -> usize {
    if value_ns < SUB as u64 {
        return value_ns as usize;
    }
    let top = value_ns.ilog2();
    if top >= TOP_BIT {
        return BUCKETS - 1;
    }
    let row = (top - SUB_BITS + 1) as usize;
    row * SUB + ((value_ns >> (top - SUB_BITS)) as usize & (SUB - 1))
}

/// The smallest value that falls beyond bucket `index`, in nanoseconds.
fn upper_edge(index: usize) -> u64 {
    let (row, sub) = (index / SUB, (index % SUB) as u64);
    if row == 0 { sub + 1 } else { (SUB as u64 + sub + 1) << (row - 1) }
}

impl Histogram {
    /// Adds one duration. Call from the owning thread only.
    #[inline]
    pub fn record(&self, value_ns: u64) {
        add(&self.buckets[bucket_of(value_ns)], 1);
        add(&self.sum_ns, value_ns);
    }

    /// Adds this histogram's counts to `snapshot`.
    pub fn merge_into(&self, snapshot: &mut Snapshot) {
        for (total, bucket) in snapshot.counts.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        snapshot.sum_ns += self.sum_ns.load(Relaxed);
    }
}

/// Adds to a counter that only the calling thread writes.
#[inline]
pub fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// The merged counts of several histograms at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    counts: Vec<u64>,
    sum_ns: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], sum_ns: 0 }
    }
}

impl Snapshot {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all recorded durations, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// The duration that a `share` (0 to 1) of all records does not exceed, in nanoseconds,
    /// rounded up to its bucket's edge; 0 if nothing was recorded.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let count = self.count();
        if count == 0 {
            return 0;
        }
        let wanted = ((count as f64 * share).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for (index, bucket) in self.counts.iter().enumerate() {
            seen += bucket;
            if seen >= wanted {
                return upper_edge(index);
            }
        }
        upper_edge(BUCKETS - 1)
    }

    /// Cumulative counts at powers of two from 1 us to 1 s, as (upper edge in seconds, count):
    /// what a Prometheus histogram wants.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut out = Vec::with_capacity(21);
        let (mut index, mut seen) = (0, 0);
        for power in 10..=30_u32 {
            let edge = 1_u64 << power;
            while index < BUCKETS && upper_edge(index) <= edge {
                seen += self.counts[index];
                index += 1;
            }
            out.push((edge as f64 / 1e9, seen));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_value_lies_below_its_buckets_edge_and_within_an_eighth() {
        for value in (0..4096).chain((12..40).flat_map(|bit| {
            let base = 1_u64 << bit;
            [base - 1, base, base + 1, base + base / 3]
        })) {
            let edge = upper_edge(bucket_of(value));
            assert!(value < edge, "{value} beyond {edge}");
            assert!(edge <= value + value / 8 + 1, "{value} far below {edge}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_and_merging() {
        let (one, two) = (Histogram::default(), Histogram::default());
        for _ in 0..99 {
            one.record(1_000);
        }
        two.record(1_000_000);
        let mut merged = Snapshot::default();
        one.merge_into(&mut merged);
        two.merge_into(&mut merged);
        assert_eq!(merged.count(), 100);
        assert!((1_000..=1_126).contains(&merged.quantile_ns(0.5)));
        assert!((1_000..=1_126).contains(&merged.quantile_ns(0.99)));
        assert!((1_000_000..=1_125_001).contains(&merged.quantile_ns(1.0)));
        assert_eq!(Snapshot::default().quantile_ns(0.5), 0);
    }

    #[test]
    fn cumulative_counts_end_with_all() {
        let histogram = Histogram::default();
        for power in 0..29 {
            histogram.record(1 << power);
        }
        let mut snapshot = Snapshot::default();
        histogram.merge_into(&mut snapshot);
        let cumulative = snapshot.cumulative();
        assert!(cumulative.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert_eq!(cumulative.last().unwrap().1, 29);
        assert_eq!(cumulative[0].1, 10);
    }
}
