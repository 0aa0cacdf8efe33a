//! Filling an answer: rows of the hot tables into its columns, and what is known of rows below them.

use std::collections::BTreeMap;

use thermae_engine::below::BelowHot;
use thermae_engine::reads::{Key, Lookup, Reads, RowBuf, Visibility, version_of};
use thermae_engine::{FetchBatch, Fetched};
use thermae_env::Env;
use thermae_formats::version::Version;
use thermae_formats::visibility::visibility;
use thermae_formats::wire::{
    ErrorCode, ReadRequest, ReplyBuilder, RowStatus, StoredRow, WireError,
};

use super::failure::Failure;
use super::histogram::add;
use super::plans::{Plan, PlanView};

/// How often a row that its owner is rewriting is looked at again before the request gives up.
const BUSY_TRIES: usize = 256;

/// Rows of one request that the hot tables lack, numbered through all its views.
#[derive(Debug, Default)]
pub struct Below {
    /// Those that must be fetched, ascending.
    wanted: Vec<u32>,
    /// Those that have been.
    known: BTreeMap<u32, Fetched>,
    /// When the request came, monotonic nanoseconds.
    pub since_ns: Option<u64>,
}

impl Below {
    /// Takes what was wanted, in that order.
    pub fn add(&mut self, fetched: Vec<Fetched>) {
        self.known.extend(self.wanted.drain(..).zip(fetched));
    }

    /// What must be fetched before the request can be answered, if anything.
    pub fn missing(
        &self,
        plan: &Plan,
        request: &ReadRequest<'_>,
        keys: &[Key<'_>],
    ) -> Option<FetchBatch> {
        if self.wanted.is_empty() {
            return None;
        }
        let mut batch = FetchBatch::default();
        let mut wanted = self.wanted.iter().copied().peekable();
        let mut end = 0;
        for (view, packed) in plan.views.iter().zip(request.views()) {
            end += packed.count as usize;
            while let Some(row) = wanted.next_if(|row| (*row as usize) < end) {
                if let Some(key) = keys.get(row as usize) {
                    batch.push(view.view.id, key.entity_hash, key.bytes);
                }
            }
        }
        Some(batch)
    }
}

/// What became of the keys of one view.
#[derive(Clone, Default)]
struct Tally {
    hits: u64,
    misses: u64,
    expired: u64,
    corrupt: u64,
    unavailable: u64,
}

/// Fills answers to one request.
pub struct Fill<'a, E: Env> {
    /// The hot tables.
    pub reads: &'a Reads,
    /// What lies below them.
    pub below_hot: &'a BelowHot<E>,
    /// What TTLs are judged by, microseconds UTC.
    pub read_time: i64,
    /// What is known of the rows below.
    pub below: &'a mut Below,
}

/// One view of the request.
#[derive(Clone, Copy)]
struct Part<'a> {
    view: &'a PlanView,
    /// Its position in the plan.
    at: usize,
    /// Number of its first row.
    first: usize,
    keys: &'a [Key<'a>],
}

