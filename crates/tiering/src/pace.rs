//! How fast writes may come, so that memory and look-ups stay bounded when the background falls behind.

/// What writers and the background have left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes of the memtable that writes go to.
    pub active_bytes: u64,
    /// Bytes of the frozen memtables whose flush is not committed.
    pub frozen_bytes: u64,
    /// Runs of `latest`.
    pub runs: usize,
}

/// Where slowing begins and where it ends in refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceLimits {
    /// Bytes that all memtables of the shard may take. Slowing begins at half of them.
    pub memory_bytes: u64,
    /// Runs at which slowing begins.
    pub slow_runs: usize,
    /// Runs at which writes are refused; more than `slow_runs`.
    pub stop_runs: usize,
    /// Bytes a second when nothing is behind.
    pub full_bytes_per_s: u64,
    /// Bytes a second that the background gets done, for the hint to a refused writer.
    pub drain_bytes_per_s: u64,
}

/// What a shard may take in the next interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As many bytes, at least one; of rows, counted as the memtable counts them.
    Admit {
        /// Bytes to admit.
        bytes: u64,
    },
    /// Nothing: answer Overloaded.
    Refuse {
        /// When to try again, in milliseconds.
        retry_ms: u64,
    },
}

/// Shortest and longest hint to a refused writer.
const RETRY_MS: (u64, u64) = (10, 5_000);

/// What may be admitted in the next `interval_us`. Never more for a greater load.
pub fn pace(load: &Load, limits: &PaceLimits, interval_us: u64) -> Pace {
    let used = load.active_bytes.saturating_add(load.frozen_bytes);
    let half = limits.memory_bytes / 2;
    let memory = share(used.saturating_sub(half), limits.memory_bytes - half);
    let behind = load.runs.saturating_sub(limits.slow_runs) as u64;
    let runs = share(behind, limits.stop_runs.saturating_sub(limits.slow_runs) as u64);
    let open = (1.0 - memory).min(1.0 - runs);
    let left = limits.memory_bytes.saturating_sub(used);
    if open <= 0.0 || left == 0 {
        return Pace::Refuse { retry_ms: retry_ms(used.saturating_sub(half), limits) };
    }
    // Squared: gentle at first, hard near the end, without a step that makes writers surge.
    let rate = limits.full_bytes_per_s as f64 * open * open;
    let bytes = (rate * interval_us as f64 / 1e6) as u64;
    Pace::Admit { bytes: bytes.clamp(1, left) }
}

/// The part of `most` that `now` is, at most 1; 1 where there is no room at all.
fn share(now: u64, most: u64) -> f64 {
    if most == 0 { f64::from(u8::from(now > 0)) } else { (now as f64 / most as f64).min(1.0) }
}

/// The time that the background needs for `bytes`.
fn retry_ms(bytes: u64, limits: &PaceLimits) -> u64 {
    retry_after_ms(bytes, limits.drain_bytes_per_s)
}

/// When a writer that was refused has a chance, in milliseconds: when the `waiting_bytes` before it are
/// gone at `bytes_per_s`; within bounds, so that nobody asks in vain without pause, or forgets.
pub fn retry_after_ms(waiting_bytes: u64, bytes_per_s: u64) -> u64 {
    let needed_ms = waiting_bytes.saturating_mul(1_000) / bytes_per_s.max(1);
    needed_ms.clamp(RETRY_MS.0, RETRY_MS.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    const LIMITS: PaceLimits = PaceLimits {
        memory_bytes: 1_000_000,
        slow_runs: 6,
        stop_runs: 12,
        full_bytes_per_s: 100_000_000,
        drain_bytes_per_s: 1_000_000,
    };

    /// Bytes admitted, and the hint: the more of the second, the less of the first.
    fn outcome(load: &Load) -> (u64, u64) {
        match pace(load, &LIMITS, 1_000) {
            Pace::Admit { bytes } => (bytes, 0),
            Pace::Refuse { retry_ms } => (0, retry_ms),
        }
    }

    #[test]
    fn full_speed_then_slower_then_nothing() {
        let load = |active_bytes, frozen_bytes, runs| Load { active_bytes, frozen_bytes, runs };
        assert_eq!(outcome(&load(250_000, 250_000, 6)), (100_000, 0));
        assert_eq!(outcome(&load(250_000, 500_000, 6)), (25_000, 0));
        assert_eq!(outcome(&load(0, 0, 9)), (25_000, 0));
        assert_eq!(outcome(&load(500_000, 500_000, 0)), (0, 500));
        assert_eq!(outcome(&load(0, 0, 12)), (0, 10));
        assert_eq!(outcome(&load(u64::MAX, u64::MAX, 99)), (0, 5_000));
    }

    #[test]
    fn a_greater_load_never_gets_more_and_memory_is_never_passed() {
        let mut rng = Rng::new(3);
        for _ in 0..100_000 {
            let less = Load {
                active_bytes: rng.below(1_200_000),
                frozen_bytes: rng.below(600_000),
                runs: rng.below(15) as usize,
            };
            let mut more = less;
            match rng.below(3) {
                0 => more.active_bytes += rng.below(200_000),
                1 => more.frozen_bytes += rng.below(200_000),
                _ => more.runs += rng.below(4) as usize,
            }
            let (a, b) = (outcome(&less), outcome(&more));
            assert!(b.0 <= a.0 && b.1 >= a.1, "{less:?} {a:?}, {more:?} {b:?}");
            assert!(a.0 == 0 || less.active_bytes + less.frozen_bytes + a.0 <= 1_000_000);
        }
    }

    #[test]
    fn slowing_has_no_steps() {
        let mut before = outcome(&Load { active_bytes: 0, frozen_bytes: 0, runs: 0 }).0;
        for active_bytes in (0..1_000_000).step_by(1_000) {
            let now = outcome(&Load { active_bytes, frozen_bytes: 0, runs: 0 }).0;
            assert!(before - now <= 500, "{active_bytes}: {before} to {now}");
            before = now;
        }
    }
}
