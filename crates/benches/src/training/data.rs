//! The rows of history and spine, each told by its number alone: whoever makes them makes the same.

use crate::workload::{FEATURES, mix, row};

/// Versions of a key, on average.
pub const VERSIONS: u64 = 10;
/// Event time of the first row of history, microseconds UTC.
const BEGIN_US: i64 = 1_700_000_000_000_000;
/// The time that history spans.
const SPAN_US: u64 = 30 * 86_400_000_000;

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of history.
    pub history: u64,
    /// Rows of the spine.
    pub spine: u64,
}

/// A row of history; `number` tells its values.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// Its key.
    pub id: i64,
    /// When it was true, microseconds UTC: no two rows have the same, and a greater number has a later one.
    pub time_us: i64,
    number: u64,
}

impl Version {
    /// Its features.
    pub fn values(&self) -> [f32; FEATURES] {
        row(self.number)
    }
}

impl Sizes {
    /// Keys that there are.
    pub fn keys(&self) -> u64 {
        (self.history / VERSIONS).max(1)
    }

    /// A row of history, in order of time.
    pub fn version(&self, number: u64) -> Version {
        let id = (mix(number ^ 0x5eed) % self.keys()) as i64;
        Version { id, time_us: time_us(number, self.history), number }
    }

    /// Key and time of a row of the spine, in order of time.
    pub fn asked(&self, number: u64) -> (i64, i64) {
        let id = (mix(number ^ 0xa5ced) % self.keys()) as i64;
        (id, time_us(number, self.spine))
    }
}

fn time_us(number: u64, rows: u64) -> i64 {
    BEGIN_US + (u128::from(number) * u128::from(SPAN_US) / u128::from(rows.max(1))) as i64
}
