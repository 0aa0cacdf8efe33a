//! The writer of a hot table: reserve, then write.
//!
//! **Why a reserved row is certain to be taken.** A write needs a slot and a place in the index.
//! *Slot*: `reserve` promises one of the row's class, and claims a chunk for the class whenever its free
//! slots are all promised; a slot is taken only against a promise, and an empty chunk is given back only
//! if the promises remain covered. A reservation may instead borrow the slot of the row that it is to
//! overwrite; that row is not evicted, and if it is removed first, its slot becomes a promise.
//! Evictions (`evict.rs`) free slots and chunks that nobody counts on. *Index*: placing an entry needs at most
//! one overflow bucket beyond what is there, and `reserve` refuses unless the unclaimed memory holds one
//! for each reserved row. Nothing else takes that memory: rows claim chunks only in `reserve`, under the
//! same test, and the index grows only if the buckets of the other reserved rows are left. Moving cells
//! never needs an overflow bucket: a move that does not fit is undone.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::classes::SizeClass;
use thermae_formats::hot_layout::header::{self, MapInfo};
use thermae_formats::hot_layout::index::{
    BUCKET_WORDS, SEGMENT_BUCKETS, SEGMENT_BYTES, SEGMENT_ENTRIES, entry_position,
};
use thermae_formats::hot_layout::{
    BODY_BYTES_MAX, CHUNK_BYTES, ROW_HEADER_BYTES, WORD_BYTES, row_words,
};

use crate::arena::{Arena, chunk_bytes};
use crate::error::{Corruption, Full, FullCause, HotError, MapError};
use crate::index::{Index, Located};
use crate::lookup::{Lookup, Probe, look_up};
use crate::map::{self, HotConfig, Map};
use crate::multi;
use crate::reader::HotReader;
use crate::row::{NewRow, RowBuf};
use crate::stats::HotStats;
use crate::words::write_row;

/// Rows leave at least so many chunks to the index: eight segments.
const INDEX_CHUNKS_MIN: usize = 2;
/// Rows leave one chunk in so many to the index. A full table can hold 1024 reservations for each.
const INDEX_CHUNK_IN: usize = 128;
/// Readers mark rows once fewer than one chunk in so many is free: rows may have to go soon.
const MARK_BELOW_FREE_IN: usize = 8;
/// Overflow buckets that a chunk holds.
const BUCKETS_PER_CHUNK: usize = CHUNK_BYTES / SEGMENT_BYTES * SEGMENT_BUCKETS;

/// A promise of space for one row. Hand it to [`HotWriter::upsert`] or [`HotWriter::release`]; one that
/// is dropped keeps its space until the table is.
#[derive(Debug)]
#[must_use = "a reservation that is dropped keeps its space"]
pub struct Reservation {
    class: SizeClass,
    /// Position of the row that will be overwritten, if it is its slot that is counted on.
    borrowed: Option<usize>,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Whether a row of this key was there before.
    pub replaced: bool,
}

/// The one writer of a hot table.
pub struct HotWriter {
    pub(crate) map: Arc<Map>,
    pub(crate) arena: Arena,
    pub(crate) index: Index,
    pub(crate) totals: Totals,
    /// The row being laid out, and the row being compared.
    row: Vec<u64>,
    pub(crate) compared: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    slot_words: u64,
    pub(crate) row_words: u64,
    pub(crate) reserved: usize,
    pub(crate) evictions: u64,
}

impl HotWriter {
    /// Makes a table in shared memory, all of it allocated now.
    ///
    /// # Errors
    ///
    /// The size is out of bounds, or the system cannot give the memory.
    pub fn create(config: &HotConfig) -> Result<HotWriter, MapError> {
        HotWriter::on(Map::create(config)?)
    }

    /// Makes a table on the heap, for one process only.
    ///
    /// # Errors
    ///
    /// The size is out of bounds.
    pub fn create_on_heap(config: &HotConfig) -> Result<HotWriter, MapError> {
        HotWriter::on(Map::create_on_heap(config)?)
    }

