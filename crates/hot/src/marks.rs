//! Which rows were read of late: one bit a row, in this process's own memory.
//!
//! Readers on the threads of the writer's process set it, the writer's hand (`hand.rs`) clears it, and it
//! decides nothing but which row is evicted. So it may be wrong, and nobody pays for it to be right: a
//! mark is set by a plain load and a plain store, and only if it is not set. Two threads that mark
//! neighbours at once may lose one mark, and a mark that the writer cleared meanwhile may come back; the
//! row is then evicted a round earlier or later. Most look-ups find the mark set and store nothing, so
//! the lines of the marks stay shared by the processors. They lie nowhere near the rows: whoever
//! compares a row's words 0 is not disturbed.
//!
//! While the table has room nobody marks ([`Marks::begin`]).

// Not the checker's atomics: no order is asked of them.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thermae_formats::hot_layout::ROW_HEADER_WORDS;
use thermae_formats::hot_layout::header::Geometry;

/// Words of the map for one mark. No slot is smaller, so no two rows share a mark.
const WORDS_PER_MARK: usize = ROW_HEADER_WORDS;

/// The marks of one map: 1/256 of its size.
pub(crate) struct Marks {
    on: AtomicBool,
    words: Box<[AtomicU64]>,
}

impl Marks {
    /// No marks, and nobody marks.
    pub(crate) fn new(geometry: &Geometry) -> Marks {
        let marks = geometry.map_words.div_ceil(WORDS_PER_MARK);
        let words = (0..marks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Marks { on: AtomicBool::new(false), words }
    }

    /// From now on readers mark what they find.
    pub(crate) fn begin(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// The word and the bit of the row at a position, while readers mark.
    #[inline]
    fn place(&self, position: usize) -> Option<(&AtomicU64, u64)> {
        let mark = position / WORDS_PER_MARK;
        self.words.get(mark / 64).map(|word| (word, 1 << (mark % 64)))
    }

    /// Marks the row at a position.
    #[inline]
    pub(crate) fn touch(&self, position: usize) {
        if self.on.load(Ordering::Relaxed) {
            self.mark(position);
        }
    }

    /// Kept out of line: the look-up around it is slower for having it inside, marks or no marks.
    #[inline(never)]
    fn mark(&self, position: usize) {
        let Some((word, bit)) = self.place(position) else { return };
        let seen = word.load(Ordering::Relaxed);
        if seen & bit == 0 {
            word.store(seen | bit, Ordering::Relaxed);
        }
    }

    /// Whether the row at a position is marked.
    pub(crate) fn is_marked(&self, position: usize) -> bool {
        self.place(position).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Takes the mark of the row at a position away. Whether it had one.
    pub(crate) fn clear(&self, position: usize) -> bool {
        let Some((word, bit)) = self.place(position) else { return false };
        let seen = word.load(Ordering::Relaxed);
        if seen & bit != 0 {
            word.store(seen & !bit, Ordering::Relaxed);
        }
        seen & bit != 0
    }

    /// Gives the row at `to` the mark of the one at `from`.
    pub(crate) fn carry(&self, from: usize, to: usize) {
        if self.clear(from) {
            self.touch(to);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_marks_of_their_own() {
        let marks = Marks::new(&Geometry::plan(1 << 20).unwrap());
        marks.touch(8_192);
        assert!(!marks.is_marked(8_192), "nobody marks while there is room");
        marks.begin();
        for position in (8_192..16_384).step_by(WORDS_PER_MARK) {
            assert!(!marks.is_marked(position));
            marks.touch(position);
            marks.touch(position);
            assert!(marks.is_marked(position));
        }
        assert!(marks.clear(8_192) && !marks.clear(8_192));
        assert!(marks.is_marked(8_192 + WORDS_PER_MARK));
        marks.carry(8_196, 8_192);
        assert!(marks.is_marked(8_192) && !marks.is_marked(8_196));
        marks.touch(usize::MAX);
        assert!(!marks.is_marked(usize::MAX));
    }
}
