//! Making room: evicting rows that nobody read of late. Every row also lies in a lower tier, so what is
//! evicted here is found there; only which row goes is a matter of taste (`arena/hand.rs`).
//!
//! **Absent, or not here.** A table is *complete* while it has the newest row of every key; then what it
//! does not have does not exist. The word in the header that says so is stepped *before* the entry of an
//! evicted row is removed, with the release fence of the bucket's change between the two. A reader that
//! missed a row because it saw the removal has passed an acquire fence after the load that saw it, so
//! when it then reads the word, it sees the step or a later one. The word only grows, so a reader that
//! finds the same odd number before and after its look-ups missed nothing by an eviction. Reading it only
//! afterwards would not do: the table may have become complete again since the miss.
//!
//! **Work.** One call of [`HotWriter::reserve_evicting`] takes some rounds, each of which evicts something.
//! A round passes at most 1024 rows beside young ones and evicts one, or it compares eight places (more
//! only while none of them can be emptied, at most all) and evicts what is in as many chunks as the row
//! needs. One round is the rule. More are needed while chunks that rows leave to the index were used up
//! by it, one a chunk.

use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::classes::SizeClass;
use thermae_formats::hot_layout::header::COMPLETE_WORD;
use thermae_formats::hot_layout::row_words;

use crate::arena::Victim;
use crate::error::{Full, FullCause};
use crate::map::Map;
use crate::row::RowView;
use crate::words::{RowCopy, copy_row};
use crate::writer::{HotWriter, Reservation};

/// Rows that are tried before a class is given up: those that cannot be evicted are damaged.
const TRIES: usize = 8;

