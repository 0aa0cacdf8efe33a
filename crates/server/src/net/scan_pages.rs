//! The helper thread that reads pages of scans.
//!
//! Between two pages of a scan it keeps the cursor of the first for a while, so that a scan which goes on
//! at once reads everything once, under one snapshot. It need not: a page that comes later, or of another
//! server's scan, begins with a snapshot of its own at its place.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use thermae_engine::scan::{Cursor, Position, project};
use thermae_engine::{Error, Handle, ScanOptions};
use thermae_env::{Env, give_way, go_last};
use thermae_formats::projection::Projection;
use thermae_formats::version::Version;
use thermae_formats::wire::{ErrorCode, ScanEncoder, ScanPlace, ScanRow};
use thermae_formats::{Feature, RowLayout, ValueType, ViewId};

use super::failure::Failure;
use super::helper::Helper;
use super::scan_arrivals::Destination;

/// Requests that wait for the helper at most.
const WAITING_MAX: usize = 256;
/// Cursors that are kept between pages: each holds a snapshot.
const KEPT_MAX: usize = 4;
/// How long one is kept.
const KEPT_NS: u64 = 5_000_000_000;
/// How often they are looked at while nothing else is to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What looking at a row takes, nanoseconds, about.
const ROW_NS: u32 = 500;
/// Versions that one page looks at: a page of a scan that wants few of them has few or no rows rather
/// than taking long.
const LOOKED_AT_MAX: usize = 200_000;

/// What a scan is of: the same for all of its pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The view.
    pub view: ViewId,
    /// The features, and their types as they were prepared.
    pub features: Vec<String>,
    /// Types of the features.
    pub types: Vec<ValueType>,
    /// Which rows.
    pub options: ScanOptions,
}

/// A page that somebody waits for.
pub struct PageRequest {
    /// What the scan is of.
    pub subject: Subject,
    /// Where the page begins.
    pub after: Option<Position>,
    /// Bytes of rows from which on it ends.
    pub page_bytes: usize,
    /// Id of the request.
    pub request_id: u64,
    /// Largest frame that may be sent, in bytes.
    pub max_frame_bytes: u32,
    /// Who waits.
    pub destination: Destination,
}

/// The helper.
pub struct ScanPages(Helper<PageRequest>);

impl ScanPages {
    /// Starts it over a store.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(env: E, handle: Handle<E>) -> std::io::Result<Self> {
        let helper = Helper::start("scans", WAITING_MAX, |requests| {
            go_last();
            Reader { env, handle, kept: VecDeque::new() }.run(requests);
        })?;
        Ok(Self(helper))
    }

    /// Where requests go.
    pub fn requests(&self) -> SyncSender<Option<PageRequest>> {
        self.0.requests()
    }
}

/// A scan under way.
struct Scanning<E: Env> {
    subject: Subject,
    /// Where it stands.
    after: Option<Position>,
    cursor: Cursor<E>,
    projection: Projection,
    layout: RowLayout,
    used_ns: u64,
}

struct Reader<E: Env> {
    env: E,
    handle: Handle<E>,
    /// The one used last is the last.
    kept: VecDeque<Scanning<E>>,
}

