//! Which warm rows may enter the hot table: those touched twice within a window. One scan over all rows
//! touches each once, and so leaves the hot table as it is.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// Remembers which rows were touched lately, in a fixed number of bytes and without their keys: two
/// generations of fingerprints. Forgetting (two rows at one place) makes a row wait for another touch;
/// a false memory has a chance of one in 65,535 a generation. Any thread may touch; what two of them note
/// at once, one of them may forget.
#[derive(Debug)]
pub struct Doorkeeper {
    generations: [Box<[AtomicU16]>; 2],
    /// Generations that have begun: the present one is that of its lowest bit.
    begun: AtomicU64,
    window_ns: u64,
    began_ns: AtomicU64,
}

impl Doorkeeper {
    /// Of `memory_bytes`, rounded down to a power of two of places in each generation, at least 64. A
    /// touch is remembered for at least `window_ns`, at most twice as long.
    pub fn new(memory_bytes: usize, window_ns: u64) -> Self {
        let fitting = (memory_bytes / (2 * size_of::<u16>())).max(64);
        let places = 1 << fitting.ilog2();
        let generation = || (0..places).map(|_| AtomicU16::new(0)).collect();
        let generations = [generation(), generation()];
        Self { generations, begun: AtomicU64::new(0), window_ns, began_ns: AtomicU64::new(0) }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.generations.iter().map(|places| places.len() * size_of::<u16>()).sum()
    }

    /// Notes a touch at a monotonic time; whether it is the second within the window.
    pub fn touch(&self, row_hash: u64, now_ns: u64) -> bool {
        self.turn(now_ns);
        let [even, odd] = &self.generations;
        let is_even = self.begun.load(Ordering::Relaxed).is_multiple_of(2);
        let (now, before) = if is_even { (even, odd) } else { (odd, even) };
        let place = row_hash as usize & (now.len() - 1);
        // Bits that the place does not use; 0 marks an empty place.
        let print = ((row_hash >> 48) as u16).max(1);
        let known = [now, before].map(|places| places[place].load(Ordering::Relaxed));
        now[place].store(print, Ordering::Relaxed);
        known.contains(&print)
    }

    /// Begins another generation once the present one has had its time.
    fn turn(&self, now_ns: u64) {
        let began_ns = self.began_ns.load(Ordering::Relaxed);
        let passed_ns = now_ns.saturating_sub(began_ns);
        if passed_ns < self.window_ns {
            return;
        }
        let swapped =
            self.began_ns.compare_exchange(began_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_err() {
            return;
        }
        let begun = self.begun.load(Ordering::Relaxed);
        let (present, next) = (begun as usize % 2, (begun as usize + 1) % 2);
        forget(&self.generations[next]);
        if passed_ns >= 2 * self.window_ns {
            forget(&self.generations[present]);
        }
        self.begun.store(begun + 1, Ordering::Relaxed);
    }
}

fn forget(places: &[AtomicU16]) {
    places.iter().for_each(|place| place.store(0, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn the_second_touch_counts_within_the_window_only() {
        let door = Doorkeeper::new(4_096, 1_000);
        let row = 0xABCD_0000_0000_0007;
        assert!(!door.touch(row, 5_000));
        assert!(door.touch(row, 5_999));
        assert!(door.touch(row, 6_900), "in the generation before");
        assert!(!door.touch(row, 9_000), "forgotten after two windows");
        assert!(!door.touch(row + 1, 9_000), "another row");
        assert!(!door.touch(0, 9_000) && door.touch(0, 9_001), "hash 0 is a hash");
    }

    #[test]
    fn memory_is_as_given() {
        for memory_bytes in [0, 256, 5_000, 1 << 20] {
            let bytes = Doorkeeper::new(memory_bytes, 1).bytes();
            assert!(bytes <= memory_bytes.max(256) && bytes * 2 > memory_bytes, "{memory_bytes}");
        }
    }

    #[test]
    fn a_scan_is_kept_out_and_hot_keys_get_in() {
        let door = Doorkeeper::new(1 << 20, 1_000_000);
        let mut rng = Rng::new(4);
        let hot: Vec<u64> = (0..100).map(|_| rng.next_u64()).collect();
        let (mut scanned_in, mut hot_in) = (0, 0);
        for now in 0..200_000 {
            scanned_in += usize::from(door.touch(rng.next_u64(), now));
            hot_in += usize::from(door.touch(hot[now as usize % 100], now));
        }
        assert!(scanned_in <= 20, "{scanned_in} of 200,000 scanned rows");
        assert!(hot_in >= 199_000, "{hot_in} of 200,000 touches of hot rows");
    }
}
