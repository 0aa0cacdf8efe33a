//! Which rows a memtable may have, or which may be erased, for readers on any thread: a blocked Bloom filter that only grows.
//!
//! Its shard alone sets bits, before it shows a row to anybody. A reader that knows of the row, or has seen
//! that it left the hot table, therefore sees its bits.

use std::sync::atomic::{AtomicU64, Ordering};

use thermae_formats::bits_of;

/// Words of a line: all bits of a row are in one line of the cache.
const LINE_WORDS: usize = 8;
const LINE_BYTES: usize = LINE_WORDS * size_of::<u64>();
/// Bits of a row.
const PROBES: u32 = 3;
/// Bytes of a memtable for one of its marks: 18 bits a row of 144 bytes, of which 0.4 % are taken for
/// another's.
const MEMTABLE_BYTES_PER_BYTE: usize = 64;

/// Marks of rows.
#[derive(Debug)]
pub struct Marks {
    lines: Box<[[AtomicU64; LINE_WORDS]]>,
}

impl Marks {
    /// None set, for a memtable of about so many bytes.
    pub fn for_memtable(memtable_bytes: usize) -> Self {
        Self::of_bytes(memtable_bytes / MEMTABLE_BYTES_PER_BYTE)
    }

    /// None set, in so many bytes.
    pub fn of_bytes(bytes: usize) -> Self {
        let lines = (bytes / LINE_BYTES).max(1);
        Self { lines: (0..lines).map(|_| Default::default()).collect() }
    }

    /// Marks a row. For one thread at a time.
    pub fn set(&self, row_hash: u64) {
        for (word, bit) in bits(row_hash) {
            let word = &self.line(row_hash)[word];
            // One thread writes: no locked instruction.
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Release);
        }
    }

    /// Whether the row may be marked. False is certain, for whoever has seen a trace of it.
    pub fn may_hold(&self, row_hash: u64) -> bool {
        let line = self.line(row_hash);
        bits(row_hash).all(|(word, bit)| line[word].load(Ordering::Acquire) & bit != 0)
    }

    /// Which of some rows are not marked for certain: a bit for each of the first 64.
    pub fn lacks(&self, row_hashes: impl Iterator<Item = u64>) -> u64 {
        bits_of(row_hashes.map(|hash| !self.may_hold(hash)))
    }

    /// By the upper half of the hash; the bits in it are by the lower.
    fn line(&self, row_hash: u64) -> &[AtomicU64; LINE_WORDS] {
        let at = ((row_hash >> 32) * self.lines.len() as u64) >> 32;
        &self.lines[at as usize]
    }
}

/// Word and bit of each probe in its line.
fn bits(row_hash: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..PROBES).map(move |probe| {
        let bit = row_hash >> (9 * probe) & 511;
        (bit as usize / 64, 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn what_was_marked_is_held_and_little_else() {
        let mut rng = Rng::new(11);
        for memtable_bytes in [0, 1 << 16, 1 << 22] {
            let marks = Marks::for_memtable(memtable_bytes);
            let rows = memtable_bytes / 144;
            let marked: Vec<u64> = (0..rows).map(|_| rng.next_u64()).collect();
            marked.iter().for_each(|hash| marks.set(*hash));
            assert!(marked.iter().all(|hash| marks.may_hold(*hash)));
            assert_eq!(marks.lacks(marked.iter().copied()), 0);
            let wrong = (0..100_000).filter(|_| marks.may_hold(rng.next_u64())).count();
            assert!(wrong < 1_000, "{wrong} of 100,000 beside {rows} rows");
        }
    }
}