    fn on(map: Map) -> Result<HotWriter, MapError> {
        let mut arena = Arena::new(map.geometry);
        let Some(index) = Index::new(&map, &mut arena) else {
            return Err(header::HeaderError::Geometry { field: "chunk count" }.into());
        };
        let map = Arc::new(map);
        let (row, compared) = (Vec::new(), Vec::new());
        let writer = HotWriter { map, arena, index, totals: Totals::default(), row, compared };
        writer.publish_totals();
        Ok(writer)
    }

    /// A reader for other threads of this process.
    pub fn reader(&self) -> HotReader {
        HotReader::new(Arc::clone(&self.map))
    }

    /// A descriptor of the map to hand to another process, which can only read through it.
    ///
    /// # Errors
    ///
    /// The map lives on the heap, or the process is out of descriptors.
    pub fn descriptor(&self) -> Result<OwnedFd, MapError> {
        let file = self.map.file().ok_or(MapError::NoDescriptor)?;
        map::duplicate(file, self.map.info.map_bytes)
    }

    /// What the map's header says.
    pub fn header(&self) -> MapInfo {
        self.map.info
    }

    /// Promises space for a row whose body (expiry, key, value) has `body_bytes`. Ask before the row is
    /// logged: [`HotWriter::upsert`] cannot be refused for want of space afterwards.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has changed.
    pub fn reserve(&mut self, body_bytes: usize) -> Result<Reservation, Full> {
        let free_bytes = self.claimable_bytes();
        let class = SizeClass::of(row_words(body_bytes)).filter(|_| body_bytes <= BODY_BYTES_MAX);
        let Some(class) = class else {
            let needed_bytes = (ROW_HEADER_BYTES as u64).saturating_add(body_bytes as u64);
            return Err(Full { needed_bytes, free_bytes, cause: FullCause::RowTooLarge });
        };
        let full = Full {
            needed_bytes: (class.slot_words() * WORD_BYTES) as u64,
            free_bytes,
            cause: FullCause::Memory,
        };
        let claim = self.arena.chunks_to_claim(class);
        if claim > 0 && self.arena.free_chunks() * MARK_BELOW_FREE_IN < self.map.geometry.chunks {
            self.begin_marking();
        }
        if claim > 0 && self.arena.free_chunks() < claim + self.index_chunks() {
            self.arena.reclaim(&self.map);
            if self.arena.free_chunks() < claim + self.index_chunks() {
                return Err(full);
            }
        }
        let room = self.index.bucket_room(&self.arena).saturating_sub(claim * BUCKETS_PER_CHUNK);
        if room <= self.totals.reserved || !self.arena.promise(&self.map, class) {
            return Err(full);
        }
        self.totals.reserved += 1;
        Ok(Reservation { class, borrowed: None })
    }

    /// [`HotWriter::reserve`] for a row of a known key: when memory is used up, a row that is there
    /// already and whose slot is large enough can still be overwritten, by a tombstone for instance.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has changed.
    pub fn reserve_for(
        &mut self,
        row_hash: u64,
        same_view: &[u16],
        key: &[u8],
        body_bytes: usize,
    ) -> Result<Reservation, Full> {
        let full = match self.reserve(body_bytes) {
            Err(full) if full.cause == FullCause::Memory => full,
            other => return other,
        };
        let probe = Probe { table: 0, row_hash, key, schema_ids: same_view };
        let Ok(Some(located)) = self.index.locate(&self.map, &probe, &mut self.compared) else {
            return Err(full);
        };
        let position = entry_position(located.entry) as usize;
        let class =
            self.arena.class_at(position).filter(|class| fits(*class, row_words(body_bytes)));
        let class = class.ok_or(full)?;
        if self.index.bucket_room(&self.arena) <= self.totals.reserved {
            return Err(full);
        }
        self.arena.borrow_slot(class, position);
        self.totals.reserved += 1;
        Ok(Reservation { class, borrowed: Some(position) })
    }

