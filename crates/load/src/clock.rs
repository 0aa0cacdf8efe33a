//! The clock that requests leave by: a seam, so that a test can move the time itself.

use std::time::{Duration, Instant, SystemTime};

/// How long before a request is due the real clock stops sleeping and polls: a timer may be late.
const AWAKE_NS: u64 = 150_000;

/// Time of one driving thread.
pub trait Clock {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;

    /// Nothing can be done before `due_ns`. `is_waiting`: answers are awaited meanwhile, so look again soon.
    fn idle(&self, due_ns: u64, is_waiting: bool);
}

/// The machine's monotonic clock, counted from when this was made.
#[derive(Debug, Clone, Copy)]
pub struct RealClock(Instant);

impl RealClock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    fn idle(&self, due_ns: u64, is_waiting: bool) {
        if is_waiting {
            // The answer may be made on this very core.
            std::thread::yield_now();
            return;
        }
        let left_ns = due_ns.saturating_sub(self.now_ns());
        if left_ns > AWAKE_NS {
            std::thread::sleep(Duration::from_nanos(left_ns - AWAKE_NS));
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Waits; for what is no request: samples, progress, a server's "later".
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Microseconds since 1970, UTC.
pub fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
