//! How long work that failed rests: twice as long each time, until it succeeds.

/// First and longest rest.
const FIRST_NS: u64 = 10_000_000;
const LONGEST_NS: u64 = 10_000_000_000;

/// The rest of one kind of work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackOff {
    rest_ns: u64,
    until_ns: u64,
}

impl BackOff {
    pub fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.until_ns
    }

    pub fn until_ns(&self) -> u64 {
        self.until_ns
    }

    /// The work failed, and has not succeeded since.
    pub fn is_failing(&self) -> bool {
        self.rest_ns > 0
    }

    pub fn fail(&mut self, now_ns: u64) {
        self.rest_ns = (self.rest_ns * 2).clamp(FIRST_NS, LONGEST_NS);
        self.pause(now_ns, self.rest_ns);
    }

    pub fn pause(&mut self, now_ns: u64, for_ns: u64) {
        self.until_ns = now_ns.saturating_add(for_ns);
    }

    pub fn succeed(&mut self) {
        *self = Self::default();
    }
}
