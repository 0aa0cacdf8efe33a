//! Which rows of a spine a part of the history may have something better for, by event times alone.
//!
//! Of windows of a day few can help any one row, and most hold a version of its key: a row that is not offered to a
//! part costs it a bit. Rows are told apart by 64 ranges of their times; for each there is a bit of every row whether
//! its time lies there or later.

use std::ops::{Range, RangeInclusive};

use super::{Asked, Order};

/// Ranges of time that rows are told apart by.
const RANGES: usize = 64;

/// What orders the versions of a row that has found none.
const NONE: Order = (i64::MIN, i64::MIN, 0);

/// Rows that are joined together, what they have found, and those of them that a part is offered. Memory is used again.
#[derive(Default)]
pub(super) struct Candidates {
    /// The first range begins here, the last holds the latest time, and each has 2 to the power of `shift` microseconds.
    least_us: i64,
    most_us: i64,
    shift: u32,
    /// By range, a bit of each row.
    not_before: Vec<u64>,
    words: usize,
    /// Of each row the best that was found so far, and a bit whether there is any.
    best: Vec<Order>,
    found: Vec<u64>,
    /// A bit of each row that has found what no part has better that ends at `end_us` or earlier.
    done: Vec<u64>,
    end_us: i64,
    /// The rows that are offered, counted from the first that is joined, and their entity hashes.
    pub rows: Vec<usize>,
    pub hashes: Vec<u64>,
}

impl Candidates {
    /// Bytes that a row takes: its bits, what it has found, and as one that is offered.
    pub const ROW_BYTES: usize =
        RANGES / 8 + 1 + size_of::<Order>() + size_of::<usize>() + size_of::<u64>();

    /// Takes some rows of those that are asked for, in place of those that it has.
    pub fn begin(&mut self, asked: &Asked, rows: Range<usize>) {
        self.least_us = asked.times_us(rows.clone()).min().unwrap_or(0);
        self.most_us = asked.times_us(rows.clone()).max().unwrap_or(0);
        let span_us = self.most_us.abs_diff(self.least_us);
        self.shift = (u64::BITS - span_us.leading_zeros()).saturating_sub(RANGES.ilog2());
        self.words = rows.len().div_ceil(64);
        self.best.clear();
        self.best.resize(rows.len(), NONE);
        let by_row = [&mut self.found, &mut self.done].map(|bits| (bits, self.words));
        for (bits, words) in by_row.into_iter().chain([(&mut self.not_before, RANGES * self.words)])
        {
            bits.clear();
            bits.resize(words, 0);
        }
        self.end_us = i64::MAX;
        for (row, time_us) in asked.times_us(rows).enumerate() {
            let range = self.range_of(time_us);
            self.not_before[range * self.words + row / 64] |= 1 << (row % 64);
        }
        for at in (0..(RANGES - 1) * self.words).rev() {
            self.not_before[at] |= self.not_before[at + self.words];
        }
    }

    /// The range of a time that lies among those of the rows.
    fn range_of(&self, time_us: i64) -> usize {
        (time_us.abs_diff(self.least_us) >> self.shift) as usize
    }

    /// Notes what a row has found; whether it is better than what it had.
    pub fn improve(&mut self, row: usize, order: Order) -> bool {
        let (word, bit) = (row / 64, 1 << (row % 64));
        let is_better = self.found[word] & bit == 0 || self.best[row] < order;
        if is_better {
            self.found[word] |= bit;
            self.best[row] = order;
        }
        is_better
    }

    /// Offers the rows for which a part with versions of these event times may have a better one than they have, and
    /// some whose times lie shortly before: each row that is looked at here would be a wait for memory.
    pub fn offer(&mut self, asked: &Asked, first: usize, times: &RangeInclusive<i64>) {
        self.rows.clear();
        self.hashes.clear();
        let (begin_us, end_us) = (*times.start(), *times.end());
        if end_us > self.end_us {
            // What was the best may not be.
            self.done.fill(0);
        }
        self.end_us = end_us;
        if begin_us > self.most_us {
            return;
        }
        let from = self.range_of(begin_us.max(self.least_us)) * self.words;
        for word in 0..self.words {
            let all = self.not_before[from + word];
            for row in rows_of(word, all & self.found[word] & !self.done[word]) {
                if self.best[row].0 > end_us {
                    self.done[word] |= 1 << (row % 64);
                }
            }
            for row in rows_of(word, all & !self.done[word]) {
                self.rows.push(row);
                self.hashes.push(asked.hash(first + row));
            }
        }
    }
}

/// The rows of the bits of a word.
fn rows_of(word: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let row = (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        row
    })
}