    /// Gives a reservation back.
    pub fn release(&mut self, reservation: Reservation) {
        if let Some(position) = reservation.borrowed {
            self.arena.unpin(position);
            self.arena.end_borrowing(&self.map, reservation.class);
        } else {
            self.arena.unpromise(&self.map, reservation.class);
        }
        self.totals.reserved = self.totals.reserved.saturating_sub(1);
    }

    /// Stores a row, instead of the one of the same key if there is one. Readers see the old row or the
    /// new one. Which row is newer is the caller's business.
    ///
    /// `same_view` are the schemas of the row's view.
    ///
    /// # Errors
    ///
    /// The reservation was for a smaller row, or the index is damaged; the reservation is given back.
    pub fn upsert(
        &mut self,
        reservation: Reservation,
        row_hash: u64,
        same_view: &[u16],
        new: &NewRow<'_>,
    ) -> Result<Applied, HotError> {
        let (words, reserved) = (row_words(new.body_bytes()), reservation.class);
        let class =
            SizeClass::of(words).filter(|class| class.slot_words() <= reserved.slot_words());
        let Some(class) = class else {
            self.release(reservation);
            return Err(HotError::ReservationTooSmall {
                reserved_bytes: (reserved.slot_words() * WORD_BYTES) as u64,
                needed_bytes: (words * WORD_BYTES) as u64,
            });
        };
        let probe = Probe { table: 0, row_hash, key: new.key, schema_ids: same_view };
        match self.index.locate(&self.map, &probe, &mut self.compared) {
            Err(corruption) => {
                self.release(reservation);
                Err(HotError::Damaged(corruption))
            }
            Ok(Some(located)) => self
                .overwrite(reservation, class, &located, new)
                .map(|()| Applied { replaced: true }),
            Ok(None) => self.add(reservation, row_hash, new).map(|()| Applied { replaced: false }),
        }
    }

    fn overwrite(
        &mut self,
        reservation: Reservation,
        class: SizeClass,
        located: &Located,
        new: &NewRow<'_>,
    ) -> Result<(), HotError> {
        let position = entry_position(located.entry) as usize;
        let old_words = self.length_at(position);
        let there = self.arena.class_at(position);
        let in_place = match there {
            Some(there) if reservation.borrowed.is_some() => {
                fits(there, row_words(new.body_bytes()))
            }
            there => there == Some(class),
        };
        if in_place {
            self.release(reservation);
            self.write(position, new);
            self.totals.row_words += self.row.len() as u64;
        } else {
            let moved = self.take(reservation)?;
            self.write(moved, new);
            self.index.replace(&self.map, located, moved);
            self.map.carry_mark(position, moved);
            self.count(moved);
            self.uncount_slot(position);
            self.arena.give_back(&self.map, position);
        }
        self.totals.row_words -= old_words as u64;
        self.publish_totals();
        Ok(())
    }

    fn add(
        &mut self,
        reservation: Reservation,
        row_hash: u64,
        new: &NewRow<'_>,
    ) -> Result<(), HotError> {
        let position = self.take(reservation)?;
        self.write(position, new);
        let promised = self.totals.reserved;
        let (map, arena) = (&self.map, &mut self.arena);
        if !self.index.insert(map, arena, row_hash, position, promised) {
            self.arena.give_back(&self.map, position);
            let corruption = Corruption::at(header::DEPTH_WORD, "the directory");
            return Err(HotError::Damaged(corruption));
        }
        self.count(position);
        self.totals.rows += 1;
        self.publish_totals();
        Ok(())
    }

