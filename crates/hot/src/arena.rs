//! Which chunk holds what, and which slots are free: the writer's own memory, mirrored in the map's
//! chunk table so that a later writer could adopt the map.
//!
//! A chunk belongs to nobody, to the index, to one size class, or to one large row. Rows claim a chunk
//! when they are *reserved*, not when they are written, so a reserved row always finds its slot.

mod hand;
mod slots;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use thermae_formats::hot_layout::classes::{CLASSES, RUN_CHUNKS_MAX, SizeClass};
use thermae_formats::hot_layout::header::{
    CHUNK_FREE, CHUNK_INDEX, CHUNK_LIVE_WORD, CHUNK_RUN, CHUNK_RUN_TAIL, CHUNK_SLOTS, Geometry,
};
use thermae_formats::hot_layout::{CHUNK_BYTES, CHUNK_WORDS};

use crate::map::Map;
use hand::ClassHand;
pub(crate) use hand::Victim;
use slots::Slots;

/// One chunk as the writer sees it.
#[derive(Debug, Clone, Default)]
struct Chunk {
    /// Rows in it, rows that were found damaged included.
    live: u16,
    /// Slots never used so far begin here.
    fresh: u16,
    /// Slots that were used and are free again.
    freed: Vec<u16>,
    /// Class of its slots; none for a chunk that is free, the index's, or the tail of a run.
    class: Option<SizeClass>,
    /// Where it stands in its class's list of chunks with free slots.
    listed_at: Option<u32>,
    /// Where it stands in the list of all chunks of its class.
    classed_at: u32,
    /// Which slots hold rows; empty for a run.
    slots: Slots,
    /// The first chunk of the run that this one continues.
    tail_of: Option<u32>,
    /// A row in it could not be evicted: it is damaged, or nobody knows its key.
    stuck: bool,
}

#[derive(Debug, Clone, Default)]
struct Class {
    /// Chunks with a free slot.
    open: Vec<u32>,
    /// All its chunks.
    chunks: Vec<u32>,
    /// Positions of its young rows, the oldest in front, and of some that went.
    young: VecDeque<usize>,
    hand: ClassHand,
    free_slots: usize,
    /// Slots promised to reservations.
    promised: usize,
}

/// All chunks of a map.
pub(crate) struct Arena {
    geometry: Geometry,
    chunks: Vec<Chunk>,
    /// One bit a chunk: set while it belongs to nobody.
    free: Vec<u64>,
    free_chunks: usize,
    classes: Vec<Class>,
    /// First chunks of runs promised to reservations, with their class.
    promised_runs: Vec<(SizeClass, u32)>,
    /// By class, reservations that count on the slot of the row that they overwrite. Were that row to
    /// go before, its slot becomes a promise: as many promises as slots that went, so enough for all.
    borrowed: Vec<usize>,
    /// Positions of the rows whose slots are counted on, and by how many reservations. They are not
    /// evicted, so an eviction's slot is free for anybody.
    pinned: BTreeMap<usize, u32>,
    /// The chunk under the hand that empties chunks.
    hand: usize,
    /// Chunk and slot where the sweep goes on.
    sweep_at: (usize, usize),
    /// Rows that hands passed, and those of them that had been read.
    pub(crate) passed: u64,
    pub(crate) passed_read: u64,
}

impl Arena {
    pub(crate) fn new(geometry: Geometry) -> Arena {
        let mut free = vec![u64::MAX; geometry.chunks.div_ceil(64)];
        if let Some(last) = free.last_mut()
            && !geometry.chunks.is_multiple_of(64)
        {
            *last = (1 << (geometry.chunks % 64)) - 1;
        }
        Arena {
            geometry,
            chunks: vec![Chunk::default(); geometry.chunks],
            free,
            free_chunks: geometry.chunks,
            classes: vec![Class::default(); CLASSES],
            promised_runs: Vec::new(),
            borrowed: vec![0; CLASSES + RUN_CHUNKS_MAX],
            pinned: BTreeMap::new(),
            hand: 0,
            sweep_at: (0, 0),
            passed: 0,
            passed_read: 0,
        }
    }

    /// Chunks that belong to nobody.
    pub(crate) fn free_chunks(&self) -> usize {
        self.free_chunks
    }

    /// Bytes of free slots in chunks that belong to a class.
    pub(crate) fn free_slot_bytes(&self) -> u64 {
        let bytes = |(number, class): (usize, &Class)| {
            SizeClass::from_number(number)
                .map_or(0, |size| class.free_slots * size.slot_words() * 8)
        };
        self.classes.iter().enumerate().map(bytes).sum::<usize>() as u64
    }

    /// Chunks that one more reservation of `class` would claim.
    pub(crate) fn chunks_to_claim(&self, class: SizeClass) -> usize {
        match self.classes.get(class.number()) {
            Some(state) => usize::from(state.free_slots <= state.promised),
            None => class.run_chunks(),
        }
    }

