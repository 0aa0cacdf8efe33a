//! Same-host reads: the server's hot tables, mapped read-only, read without a system call.
//!
//! ```text
//! key -> entity hash -> partition -> table -> row, checked against its checksum -> columns
//!                                       └ absent, busy, damaged, unknown schema -> the socket
//! ```
//! A map is believed only while its state says live, its heartbeat is recent and its generation is
//! not ahead of the compiled plan. Otherwise the plan is compiled again, the tables are mapped
//! again, and until that succeeds every read goes over the socket.

mod answer;
mod handover;
mod plan;

use std::time::{Duration, Instant, SystemTime};

use thermae_formats::hash::{entity_hash, partition_of, row_hash};
use thermae_formats::visibility::{Visibility, visibility};
use thermae_formats::wire::StoredRow;
use thermae_formats::{NO_TIME, SchemaId, ViewId, key};
use thermae_hot::{HotReader, Lookup, Probe, RowBuf, RowView, State, multi_get};

use crate::address::Address;
use crate::client::Client;
use crate::error::Error;
use crate::plan::{Keys, Plan, ReadOptions};
use handover::Maps;
use plan::MappedView;

pub use answer::MappedAnswer;
pub use plan::MappedPlan;

/// A heartbeat older than this is a dead server's. It beats every 100 ms at least.
const HEARTBEAT_AGE_US_MAX: i64 = 1_000_000;
/// Pause between attempts to map again.
const REMAP_PAUSE: Duration = Duration::from_millis(200);

/// How many keys were answered from the maps, and how many over the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MappedStats {
    /// Answered from the maps.
    pub hits: u64,
    /// Asked of the server.
    pub misses: u64,
    /// Times that the tables were mapped anew.
    pub remaps: u64,
}

/// Mapped reads of one server. One for each thread: clone it, the maps are shared.
#[derive(Clone)]
pub struct Mapped {
    client: Client,
    project: String,
    maps: Option<Maps>,
    next_attempt: Option<Instant>,
    row: OwnRow,
    missing: Vec<u32>,
    stats: MappedStats,
}

/// A row buffer that a clone does not share.
#[derive(Default)]
struct OwnRow(RowBuf);

impl Clone for OwnRow {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Mapped {
    /// Maps the hot tables of one project; "" = the whole store. The client's address must be a unix
    /// socket.
    ///
    /// # Errors
    /// [`Error::Mapped`] without a unix socket or when the tables cannot be shared, the server's
    /// refusal, a lost connection.
    pub fn open(client: &Client, project: &str) -> Result<Self, Error> {
        if !matches!(client.address(), Address::Unix(_)) {
            let why = "hot tables are handed over on a unix socket only: connect to unix:/path";
            return Err(Error::Mapped(why.to_owned()));
        }
        let maps = Maps::open(client, project)?;
        Ok(Self {
            client: client.clone(),
            project: project.to_owned(),
            maps: Some(maps),
            next_attempt: None,
            row: OwnRow::default(),
            missing: Vec::new(),
            stats: MappedStats::default(),
        })
    }

    /// Compiles a plan of the client for reading rows out of the maps.
    ///
    /// # Errors
    /// The server's refusal, a lost connection, [`Error::PlanChanged`].
    pub fn plan(&self, plan: &Plan) -> Result<MappedPlan, Error> {
        let (epoch, generation) = match &self.maps {
            Some(maps) => (maps.epoch, oldest_generation(&maps.readers)),
            None => (0, 0),
        };
        MappedPlan::compile(&self.client, plan, epoch, generation)
    }

    /// How reads have gone so far.
    pub fn stats(&self) -> MappedStats {
        self.stats
    }

    /// Reads keys of one view of the plan into `out`, in order. Hits cost no system call; the rest
    /// is asked of the server, as is everything when `options.min_offset` names writes to be seen.
    ///
    /// # Errors
    /// A key that does not decode, a refusal of the server for what had to be asked of it.
    pub fn get_many(
        &mut self,
        plan: &mut MappedPlan,
        view: usize,
        keys: &Keys,
        options: &ReadOptions,
        out: &mut MappedAnswer,
    ) -> Result<(), Error> {
        let now_us = now_us();
        let trusted = options.min_offset.is_empty() && self.trust(plan, now_us)?;
        let Some(compiled) = plan.views.get(view) else {
            return Err(Error::Usage(format!("this plan has no view {view}")));
        };
        let read_time = if options.read_time == NO_TIME { now_us } else { options.read_time };
        out.begin(compiled, keys.len(), options, read_time)?;
        self.missing.clear();
        match self.maps.as_ref().filter(|_| trusted) {
            Some(maps) => {
                let row = &mut self.row.0;
                look_up(maps, compiled, keys, read_time, row, &mut self.missing, out)?;
            }
            None => self.missing.extend(0..keys.len() as u32),
        }
        self.stats.hits += (keys.len() - self.missing.len()) as u64;
        self.stats.misses += self.missing.len() as u64;
        if !self.missing.is_empty() {
            self.ask(plan, view, keys, read_time, options, out)?;
        }
        out.finish()
    }

    /// Whether the maps may be read now, after doing what makes that true if possible.
    fn trust(&mut self, plan: &mut MappedPlan, now_us: i64) -> Result<bool, Error> {
        let live = self.maps.as_ref().is_some_and(|maps| is_live(&maps.readers, now_us));
        if !live && !self.map_again(now_us) {
            return Ok(false);
        }
        let Some(maps) = &self.maps else { return Ok(false) };
        if plan.epoch != maps.epoch || plan.generation < newest_generation(&maps.readers) {
            // Schemas or policies have changed: what was compiled may judge rows wrongly.
            let reached = oldest_generation(&maps.readers);
            *plan = MappedPlan::compile(&self.client, &plan.plan, maps.epoch, reached)?;
        }
        Ok(plan.generation >= newest_generation(&maps.readers))
    }