    /// Removes the row of a key. True if there was one.
    ///
    /// # Errors
    ///
    /// The index is damaged where the row belongs.
    pub fn remove(
        &mut self,
        row_hash: u64,
        same_view: &[u16],
        key: &[u8],
    ) -> Result<bool, HotError> {
        let probe = Probe { table: 0, row_hash, key, schema_ids: same_view };
        let located = self.index.locate(&self.map, &probe, &mut self.compared);
        let Some(located) = located.map_err(HotError::Damaged)? else { return Ok(false) };
        let position = entry_position(located.entry) as usize;
        let words = self.length_at(position);
        self.index.remove(&self.map, &located);
        self.uncount_slot(position);
        self.totals.row_words -= words as u64;
        self.totals.rows -= 1;
        self.arena.give_back(&self.map, position);
        self.publish_totals();
        Ok(true)
    }

    /// [`HotWriter::remove`], counted as an eviction: the row still exists in a lower tier.
    ///
    /// # Errors
    ///
    /// As for [`HotWriter::remove`].
    pub fn evict(
        &mut self,
        row_hash: u64,
        same_view: &[u16],
        key: &[u8],
    ) -> Result<bool, HotError> {
        self.set_complete(false);
        let evicted = self.remove(row_hash, same_view, key)?;
        self.totals.evictions += u64::from(evicted);
        self.publish_totals();
        Ok(evicted)
    }

    /// Forgets the rows of this hash that do not match their checksums, so that they can be loaded
    /// again. Their slots are never used again. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The index is damaged where the row belongs.
    pub fn discard_corrupt(&mut self, row_hash: u64) -> Result<usize, HotError> {
        let damaged = self.index.damaged(&self.map, row_hash, &mut self.compared);
        let damaged = damaged.map_err(HotError::Damaged)?;
        if !damaged.is_empty() {
            self.set_complete(false);
        }
        for located in &damaged {
            self.index.remove(&self.map, located);
            self.totals.rows -= 1;
        }
        self.publish_totals();
        Ok(damaged.len())
    }

