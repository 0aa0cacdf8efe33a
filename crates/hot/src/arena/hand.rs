//! Which row goes next: young rows in the order in which they came, the others under a hand.
//!
//! Rows cannot be moved into an order of age, and a row takes the slot of the one that made room for it.
//! So each size class remembers, beside a hand that goes round its slots, which rows are *young*: the
//! newest quarter, oldest first. An old young row that was never read goes; one that was read stays
//! and is young no more. The hand passes rows that were read, clearing their marks, and takes the first
//! that was not. A scan thus flows through the young rows and leaves the others alone. The study is
//! `cargo xtask bench policy`, its outcome `docs/decisions/0007-eviction.md`.
//!
//! A class that replaces its own rows for ever would never grow, whatever lies cold in others. So when a
//! class has replaced a chunk's worth of rows it looks at some chunks of other classes, and takes the
//! coldest if that is no warmer than its own rows are. This hand, too, clears the marks that it passes.

use thermae_formats::hot_layout::CHUNK_WORDS;
use thermae_formats::hot_layout::classes::SizeClass;

use super::{Arena, Chunk};
use crate::map::Map;

/// One row in so many is young.
const YOUNG_IN: usize = 4;
/// Rows that may be young beyond that: those of a batch are reserved together before one is written.
const YOUNG_SLACK: usize = 1024;
/// Rows (and chunks) that a class's hand passes in search of one; then it takes a row that was read.
const HAND_STEPS: usize = 1024;
/// Chunks that are compared before the coldest is emptied.
const LOOKS: usize = 8;

/// Where a class's hand is, and what it met since the class last looked at other classes' chunks.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassHand {
    chunk: usize,
    slot: usize,
    evicted: usize,
    passed: usize,
    passed_read: usize,
}

/// A row to be evicted, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// Nobody read it of late.
    Cold(usize),
    /// Somebody did, as all the other rows that the hand passed.
    Warm(usize),
}

/// Some neighbouring chunks: what would be lost.
#[derive(Debug, Clone, Copy)]
struct Chunks {
    first: usize,
    rows: usize,
    read: usize,
}

impl Chunks {
    fn is_colder_than(&self, (read, rows): (usize, usize)) -> bool {
        self.read * rows < read * self.rows
    }
}

impl Arena {
    /// The young rows of a class gain one.
    pub(super) fn add_young(&mut self, class: SizeClass, position: usize) {
        let keep = self.young_max(class) + YOUNG_SLACK;
        self.classes[class.number()].young.push_back(position);
        while self.classes[class.number()].young.len() > keep {
            self.take_oldest_young(class);
        }
    }

    fn young_max(&self, class: SizeClass) -> usize {
        let state = &self.classes[class.number()];
        let slots = state.chunks.len() * class.slots_per_chunk();
        slots.saturating_sub(state.free_slots) / YOUNG_IN
    }

    /// The oldest young row is young no more. None if what stood there went meanwhile.
    fn take_oldest_young(&mut self, class: SizeClass) -> Option<usize> {
        let position = self.classes[class.number()].young.pop_front()?;
        if self.class_at(position) != Some(class) {
            return None;
        }
        let (chunk, slot) = self.place_of(position, class)?;
        self.chunks[chunk].slots.grow_old(slot).then_some(position)
    }

    fn place_of(&self, position: usize, class: SizeClass) -> Option<(usize, usize)> {
        let chunk = self.chunk_of(position)?;
        Some((chunk, (position - self.geometry.chunk_word(chunk)) / class.slot_words()))
    }

    /// The next row of a class to go, for one of the same class. Passes at most [`HAND_STEPS`] rows beside
    /// the young ones that are too many. None for a class of runs, or if no row may go.
    pub(crate) fn victim(&mut self, map: &Map, class: SizeClass) -> Option<Victim> {
        self.classes.get(class.number())?;
        let young_max = self.young_max(class);
        while self.classes[class.number()].young.len() > young_max {
            if let Some(position) = self.take_oldest_young(class)
                && !self.pinned.contains_key(&position)
                && !self.pass(map, class, position)
            {
                return Some(Victim::Cold(position));
            }
        }
        self.under_hand(map, class)
    }

    /// Passes a row: whether it had been read.
    fn pass(&mut self, map: &Map, class: SizeClass, position: usize) -> bool {
        let read = map.clear_mark(position);
        let hand = &mut self.classes[class.number()].hand;
        hand.passed += 1;
        hand.passed_read += usize::from(read);
        self.passed += 1;
        self.passed_read += u64::from(read);
        read
    }

    fn under_hand(&mut self, map: &Map, class: SizeClass) -> Option<Victim> {
        let mut warm = None;
        for _ in 0..HAND_STEPS {
            let state = &mut self.classes[class.number()];
            let hand = &mut state.hand;
            let Some(&number) = state.chunks.get(hand.chunk) else {
                (hand.chunk, hand.slot) = (0, 0);
                continue;
            };
            let chunk = &self.chunks[number as usize];
            let Some(slot) = chunk.slots.next_used(hand.slot) else {
                (hand.chunk, hand.slot) = (hand.chunk + 1, 0);
                continue;
            };
            hand.slot = slot + 1;
            let is_young = chunk.slots.is_young(slot);
            let position = self.geometry.chunk_word(number as usize) + slot * class.slot_words();
            if self.pinned.contains_key(&position) {
                continue;
            }
            if !is_young && !self.pass(map, class, position) {
                return Some(Victim::Cold(position));
            }
            warm = warm.or(Some(Victim::Warm(position)));
        }
        warm
    }

