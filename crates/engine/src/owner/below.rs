//! The owner's dealings with the tables below the hot one: reads that others ask for, and the rows
//! that writes are judged against.

use std::sync::Arc;

use thermae_env::{Env, Event};
use thermae_formats::catalogue::ViewId;
use thermae_formats::version::Version;
use thermae_hot::ASKED_ROWS;

use crate::ascent::Risen;
use crate::asked::Asked;
use crate::catalogue::{Catalogue, View};
use crate::fetch::{Fetched, FetchedKeys, OwnedVersion};
use crate::message::{FetchPart, Part};
use crate::outside::Outside;
use crate::pending::PendingRow;
use crate::planted::{Bug, is_planted};
use crate::state::{Current, Judged, Newest, Place, is_hot};
use crate::warm::{Asker, Finished, Wanted};
use crate::write::{Refusal, WriteBatch, WriteKind};

use super::Owner;
use super::slice::Slice;

/// Look-ups under way beyond which none is begun ahead of its time.
const AHEAD_MAX: usize = 1024;

impl<E: Env> Owner<E> {
    /// Takes keys to look up for somebody.
    pub(crate) fn fetch(
        &mut self,
        part: FetchPart,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) {
        self.counters.asked += part.indices.len() as u64;
        self.fetches.push_back(part);
        self.fetch_more(catalogue, ring, outside);
    }

    /// Begins look-ups that wait, as many as may be under way.
    pub(crate) fn fetch_more(
        &mut self,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) {
        while self.warm.len() < self.plan.look_ups()
            && let Some(part) = self.fetches.pop_front()
        {
            let next = self.fetch_part(&part, self.fetch_at, catalogue, ring, outside);
            self.fetch_at = next.unwrap_or(0);
            if next.is_some() {
                self.fetches.push_front(part);
            }
        }
    }

    /// Looks keys up from `from` on: in memory at once, in the tables as their blocks come in. The next
    /// key, when as many look-ups are under way as may be.
    fn fetch_part(
        &mut self,
        part: &FetchPart,
        from: usize,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) -> Option<usize> {
        let mut known = FetchedKeys::new();
        let mut next = None;
        for (at, &index) in part.indices.iter().enumerate().skip(from) {
            if self.warm.len() >= self.plan.look_ups() {
                next = Some(at);
                break;
            }
            let Some(wanted) = part.batch.keys().get(index as usize) else { continue };
            let Some(view) = catalogue.view_by_id(wanted.view_id) else {
                known.push((index, Fetched::Absent));
                continue;
            };
            let key = part.batch.key(wanted);
            let row_hash = self.state.row_hash(wanted.entity_hash, view.id);
            match self.in_memory(view, row_hash, key) {
                Some(Fetched::Row(stub)) if stub.is_stub() => {
                    let asker = Asker::Read(part.origin.clone(), index);
                    let wanted = self.wanted(view.id, wanted.entity_hash, key);
                    self.ask_archive(asker, wanted, stub, outside);
                }
                Some(found) => {
                    self.counters.asked_in_memory += 1;
                    known.push((index, found));
                }
                None => {
                    let asker = Asker::Read(part.origin.clone(), index);
                    let wanted = self.wanted(view.id, wanted.entity_hash, key);
                    if let Some(finished) = self.warm.start(asker, wanted, ring) {
                        self.finish(finished, catalogue, ring, outside);
                    }
                }
            }
        }
        if !known.is_empty() {
            outside.answer_fetch(&part.origin, known);
        }
        next
    }

    /// Goes on with a look-up whose block has come in; other events come back.
    // The Err is the caller's own event, moved through, not an error to keep small.
    #[allow(clippy::result_large_err)]
    pub(crate) fn on_read(
        &mut self,
        event: Event,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) -> Result<(), Event> {
        if let Some(finished) = self.warm.on_event(event, ring)? {
            self.finish(finished, catalogue, ring, outside);
        }
        Ok(())
    }

