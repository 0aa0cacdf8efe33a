//! From a row's hash to the places that may hold it. Not one table but 256 small ones, by the hash's top
//! bits: growth moves a few thousand slots at a time, so that no write waits long for it.

use super::arena::Place;

/// Sub-tables.
const SUBS: usize = 256;
/// Slots of a sub-table when the first row comes to it.
const FIRST_SLOTS: usize = 4;

/// One slot: the low half of the row's hash, and its place.
type Slot = Option<(u32, Place)>;

/// An open-addressed map. Rows with equal hashes have a slot each; the caller tells them apart.
#[derive(Clone)]
pub(super) struct Index {
    subs: Vec<Sub>,
    bytes: usize,
}

#[derive(Clone, Default)]
struct Sub {
    slots: Vec<Slot>,
    used: usize,
}

impl Index {
    /// Without rows.
    pub fn new() -> Self {
        Self { subs: vec![Sub::default(); SUBS], bytes: 0 }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.subs.capacity() * size_of::<Sub>()
    }

    /// The place of the row with this hash that `is_it` accepts.
    pub fn get(&self, row_hash: u64, mut is_it: impl FnMut(Place) -> bool) -> Option<Place> {
        let sub = &self.subs[sub_of(row_hash)];
        let slot = sub.find(row_hash as u32, &mut is_it)?;
        sub.slots[slot].map(|(_, place)| place)
    }

    /// Asks for the memory of the slots of these hashes: loads that nothing depends on overlap.
    pub fn ask_for(&self, row_hashes: impl Iterator<Item = u64>) {
        let places = row_hashes.map(|row_hash| {
            let slots = &self.subs[sub_of(row_hash)].slots;
            let mask = slots.len().wrapping_sub(1);
            slots.get(row_hash as u32 as usize & mask).is_some_and(Option::is_some)
        });
        std::hint::black_box(places.fold(false, |all, is_taken| all ^ is_taken));
    }

    /// Notes where the row is now; returns where it was.
    pub fn set(
        &mut self,
        row_hash: u64,
        place: Place,
        mut is_it: impl FnMut(Place) -> bool,
    ) -> Option<Place> {
        let sub = &mut self.subs[sub_of(row_hash)];
        let tag = row_hash as u32;
        if let Some(slot) = sub.find(tag, &mut is_it) {
            return sub.slots[slot].replace((tag, place)).map(|(_, before)| before);
        }
        // At most three quarters full: a probe stays short, and there is always a slot that ends it.
        if (sub.used + 1) * 4 > sub.slots.len() * 3 {
            let before = sub.slots.capacity();
            sub.grow();
            self.bytes += (sub.slots.capacity() - before) * size_of::<Slot>();
        }
        sub.insert(tag, place);
        None
    }
}

impl Sub {
    /// The slot whose tag fits and whose place `is_it` accepts.
    fn find(&self, tag: u32, is_it: &mut impl FnMut(Place) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = tag as usize & mask;
        while let Some((found, place)) = self.slots[slot] {
            if found == tag && is_it(place) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    fn insert(&mut self, tag: u32, place: Place) {
        let mask = self.slots.len() - 1;
        let mut slot = tag as usize & mask;
        while self.slots[slot].is_some() {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = Some((tag, place));
        self.used += 1;
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(FIRST_SLOTS);
        let before = std::mem::replace(&mut self.slots, vec![None; slots]);
        self.used = 0;
        for (tag, place) in before.into_iter().flatten() {
            self.insert(tag, place);
        }
    }
}

fn sub_of(row_hash: u64) -> usize {
    (row_hash >> 56) as usize
}
