//! Which rows a full cache keeps: our hand beside published policies, simulated, nothing else running.
//!
//! A trace of key numbers goes through a cache that holds a tenth of the keys. `trace.rs` makes the
//! traces, `queues.rs` has the published policies, `hand.rs` has ours.

mod hand;
mod list;
mod queues;
pub mod trace;

use std::io::Write;

use hand::Hand;
use queues::{Lru, S3Fifo, Sieve};
use trace::{Trace, Zipf};

/// What to simulate.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Keys that the skewed readers choose from.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
    /// Reads of each run that count, after as many that only fill the cache.
    #[arg(long, default_value_t = 5_000_000)]
    reads: u32,
}

/// A cache of key numbers.
trait Policy {
    /// Reads a key: whether it was there.
    fn read(&mut self, key: u32) -> bool;
    /// Takes a key that was not there.
    fn admit(&mut self, key: u32);
}

/// Prints the share of the skewed reads that each policy answers.
///
/// # Errors
///
/// The output cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let capacity = (options.keys / 10).max(10);
    writeln!(
        out,
        "hit rate of the skewed reads, %; {} keys, {capacity} cached, {} reads a run",
        options.keys, options.reads
    )?;
    writeln!(
        out,
        "{:>22} {:>10} {:>12} {:>10} {:>12}",
        "", "zipf", "zipf, 2nd", "scan", "scan, 2nd"
    )?;
    let zipf = Zipf::new(options.keys, 0.99);
    for (name, make) in POLICIES {
        let mut line = format!("{name:>22}");
        for (scan_every, second) in [(0, false), (0, true), (3, false), (3, true)] {
            let mut policy = make(capacity, options.keys * 2);
            let trace = Trace::new(&zipf, scan_every);
            let rate = hit_rate(&mut *policy, trace, options, capacity, second);
            let width = if second { 12 } else { 10 };
            line += &format!(" {:>width$.2}", rate * 100.0);
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

type Make = fn(u32, u32) -> Box<dyn Policy>;

/// Each with the name that the report gives it.
const POLICIES: [(&str, Make); 9] = [
    ("LRU", |capacity, keys| Box::new(Lru::new(capacity, keys))),
    ("SIEVE", |capacity, keys| Box::new(Sieve::new(capacity, keys))),
    ("S3-FIFO", |capacity, keys| Box::new(S3Fifo::new(capacity, keys))),
    ("hand, none young", |capacity, keys| Box::new(Hand::new(capacity, keys, 1, 0))),
    ("hand, young: 1 in 16", |capacity, keys| Box::new(Hand::new(capacity, keys, 1, 16))),
    ("hand, young: 1 in 8", |capacity, keys| Box::new(Hand::new(capacity, keys, 1, 8))),
    ("hand, young: 1 in 4", |capacity, keys| Box::new(Hand::new(capacity, keys, 1, 4))),
    ("hand, young: 1 in 2", |capacity, keys| Box::new(Hand::new(capacity, keys, 1, 2))),
    ("same, marks to 3", |capacity, keys| Box::new(Hand::new(capacity, keys, 3, 4))),
];

/// Share of the skewed reads that were hits, in the second half of the trace. With `second`, a key is
/// taken only at its second miss among as many misses as the cache has keys.
fn hit_rate(
    policy: &mut dyn Policy,
    trace: Trace<'_>,
    options: &Options,
    capacity: u32,
    second: bool,
) -> f64 {
    let mut missed_at = vec![0u32; options.keys as usize * 2];
    let (mut reads, mut misses, mut hits) = (0u32, 0u32, 0u32);
    for (key, scan) in trace {
        let hit = policy.read(key);
        if !hit {
            misses += 1;
            let before = std::mem::replace(&mut missed_at[key as usize], misses);
            if !second || before > 0 && misses - before <= capacity {
                policy.admit(key);
            }
        }
        if scan {
            continue;
        }
        reads += 1;
        hits += u32::from(hit && reads > options.reads);
        if reads == options.reads * 2 {
            break;
        }
    }
    f64::from(hits) / f64::from(options.reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(scan_every: u32) -> Vec<f64> {
        let options = Options { keys: 20_000, reads: 100_000 };
        let zipf = Zipf::new(options.keys, 0.99);
        let rate = |make: &Make| {
            let trace = Trace::new(&zipf, scan_every);
            hit_rate(&mut *make(2_000, 40_000), trace, &options, 2_000, false)
        };
        POLICIES.iter().map(|(_, make)| rate(make)).collect()
    }

    #[test]
    fn every_policy_keeps_what_is_read_most() {
        for rate in rates(0) {
            assert!((0.6..0.9).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn a_scan_costs_the_hand_less_than_lru() {
        let (alone, scanned) = (rates(0), rates(3));
        let lost: Vec<f64> = alone.iter().zip(&scanned).map(|(a, s)| a - s).collect();
        assert!(lost[6] < lost[0], "{lost:?}");
    }
}
