//! Taking the rows of a block apart; see [`super::columns`].

use super::columns::{
    COLUMNS_HEADER_BYTES, Common, Ends, RUN_HEADER_BYTES, WHOLE, plane_bytes, times_bytes,
};
use crate::version::VERSION_FIXED_BYTES;

/// Most bytes of a value that are taken apart: where there are more, a block has few rows to compare.
const VALUE_BYTES_MAX: usize = 1024;
/// Most bytes of a run.
const RUN_BYTES_MAX: usize = u8::MAX as usize;
/// Bits are taken out of a byte only where that saves more than these bytes: a run of its own costs as much.
const SAVED_BYTES: usize = 3;

/// A run as it is to be written: where in the common places it begins.
#[derive(Clone, Copy, Debug)]
struct Planned {
    at: usize,
    bytes: usize,
    width: u8,
}

/// Measures and writes columns; its memory is used again.
#[derive(Debug, Default)]
pub struct ColumnsWriter {
    /// Where each row begins, and its parts end.
    rows: Vec<(usize, Ends)>,
    common: Common,
    /// Lowest and highest byte at each common place.
    lowest: Vec<u8>,
    highest: Vec<u8>,
    runs: Vec<Planned>,
    bytes: usize,
}

impl ColumnsWriter {
    /// Bytes of the columns of `rows`, which are exactly `count` encoded versions, at least one.
    pub fn measure(&mut self, rows: &[u8], count: usize) -> usize {
        self.place(rows, count);
        self.compare(rows);
        self.plan();
        let of_runs: usize = self.runs.iter().map(|run| run.written_bytes(count)).sum();
        let tail_bytes = rows.len() - count * self.common.bytes();
        self.bytes = COLUMNS_HEADER_BYTES + of_runs + tail_bytes;
        self.bytes
    }

    /// Appends the columns of the rows last measured.
    pub fn append(&self, rows: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.bytes);
        // In range: a block holds at most MAX_RAW_BYTES, a key at most MAX_KEY_BYTES.
        out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.common.key as u16).to_le_bytes());
        out.extend_from_slice(&(self.common.value as u16).to_le_bytes());
        out.push(self.common.head as u8);
        self.runs.iter().for_each(|run| self.append_run(run, rows, out));
        let Common { head, key, value } = self.common;
        for (at, ends) in &self.rows {
            let row = &rows[*at..];
            out.extend_from_slice(&row[head..ends.times]);
            out.extend_from_slice(&row[ends.times + key..ends.key]);
            out.extend_from_slice(&row[ends.key + value..ends.value]);
        }
        debug_assert_eq!(out.len() - start, self.bytes);
    }

    /// Finds the rows, and what they have in common places.
    fn place(&mut self, rows: &[u8], count: usize) {
        self.rows.clear();
        let mut at = 0;
        for _ in 0..count {
            let ends = Ends::of(&rows[at..]);
            self.rows.push((at, ends));
            at += ends.value;
        }
        debug_assert_eq!(at, rows.len());
        let least = |of: fn(&Ends) -> usize| self.rows.iter().map(|(_, ends)| of(ends)).min();
        let times = |(at, _): &(usize, Ends)| rows[*at] & times_mask();
        let first = self.rows.first().map(times);
        let have_same = self.rows.iter().all(|row| Some(times(row)) == first);
        let shared = first.filter(|_| have_same).map_or(0, times_bytes);
        self.common = Common {
            head: VERSION_FIXED_BYTES + shared,
            key: least(|ends| ends.key - ends.times).unwrap_or_default(),
            value: least(|ends| ends.value - ends.key).unwrap_or_default().min(VALUE_BYTES_MAX),
        };
    }

    fn compare(&mut self, rows: &[u8]) {
        let Common { head, key, .. } = self.common;
        self.lowest.clear();
        self.lowest.resize(self.common.bytes(), u8::MAX);
        self.highest.clear();
        self.highest.resize(self.common.bytes(), 0);
        for (at, ends) in &self.rows {
            let row = &rows[*at..at + ends.value];
            let parts =
                [(0, 0, head), (ends.times, head, key), (ends.key, head + key, self.common.value)];
            for (from, to, bytes) in parts {
                let part = &row[from..from + bytes];
                let lowest = &mut self.lowest[to..to + bytes];
                let highest = &mut self.highest[to..to + bytes];
                for ((byte, low), high) in part.iter().zip(lowest).zip(highest) {
                    *low = (*low).min(*byte);
                    *high = (*high).max(*byte);
                }
            }
        }
    }

    /// Puts neighbours that are stored alike into runs; none goes over the end of a part.
    fn plan(&mut self) {
        self.runs.clear();
        let Common { head, key, value } = self.common;
        let count = self.rows.len();
        for part in [0..head, head..head + key, head + key..head + key + value] {
            let first = self.runs.len();
            for at in part {
                let width = width(self.highest[at] - self.lowest[at], count);
                match self.runs[first..].last_mut() {
                    Some(run) if run.width == width && run.bytes < RUN_BYTES_MAX => run.bytes += 1,
                    _ => self.runs.push(Planned { at, bytes: 1, width }),
                }
            }
        }
    }

    fn append_run(&self, run: &Planned, rows: &[u8], out: &mut Vec<u8>) {
        let bases = &self.lowest[run.at..run.at + run.bytes];
        out.extend_from_slice(&[run.width, run.bytes as u8]);
        if run.width < WHOLE {
            out.extend_from_slice(bases);
        }
        let starts = self.rows.iter().map(|(at, ends)| at + self.place_in(run.at, ends));
        match run.width {
            0 => {}
            WHOLE => starts.for_each(|at| out.extend_from_slice(&rows[at..at + run.bytes])),
            width => {
                for (byte, base) in bases.iter().enumerate() {
                    let more = starts.clone().map(|at| rows[at + byte] - base);
                    append_plane(more, width, out);
                }
            }
        }
    }

    /// Where in a row a common place is.
    const fn place_in(&self, at: usize, ends: &Ends) -> usize {
        let Common { head, key, .. } = self.common;
        if at < head {
            at
        } else if at < head + key {
            at - head + ends.times
        } else {
            at - head - key + ends.key
        }
    }
}

impl Planned {
    fn written_bytes(&self, rows: usize) -> usize {
        RUN_HEADER_BYTES
            + self.bytes
                * match self.width {
                    WHOLE => rows,
                    width => 1 + plane_bytes(rows, width),
                }
    }
}

const fn times_mask() -> u8 {
    crate::version::HAS_CREATED | crate::hot_layout::FLAG_HAS_EXPIRE
}

/// Bits to store the bytes of `rows` rows in that differ by `range` at most.
fn width(range: u8, rows: usize) -> u8 {
    let bits = (u8::BITS - range.leading_zeros()) as u8;
    if bits > 0 && plane_bytes(rows, bits) + SAVED_BYTES >= rows { WHOLE } else { bits }
}

/// Appends `width` bits of each, the first in the lowest bits.
fn append_plane(fields: impl Iterator<Item = u8>, width: u8, out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0_u64, 0);
    for field in fields {
        word |= u64::from(field) << bits;
        bits += u32::from(width);
        if bits >= 32 {
            out.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            bits -= 32;
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..bits.div_ceil(8) as usize]);
}