    /// Ends a look-up, or begins it anew where the tables have changed under it.
    fn finish(
        &mut self,
        finished: Finished,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
        outside: &mut Outside<E>,
    ) {
        let mut next = Some(finished);
        while let Some(finished) = next.take() {
            let Finished { asker, wanted, found, is_outdated } = finished;
            let found = self.state.unless_erased(wanted.view, wanted.entity_hash, found);
            let view = catalogue.view_by_id(wanted.view);
            // What was written while the block was on its way is newer than any block.
            let newer = view.and_then(|view| self.in_memory(view, wanted.row_hash, &wanted.key));
            if newer.is_none() && is_outdated {
                next = self.warm.start(asker, wanted, ring);
                continue;
            }
            let is_of_tables = newer.is_none();
            match (asker, newer.unwrap_or(found)) {
                (Asker::Write { .. }, _) if !is_of_tables => {}
                (Asker::Write { needs_value }, found) => {
                    let is_stub = found.is_stub();
                    self.state.bases.put(wanted.view, wanted.row_hash, &wanted.key, found);
                    if let Some(view) = view.filter(|_| needs_value && is_stub) {
                        self.ask_for_write(view, wanted.entity_hash, &wanted.key);
                    }
                }
                (asker, Fetched::Row(stub)) if stub.is_stub() => {
                    self.ask_archive(asker, wanted, stub, outside);
                }
                (Asker::Read(origin, index), found) => {
                    if let (true, Some(view), Fetched::Row(row)) = (is_of_tables, view, &found) {
                        self.promote(catalogue, view, wanted.row_hash, row);
                    }
                    outside.answer_fetch(&origin, [(index, found)]);
                }
            }
        }
    }

    /// Takes a row that somebody asked for into the hot table: while there is room, or when it was
    /// asked for before, not long ago.
    pub(super) fn promote(
        &mut self,
        catalogue: &Catalogue,
        view: &View,
        row_hash: u64,
        row: &OwnedVersion,
    ) {
        let below = self.below.shard(self.state.shard());
        let is_wanted_again = below.is_some_and(|at| at.ascent.touch(row_hash, self.now_ns));
        if let Some(version) = row.get() {
            self.put_hot(catalogue, view, row_hash, &version, is_wanted_again);
        }
    }

    /// The same for a row that a thread has read by itself, unless there is a newer one by now: in memory, or in other
    /// tables than it was read from.
    pub(super) fn take_up(&mut self, catalogue: &Catalogue, risen: &Risen) {
        let Risen { view, entity_hash, changes, is_wanted_again, row } = risen;
        let Some(view) = catalogue.view_by_id(*view) else { return };
        let Some(version) = row.get() else { return };
        let row_hash = self.state.row_hash(*entity_hash, view.id);
        let is_outdated = *changes != self.warm.changes() && !is_planted(Bug::TakeUpOutdated);
        if is_outdated
            || !matches!(self.in_memory_is(view, row_hash, version.key), Standing::Below)
            || self.state.is_erased(view.id, *entity_hash, &version)
        {
            return;
        }
        self.put_hot(catalogue, view, row_hash, &version, *is_wanted_again);
    }

    /// Puts a row of the tables into the hot table: into free room, or, if it is wanted again, in the place of others.
    fn put_hot(
        &mut self,
        catalogue: &Catalogue,
        view: &View,
        row_hash: u64,
        version: &Version<'_>,
        is_wanted_again: bool,
    ) {
        if is_hot(view, version.event_time, self.env.now_us()) {
            let is_in = self.state.promote(catalogue, view, row_hash, version, is_wanted_again);
            self.counters.promoted += u64::from(is_in);
        }
    }

    /// The newest version of a row as far as memory can tell; `None` when only the tables can.
    pub(super) fn in_memory(&mut self, view: &View, row_hash: u64, key: &[u8]) -> Option<Fetched> {
        self.state.with_newest(view, row_hash, key, |newest| match newest {
            Newest::Row(version) => Some(Fetched::Row(OwnedVersion::new(&version))),
            Newest::Absent => Some(Fetched::Absent),
            Newest::Unreadable(why) => Some(Fetched::Failed(Arc::clone(why))),
            Newest::Below => None,
        })
    }