impl<E: Env> Fill<'_, E> {
    /// Fills in every view. Rows that must be fetched first are noted in `below`.
    pub fn views(
        &mut self,
        plan: &Plan,
        request: &ReadRequest<'_>,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        builder: &mut ReplyBuilder,
    ) -> Result<(), Failure> {
        let mut first = 0;
        let mut parts =
            plan.views.iter().zip(request.views()).enumerate().map(|(at, (view, packed))| {
                let end = first + packed.count as usize;
                let part = Part { view, at, first, keys: keys.get(first..end).unwrap_or_default() };
                first = end;
                part
            });
        // Most requests are of one view, and allocate nothing for it.
        let (mut one, mut many) = ([Tally::default()], Vec::new());
        let tallies = match plan.views.len() {
            1 => &mut one[..],
            views => {
                many.resize(views, Tally::default());
                &mut many[..]
            }
        };
        let counts = plan.views.iter().zip(request.views());
        let counts = counts.map(|(view, packed)| (&*view.view, packed.count as usize));
        let mut failed: Result<(), WireError> = Ok(());
        // Of a request whose rows are all hot, neither allocates.
        let (mut absent, mut busy) = (Vec::new(), Vec::new());
        let mut present = parts.next();
        let reads = self.reads;
        reads.multi_get_views(counts, keys, buf, |number, found| {
            while present.is_some_and(|part| number >= part.first + part.keys.len()) {
                present = parts.next();
            }
            let Some(part) = present else { return };
            let row = number - part.first;
            match found {
                Lookup::Absent => absent.push((part, row)),
                Lookup::Busy => busy.push((part, row)),
                _ => {
                    let filled = self.row(part, row, found, builder, &mut tallies[part.at]);
                    failed = filled.and(std::mem::replace(&mut failed, Ok(())));
                }
            }
        });
        for (part, row) in busy {
            if self.busy_row(part, row, buf, builder, &mut tallies[part.at])? {
                absent.push((part, row));
            }
        }
        let place =
            |(part, row): &(Part<'_>, usize)| (part.view.view.id, part.keys[*row].entity_hash);
        for (&(part, row), may_lie_below) in self.below_hot.ask(&absent, place) {
            let tally = &mut tallies[part.at];
            match may_lie_below {
                true => self.take_below(part, row, builder, tally)?,
                false => tally.misses += 1,
            }
        }
        // Rows that were busy, or absent, came last.
        self.below.wanted.sort_unstable();
        // A request that goes below is counted when it is answered.
        if self.below.wanted.is_empty() {
            tallies.iter().zip(&plan.views).for_each(|(tally, view)| tally.count(view));
        }
        Ok(failed?)
    }

    /// Looks again at a row that was being rewritten; whether it is gone from its hot table.
    fn busy_row(
        &mut self,
        part: Part<'_>,
        row: usize,
        buf: &mut RowBuf,
        builder: &mut ReplyBuilder,
        tally: &mut Tally,
    ) -> Result<bool, Failure> {
        let reads = self.reads;
        for _ in 0..BUSY_TRIES {
            let mut outcome = None;
            reads.multi_get(&part.view.view, &part.keys[row..=row], buf, |_, found| {
                outcome = match found {
                    Lookup::Busy => None,
                    Lookup::Absent => Some(Ok(true)),
                    _ => Some(self.row(part, row, found, builder, tally).map(|()| false)),
                };
            });
            if let Some(outcome) = outcome {
                return Ok(outcome?);
            }
            std::hint::spin_loop();
        }
        let text = "a row was being rewritten each time it was looked at; repeat the read";
        Err(Failure::passing(ErrorCode::Overloaded, 1, text))
    }

    #[inline]
    fn row(
        &mut self,
        part: Part<'_>,
        row: usize,
        found: &Lookup<'_>,
        builder: &mut ReplyBuilder,
        tally: &mut Tally,
    ) -> Result<(), WireError> {
        match found {
            Lookup::Found(hot) => self.version(part, row, &version_of(hot), builder, tally),
            // Damaged in memory: below it is whole.
            Lookup::Absent | Lookup::Busy | Lookup::Corrupt(_) => {
                self.take_below(part, row, builder, tally)
            }
        }
    }

    #[cold]
    fn take_below(
        &mut self,
        part: Part<'_>,
        row: usize,
        builder: &mut ReplyBuilder,
        tally: &mut Tally,
    ) -> Result<(), WireError> {
        let number = (part.first + row) as u32;
        match self.below.known.get(&number) {
            None => self.below.wanted.push(number),
            Some(Fetched::Absent) => tally.misses += 1,
            Some(Fetched::Row(version)) => {
                if let Some(version) = version.get() {
                    return self.version(part, row, &version, builder, tally);
                }
            }
            Some(Fetched::Unavailable(_)) => {
                builder.set_status(part.at, row, RowStatus::Unavailable);
                tally.unavailable += 1;
            }
            Some(Fetched::Failed(_)) => {
                builder.set_status(part.at, row, RowStatus::Error);
                tally.corrupt += 1;
            }
        }
        Ok(())
    }

    #[inline]
    fn version(
        &self,
        part: Part<'_>,
        row: usize,
        version: &Version<'_>,
        builder: &mut ReplyBuilder,
        tally: &mut Tally,
    ) -> Result<(), WireError> {
        let (at, event_time) = (part.at, version.event_time);
        let ttl_us = part.view.view.latest.definition.ttl_us;
        let (is_tombstone, expire_at) = (version.is_tombstone(), version.expire_at);
        match visibility(is_tombstone, expire_at, event_time, ttl_us, self.read_time) {
            Visibility::Present => {
                let stored = StoredRow {
                    schema_id: version.schema_id,
                    value: version.value,
                    dense: version.is_dense(),
                    event_time,
                };
                match builder.set_stored(at, row, &part.view.projection, &stored)? {
                    RowStatus::Present => tally.hits += 1,
                    _ => tally.corrupt += 1,
                }
            }
            Visibility::NotFound => tally.misses += 1,
            Visibility::OutsideMaxAge => {
                builder.set_status(at, row, RowStatus::OutsideMaxAge);
                builder.set_event_time(at, row, event_time);
                tally.expired += 1;
            }
        }
        Ok(())
    }
}

impl Tally {
    fn count(&self, view: &PlanView) {
        let counters = &view.counters;
        add(&counters.hits, self.hits);
        if self.misses + self.expired + self.corrupt + self.unavailable > 0 {
            add(&counters.misses, self.misses);
            add(&counters.expired, self.expired);
            add(&counters.corrupt, self.corrupt);
            add(&counters.unavailable, self.unavailable);
        }
    }
}
