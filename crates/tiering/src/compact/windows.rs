//! Windows of event time that history tables are grouped by, so that old history goes as whole files.
//!
//! A base window is 2^36 microseconds, 19 hours 5 minutes: the power of two nearest to a day (a shift
//! finds it, no calendar is needed). A table that lies in one base window is at level 0; one that does
//! not lies in a window of 8 of them (level 1), or of 64, and so on. Rewriting the tables of one window
//! splits them into its at most 8 parts, so that a merge never has more than 8 files open to write,
//! however long the time is that a backfill spans.

use thermae_formats::table::TableRef;

/// Base-2 logarithm of the base window, in microseconds.
const BASE_SHIFT: u32 = 36;
/// Base-2 logarithm of the parts of a window.
const PARTS_SHIFT: u32 = 3;
/// Most files that a rewrite of one window makes.
pub const MOST_PARTS: usize = 1 << PARTS_SHIFT;

/// A window of event time: of all times whose upper bits are `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    shift: u32,
    number: i64,
}

impl Window {
    /// The narrowest window that holds both times.
    pub fn around(min_event_time: i64, max_event_time: i64) -> Self {
        let mut shift = BASE_SHIFT;
        while number(min_event_time, shift) != number(max_event_time, shift) {
            shift += PARTS_SHIFT;
        }
        Self { shift, number: number(max_event_time, shift) }
    }

    /// The window of a history table.
    pub fn of(table: &TableRef) -> Self {
        Self::around(table.min_event_time, table.max_event_time)
    }

    /// Whether it is a base window, which is not split further.
    pub fn is_base(self) -> bool {
        self.shift == BASE_SHIFT
    }

    /// Which of this window's parts a time of it belongs to, below [`MOST_PARTS`]; a base window is one.
    pub fn part_of(self, event_time: i64) -> usize {
        if self.is_base() {
            return 0;
        }
        (number(event_time, self.shift - PARTS_SHIFT) & (MOST_PARTS as i64 - 1)) as usize
    }
}

/// The window's number; from 63 bits on the times before and after 1970 are apart still, so one more
/// step makes them all one.
fn number(event_time: i64, shift: u32) -> i64 {
    if shift > 63 { 0 } else { event_time >> shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn a_part_is_narrower_and_lies_inside() {
        let mut rng = Rng::new(5);
        for _ in 0..100_000 {
            let mut time = || (rng.next_u64() as i64) >> rng.below(64);
            let (a, b) = (time(), time());
            let window = Window::around(a.min(b), a.max(b));
            if window.is_base() {
                assert_eq!((window.part_of(a), window.part_of(b)), (0, 0));
                continue;
            }
            let parts = (window.part_of(a), window.part_of(b));
            assert!(parts.0 < MOST_PARTS && parts.1 < MOST_PARTS && parts.0 != parts.1);
        }
    }

    #[test]
    fn all_times_have_a_window() {
        let all = Window::around(i64::MIN + 1, i64::MAX);
        assert!(!all.is_base());
        assert_ne!(all.part_of(-1), all.part_of(0));
        assert!(Window::around(0, (1 << BASE_SHIFT) - 1).is_base());
        assert!(!Window::around(-1, 0).is_base());
    }
}
