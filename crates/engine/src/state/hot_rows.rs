//! What a shard does with its hot table beside looking rows up: room for new rows, rows that come up
//! from the tables, rows that go by age. Every row here also lies in a memtable or in a table.

use thermae_formats::NO_TIME;
use thermae_formats::catalogue::SchemaId;
use thermae_formats::hash;
use thermae_formats::hot_layout::body_bytes;
use thermae_formats::key::split_key;
use thermae_formats::version::Version;
use thermae_hot::{FullCause, Lookup, NewRow, Reservation, RowView};
use thermae_tiering::residency::{Tier, fastest_tier};

use super::{ApplyError, Place, ShardState};
use crate::catalogue::{Catalogue, View};
use crate::write::Refusal;

impl ShardState {
    /// Sets room aside in the hot table for a row, before it is logged, evicting others where the
    /// budget asks for that. `None` when there is none to be had: the row will be warm only.
    pub fn reserve(
        &mut self,
        catalogue: &Catalogue,
        view: &View,
        row_hash: u64,
        key: &[u8],
        value_len: usize,
        expires: bool,
    ) -> Result<Option<Reservation>, Refusal> {
        let body = body_bytes(key.len(), value_len, expires);
        let seed = self.hash_seed;
        let hash_of = |row: &RowView<'_>| hash_of_row(catalogue, seed, row);
        match self.hot.reserve_evicting(row_hash, view.schema_ids(), key, body, hash_of) {
            Ok(reservation) => Ok(Some(reservation)),
            Err(full) if full.cause == FullCause::RowTooLarge => Err(Refusal::RowTooLarge),
            Err(_) => Ok(None),
        }
    }

    /// Gives room back, if there was any.
    pub fn release(&mut self, reservation: Option<Reservation>) {
        if let Some(reservation) = reservation {
            self.hot.release(reservation);
        }
    }

    /// Says whether the hot table has the newest row of every key.
    pub fn set_complete(&mut self, is_complete: bool) {
        self.hot.set_complete(is_complete);
    }

    /// Whether the hot table has the newest row of every key.
    pub fn is_complete(&self) -> bool {
        self.hot.is_complete()
    }

    /// Looks at the next `rows_max` rows of the hot table and lets those go that are past their view's
    /// `hot_for`: they are in the memtable or in tables already. Returns how many went.
    pub fn sweep(&mut self, catalogue: &Catalogue, now_us: i64, rows_max: usize) -> usize {
        let keep = |row: &RowView<'_>| {
            let view = catalogue.view_of_schema(SchemaId(row.schema_id()));
            view.is_none_or(|view| is_hot(view, row.event_time(), now_us))
        };
        let seed = self.hash_seed;
        self.hot.sweep(rows_max, keep, |row| hash_of_row(catalogue, seed, row))
    }

    /// Takes a row of the tables into free room of the hot table, unless it has that key already. False
    /// when there is no room.
    pub fn preload(&mut self, view: &View, entity_hash: u64, row: &Version<'_>) -> bool {
        if !row.is_tombstone() {
            self.note_event_time(view.id, row.event_time);
        }
        let (row_hash, same_view) = (self.row_hash(entity_hash, view.id), view.schema_ids());
        let known = self.hot.get(row_hash, same_view, row.key, &mut self.buf);
        if matches!(known, Lookup::Found(_)) {
            return true;
        }
        let body = body_bytes(row.key.len(), row.value.len(), row.expire_at != NO_TIME);
        let Ok(reservation) = self.hot.reserve(body) else { return false };
        self.hot.upsert(reservation, row_hash, same_view, &new_row(row)).is_ok()
    }

    /// Takes a row that was just read from the tables into the hot table: into free room, or, if it
    /// `may_evict`, in the place of rows that were not asked for lately. Whether it is in.
    pub fn promote(
        &mut self,
        catalogue: &Catalogue,
        view: &View,
        row_hash: u64,
        row: &Version<'_>,
        may_evict: bool,
    ) -> bool {
        let body = body_bytes(row.key.len(), row.value.len(), row.expire_at != NO_TIME);
        let reserved = if may_evict {
            let seed = self.hash_seed;
            let hash_of = |row: &RowView<'_>| hash_of_row(catalogue, seed, row);
            self.hot.reserve_evicting(row_hash, view.schema_ids(), row.key, body, hash_of)
        } else {
            self.hot.reserve(body)
        };
        // Refused only by a damaged index, which its next reader reports.
        reserved.is_ok_and(|reservation| {
            self.hot.upsert(reservation, row_hash, view.schema_ids(), &new_row(row)).is_ok()
        })
    }

    /// Puts the newest row into the hot table; without room there, the table must not go on with the
    /// row before it.
    pub(super) fn put_hot(
        &mut self,
        place: &Place<'_>,
        version: &Version<'_>,
        reservation: Option<Reservation>,
    ) -> Result<(), ApplyError> {
        let same_view = place.view.schema_ids();
        let Some(reservation) = reservation else {
            self.hot.set_complete(false);
            let removed = self.hot.remove(place.row_hash, same_view, version.key);
            return removed.map(|_| ()).map_err(ApplyError::Hot);
        };
        let row = new_row(version);
        let put = self.hot.upsert(reservation, place.row_hash, same_view, &row);
        put.map(|_| ()).map_err(ApplyError::Hot)
    }
}

/// Whether a row's age lets it be hot.
pub fn is_hot(view: &View, event_time: i64, now_us: i64) -> bool {
    fastest_tier(event_time, now_us, &view.latest.definition.tiers) == Tier::Hot
}

/// The row hash of a row in the hot table, which knows neither its view nor where its key ends.
fn hash_of_row(catalogue: &Catalogue, hash_seed: u64, row: &RowView<'_>) -> Option<u64> {
    let view = catalogue.view_of_schema(SchemaId(row.schema_id()))?;
    let (key, _) = split_key(&view.latest.key_types, row.body()).ok()?;
    Some(hash::row_hash(hash::entity_hash(key, hash_seed), view.id))
}

fn new_row<'a>(version: &Version<'a>) -> NewRow<'a> {
    NewRow {
        schema_id: version.schema_id.0,
        flags: version.flags,
        sequence: version.sequence,
        event_time: version.event_time,
        created_time: version.created_time,
        expire_at: version.expire_at,
        key: version.key,
        value: version.value,
    }
}
