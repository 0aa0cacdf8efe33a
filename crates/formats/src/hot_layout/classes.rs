//! Size classes of row slots: which slot a row of so many words gets.
//!
//! Up to 64 words every size has its class, so that small rows waste nothing. Above that, sizes grow by
//! an eighth and are whole divisions of a chunk, so that no chunk has an unusable tail. A row larger
//! than a chunk takes a run of whole chunks.

use super::{BODY_WORDS_MAX, CHUNK_WORDS, ROW_HEADER_WORDS};

/// Largest slot, in words, that has a class of exactly its size.
pub const EXACT_WORDS_MAX: usize = 64;
/// Number of classes whose slots lie inside one chunk.
pub const CLASSES: usize = EXACT + count_graded();
/// Most chunks that one row can span.
pub const RUN_CHUNKS_MAX: usize = (ROW_HEADER_WORDS + BODY_WORDS_MAX).div_ceil(CHUNK_WORDS);

const EXACT: usize = EXACT_WORDS_MAX - ROW_HEADER_WORDS + 1;

/// Slot sizes in words, ascending.
const SLOT_WORDS: [u16; CLASSES] = slot_sizes();

const _: () = assert!(SLOT_WORDS[0] as usize == ROW_HEADER_WORDS);
const _: () = assert!(SLOT_WORDS[CLASSES - 1] as usize == CHUNK_WORDS);
const _: () = assert!(CLASSES + RUN_CHUNKS_MAX < 256 && RUN_CHUNKS_MAX == 9);

/// The next graded size: at least an eighth larger, a whole division of a chunk.
const fn next_graded(words: usize) -> usize {
    CHUNK_WORDS / (CHUNK_WORDS / (words * 9).div_ceil(8))
}

const fn count_graded() -> usize {
    let (mut words, mut count) = (EXACT_WORDS_MAX, 0);
    while words < CHUNK_WORDS {
        words = if words > CHUNK_WORDS / 2 { CHUNK_WORDS } else { next_graded(words) };
        count += 1;
    }
    count
}

const fn slot_sizes() -> [u16; CLASSES] {
    let mut sizes = [0; CLASSES];
    let mut at = 0;
    while at < CLASSES {
        sizes[at] = if at < EXACT {
            (ROW_HEADER_WORDS + at) as u16
        } else {
            next_graded(sizes[at - 1] as usize) as u16
        };
        at += 1;
    }
    sizes
}

/// A size class: slots inside a chunk, or a run of whole chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Class of a row of `row_words` words, header included; none above the largest row.
    #[inline]
    pub fn of(row_words: usize) -> Option<SizeClass> {
        let number = if row_words <= EXACT_WORDS_MAX {
            row_words.saturating_sub(ROW_HEADER_WORDS)
        } else if row_words <= CHUNK_WORDS {
            EXACT + SLOT_WORDS[EXACT..].partition_point(|&words| usize::from(words) < row_words)
        } else if row_words <= ROW_HEADER_WORDS + BODY_WORDS_MAX {
            CLASSES + row_words.div_ceil(CHUNK_WORDS) - 2
        } else {
            return None;
        };
        Some(SizeClass(number as u8))
    }

    /// The class with this number, as [`SizeClass::number`] gives it.
    pub fn from_number(number: usize) -> Option<SizeClass> {
        (number < CLASSES + RUN_CHUNKS_MAX - 1).then_some(SizeClass(number as u8))
    }

    /// Number of the class: below [`CLASSES`] for slots inside a chunk.
    #[inline]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// Chunks that one row takes for itself; 0 for a class of slots inside a chunk.
    #[inline]
    pub fn run_chunks(self) -> usize {
        let number = self.number();
        if number < CLASSES { 0 } else { number - CLASSES + 2 }
    }

    /// Words of a slot.
    #[inline]
    pub fn slot_words(self) -> usize {
        match SLOT_WORDS.get(self.number()) {
            Some(&words) => usize::from(words),
            None => self.run_chunks() * CHUNK_WORDS,
        }
    }

    /// Slots in one chunk; 0 for a class of runs.
    #[inline]
    pub fn slots_per_chunk(self) -> usize {
        CHUNK_WORDS / self.slot_words()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_row_fits_its_class_and_no_smaller_one() {
        let mut before = None;
        for words in ROW_HEADER_WORDS..=ROW_HEADER_WORDS + BODY_WORDS_MAX {
            let class = SizeClass::of(words).expect("a class");
            assert!(class.slot_words() >= words, "{words} words in {class:?}");
            assert!(before <= Some(class), "classes ascend");
            if let Some(smaller) = class.number().checked_sub(1).and_then(SizeClass::from_number) {
                assert!(smaller.slot_words() < words, "{words} words would fit {smaller:?}");
            }
            before = Some(class);
        }
        assert_eq!(SizeClass::of(ROW_HEADER_WORDS + BODY_WORDS_MAX + 1), None);
    }

    #[test]
    fn slack_and_chunk_tails_stay_small() {
        for words in ROW_HEADER_WORDS..=CHUNK_WORDS / 8 {
            let class = SizeClass::of(words).expect("a class");
            let slack = class.slot_words() - words;
            assert!(slack * 100 <= words * 26, "{words}: slack of {slack} words");
            if words <= EXACT_WORDS_MAX {
                assert_eq!(slack, 0);
            }
        }
        for number in 0..CLASSES {
            let class = SizeClass::from_number(number).expect("a class");
            let tail = CHUNK_WORDS - class.slots_per_chunk() * class.slot_words();
            assert!(tail < class.slots_per_chunk() || tail < 64, "{class:?}: tail of {tail} words");
        }
        let row = SizeClass::of(super::super::row_words(48)).expect("a class");
        assert_eq!(row.slot_words() * 8, 80);
    }
}
