//! Which slots of a chunk hold rows, and which of these rows are young.

/// Two bits a slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots {
    used: Vec<u64>,
    young: Vec<u64>,
}

impl Slots {
    /// So many empty slots.
    pub(crate) fn new(slots: usize) -> Slots {
        let words = slots.div_ceil(64);
        Slots { used: vec![0; words], young: vec![0; words] }
    }

    /// A new row is in the slot.
    pub(crate) fn fill(&mut self, slot: usize) {
        set(&mut self.used, slot, true);
        set(&mut self.young, slot, true);
    }

    /// The row is gone.
    pub(crate) fn empty(&mut self, slot: usize) {
        set(&mut self.used, slot, false);
        set(&mut self.young, slot, false);
    }

    /// The row is young no more. Whether it was.
    pub(crate) fn grow_old(&mut self, slot: usize) -> bool {
        let was_young = self.is_young(slot);
        set(&mut self.young, slot, false);
        was_young
    }

    pub(crate) fn is_young(&self, slot: usize) -> bool {
        self.young.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// The first slot from `slot` on that holds a row.
    pub(crate) fn next_used(&self, slot: usize) -> Option<usize> {
        let mut mask = u64::MAX << (slot % 64);
        for (number, word) in self.used.iter().enumerate().skip(slot / 64) {
            if word & mask != 0 {
                return Some(number * 64 + (word & mask).trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

fn set(words: &mut [u64], slot: usize, value: bool) {
    if let Some(word) = words.get_mut(slot / 64) {
        *word = *word & !(1 << (slot % 64)) | u64::from(value) << (slot % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_slots_are_found_in_order() {
        let mut slots = Slots::new(200);
        for slot in [0, 63, 64, 130, 199] {
            slots.fill(slot);
        }
        slots.empty(64);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(slot) = slots.next_used(from) {
            found.push(slot);
            from = slot + 1;
        }
        assert_eq!(found, [0, 63, 130, 199]);
        assert!(slots.grow_old(63) && !slots.grow_old(63) && slots.next_used(63) == Some(63));
        assert!(slots.next_used(200).is_none() && Slots::default().next_used(0).is_none());
    }
}
