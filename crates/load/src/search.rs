//! The highest rate that keeps a promise: a few rates tried one after the other, between the last that held and the
//! first that did not.

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Promise {
    /// The quantile, 0.99 or 0.999.
    pub quantile: f64,
    /// It stays under this, nanoseconds.
    pub under_ns: u64,
}

/// The search: ask for a rate, try it, say how it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Highest rate that held.
    held: f64,
    /// Lowest rate that did not.
    broke: Option<f64>,
    next: f64,
    steps: u32,
    steps_max: u32,
    /// Held and broken rates this close to each other end the search, as a share.
    close: f64,
}

impl Search {
    /// Begins below `peak_per_s`, which a closed loop reached.
    pub fn new(peak_per_s: f64, steps_max: u32) -> Self {
        let (held, broke) = (0.0, None);
        Self { held, broke, next: peak_per_s * 0.5, steps: 0, steps_max, close: 0.05 }
    }

    /// The next rate to try, requests a second; `None` when the answer is known well enough.
    pub fn next(&self) -> Option<f64> {
        let known = self.broke.is_some_and(|broke| broke - self.held <= self.close * broke);
        (!known && self.steps < self.steps_max && self.next > 0.01).then_some(self.next)
    }

    /// How the rate that was asked for went.
    pub fn tried(&mut self, held: bool) {
        self.steps += 1;
        if held {
            self.held = self.held.max(self.next);
        } else {
            self.broke = Some(self.broke.map_or(self.next, |broke| broke.min(self.next)));
        }
        self.next = match self.broke {
            // A peak of a closed loop may be passed by a little: answers are received in larger groups.
            None => self.held * 1.4,
            Some(broke) if self.held > 0.0 => f64::midpoint(self.held, broke),
            Some(broke) => broke / 3.0,
        };
    }

    /// The highest rate that held; 0 if none did.
    pub fn held(&self) -> f64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(limit: f64, peak: f64) -> (f64, u32) {
        let mut search = Search::new(peak, 20);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            search.tried(rate <= limit);
            steps += 1;
        }
        (search.held(), steps)
    }

    #[test]
    fn the_limit_is_found_wherever_it_lies() {
        for share in [0.001, 0.05, 0.2, 0.5, 0.77, 0.99, 1.2] {
            let (held, steps) = find(100_000.0 * share, 100_000.0);
            let found = held / (100_000.0 * share);
            assert!((0.94..=1.0).contains(&found), "{share}: {held} in {steps}");
            assert!(steps <= 14, "{share}: {steps} steps");
        }
    }

    #[test]
    fn a_promise_that_nothing_keeps_ends_with_nothing() {
        let (held, steps) = find(0.0, 1000.0);
        assert!(held == 0.0 && steps <= 20);
    }
}