/// Says the row hash of a row that lies in the table; none if the row's schema is not known.
type RowHashOf<'a> = &'a dyn Fn(&RowView<'_>) -> Option<u64>;

impl HotWriter {
    /// [`HotWriter::reserve_for`], and where memory is used up, rows that were not read of late are
    /// evicted until there is room: of the same size first, else a whole chunk of others. New rows go
    /// before old ones if neither was read, so a scan of writes does not flush what is read.
    ///
    /// `row_hash_of` says the row hash of a row in the table, for which it has [`RowView::schema_id`] and
    /// [`RowView::body`]: the table knows neither a row's view nor where its key ends. A row of which it
    /// says nothing, or something wrong, stays.
    ///
    /// # Errors
    ///
    /// [`Full`]: the row is larger than a row may be or than the table, or everything that is there is
    /// reserved. Rows may have been evicted.
    pub fn reserve_evicting(
        &mut self,
        row_hash: u64,
        same_view: &[u16],
        key: &[u8],
        body_bytes: usize,
        row_hash_of: impl Fn(&RowView<'_>) -> Option<u64>,
    ) -> Result<Reservation, Full> {
        let class = SizeClass::of(row_words(body_bytes));
        loop {
            let full = match self.reserve_for(row_hash, same_view, key, body_bytes) {
                Err(full) if full.cause == FullCause::Memory => full,
                other => return other,
            };
            self.begin_marking();
            if !class.is_some_and(|class| self.make_room(class, &row_hash_of)) {
                return Err(full);
            }
        }
    }

    /// Looks at the next `rows_max` rows (a chunk without rows counts as one) and evicts those that `keep`
    /// refuses. Returns how many these were. At the end of the table it stops short, and the next call
    /// starts anew. `row_hash_of` is as for [`HotWriter::reserve_evicting`], and `keep` is shown as much.
    pub fn sweep(
        &mut self,
        rows_max: usize,
        mut keep: impl FnMut(&RowView<'_>) -> bool,
        row_hash_of: impl Fn(&RowView<'_>) -> Option<u64>,
    ) -> usize {
        let mut evicted = 0;
        for _ in 0..rows_max {
            let Some(step) = self.arena.sweep_step() else { break };
            let Some(position) = step else { continue };
            let Some(length) = self.copy(position) else { continue };
            let row = RowView::new(&self.compared[..length], 0);
            if row.is_some_and(|row| !keep(&row)) {
                evicted += usize::from(self.evict_at(position, &row_hash_of));
            }
        }
        evicted
    }

    /// Says whether the table has the newest row of every key, so that a row which is absent does not
    /// exist. Set it after the last row is in; any eviction takes it back.
    pub fn set_complete(&mut self, complete: bool) {
        say_complete(&self.map, complete);
    }

    /// Whether the table has the newest row of every key.
    pub fn is_complete(&self) -> bool {
        self.map.words()[COMPLETE_WORD].load(Ordering::Relaxed) % 2 == 1
    }

    /// Evicts something so that a row of `class` may fit. False if there is nothing.
    fn make_room(&mut self, class: SizeClass, row_hash_of: RowHashOf<'_>) -> bool {
        if self.index.bucket_room(&self.arena) <= self.totals.reserved {
            return self.empty_chunks(1, row_hash_of);
        }
        let run = class.run_chunks();
        if run > 0 {
            let count = if self.arena.find_run(run).is_some() { 1 } else { run };
            return self.empty_chunks(count, row_hash_of);
        }
        for _ in 0..TRIES {
            let (position, compare) = match self.arena.victim(&self.map, class) {
                Some(Victim::Cold(position)) => (position, self.arena.has_churned(class)),
                Some(Victim::Warm(position)) => (position, true),
                None => break,
            };
            if compare && self.win_chunk(class, row_hash_of) {
                return true;
            }
            if self.evict_at(position, row_hash_of) {
                return true;
            }
        }
        self.empty_chunks(1, row_hash_of)
    }

    /// Empties a chunk of another class, if one is no warmer than the rows of this class.
    fn win_chunk(&mut self, class: SizeClass, row_hash_of: RowHashOf<'_>) -> bool {
        let chunk = self.arena.chunk_to_win(&self.map, class);
        chunk.is_some_and(|chunk| self.empty(chunk, 1, row_hash_of))
    }

    /// Empties so many neighbouring chunks, wherever that can be done.
    fn empty_chunks(&mut self, count: usize, row_hash_of: RowHashOf<'_>) -> bool {
        // Each failure gives up a chunk for good, so this ends.
        while let Some(first) = self.arena.chunks_to_empty(&self.map, count) {
            if self.empty(first, count, row_hash_of) {
                return true;
            }
        }
        false
    }

    fn empty(&mut self, first: usize, count: usize, row_hash_of: RowHashOf<'_>) -> bool {
        for number in first..first + count {
            for position in self.arena.rows_in(number) {
                if !self.evict_at(position, row_hash_of) {
                    self.arena.give_up(position);
                    return false;
                }
            }
        }
        true
    }

    /// Evicts the row at a position. False if it is not whole, or its entry was not found.
    fn evict_at(&mut self, position: usize, row_hash_of: RowHashOf<'_>) -> bool {
        let Some(length) = self.copy(position) else { return false };
        let row = RowView::new(&self.compared[..length], 0);
        let Some(row_hash) = row.and_then(|row| row_hash_of(&row)) else { return false };
        let located = self.index.locate_position(&self.map, row_hash, position);
        let Ok(Some(located)) = located else { return false };
        self.set_complete(false);
        self.index.remove(&self.map, &located);
        self.uncount_slot(position);
        self.totals.row_words -= length as u64;
        self.totals.rows -= 1;
        self.totals.evictions += 1;
        self.arena.give_back_evicted(&self.map, position);
        self.publish_totals();
        true
    }

    /// Copies the row at a position to be looked at: its words.
    fn copy(&mut self, position: usize) -> Option<usize> {
        let seed = self.map.info.hash_seed;
        match copy_row(self.map.words(), position, seed, &mut self.compared) {
            RowCopy::Whole(length) => Some(length),
            _ => None,
        }
    }
}

/// Steps the word of completeness if it says otherwise. Before an eviction the release fence of the
/// change of the bucket, which follows, makes it known.
pub(crate) fn say_complete(map: &Map, complete: bool) {
    let word = &map.words()[COMPLETE_WORD];
    let stamp = word.load(Ordering::Relaxed);
    if (stamp % 2 == 1) != complete {
        word.store(stamp.wrapping_add(1), Ordering::Release);
    }
}