impl<E: Env> Reader<E> {
    fn run(&mut self, requests: &Receiver<Option<PageRequest>>) {
        loop {
            match requests.recv_timeout(LOOK_EVERY) {
                Ok(Some(request)) => self.answer(request),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let now_ns = self.env.monotonic_ns();
            self.kept.retain(|kept| now_ns.saturating_sub(kept.used_ns) < KEPT_NS);
        }
    }

    fn answer(&mut self, request: PageRequest) {
        let PageRequest { subject, after, page_bytes, request_id, max_frame_bytes, destination } =
            request;
        let page = self.scanning(subject, after).and_then(|mut scanning| {
            let (frame, is_over) = scanning.page(page_bytes, request_id, max_frame_bytes)?;
            if !is_over {
                scanning.used_ns = self.env.monotonic_ns();
                self.kept.push_back(scanning);
            }
            Ok(frame)
        });
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        destination.put(page);
    }

    /// The scan that stands at this place, or a new one there.
    fn scanning(
        &mut self,
        subject: Subject,
        after: Option<Position>,
    ) -> Result<Scanning<E>, Failure> {
        let is_it = |kept: &Scanning<E>| kept.after == after && kept.subject == subject;
        // What begins is to see what was written just before it.
        if after.is_some()
            && let Some(at) = self.kept.iter().position(is_it)
            && let Some(kept) = self.kept.remove(at)
        {
            return Ok(kept);
        }
        let snapshot = self.snapshot()?;
        let stale = |_: Error| {
            Failure::new(ErrorCode::StaleSchema, "the view's schema moved on: prepare again")
        };
        let view = snapshot.catalogue().view_by_id(subject.view);
        let view = view.ok_or_else(|| Failure::new(ErrorCode::UnknownView, "no such view"))?;
        let names: Vec<&str> = subject.features.iter().map(String::as_str).collect();
        let projection = project(view, &names).map_err(stale)?;
        let types = (0..projection.len()).filter_map(|at| projection.value_type(at).cloned());
        if types.collect::<Vec<_>>() != subject.types {
            return Err(stale(Error::Stopped));
        }
        let layout = layout(&subject.types)?;
        let cursor = Cursor::open(&snapshot, subject.view, &subject.options, after.as_ref())?;
        Ok(Scanning { subject, after, cursor, projection, layout, used_ns: 0 })
    }

    /// A snapshot; where there are too many, kept scans make room for those that are asked for.
    fn snapshot(&mut self) -> Result<thermae_engine::Snapshot<E>, Failure> {
        loop {
            match self.handle.snapshot() {
                Err(Error::Overloaded(..)) if self.kept.pop_front().is_some() => {}
                snapshot => return Ok(snapshot?),
            }
        }
    }
}

/// How the values of a plan's columns lie in a row.
fn layout(types: &[ValueType]) -> Result<RowLayout, Failure> {
    let feature = |(at, value_type): (usize, &ValueType)| {
        Feature::new(format!("column {at}"), value_type.clone())
    };
    RowLayout::new(&types.iter().enumerate().map(feature).collect::<Vec<_>>())
        .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
}

impl<E: Env> Scanning<E> {
    /// The next page, and whether it is the last.
    fn page(
        &mut self,
        page_bytes: usize,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let mut rows = ScanEncoder::default();
        let mut value = Vec::new();
        for _ in 0..LOOKED_AT_MAX {
            give_way(ROW_NS);
            let Some(row) = self.cursor.row() else { break };
            if self.cursor.wants(&row) {
                let dense = self.encode(&row, &mut value)?;
                let row_bytes = ScanEncoder::row_bytes(row.key.len(), value.len());
                // One row at least, whatever its size.
                if rows.row_count() > 0 && rows.len_bytes() + row_bytes > page_bytes {
                    break;
                }
                rows.push(&scan_row(&row, dense, &value))?;
            }
            self.after = Some(Position { key: row.key.to_vec(), order: row.order() });
            self.cursor.advance()?;
        }
        let is_over = self.cursor.row().is_none();
        let after = self.after.as_ref().filter(|_| !is_over);
        let place = after.map(|at| ScanPlace { order: at.order, key: &at.key }.to_bytes());
        let mut frame = Vec::new();
        rows.finish(&mut frame, request_id, place.as_deref(), max_frame_bytes)?;
        Ok((frame, is_over))
    }

    /// Lays the columns of a row out; whether it has no null.
    fn encode(&self, row: &Version<'_>, value: &mut Vec<u8>) -> Result<bool, Failure> {
        value.clear();
        if row.is_tombstone() {
            return Ok(false);
        }
        let corrupt = |error: thermae_formats::RowError| {
            let text = format!("a row of sequence {} does not decode: {error}", row.sequence);
            Failure::new(ErrorCode::Corrupt, text)
        };
        let values = self.projection.decode(row.schema_id, row.value, row.is_dense());
        self.layout.encode(&values.map_err(corrupt)?, value).map_err(corrupt)
    }
}

fn scan_row<'a>(row: &Version<'a>, dense: bool, value: &'a [u8]) -> ScanRow<'a> {
    ScanRow {
        event_time: row.event_time,
        created_time: row.created_time,
        expire_at: row.expire_at,
        sequence: row.sequence,
        tombstone: row.is_tombstone(),
        key: row.key,
        dense,
        value,
    }
}
