//! An object store that fails by its seed, and dies with the machine that uses it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use thermae_env::SimEnv;
use thermae_tiering::cold::{Listed, MemoryObjects, ObjectError, Objects, PutNew};

use crate::model::Rng;

/// Calls from one outage to the next.
const OUTAGE_EVERY: u64 = 1_000;

/// Calls that fail on one way; then the weather is fair. A history of a hundred files is opened from the first one
/// again after each failure, and would never be.
const FAILURES_MAX: u64 = 500;

/// One life of a machine's way to an object store that outlives it.
pub struct FailingObjects {
    inner: Arc<MemoryObjects>,
    env: SimEnv,
    rng: Mutex<Rng>,
    /// One call in so many fails; 0: none.
    one_in: AtomicU64,
    /// The first calls of each [`OUTAGE_EVERY`] that fail; 0: none.
    outage_calls: AtomicU64,
    calls: AtomicU64,
    /// Calls until the machine stops; `u64::MAX`: it does not for their sake.
    calls_left: AtomicU64,
    /// Calls that failed.
    pub failed: AtomicU64,
}

/// What becomes of one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    /// It was not done.
    FailsBefore,
    /// It was done, and the answer is lost.
    FailsAfter,
    /// The answer comes cut short.
    Truncated,
}

impl FailingObjects {
    /// The way of the machine `env` to `inner`.
    pub fn new(inner: Arc<MemoryObjects>, env: SimEnv, rng: &mut Rng) -> Self {
        let one_in = AtomicU64::new([0, 8, 16, 60][rng.below(4) as usize]);
        let calls_left = if rng.one_in(3) { rng.below(120) } else { u64::MAX };
        let outage_calls = if rng.one_in(3) { 10 + rng.below(30) } else { 0 };
        Self {
            inner,
            env,
            rng: Mutex::new(Rng::new(rng.next_u64())),
            one_in,
            outage_calls: AtomicU64::new(outage_calls),
            calls: AtomicU64::new(rng.below(OUTAGE_EVERY)),
            calls_left: AtomicU64::new(calls_left),
            failed: AtomicU64::new(0),
        }
    }

    /// From now on no call fails, or stops the machine.
    pub fn heal(&self) {
        self.one_in.store(0, Ordering::Relaxed);
        self.outage_calls.store(0, Ordering::Relaxed);
        self.calls_left.store(u64::MAX, Ordering::Relaxed);
    }

    /// A way on which nothing fails until the machine stops, after so many calls.
    pub fn dying(inner: Arc<MemoryObjects>, env: SimEnv, calls: u64) -> Self {
        Self { calls_left: AtomicU64::new(calls), ..Self::failing(inner, env, 0, 0) }
    }

    /// A way on which one call in so many fails, by a seed.
    pub fn failing(inner: Arc<MemoryObjects>, env: SimEnv, seed: u64, one_in: u64) -> Self {
        Self {
            inner,
            env,
            rng: Mutex::new(Rng::new(seed)),
            one_in: AtomicU64::new(one_in),
            outage_calls: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            calls_left: AtomicU64::new(u64::MAX),
            failed: AtomicU64::new(0),
        }
    }

    fn fate(&self) -> Result<Fate, ObjectError> {
        match self.calls_left.load(Ordering::Relaxed) {
            // The call may have taken effect when the machine stops.
            0 => self.env.crash_after(0),
            u64::MAX => {}
            left => self.calls_left.store(left - 1, Ordering::Relaxed),
        }
        if self.env.is_frozen() {
            return Err(ObjectError::Refused("the machine is dead".to_owned()));
        }
        if self.failed.load(Ordering::Relaxed) >= FAILURES_MAX {
            return Ok(Fate::Works);
        }
        if self.calls.fetch_add(1, Ordering::Relaxed) % OUTAGE_EVERY
            < self.outage_calls.load(Ordering::Relaxed)
        {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Ok(Fate::FailsBefore);
        }
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let one_in = self.one_in.load(Ordering::Relaxed);
        if one_in == 0 || !rng.one_in(one_in) {
            return Ok(Fate::Works);
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        Ok([Fate::FailsBefore, Fate::FailsAfter, Fate::Truncated][rng.below(3) as usize])
    }

    fn around<T>(&self, call: impl FnOnce() -> Result<T, ObjectError>) -> Result<T, ObjectError> {
        match self.fate()? {
            Fate::FailsBefore => Err(ObjectError::NoAnswer("503".to_owned())),
            Fate::FailsAfter => call().and(Err(ObjectError::NoAnswer("reset".to_owned()))),
            Fate::Works | Fate::Truncated => call(),
        }
    }
}

impl Objects for FailingObjects {
    fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, ObjectError> {
        self.around(|| self.inner.put_new(path, bytes))
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.around(|| self.inner.replace(path, bytes))
    }

    fn length(&self, path: &str) -> Result<u64, ObjectError> {
        self.around(|| self.inner.length(path))
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let fate = self.fate()?;
        if matches!(fate, Fate::FailsBefore | Fate::FailsAfter) {
            return Err(ObjectError::NoAnswer("503".to_owned()));
        }
        let bytes = self.inner.get_range(path, range)?;
        if fate == Fate::Works {
            return Ok(bytes);
        }
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(bytes.slice(..rng.below(bytes.len() as u64 + 1) as usize))
    }

    fn get(&self, path: &str) -> Result<Bytes, ObjectError> {
        self.get_range(path, 0..u64::MAX)
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, ObjectError> {
        self.around(|| self.inner.list(prefix, after))
    }

    fn delete(&self, path: &str) -> Result<(), ObjectError> {
        self.around(|| self.inner.delete(path))
    }
}
