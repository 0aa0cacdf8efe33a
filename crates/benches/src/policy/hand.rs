//! The hand of the hot table: rows stay where they are, and a new row takes the slot that was freed.
//!
//! `crates/hot/src/evict.rs` is the real one, which has size classes and chunks beside.

use std::collections::VecDeque;

use super::Policy;
use super::list::NONE;

pub struct Hand {
    /// By slot: key and mark.
    slots: Vec<Slot>,
    /// By key: its slot.
    slot_of: Vec<u32>,
    /// Slots of young rows, the oldest in front.
    young: VecDeque<u32>,
    young_max: usize,
    capacity: usize,
    mark_max: u8,
    at: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    key: u32,
    mark: u8,
    young: bool,
}

impl Hand {
    /// `young_in`: one row in so many is young; 0 for a hand that knows no young rows.
    pub fn new(capacity: u32, keys: u32, mark_max: u8, young_in: usize) -> Hand {
        let capacity = capacity as usize;
        Hand {
            slots: Vec::new(),
            slot_of: vec![NONE; keys as usize],
            young: VecDeque::new(),
            young_max: capacity.checked_div(young_in).unwrap_or(usize::MAX),
            capacity,
            mark_max,
            at: 0,
        }
    }

    /// Frees a slot: of the oldest young row if it is unmarked and they are too many, else of the first
    /// unmarked row under the hand.
    fn evict(&mut self) -> usize {
        while self.young.len() > self.young_max
            && let Some(oldest) = self.young.pop_front()
        {
            let slot = &mut self.slots[oldest as usize];
            slot.young = false;
            if slot.mark == 0 {
                self.slot_of[slot.key as usize] = NONE;
                return oldest as usize;
            }
            slot.mark -= 1;
        }
        loop {
            let at = self.at;
            self.at = (at + 1) % self.capacity;
            let slot = &mut self.slots[at];
            if slot.young && self.young_max != usize::MAX {
                continue;
            }
            if slot.mark == 0 {
                self.slot_of[slot.key as usize] = NONE;
                return at;
            }
            slot.mark -= 1;
        }
    }
}

impl Policy for Hand {
    fn read(&mut self, key: u32) -> bool {
        let Some(slot) = self.slots.get_mut(self.slot_of[key as usize] as usize) else {
            return false;
        };
        slot.mark = (slot.mark + 1).min(self.mark_max);
        true
    }

    fn admit(&mut self, key: u32) {
        let new = Slot { key, mark: 0, young: true };
        let at = if self.slots.len() < self.capacity {
            self.slots.push(new);
            if self.young.len() > self.young_max
                && let Some(oldest) = self.young.pop_front()
            {
                self.slots[oldest as usize].young = false;
            }
            self.slots.len() - 1
        } else {
            self.evict()
        };
        self.slots[at] = new;
        self.slot_of[key as usize] = at as u32;
        self.young.push_back(at as u32);
    }
}
