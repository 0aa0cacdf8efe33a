//! What the server counts: one set per shard, written by its thread alone, read by any.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::histogram::{Histogram, Snapshot};

/// Reads of one view on one shard.
#[derive(Debug, Default)]
pub struct ViewCounters {
    /// Keys whose row was found and served.
    pub hits: AtomicU64,
    /// Keys without a row.
    pub misses: AtomicU64,
    /// Keys whose row is older than the view's `ttl`.
    pub expired: AtomicU64,
    /// Keys whose row failed its checksum.
    pub corrupt: AtomicU64,
    /// Keys whose row lies in the archive, which did not answer.
    pub unavailable: AtomicU64,
    /// Bytes of rows put (keys and values).
    pub bytes_in: AtomicU64,
    /// Bytes of answers built.
    pub bytes_out: AtomicU64,
    /// Rows put, partially put or deleted, as asked (whatever their outcome).
    pub rows_written: AtomicU64,
}

/// The merged counts of one view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ViewTotals {
    /// See [`ViewCounters::hits`].
    pub hits: u64,
    /// See [`ViewCounters::misses`].
    pub misses: u64,
    /// See [`ViewCounters::expired`].
    pub expired: u64,
    /// See [`ViewCounters::corrupt`].
    pub corrupt: u64,
    /// See [`ViewCounters::unavailable`].
    pub unavailable: u64,
    /// See [`ViewCounters::bytes_in`].
    pub bytes_in: u64,
    /// See [`ViewCounters::bytes_out`].
    pub bytes_out: u64,
    /// See [`ViewCounters::rows_written`].
    pub rows_written: u64,
}

/// Why something was refused or cut off; each is a limit of `docs/operations.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A connection past the connection limit.
    Connections,
    /// A frame larger than the frame limit.
    OversizeFrame,
    /// Bytes that are no frame, or a frame whose payload is none.
    Malformed,
    /// No HELLO in time.
    HelloDeadline,
    /// A frame that did not arrive in time.
    FrameDeadline,
    /// A peer that did not read in time.
    WriteDeadline,
    /// A frame refused because buffer memory was spent.
    BufferMemory,
    /// Reading paused because too many requests were in flight.
    InFlight,
    /// Reading paused because too much output was waiting.
    QueuedOutput,
    /// A request past its deadline.
    RequestDeadline,
    /// A request past one of the count limits (keys, rows, plans, features).
    Counts,
}

/// Every [`Cut`] with the name that metrics and STATS use.
pub const CUTS: [(Cut, &str); 11] = [
    (Cut::Connections, "connections"),
    (Cut::OversizeFrame, "oversize_frame"),
    (Cut::Malformed, "malformed"),
    (Cut::HelloDeadline, "hello_deadline"),
    (Cut::FrameDeadline, "frame_deadline"),
    (Cut::WriteDeadline, "write_deadline"),
    (Cut::BufferMemory, "buffer_memory"),
    (Cut::InFlight, "in_flight"),
    (Cut::QueuedOutput, "queued_output"),
    (Cut::RequestDeadline, "request_deadline"),
    (Cut::Counts, "counts"),
];

/// The counters of one shard's connections.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Bytes held in buffers now.
    pub buffered_bytes: AtomicU64,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Requests answered with an ERROR.
    pub errors: AtomicU64,
    /// Requests waiting now (writes, reads with `min_offset`).
    pub waiting: AtomicU64,
    /// Time from the last byte of a read to its answer being queued.
    pub read_latency: Histogram,
    /// Time from the last byte of a write to its answer being queued.
    pub write_latency: Histogram,
    cuts: [AtomicU64; CUTS.len()],
    views: Mutex<BTreeMap<String, Arc<ViewCounters>>>,
}

impl Counters {
    /// Counts one refusal.
    pub fn cut(&self, cut: Cut) {
        super::histogram::add(&self.cuts[cut as usize], 1);
    }

    /// How often `cut` happened.
    pub fn cuts(&self, cut: Cut) -> u64 {
        self.cuts[cut as usize].load(Relaxed)
    }

    /// The counters of view `name` (`project/view@version`), made on first use. Takes a lock: call
    /// when a plan or a schema is looked up, never per request.
    pub fn view(&self, name: &str) -> Arc<ViewCounters> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        match views.get(name) {
            Some(view) => Arc::clone(view),
            None => Arc::clone(views.entry(name.to_owned()).or_default()),
        }
    }
}

/// The counters of all shards, as the scrape and STATS see them.
#[derive(Clone, Debug, Default)]
pub struct AllCounters {
    /// One per shard, in shard order.
    pub shards: Vec<Arc<Counters>>,
}

impl AllCounters {
    /// One set of counters for each of `shards` shards.
    pub fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| Arc::default()).collect() }
    }

    /// Sums one counter over the shards.
    pub fn sum(&self, pick: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| pick(shard).load(Relaxed)).sum()
    }

    /// Merges one histogram over the shards.
    pub fn latency(&self, pick: impl Fn(&Counters) -> &Histogram) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for shard in &self.shards {
            pick(shard).merge_into(&mut snapshot);
        }
        snapshot
    }

    /// Refusals by name, in the order of [`CUTS`].
    pub fn cuts(&self) -> Vec<(&'static str, u64)> {
        let total = |cut| self.shards.iter().map(|shard| shard.cuts(cut)).sum();
        CUTS.iter().map(|(cut, name)| (*name, total(*cut))).collect()
    }

    /// Per view, the counts summed over the shards.
    pub fn views(&self) -> BTreeMap<String, ViewTotals> {
        let mut totals: BTreeMap<String, ViewTotals> = BTreeMap::new();
        for shard in &self.shards {
            let views = shard.views.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, view) in views.iter() {
                let total = totals.entry(name.clone()).or_default();
                total.hits += view.hits.load(Relaxed);
                total.misses += view.misses.load(Relaxed);
                total.expired += view.expired.load(Relaxed);
                total.corrupt += view.corrupt.load(Relaxed);
                total.unavailable += view.unavailable.load(Relaxed);
                total.bytes_in += view.bytes_in.load(Relaxed);
                total.bytes_out += view.bytes_out.load(Relaxed);
                total.rows_written += view.rows_written.load(Relaxed);
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::net::histogram::add;

    #[test]
    fn each_cut_has_its_own_place() {
        for (index, (cut, _)) in CUTS.iter().enumerate() {
            assert_eq!(*cut as usize, index);
        }
    }

    #[test]
    fn shards_are_summed_by_view_and_cut() {
        let all = AllCounters::new(2);
        for shard in &all.shards {
            add(&shard.view("demo/flights@1").hits, 3);
            shard.cut(Cut::Malformed);
            add(&shard.requests, 5);
        }
        assert_eq!(all.views()["demo/flights@1"].hits, 6);
        assert_eq!(all.cuts()[Cut::Malformed as usize], ("malformed", 2));
        assert_eq!(all.sum(|shard| &shard.requests), 10);
    }
}
