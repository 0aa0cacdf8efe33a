//! What a run came to, as one JSON document.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::drive::Recorded;
use crate::figures::Sample;
use crate::machine::Machine;
use crate::search::Promise;
use crate::target::Way;
use crate::workload::Workload;

/// Version of the document.
pub const FORMAT: u32 = 1;
/// A result is the client's, not the store's, if the client alone is not this much faster.
pub const HEADROOM_MIN: f64 = 1.3;
/// A schedule was kept if this share of it was answered.
pub const KEPT_SHARE: f64 = 0.99;

/// Latencies, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Requests.
    pub requests: u64,
    /// The quickest.
    pub min_ns: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Half were quicker.
    pub p50_ns: u64,
    /// 9 of 10 were quicker.
    pub p90_ns: u64,
    /// 99 of 100 were quicker.
    pub p99_ns: u64,
    /// 999 of 1000 were quicker.
    pub p999_ns: u64,
    /// 9999 of 10,000 were quicker.
    pub p9999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

impl Latency {
    /// Of recorded nanoseconds.
    pub fn of(recorded: &Histogram<u64>) -> Self {
        if recorded.is_empty() {
            return Self::default();
        }
        let at = |quantile| recorded.value_at_quantile(quantile);
        Self {
            requests: recorded.len(),
            min_ns: recorded.min(),
            mean_ns: recorded.mean() as u64,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: recorded.max(),
        }
    }
}

/// One operation of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationOutcome {
    /// `read`, `write`, ...
    pub kind: String,
    /// From when requests were due.
    pub latency: Latency,
    /// Rows asked for or written.
    pub rows: u64,
    /// Rows found or acknowledged.
    pub found: u64,
}

/// A second of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SecondOutcome {
    /// Requests answered.
    pub requests: u64,
    /// Their rows.
    pub rows: u64,
    /// Half were quicker, nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were quicker.
    pub p99_ns: u64,
}

/// One measured piece: one rate, or the closed loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Requests a second that were scheduled; `None` of a closed loop.
    pub offered_per_s: Option<f64>,
    /// Requests a second that were answered.
    pub answered_per_s: f64,
    /// Rows a second.
    pub rows_per_s: f64,
    /// Measured seconds.
    pub seconds: f64,
    /// From when requests were due: nothing is omitted.
    pub latency: Latency,
    /// From when they were sent: what a client that waits would see.
    pub service: Latency,
    /// Requests that were due and not answered in time.
    pub unfinished: u64,
    /// Refused as overloaded.
    pub refused: u64,
    /// Failed.
    pub failed: u64,
    /// The first failure.
    pub first_failure: Option<String>,
    /// The schedule was not kept.
    pub is_saturated: bool,
    /// What the client alone could do, over what it did; `None` where it was not measured.
    pub headroom: Option<f64>,
    /// The client was the limit: the store can do more.
    pub is_client_bound: bool,
    /// By operation.
    pub operations: Vec<OperationOutcome>,
    /// By second.
    pub by_second: Vec<SecondOutcome>,
    /// Figures of the store meanwhile.
    pub samples: Vec<Sample>,
}

impl Step {
    /// What was recorded in `seconds` with an `offered` schedule.
    pub fn of(
        workload: &Workload,
        recorded: &Recorded,
        offered_per_s: Option<f64>,
        seconds: f64,
        samples: Vec<Sample>,
    ) -> Self {
        let kinds = workload.operations.iter().map(|operation| match operation.kind {
            crate::workload::Kind::Read => "read",
            crate::workload::Kind::Write => "write",
            crate::workload::Kind::Insert => "insert",
            crate::workload::Kind::Modify => "modify",
        });
        let operations = kinds.zip(&recorded.operations).map(|(kind, tally)| OperationOutcome {
            kind: kind.to_owned(),
            latency: Latency::of(&tally.latency),
            rows: tally.rows,
            found: tally.found,
        });
        let by_second = recorded.seconds.iter().map(|second| SecondOutcome {
            requests: second.requests,
            rows: second.rows,
            p50_ns: second.latency.value_at_quantile(0.5),
            p99_ns: second.latency.value_at_quantile(0.99),
        });
        let answered_per_s = recorded.answered as f64 / seconds;
        let is_saturated = recorded.unfinished > 0
            || offered_per_s.is_some_and(|offered| answered_per_s < offered * KEPT_SHARE);
        Self {
            offered_per_s,
            answered_per_s,
            rows_per_s: recorded.rows as f64 / seconds,
            seconds,
            latency: Latency::of(&recorded.latency()),
            service: Latency::of(&recorded.service()),
            unfinished: recorded.unfinished,
            refused: recorded.refused,
            failed: recorded.failed,
            first_failure: recorded.first_failure.clone(),
            is_saturated,
            headroom: None,
            is_client_bound: false,
            operations: operations.collect(),
            by_second: by_second.collect(),
            samples,
        }
    }