    /// Maps the tables of the server that is there now. True when they are live.
    fn map_again(&mut self, now_us: i64) -> bool {
        if self.next_attempt.is_some_and(|next| Instant::now() < next) {
            return false;
        }
        self.next_attempt = Some(Instant::now() + REMAP_PAUSE);
        // Never serve from what was mapped before, whatever comes of this attempt.
        self.maps = None;
        let Ok(maps) = Maps::open(&self.client, &self.project) else { return false };
        let live = is_live(&maps.readers, now_us.max(self::now_us()));
        self.stats.remaps += 1;
        self.maps = Some(maps);
        live
    }

    /// Asks the server for the rows in `missing` and puts them in their places.
    fn ask(
        &mut self,
        plan: &MappedPlan,
        view: usize,
        keys: &Keys,
        read_time: i64,
        options: &ReadOptions,
        out: &mut MappedAnswer,
    ) -> Result<(), Error> {
        let mut lists = Vec::with_capacity(plan.views.len());
        for index in 0..plan.views.len() {
            lists.push(plan.plan.keys(index)?);
        }
        let compiled = &plan.views[view];
        let (mut wanted, mut row) = (self.missing.iter().peekable(), 0);
        let mut rest = keys.packed().bytes;
        while wanted.peek().is_some() {
            let (key, after) = key::split_key(&compiled.key_types, rest)?;
            if wanted.next_if(|wanted| **wanted == row).is_some() {
                lists[view].push_packed(key, 1);
            }
            (rest, row) = (after, row + 1);
        }
        // One time judges all rows of the answer, whichever way they came.
        let options = ReadOptions { read_time, ..options.clone() };
        let lists: Vec<&Keys> = lists.iter().collect();
        let answer = self.client.read(&plan.plan, &lists, &options)?;
        out.fill_in(&answer, view, &self.missing)
    }
}

fn is_live(readers: &[HotReader], now_us: i64) -> bool {
    readers.iter().all(|reader| {
        let liveness = reader.liveness();
        let age_us = now_us.saturating_sub(liveness.heartbeat_us);
        liveness.state == State::Live && age_us.saturating_abs() <= HEARTBEAT_AGE_US_MAX
    })
}

fn newest_generation(readers: &[HotReader]) -> u64 {
    readers.iter().map(|reader| reader.liveness().generation).max().unwrap_or(0)
}

fn oldest_generation(readers: &[HotReader]) -> u64 {
    readers.iter().map(|reader| reader.liveness().generation).min().unwrap_or(0)
}

/// Looks all keys up in the maps; rows that need the server go to `missing`.
fn look_up(
    maps: &Maps,
    view: &MappedView,
    keys: &Keys,
    read_time: i64,
    row: &mut RowBuf,
    missing: &mut Vec<u32>,
    out: &mut MappedAnswer,
) -> Result<(), Error> {
    let mut rest = keys.packed().bytes;
    let mut bad_key = None;
    let probes = (0..keys.len()).map(|_| {
        let key = match key::split_key(&view.key_types, rest) {
            Ok((key, after)) => {
                rest = after;
                key
            }
            Err(error) => {
                bad_key = Some(error);
                rest = &[];
                &[]
            }
        };
        probe(maps, view, key)
    });
    multi_get(&maps.readers, probes, row, |place, found| {
        let answered = match found {
            Lookup::Found(found) => take(view, place, found, read_time, out),
            Lookup::Absent | Lookup::Corrupt(_) | Lookup::Busy => false,
        };
        if !answered {
            missing.push(place as u32);
        }
    });
    match bad_key {
        Some(error) => Err(error.into()),
        None if rest.is_empty() => Ok(()),
        None => Err(Error::Usage("keys of another view".to_owned())),
    }
}

/// Where a row is looked up.
#[inline(always)]
fn probe<'k>(maps: &Maps, view: &'k MappedView, key: &'k [u8]) -> Probe<'k> {
    let hash = entity_hash(key, maps.hash_seed);
    let partition = usize::from(partition_of(hash, maps.partitions));
    // A partition without a table has none that could answer: u32::MAX names no reader.
    let table = maps.partition_map.get(partition).map_or(u32::MAX, |t| u32::from(*t));
    let row_hash = row_hash(hash, ViewId(view.view_id));
    Probe { table, row_hash, key, schema_ids: &view.schema_ids }
}

/// Judges one row and copies its columns. False when the server had better be asked.
fn take(
    view: &MappedView,
    place: usize,
    row: &RowView<'_>,
    read_time: i64,
    out: &mut MappedAnswer,
) -> bool {
    let event_time = row.event_time();
    let tombstone = row.is_tombstone();
    match visibility(tombstone, row.expire_at(), event_time, view.ttl_us, read_time) {
        Visibility::NotFound => true,
        Visibility::OutsideMaxAge => {
            out.set_outside_max_age(place, event_time);
            true
        }
        Visibility::Present => {
            let stored = StoredRow {
                schema_id: SchemaId(row.schema_id()),
                value: row.value(),
                dense: row.is_dense(),
                event_time,
            };
            out.set_row(place, &view.projection, &stored)
        }
    }
}

fn now_us() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    }
}