    pub(super) fn wanted(&self, view: ViewId, entity_hash: u64, key: &[u8]) -> Wanted {
        let row_hash = self.state.row_hash(entity_hash, view);
        Wanted { view, entity_hash, row_hash, key: key.into() }
    }

    /// Begins to read what the rows of arriving parts will be judged against, and passes the parts on to be
    /// admitted. A failure shows when the row's turn comes. False when the slice is over before that is done.
    pub(super) fn ask_ahead(
        &mut self,
        mut slice: Slice,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
    ) -> bool {
        while let Some(mut part) = self.arriving.pop_front() {
            let is_to_ask = part.room.is_some() && !self.state.is_complete();
            if is_to_ask && !self.ask_part(&mut part, &mut slice, catalogue, ring) {
                self.arriving.push_front(part);
                return false;
            }
            self.queue.push_back(part);
        }
        true
    }

    /// Looks for the rows of the first part that arrives; false when the slice is over before the last.
    fn ask_part(
        &mut self,
        part: &mut Part,
        slice: &mut Slice,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
    ) -> bool {
        let (batch, changes) = (Arc::clone(&part.batch), self.warm.changes());
        let same = self.asking.take().filter(|asking| asking.asked.is_of(changes));
        let mut asking = same.unwrap_or_else(|| Asking {
            asked: Asked::of(changes, batch.rows.len()),
            next: 0,
            below: Vec::with_capacity(ASKED_ROWS),
        });
        let rows = part.rows.get(asking.next..).unwrap_or_default();
        for rows in rows.chunks(ASKED_ROWS) {
            if slice.is_over(&self.env) {
                self.asking = Some(asking);
                return false;
            }
            slice.count(rows.len());
            self.ask_for(&batch, rows);
            if !self.ask_rows(&batch, rows, &mut asking, catalogue, ring) {
                return true;
            }
            asking.next += rows.len();
        }
        part.asked = Some(Arc::new(asking.asked));
        true
    }

    /// Looks for some rows of a batch; false when no more look-ups may be begun.
    fn ask_rows(
        &mut self,
        batch: &WriteBatch,
        rows: &[u32],
        asking: &mut Asking,
        catalogue: &Catalogue,
        ring: &mut E::Ring,
    ) -> bool {
        let Asking { asked, below, .. } = asking;
        self.find_below(batch, rows, catalogue, below);
        let places = below.iter().map(|(_, view, entity_hash)| (*view, *entity_hash));
        let lacked = self.warm.lacks(places);
        for (at, &(index, view, entity_hash)) in below.iter().enumerate() {
            if lacked >> at & 1 == 1 {
                asked.note_absent(index);
                continue;
            }
            if self.warm.len() >= AHEAD_MAX.min(self.plan.look_ups()) {
                return false;
            }
            let Some(row) = batch.rows.get(index as usize) else { continue };
            let needs_value = matches!(row.kind, WriteKind::Partial { .. });
            let wanted = self.wanted(view, entity_hash, batch.key(row));
            if !self.warm.is_fetching(wanted.row_hash) {
                self.warm.start(Asker::Write { needs_value }, wanted, ring);
            }
        }
        true
    }

    /// Those of some rows that memory does not have: index in the batch, view, and hash of the key.
    fn find_below(
        &mut self,
        batch: &WriteBatch,
        rows: &[u32],
        catalogue: &Catalogue,
        below: &mut Vec<(u32, ViewId, u64)>,
    ) {
        below.clear();
        for &index in rows {
            let Some(row) = batch.rows.get(index as usize) else { continue };
            let Some(view) = catalogue.view_by_id(row.view_id) else { continue };
            let key = batch.key(row);
            let entity_hash = self.state.entity_hash(key);
            let row_hash = self.state.row_hash(entity_hash, view.id);
            match self.in_memory_is(view, row_hash, key) {
                Standing::Known if matches!(row.kind, WriteKind::Partial { .. }) => {
                    self.ask_for_write(view, entity_hash, key);
                }
                Standing::Known => {}
                Standing::Unreadable => self.state.bases.forget(row_hash),
                Standing::Below => below.push((index, view.id, entity_hash)),
            }
        }
    }