    /// Looks a row up, as readers do.
    pub fn get<'a>(
        &self,
        row_hash: u64,
        same_view: &[u16],
        key: &[u8],
        buffer: &'a mut RowBuf,
    ) -> Lookup<'a> {
        let probe = Probe { table: 0, row_hash, key, schema_ids: same_view };
        look_up(&self.map, &probe, &mut buffer.words).with(&buffer.words, key.len())
    }

    /// Asks for the memory of the first [`ASKED_ROWS`](crate::ASKED_ROWS) rows of these hashes, which are about to be looked up
    /// or written one by one, so that their waits for it overlap.
    pub fn ask_for(&self, row_hashes: impl Iterator<Item = u64>) {
        multi::ask_for(&self.map, row_hashes);
    }

    /// Tells readers that the writer is alive. `now_us` is microseconds UTC.
    pub fn heartbeat(&self, now_us: i64) {
        self.store(header::HEARTBEAT_WORD, now_us as u64);
    }

    /// Publishes the count of applied batches.
    pub fn set_applied(&self, applied: u64) {
        self.store(header::APPLIED_WORD, applied);
    }

    /// Publishes the engine's generation.
    pub fn set_generation(&self, generation: u64) {
        self.store(header::GENERATION_WORD, generation);
    }

    /// Tells readers to let the map go. Dropping the writer does so, too.
    pub fn retire(&self) {
        self.store(header::STATE_WORD, header::STATE_RETIRED);
    }

    /// Figures of the table.
    pub fn stats(&self) -> HotStats {
        let totals = &self.totals;
        let (segments, overflow) = (self.index.segments as u64, self.index.overflow_buckets as u64);
        let index_bytes = segments * SEGMENT_BYTES as u64
            + overflow * (BUCKET_WORDS * WORD_BYTES) as u64
            + ((WORD_BYTES as u64) << self.index.depth);
        let header_words = totals.rows * (ROW_HEADER_BYTES / WORD_BYTES) as u64;
        HotStats {
            rows: totals.rows,
            slot_bytes: totals.slot_words * WORD_BYTES as u64,
            body_bytes: totals.row_words.saturating_sub(header_words) * WORD_BYTES as u64,
            slack_bytes: totals.slot_words.saturating_sub(totals.row_words) * WORD_BYTES as u64,
            index_bytes,
            index_load: totals.rows as f64 / (segments.max(1) * SEGMENT_ENTRIES as u64) as f64,
            segments,
            overflow_buckets: overflow,
            cell_moves: self.index.moves,
            free_bytes: self.claimable_bytes(),
            free_slot_bytes: self.arena.free_slot_bytes(),
            map_bytes: self.map.info.map_bytes,
            reserved_rows: totals.reserved as u64,
            evictions: totals.evictions,
            hand_rows: self.arena.passed,
            hand_rows_read: self.arena.passed_read,
        }
    }

    /// From now on readers of this process mark what they read.
    pub(crate) fn begin_marking(&self) {
        if let Some(marks) = &self.map.marks {
            marks.begin();
        }
    }

    /// Chunks that rows leave to the index.
    fn index_chunks(&self) -> usize {
        INDEX_CHUNKS_MIN.max(self.map.geometry.chunks / INDEX_CHUNK_IN)
    }

    fn claimable_bytes(&self) -> u64 {
        chunk_bytes(self.arena.free_chunks().saturating_sub(self.index_chunks()))
    }

    /// Turns a reservation into a slot. It fails only for a reservation of another writer.
    fn take(&mut self, reservation: Reservation) -> Result<usize, HotError> {
        self.totals.reserved = self.totals.reserved.saturating_sub(1);
        if let Some(position) = reservation.borrowed {
            self.arena.unpin(position);
        }
        let needed_bytes = (reservation.class.slot_words() * WORD_BYTES) as u64;
        let missing = HotError::ReservationTooSmall { reserved_bytes: 0, needed_bytes };
        self.arena.take(&self.map, reservation.class).ok_or(missing)
    }

    fn write(&mut self, position: usize, new: &NewRow<'_>) {
        new.encode(position as u64, self.map.info.hash_seed, &mut self.row);
        write_row(self.map.words(), position, &self.row);
    }

    /// Words of the row that was just compared; it lies at `position`.
    fn length_at(&self, position: usize) -> usize {
        let word3 = self.map.words()[position + 3].load(Ordering::Relaxed);
        row_words(thermae_formats::hot_layout::body_words_of(word3) * WORD_BYTES)
    }

    /// Counts the row that was just written.
    fn count(&mut self, position: usize) {
        let slot = self.arena.class_at(position).map_or(0, SizeClass::slot_words);
        self.totals.slot_words += slot as u64;
        self.totals.row_words += self.row.len() as u64;
    }

    pub(crate) fn uncount_slot(&mut self, position: usize) {
        let slot = self.arena.class_at(position).map_or(0, SizeClass::slot_words);
        self.totals.slot_words -= slot as u64;
    }

    pub(crate) fn publish_totals(&self) {
        let words = self.map.words();
        let totals = [
            (header::ROWS_WORD, self.totals.rows),
            (header::SLOT_BYTES_WORD, self.totals.slot_words * WORD_BYTES as u64),
            (header::SEGMENTS_WORD, self.index.segments as u64),
            (header::MOVES_WORD, self.index.moves),
            (header::OVERFLOW_WORD, self.index.overflow_buckets as u64),
            (header::EVICTIONS_WORD, self.totals.evictions),
        ];
        for (word, value) in totals {
            words[word].store(value, Ordering::Relaxed);
        }
    }

    fn store(&self, word: usize, value: u64) {
        self.map.words()[word].store(value, Ordering::Release);
    }
}

fn fits(class: SizeClass, row_words: usize) -> bool {
    row_words <= class.slot_words()
}

impl Drop for HotWriter {
    fn drop(&mut self) {
        self.retire();
    }
}
