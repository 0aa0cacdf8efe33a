//! Which rows of a spine a part of the history may have something better for, by event times alone.
//!
//! Of windows of a day few can help any one row, and most hold a version of its key: a row that is not offered to a
//! part costs it a bit. Rows are told apart by 64 ranges of their times; for each there is a bit of every row whether
//! its time lies there or later.

use std::ops::{Range, RangeInclusive};

use super::{Asked, Order};

/// Ranges of time that rows are told apart by.
const RANGES: usize = 64;

/// Rows that are joined together, and those of them that a part is offered. Memory is used again.
#[derive(Default)]
pub(super) struct Candidates {
    /// The first range begins here, and each has 2 to the power of `shift` microseconds.
    least_us: i64,
    most_us: i64,
    shift: u32,
    /// By range, a bit of each row.
    not_before: Vec<u64>,
    words: usize,
    /// Rows that have found what no part has better that ends at `end_us` or earlier.
    done: Vec<u64>,
    end_us: i64,
    /// The rows that are offered, counted from the first that is joined, and their entity hashes.
    pub rows: Vec<usize>,
    pub hashes: Vec<u64>,
}

impl Candidates {
    /// Bytes that a row takes: its bits, and as one that is offered.
    pub const ROW_BYTES: usize = RANGES / 8 + 1 + size_of::<usize>() + size_of::<u64>();

    /// Takes some rows of those that are asked for, in place of those that it has.
    pub fn begin(&mut self, asked: &Asked, rows: Range<usize>) {
        let times = asked.times_us(rows.clone());
        self.least_us = times.iter().copied().min().unwrap_or(0);
        self.most_us = times.iter().copied().max().unwrap_or(0);
        let span_us = self.most_us.abs_diff(self.least_us);
        self.shift = (u64::BITS - span_us.leading_zeros()).saturating_sub(RANGES.ilog2());
        self.words = rows.len().div_ceil(64);
        for (bits, words) in
            [(&mut self.not_before, RANGES * self.words), (&mut self.done, self.words)]
        {
            bits.clear();
            bits.resize(words, 0);
        }
        self.end_us = i64::MAX;
        for (row, time_us) in times.iter().enumerate() {
            let range = self.range_of(*time_us);
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

    /// Offers the rows for which a part with versions of these event times may have a better one than the best that
    /// they have.
    pub fn offer(
        &mut self,
        asked: &Asked,
        best: &[Option<Order>],
        first: usize,
        times: &RangeInclusive<i64>,
    ) {
        self.rows.clear();
        self.hashes.clear();
        let (begin_us, end_us) = (*times.start(), *times.end());
        if end_us > self.end_us {
            // What was the best may not be.
            self.done.fill(0);
        }
        self.end_us = end_us;
        if begin_us > self.most_us || best.is_empty() {
            return;
        }
        let from = self.range_of(begin_us.max(self.least_us)) * self.words;
        for word in 0..self.words {
            let mut left = self.not_before[from + word] & !self.done[word];
            while left != 0 {
                let row = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                if best[row].is_some_and(|best| best.0 > end_us) {
                    self.done[word] |= 1 << (row % 64);
                } else if asked.time_us(first + row) >= begin_us {
                    self.rows.push(row);
                    self.hashes.push(asked.hash(first + row));
                }
            }
        }
    }
}