    /// Sets what the client alone could do, requests a second.
    pub fn with_client(&mut self, client_per_s: Option<f64>) {
        let answered = self.answered_per_s;
        self.headroom = client_per_s.filter(|_| answered > 0.0).map(|client| client / answered);
        self.is_client_bound = self.headroom.is_some_and(|headroom| headroom < HEADROOM_MIN);
    }

    /// What a reader must know of it, in few words.
    pub fn judgement(&self) -> String {
        let mut words = Vec::new();
        if self.is_saturated {
            words.push("saturated".to_owned());
        }
        if self.is_client_bound {
            words.push("client-bound".to_owned());
        }
        words.extend(self.first_failure.clone());
        words.join("; ")
    }

    /// Whether the promise was kept, the schedule was, and nothing failed.
    pub fn keeps(&self, promise: Promise) -> bool {
        let at = if promise.quantile > 0.99 { self.latency.p999_ns } else { self.latency.p99_ns };
        let errors = self.failed + self.refused + self.unfinished;
        !self.is_saturated && errors == 0 && at <= promise.under_ns && self.latency.requests > 0
    }
}

/// All of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of this document: 1.
    pub format: u32,
    /// Program and version.
    pub program: String,
    /// When, microseconds UTC.
    pub at_us: i64,
    /// Where the client ran; the store too, unless its address says otherwise.
    pub machine: Machine,
    /// Which way in.
    pub way: Way,
    /// What was driven.
    pub workload: Workload,
    /// Rows that had to be loaded first.
    pub rows_loaded: u64,
    /// Rows a second while loading.
    pub load_rows_per_s: f64,
    /// What the client reached against a server that does nothing, requests a second.
    pub client_per_s: Option<f64>,
    /// The promise of a search.
    pub promise: Option<Promise>,
    /// The highest scheduled rate that kept it, requests a second.
    pub held_per_s: Option<f64>,
    /// What was measured, in the order it was.
    pub steps: Vec<Step>,
    /// What to know when reading it.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::presets::preset;

    fn step(answered: u64, offered_per_s: Option<f64>) -> Step {
        let workload = preset("point").unwrap();
        let mut recorded = Recorded::new(1).unwrap();
        recorded.answered = answered;
        for at in 1..=1000 {
            recorded.operations[0].latency.record(at * 1000).unwrap();
        }
        Step::of(&workload, &recorded, offered_per_s, 2.0, Vec::new())
    }

    #[test]
    fn a_step_near_what_the_client_can_do_says_so() {
        let mut bound = step(2000, None);
        assert_eq!((bound.answered_per_s, bound.headroom), (1000.0, None));
        bound.with_client(Some(1290.0));
        assert!(bound.is_client_bound && bound.judgement() == "client-bound");
        bound.with_client(Some(1310.0));
        assert!(!bound.is_client_bound && bound.judgement().is_empty());
    }

    #[test]
    fn a_promise_is_kept_by_its_quantile_its_schedule_and_without_errors() {
        let kept = |step: &Step, quantile, under_ns| step.keeps(Promise { quantile, under_ns });
        let good = step(2000, Some(1000.0));
        assert!(kept(&good, 0.99, 995_000) && !kept(&good, 0.99, 980_000));
        assert!(kept(&good, 0.999, 1_001_000) && !kept(&good, 0.999, 995_000));
        let late = step(1900, Some(1000.0));
        assert!(late.is_saturated && !kept(&late, 0.99, 995_000));
        for spoil in [
            |step: &mut Step| step.failed = 1,
            |step: &mut Step| step.refused = 1,
            |step: &mut Step| step.unfinished = 1,
        ] {
            let mut spoilt = good.clone();
            spoil(&mut spoilt);
            assert!(!kept(&spoilt, 0.99, 995_000));
        }
    }
}