    /// Promises a slot of `class`, claiming a chunk if need be. False: there is none, nothing changed.
    pub(crate) fn promise(&mut self, map: &Map, class: SizeClass) -> bool {
        let claim = self.chunks_to_claim(class);
        if let Some(state) = self.classes.get_mut(class.number()) {
            if claim == 0 {
                state.promised += 1;
                return true;
            }
            let Some(chunk) = self.take_run(1) else { return false };
            self.give_to_class(map, chunk, class);
            self.classes[class.number()].promised += 1;
            return true;
        }
        let Some(first) = self.take_run(claim) else { return false };
        self.chunks[first].class = Some(class);
        self.record(map, first, CHUNK_RUN | (class.number() as u64) << 8);
        for tail in first + 1..first + claim {
            self.chunks[tail].tail_of = Some(first as u32);
            self.record(map, tail, CHUNK_RUN_TAIL);
        }
        self.promised_runs.push((class, first as u32));
        true
    }

    /// Takes a promise back.
    pub(crate) fn unpromise(&mut self, map: &Map, class: SizeClass) {
        if let Some(state) = self.classes.get_mut(class.number()) {
            state.promised = state.promised.saturating_sub(1);
            if let Some(&chunk) = state.open.last() {
                self.release_if_empty(map, chunk as usize, class);
            }
        } else if let Some(first) = self.take_promised_run(class) {
            self.release_run(map, first, class);
        }
    }

    /// Counts on the slot of `class` at `position`, which holds the row to be overwritten.
    pub(crate) fn borrow_slot(&mut self, class: SizeClass, position: usize) {
        self.borrowed[class.number()] += 1;
        *self.pinned.entry(position).or_default() += 1;
    }