    /// Whether what a row will be judged against is in memory; begins to read it where it is not. Before
    /// it is logged, a whole row needs that only to begin early, and once: it is judged when it is applied.
    ///
    /// # Errors
    /// `None` when it is on its way, `CorruptBase` when it cannot be read.
    pub(super) fn base(
        &mut self,
        view: &View,
        entity_hash: u64,
        key: &[u8],
        needs_value: bool,
        ring: &mut E::Ring,
    ) -> Result<(), Option<Refusal>> {
        let row_hash = self.state.row_hash(entity_hash, view.id);
        match self.in_memory_is(view, row_hash, key) {
            Standing::Known => Ok(()),
            Standing::Unreadable => Err(Some(self.corrupt_base(row_hash))),
            Standing::Below => self.read_below(view, entity_hash, key, needs_value, ring),
        }
    }

    /// What memory does not have was not readable below: the next try reads it again.
    fn corrupt_base(&mut self, row_hash: u64) -> Refusal {
        self.state.bases.forget(row_hash);
        Refusal::CorruptBase
    }

    /// Begins to read a row that memory does not have; fine where no table has it either.
    ///
    /// # Errors
    /// `None`: it is on its way.
    fn read_below(
        &mut self,
        view: &View,
        entity_hash: u64,
        key: &[u8],
        needs_value: bool,
        ring: &mut E::Ring,
    ) -> Result<(), Option<Refusal>> {
        if !self.warm.may_hold(view.id, entity_hash) {
            return Ok(());
        }
        let wanted = self.wanted(view.id, entity_hash, key);
        if self.warm.is_fetching(wanted.row_hash) {
            return Err(None);
        }
        // Over at once where no table has a block for it.
        self.warm.start(Asker::Write { needs_value }, wanted, ring).map(|_| ()).ok_or(None)
    }

    /// Where a logged row belongs and what it is judged against; begins to read that where it is not in
    /// memory. Looked for even if the hot table holds every row: its memory may have gone bad under this
    /// one. Nothing for a duplicate, and for a record that cannot be applied.
    ///
    /// # Errors
    /// `None` when it is on its way, `CorruptBase` when it cannot be read.
    pub(super) fn judge<'a>(
        &mut self,
        row: &PendingRow,
        catalogue: &'a Catalogue,
        ring: &mut E::Ring,
    ) -> Result<Option<(Place<'a>, Option<Current>)>, Option<Refusal>> {
        let record = row.head.as_ref().and_then(|head| head.record(&row.waiting.batch, row.index));
        let Some(record) = record else { return Ok(None) };
        let Ok(place) = self.state.place(catalogue, &record) else { return Ok(None) };
        let Place { view, entity_hash, row_hash } = place;
        let (asked, changes) = (row.waiting.asked.as_ref(), self.warm.changes());
        let is_absent = asked.is_some_and(|asked| asked.is_absent(row.index, changes));
        let current = match self.state.judge(&place, &record) {
            Judged::Known(current) => current,
            Judged::Unreadable => return Err(Some(self.corrupt_base(row_hash))),
            Judged::Below if is_absent => None,
            Judged::Below => {
                self.read_below(view, entity_hash, record.key, false, ring)?;
                None
            }
        };
        Ok(Some((place, current)))
    }

    fn in_memory_is(&mut self, view: &View, row_hash: u64, key: &[u8]) -> Standing {
        self.state.with_newest(view, row_hash, key, |newest| match newest {
            Newest::Row(_) | Newest::Absent => Standing::Known,
            Newest::Below => Standing::Below,
            Newest::Unreadable(_) => Standing::Unreadable,
        })
    }
}

/// How far the first part that arrives has been looked for.
pub(super) struct Asking {
    asked: Asked,
    /// The next of its rows.
    next: usize,
    /// Rows of a group that memory lacks; kept for its memory.
    below: Vec<(u32, ViewId, u64)>,
}

/// How a row's newest version stands.
enum Standing {
    Known,
    Below,
    Unreadable,
}
