//! Taking the rows of a block apart; see [`super::columns`].

use super::columns_layout::{
    COLUMNS_HEADER_BYTES, Common, Ends, RUN_HEADER_BYTES, WHOLE, plane_bytes, times_bytes,
};
use crate::hot_layout::FLAG_HAS_EXPIRE;
use crate::version::{HAS_CREATED, VERSION_FIXED_BYTES};

/// Most bytes of a value that are taken apart: where there are more, a block has few rows to compare.
const VALUE_BYTES_MAX: usize = 1024;
/// Most bytes of a run.
const RUN_BYTES_MAX: usize = u8::MAX as usize;
/// Bits are taken out of a byte only where that saves more than these bytes: a run of its own costs as much.
const SAVED_BYTES: usize = 3;
/// Flags of the times that a row has.
const TIMES: u8 = HAS_CREATED | FLAG_HAS_EXPIRE;

/// A run as it is to be written: where in the common places it begins.
#[derive(Clone, Copy, Debug)]
struct Planned {
    at: usize,
    bytes: usize,
    width: u8,
}

/// Lowest and highest byte of some rows at each common place.
#[derive(Debug, Default)]
struct Spans {
    rows: usize,
    common: Common,
    lowest: Vec<u8>,
    highest: Vec<u8>,
}

/// Measures and writes columns of the first of some rows; its memory is used again.
#[derive(Debug, Default)]
pub struct ColumnsWriter {
    /// Where each row begins, and its parts end.
    rows: Vec<(usize, Ends)>,
    /// Of the rows last measured.
    spans: Spans,
    /// Of fewer rows, so that more are measured without beginning anew.
    kept: Spans,
    runs: Vec<Planned>,
    bytes: usize,
}

impl ColumnsWriter {
    /// Begins with `rows`, which are exactly `count` encoded versions.
    pub fn begin(&mut self, rows: &[u8], count: usize) {
        self.rows.clear();
        self.kept.rows = 0;
        let mut at = 0;
        for _ in 0..count {
            let ends = Ends::of(&rows[at..]);
            self.rows.push((at, ends));
            at += ends.value;
        }
        debug_assert_eq!(at, rows.len());
    }

    /// Bytes of the columns of the first `count` rows, at least one.
    pub fn measure(&mut self, rows: &[u8], count: usize) -> usize {
        let common = self.common(rows, count);
        let (kept, spans) = (&self.kept, &mut self.spans);
        if kept.rows > 0 && kept.rows <= count && kept.common == common {
            spans.clone_from(kept);
        } else {
            spans.begin(common);
        }
        for (at, ends) in &self.rows[spans.rows..count] {
            spans.add(&rows[*at..at + ends.value], ends);
        }
        spans.rows = count;
        self.plan();
        let of_runs: usize = self.runs.iter().map(|run| run.written_bytes(count)).sum();
        self.bytes = COLUMNS_HEADER_BYTES + of_runs + row_bytes(&self.rows[..count])
            - count * common.bytes();
        self.bytes
    }

    /// Keeps what was found in the rows last measured: more will be.
    pub fn keep(&mut self) {
        self.kept.clone_from(&self.spans);
    }

    /// Appends the columns of the rows last measured.
    pub fn append(&self, rows: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.bytes);
        let Common { head, key, value } = self.spans.common;
        let taken = &self.rows[..self.spans.rows];
        // In range: a block holds at most MAX_RAW_BYTES, a key at most MAX_KEY_BYTES.
        out.extend_from_slice(&(row_bytes(taken) as u32).to_le_bytes());
        out.extend_from_slice(&(key as u16).to_le_bytes());
        out.extend_from_slice(&(value as u16).to_le_bytes());
        out.push(head as u8);
        self.runs.iter().for_each(|run| self.append_run(run, rows, out));
        for (at, ends) in taken {
            let row = &rows[*at..];
            out.extend_from_slice(&row[head..ends.times]);
            out.extend_from_slice(&row[ends.times + key..ends.key]);
            out.extend_from_slice(&row[ends.key + value..ends.value]);
        }
        debug_assert_eq!(out.len() - start, self.bytes);
    }

    /// What the first `count` rows have in common places.
    fn common(&self, rows: &[u8], count: usize) -> Common {
        let taken = &self.rows[..count];
        let times = |at: usize| rows[at] & TIMES;
        let first = taken.first().map_or(0, |(at, _)| times(*at));
        let mut common = Common {
            head: VERSION_FIXED_BYTES + times_bytes(first),
            key: usize::MAX,
            value: VALUE_BYTES_MAX,
        };
        for (at, ends) in taken {
            if times(*at) != first {
                common.head = VERSION_FIXED_BYTES;
            }
            common.key = common.key.min(ends.key - ends.times);
            common.value = common.value.min(ends.value - ends.key);
        }
        common
    }

    /// Puts neighbours that are stored alike into runs; none goes over the end of a part.
    fn plan(&mut self) {
        self.runs.clear();
        let Spans { rows: count, common: Common { head, key, value }, lowest, highest } =
            &self.spans;
        let (head, key, value) = (*head, *key, *value);
        for part in [0..head, head..head + key, head + key..head + key + value] {
            let first = self.runs.len();
            for at in part {
                let width = width(highest[at] - lowest[at], *count);
                match self.runs[first..].last_mut() {
                    Some(run) if run.width == width && run.bytes < RUN_BYTES_MAX => run.bytes += 1,
                    _ => self.runs.push(Planned { at, bytes: 1, width }),
                }
            }
        }
    }

    fn append_run(&self, run: &Planned, rows: &[u8], out: &mut Vec<u8>) {
        let bases = &self.spans.lowest[run.at..run.at + run.bytes];
        out.extend_from_slice(&[run.width, run.bytes as u8]);
        if run.width < WHOLE {
            out.extend_from_slice(bases);
        }
        let taken = self.rows[..self.spans.rows].iter();
        let starts = taken.map(|(at, ends)| at + self.place_in(run.at, ends));
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
        let Common { head, key, .. } = self.spans.common;
        if at < head {
            at
        } else if at < head + key {
            at - head + ends.times
        } else {
            at - head - key + ends.key
        }
    }
}

/// Bytes of rows that follow each other from the first on.
fn row_bytes(rows: &[(usize, Ends)]) -> usize {
    rows.last().map_or(0, |(at, ends)| at + ends.value)
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

impl Spans {
    /// Of no row yet.
    fn begin(&mut self, common: Common) {
        (self.rows, self.common) = (0, common);
        self.lowest.clear();
        self.lowest.resize(common.bytes(), u8::MAX);
        self.highest.clear();
        self.highest.resize(common.bytes(), 0);
    }

    fn add(&mut self, row: &[u8], ends: &Ends) {
        let Common { head, key, value } = self.common;
        let parts = [(0, 0, head), (ends.times, head, key), (ends.key, head + key, value)];
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

    fn clone_from(&mut self, other: &Self) {
        (self.rows, self.common) = (other.rows, other.common);
        self.lowest.clone_from(&other.lowest);
        self.highest.clone_from(&other.highest);
    }
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