    /// A reservation that borrowed the slot at `position` has ended, or has become an ordinary one.
    pub(crate) fn unpin(&mut self, position: usize) {
        if let Some(count) = self.pinned.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.pinned.remove(&position);
            }
        }
    }

    /// Ends a borrowing whose row was overwritten in place, or which was given up.
    pub(crate) fn end_borrowing(&mut self, map: &Map, class: SizeClass) {
        match self.borrowed[class.number()].checked_sub(1) {
            Some(left) => self.borrowed[class.number()] = left,
            None => self.unpromise(map, class),
        }
    }

    /// Gives every empty chunk whose slots are not promised back to nobody.
    pub(crate) fn reclaim(&mut self, map: &Map) {
        for class in (0..CLASSES).filter_map(SizeClass::from_number) {
            for number in self.classes[class.number()].open.clone() {
                self.release_if_empty(map, number as usize, class);
            }
        }
    }

    /// Turns a promise into a slot: its position.
    pub(crate) fn take(&mut self, map: &Map, class: SizeClass) -> Option<usize> {
        if class.run_chunks() > 0 {
            let first = self.take_promised_run(class)?;
            self.chunks[first].live = 1;
            self.record_live(map, first);
            let position = self.geometry.chunk_word(first);
            map.clear_mark(position);
            return Some(position);
        }
        let state = &mut self.classes[class.number()];
        let number = *state.open.last()? as usize;
        state.free_slots -= 1;
        state.promised = state.promised.saturating_sub(1);
        let chunk = &mut self.chunks[number];
        let slot = chunk.freed.pop().unwrap_or_else(|| {
            chunk.fresh += 1;
            chunk.fresh - 1
        });
        chunk.live += 1;
        chunk.slots.fill(usize::from(slot));
        if chunk.freed.is_empty() && usize::from(chunk.fresh) == class.slots_per_chunk() {
            chunk.listed_at = None;
            state.open.pop();
        }
        self.record_live(map, number);
        let position = self.geometry.chunk_word(number) + usize::from(slot) * class.slot_words();
        map.clear_mark(position);
        self.add_young(class, position);
        Some(position)
    }

    /// Class of the slot at `position`, if one begins there.
    pub(crate) fn class_at(&self, position: usize) -> Option<SizeClass> {
        let chunk = self.chunk_of(position)?;
        let class = self.chunks[chunk].class?;
        let offset = position - self.geometry.chunk_word(chunk);
        offset.is_multiple_of(class.slot_words()).then_some(class)
    }

    /// Frees the slot at `position`, which [`Arena::take`] gave. A reservation may have counted on it.
    pub(crate) fn give_back(&mut self, map: &Map, position: usize) {
        self.free_slot(map, position, true);
    }

    /// Frees the slot at `position`, which is not pinned: no reservation counts on it.
    pub(crate) fn give_back_evicted(&mut self, map: &Map, position: usize) {
        self.free_slot(map, position, false);
    }

    fn free_slot(&mut self, map: &Map, position: usize, lendable: bool) {
        let (Some(number), Some(class)) = (self.chunk_of(position), self.class_at(position)) else {
            return;
        };
        if class.run_chunks() > 0 {
            self.chunks[number].live = 0;
            if lendable && self.lend(class) {
                self.promised_runs.push((class, number as u32));
            } else {
                self.release_run(map, number, class);
            }
            return;
        }
        let slot = (position - self.geometry.chunk_word(number)) / class.slot_words();
        let state = &mut self.classes[class.number()];
        let chunk = &mut self.chunks[number];
        chunk.freed.push(slot as u16);
        chunk.slots.empty(slot);
        chunk.live = chunk.live.saturating_sub(1);
        state.free_slots += 1;
        if chunk.listed_at.is_none() {
            chunk.listed_at = Some(state.open.len() as u32);
            state.open.push(number as u32);
        }
        if lendable && self.lend(class) {
            self.classes[class.number()].promised += 1;
        }
        self.record_live(map, number);
        self.release_if_empty(map, number, class);
    }

    /// Whether a slot that was just freed has to become a promise.
    fn lend(&mut self, class: SizeClass) -> bool {
        let borrowed = &mut self.borrowed[class.number()];
        let lends = *borrowed > 0;
        *borrowed -= usize::from(lends);
        lends
    }

    /// Gives a whole chunk to the index: its position.
    pub(crate) fn take_index_chunk(&mut self, map: &Map) -> Option<usize> {
        let chunk = self.take_run(1)?;
        self.record(map, chunk, CHUNK_INDEX);
        Some(self.geometry.chunk_word(chunk))
    }

    fn chunk_of(&self, position: usize) -> Option<usize> {
        let chunk = position.checked_sub(self.geometry.arena_word)? / CHUNK_WORDS;
        (chunk < self.chunks.len()).then_some(chunk)
    }

    fn give_to_class(&mut self, map: &Map, number: usize, class: SizeClass) {
        let state = &mut self.classes[class.number()];
        let listed_at = Some(state.open.len() as u32);
        self.chunks[number] = Chunk {
            class: Some(class),
            listed_at,
            classed_at: state.chunks.len() as u32,
            slots: Slots::new(class.slots_per_chunk()),
            ..Chunk::default()
        };
        state.open.push(number as u32);
        state.chunks.push(number as u32);
        state.free_slots += class.slots_per_chunk();
        self.record(map, number, CHUNK_SLOTS | (class.number() as u64) << 8);
    }

    /// Returns an empty chunk to nobody unless its slots are promised.
    fn release_if_empty(&mut self, map: &Map, number: usize, class: SizeClass) {
        let state = &mut self.classes[class.number()];
        let slots = class.slots_per_chunk();
        let chunk = &self.chunks[number];
        let Some(at) = chunk.listed_at else { return };
        let classed_at = chunk.classed_at;
        if chunk.live > 0 || state.free_slots < slots + state.promised {
            return;
        }
        state.free_slots -= slots;
        state.open.swap_remove(at as usize);
        if let Some(&moved) = state.open.get(at as usize) {
            self.chunks[moved as usize].listed_at = Some(at);
        }
        state.chunks.swap_remove(classed_at as usize);
        if let Some(&moved) = state.chunks.get(classed_at as usize) {
            self.chunks[moved as usize].classed_at = classed_at;
        }
        self.release_chunk(map, number);
    }

    fn release_run(&mut self, map: &Map, first: usize, class: SizeClass) {
        for number in first..first + class.run_chunks() {
            self.release_chunk(map, number);
        }
    }

    fn release_chunk(&mut self, map: &Map, number: usize) {
        self.chunks[number] = Chunk::default();
        self.free[number / 64] |= 1 << (number % 64);
        self.free_chunks += 1;
        self.record(map, number, CHUNK_FREE);
    }

    fn take_promised_run(&mut self, class: SizeClass) -> Option<usize> {
        let at = self.promised_runs.iter().position(|(promised, _)| *promised == class)?;
        Some(self.promised_runs.swap_remove(at).1 as usize)
    }

    /// Takes the lowest `count` neighbouring free chunks.
    fn take_run(&mut self, count: usize) -> Option<usize> {
        let first = self.find_run(count)?;
        for taken in first..first + count {
            self.free[taken / 64] &= !(1 << (taken % 64));
        }
        self.free_chunks -= count;
        Some(first)
    }

    /// The lowest `count` neighbouring free chunks.
    pub(crate) fn find_run(&self, count: usize) -> Option<usize> {
        if self.free_chunks < count {
            return None;
        }
        let (mut first, mut run) = (0, 0);
        let mut number = 0;
        while number < self.chunks.len() {
            let word = self.free[number / 64];
            if word == 0 {
                (run, number) = (0, (number / 64 + 1) * 64);
                continue;
            }
            if word >> (number % 64) & 1 == 0 {
                run = 0;
            } else {
                if run == 0 {
                    first = number;
                }
                run += 1;
                if run == count {
                    return Some(first);
                }
            }
            number += 1;
        }
        None
    }

    fn record(&self, map: &Map, chunk: usize, what: u64) {
        let word = self.geometry.record_word(chunk);
        map.words()[word].store(what, Ordering::Relaxed);
        self.record_live(map, chunk);
    }

    fn record_live(&self, map: &Map, chunk: usize) {
        let word = self.geometry.record_word(chunk) + CHUNK_LIVE_WORD;
        map.words()[word].store(u64::from(self.chunks[chunk].live), Ordering::Relaxed);
    }
}

/// Bytes of so many chunks.
pub(crate) fn chunk_bytes(chunks: usize) -> u64 {
    (chunks * CHUNK_BYTES) as u64
}
