//! Best, average and worst case of one quantity.

use serde::Serialize;

/// Best, average and worst case.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// Best case.
    pub best: f64,
    /// What to expect.
    pub average: f64,
    /// Worst case.
    pub worst: f64,
}

impl Spread {
    /// The same in all cases.
    pub fn even(value: f64) -> Self {
        Self { best: value, average: value, worst: value }
    }

    /// The cases in order.
    pub fn of([best, average, worst]: [f64; 3]) -> Self {
        Self { best, average, worst }
    }

    /// The cases in order.
    pub fn cases(self) -> [f64; 3] {
        [self.best, self.average, self.worst]
    }

    /// The same and something.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            best: self.best + other.best,
            average: self.average + other.average,
            worst: self.worst + other.worst,
        }
    }

    /// The same times something.
    #[must_use]
    pub fn times(self, by: f64) -> Self {
        Self { best: self.best * by, average: self.average * by, worst: self.worst * by }
    }
}