    /// Counts an eviction by the class's hand. True once it has replaced a chunk's worth of rows.
    pub(crate) fn has_churned(&mut self, class: SizeClass) -> bool {
        let Some(state) = self.classes.get_mut(class.number()) else { return false };
        state.hand.evicted += 1;
        state.hand.evicted >= class.slots_per_chunk()
    }

    /// A chunk of another class that is no warmer than the rows of `class`.
    pub(crate) fn chunk_to_win(&mut self, map: &Map, class: SizeClass) -> Option<usize> {
        let hand = &mut self.classes.get_mut(class.number())?.hand;
        let ours = (hand.passed_read, hand.passed.max(1));
        (hand.evicted, hand.passed, hand.passed_read) = (0, 0, 0);
        let coldest = self.coldest(map, 1, Some(class), LOOKS)?;
        let no_warmer = coldest.read * ours.1 <= ours.0 * coldest.rows;
        no_warmer.then_some(coldest.first)
    }

    /// The first of `count` neighbouring chunks that can all be emptied: the coldest of some under the
    /// hand, or after at most one round the first that there is.
    pub(crate) fn chunks_to_empty(&mut self, map: &Map, count: usize) -> Option<usize> {
        self.coldest(map, count, None, self.chunks.len()).map(|chunks| chunks.first)
    }

    fn coldest(
        &mut self,
        map: &Map,
        count: usize,
        not: Option<SizeClass>,
        looks_max: usize,
    ) -> Option<Chunks> {
        let places = (self.chunks.len() + 1).checked_sub(count)?;
        let mut coldest: Option<Chunks> = None;
        for look in 0..looks_max {
            if look >= LOOKS && coldest.is_some() {
                break;
            }
            let first = self.hand % places.max(1);
            self.hand = first + 1;
            if not.is_some() && self.chunks[first].class == not {
                continue;
            }
            if let Some(chunks) = self.look_at(map, first, count)
                && coldest.is_none_or(|best| chunks.is_colder_than((best.read, best.rows)))
            {
                coldest = Some(chunks);
            }
        }
        coldest
    }

    /// What emptying these chunks would lose; none if one of them must stay or they hold nothing. Clears
    /// the marks in the first.
    fn look_at(&self, map: &Map, first: usize, count: usize) -> Option<Chunks> {
        let mut found = Chunks { first, rows: 0, read: 0 };
        for number in first..first + count {
            if self.is_free(number) {
                continue;
            }
            if !self.may_empty(number, first..first + count) {
                return None;
            }
            for position in self.rows_in(number) {
                found.rows += 1;
                let read = if number == first {
                    map.clear_mark(position)
                } else {
                    map.is_marked(position)
                };
                found.read += usize::from(read);
            }
        }
        (found.rows > 0).then_some(found)
    }

    fn is_free(&self, number: usize) -> bool {
        self.free[number / 64] >> (number % 64) & 1 != 0
    }

    /// Whether a chunk would belong to nobody once its rows were evicted, together with others.
    fn may_empty(&self, number: usize, together: std::ops::Range<usize>) -> bool {
        let number = self.chunks[number].tail_of.map_or(number, |first| first as usize);
        let chunk = &self.chunks[number];
        let Some(class) = chunk.class else { return false };
        let words = self.geometry.chunk_word(number);
        if chunk.stuck || self.pinned.range(words..words + CHUNK_WORDS).next().is_some() {
            return false;
        }
        let Some(state) = self.classes.get(class.number()) else {
            // A run without a row is promised to a reservation.
            return chunk.live > 0;
        };
        let free = |chunk: &Chunk| class.slots_per_chunk() - usize::from(chunk.live);
        let of_class = self.chunks[together].iter().filter(|chunk| chunk.class == Some(class));
        state.free_slots.saturating_sub(of_class.map(free).sum()) >= state.promised
    }

    /// Positions of the rows in a chunk, or of the large row of which it is a part.
    pub(crate) fn rows_in(&self, number: usize) -> Vec<usize> {
        let number = self.chunks[number].tail_of.map_or(number, |first| first as usize);
        let (chunk, begin) = (&self.chunks[number], self.geometry.chunk_word(number));
        let Some(class) = chunk.class.filter(|_| chunk.live > 0) else { return Vec::new() };
        if class.run_chunks() > 0 {
            return vec![begin];
        }
        let (mut rows, mut from) = (Vec::with_capacity(usize::from(chunk.live)), 0);
        while let Some(slot) = chunk.slots.next_used(from) {
            rows.push(begin + slot * class.slot_words());
            from = slot + 1;
        }
        rows
    }

    /// Remembers that a row of the chunk could not be evicted, so that it is left alone.
    pub(crate) fn give_up(&mut self, position: usize) {
        if let Some(number) = self.chunk_of(position) {
            self.chunks[number].stuck = true;
        }
    }

    /// One step of the sweep: the next row that may go, by its position. None, and the sweep is at the
    /// beginning again, once it has been at all chunks.
    pub(crate) fn sweep_step(&mut self) -> Option<Option<usize>> {
        let (number, slot) = self.sweep_at;
        let Some(chunk) = self.chunks.get(number) else {
            self.sweep_at = (0, 0);
            return None;
        };
        let begin = self.geometry.chunk_word(number);
        let next = match chunk.class.filter(|_| chunk.live > 0) {
            Some(class) if class.run_chunks() > 0 => (slot == 0).then_some((0, begin)),
            Some(class) => {
                let used = chunk.slots.next_used(slot);
                used.map(|slot| (slot, begin + slot * class.slot_words()))
            }
            None => None,
        };
        self.sweep_at = next.map_or((number + 1, 0), |(slot, _)| (number, slot + 1));
        Some(next.map(|(_, position)| position).filter(|at| !self.pinned.contains_key(at)))
    }
}
