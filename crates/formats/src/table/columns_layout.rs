//! Where what rows have in common places lies in the bytes of a block: runs of neighbouring bytes that are stored alike.

use super::block::MAX_RAW_BYTES;
use super::error::{TableError, impossible};
use crate::bytes_at::{u16_at, u32_at};
use crate::hot_layout::FLAG_HAS_EXPIRE;
use crate::version::{HAS_CREATED, VERSION_FIXED_BYTES};

pub(super) const ROWS: &str = "block's rows";
/// Bytes before the runs.
pub(super) const COLUMNS_HEADER_BYTES: usize = 9;
/// Bytes before the bases of a run.
pub(super) const RUN_HEADER_BYTES: usize = 2;
/// Width of a run whose bytes are stored as they are.
pub(super) const WHOLE: u8 = 8;
pub(super) const KEY_PART: usize = 1;
const TIME_BYTES: usize = 8;
/// Where in a version its flags and the lengths of its key and value are.
const FLAGS_AT: usize = 0;
const KEY_BYTES_AT: usize = 4;
const VALUE_BYTES_AT: usize = 12;
const EVENT_TIME_AT: usize = 16;

/// Bytes of the times that a row has by its flags.
pub(super) const fn times_bytes(flags: u8) -> usize {
    let created = flags & HAS_CREATED != 0;
    let expire = flags & FLAG_HAS_EXPIRE != 0;
    TIME_BYTES * (created as usize + expire as usize)
}

/// Where in an encoded version its parts end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) times: usize,
    pub(super) key: usize,
    pub(super) value: usize,
}

impl Ends {
    /// Of a version that begins with `head`.
    pub(super) fn of(head: &[u8]) -> Self {
        let times = VERSION_FIXED_BYTES + times_bytes(head[FLAGS_AT]);
        let key = times + usize::from(u16_at(head, KEY_BYTES_AT));
        Self { times, key, value: key + u32_at(head, VALUE_BYTES_AT) as usize }
    }
}

/// Bytes that the rows of a block have in common places: the head, with the times if all rows have the
/// same, the front of the key, the front of the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) head: usize,
    pub(super) key: usize,
    pub(super) value: usize,
}

impl Common {
    pub(super) const fn bytes(&self) -> usize {
        self.head + self.key + self.value
    }

    /// Where a row has its three fronts, and what follows each: the row's part of the tail, in order.
    /// None: the row has not so much.
    pub(super) fn rests(&self, ends: &Ends) -> Option<[(usize, usize); 3]> {
        let rests = [
            (self.head, ends.times),
            (ends.times + self.key, ends.key),
            (ends.key + self.value, ends.value),
        ];
        // With its times in common places a row has just these.
        let has_times = self.head == VERSION_FIXED_BYTES || self.head == ends.times;
        (has_times && rests.iter().all(|(from, to)| from <= to)).then_some(rests)
    }
}

/// Neighbouring bytes that are stored alike, of one part of the rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// 0 head, [`KEY_PART`], 2 value; and where in it.
    pub(super) part: usize,
    pub(super) at: usize,
    pub(super) bytes: usize,
    /// 0: every row has the bases. 1 to 7: as many bits a row and byte, to be added to its base, a plane
    /// for each byte. 8: the bytes of each row together.
    pub(super) width: u8,
    pub(super) bases_at: usize,
    pub(super) data_at: usize,
}

/// One byte of every row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    pub(super) width: u8,
    pub(super) base: u8,
    at: usize,
    stride: usize,
}

/// Where the columns of a block lie in its bytes: parsed once, and memory to be used again for the next block.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub(super) runs: Vec<Run>,
    /// Bytes of all columns, and where in them the tail begins.
    pub(super) bytes: usize,
    pub(super) tail_at: usize,
    pub(super) rows: usize,
    pub(super) restored_bytes: usize,
    pub(super) common: Common,
    /// Of the flags, of the bytes of the two lengths, and of those of the event time.
    flags: Lane,
    key_bytes: [Lane; 2],
    value_bytes: [Lane; 4],
    event_time: [Lane; TIME_BYTES],
    /// Of every row, where all have the same.
    pub(super) same_ends: Option<Ends>,
}

impl Layout {
    /// Of `bytes`, which must be `rows` rows, at least one.
    ///
    /// # Errors
    /// The runs do not fit into the bytes given.
    pub(super) fn parse(&mut self, bytes: &[u8], rows: u32) -> Result<(), TableError> {
        let wrong = |what, at| Err(impossible(ROWS, what, at));
        let rows = rows as usize;
        let Some(header) = bytes.first_chunk::<COLUMNS_HEADER_BYTES>() else {
            return wrong("length", 0);
        };
        let restored_bytes = u32_at(header, 0) as usize;
        let common = Common {
            head: usize::from(header[8]),
            key: usize::from(u16_at(header, 4)),
            value: usize::from(u16_at(header, 6)),
        };
        let times = common.head.checked_sub(VERSION_FIXED_BYTES);
        if !matches!(times, Some(0 | TIME_BYTES | 16)) {
            return wrong("bytes of a head", 8);
        }
        let least = rows.checked_mul(common.bytes());
        if rows == 0
            || restored_bytes > MAX_RAW_BYTES as usize
            || least.is_none_or(|least| least > restored_bytes)
        {
            return wrong("length", 0);
        }
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let tail_at = parse_runs(bytes, rows, &common, &mut runs)?;
        let lane = |at| lane(&runs, rows, bytes, at);
        let (flags, key_bytes) = (lane(FLAGS_AT), [0, 1].map(|byte| lane(KEY_BYTES_AT + byte)));
        let value_bytes = [0, 1, 2, 3].map(|byte| lane(VALUE_BYTES_AT + byte));
        let event_time = [0, 1, 2, 3, 4, 5, 6, 7].map(|byte| lane(EVENT_TIME_AT + byte));
        let (bytes_len, same_ends) = (bytes.len(), None);
        *self = Self {
            runs,
            bytes: bytes_len,
            tail_at,
            rows,
            restored_bytes,
            common,
            flags,
            key_bytes,
            value_bytes,
            event_time,
            same_ends,
        };
        let mut lanes = self.key_bytes.iter().chain(&self.value_bytes);
        let are_same = self.flags.width == 0 && lanes.all(|lane| lane.width == 0);
        self.same_ends = are_same.then(|| self.ends(bytes, 0));
        Ok(())
    }

    /// Where the parts of a row end.
    #[inline]
    pub(super) fn ends(&self, bytes: &[u8], row: usize) -> Ends {
        if let Some(ends) = self.same_ends {
            return ends;
        }
        let byte = |lane: &Lane| usize::from(lane.get(bytes, row));
        let number =
            |lanes: &[Lane]| lanes.iter().rev().fold(0, |above, lane| above << 8 | byte(lane));
        let times = VERSION_FIXED_BYTES + times_bytes(self.flags.get(bytes, row));
        let key = times + number(&self.key_bytes);
        Ends { times, key, value: key + number(&self.value_bytes) }
    }

    /// Event time of a row.
    #[inline]
    pub(super) fn event_time(&self, bytes: &[u8], row: usize) -> i64 {
        let mut time = [0; TIME_BYTES];
        for (to, lane) in time.iter_mut().zip(&self.event_time) {
            *to = lane.get(bytes, row);
        }
        i64::from_le_bytes(time)
    }
}

/// Reads the runs of all parts; returns where the tail begins.
fn parse_runs(
    bytes: &[u8],
    rows: usize,
    common: &Common,
    runs: &mut Vec<Run>,
) -> Result<usize, TableError> {
    let mut next = COLUMNS_HEADER_BYTES;
    for (part, part_bytes) in [common.head, common.key, common.value].into_iter().enumerate() {
        let mut at = 0;
        while at < part_bytes {
            let wrong = || impossible(ROWS, "run", next);
            let header = bytes.get(next..next + RUN_HEADER_BYTES).ok_or_else(wrong)?;
            let (width, run_bytes) = (header[0], usize::from(header[1]));
            if width > WHOLE || run_bytes == 0 || at + run_bytes > part_bytes {
                return Err(wrong());
            }
            let bases_at = next + RUN_HEADER_BYTES;
            let data_at = bases_at + if width < WHOLE { run_bytes } else { 0 };
            let data_bytes = match width {
                WHOLE => rows * run_bytes,
                _ => plane_bytes(rows, width) * run_bytes,
            };
            if data_at + data_bytes > bytes.len() {
                return Err(wrong());
            }
            runs.push(Run { part, at, bytes: run_bytes, width, bases_at, data_at });
            at += run_bytes;
            next = data_at + data_bytes;
        }
    }
    Ok(next)
}

/// Bytes of one plane: `width` bits a row.
pub(super) const fn plane_bytes(rows: usize, width: u8) -> usize {
    (rows * width as usize).div_ceil(8)
}

/// The byte at `at` of every head.
fn lane(runs: &[Run], rows: usize, bytes: &[u8], at: usize) -> Lane {
    let run = runs.iter().find(|run| run.part == 0 && at < run.at + run.bytes);
    run.map(|run| run.lane(at - run.at, rows, bytes)).unwrap_or_default()
}

impl Run {
    /// Its part of what its part of a row holds.
    pub(super) fn of<'b>(&self, part: &'b [u8]) -> &'b [u8] {
        &part[self.at..self.at + self.bytes]
    }

    pub(super) fn lane(&self, byte: usize, rows: usize, bytes: &[u8]) -> Lane {
        match self.width {
            WHOLE => Lane { width: WHOLE, base: 0, at: self.data_at + byte, stride: self.bytes },
            width => {
                let at = self.data_at + byte * plane_bytes(rows, width);
                Lane { width, base: bytes[self.bases_at + byte], at, stride: 0 }
            }
        }
    }
}

impl Lane {
    #[inline]
    pub(super) fn get(&self, bytes: &[u8], row: usize) -> u8 {
        match self.width {
            0 => self.base,
            WHOLE => bytes[self.at + row * self.stride],
            width => {
                let more = self.bits(bytes, row) as u8 & ((1 << width) - 1);
                self.base.wrapping_add(more)
            }
        }
    }

    /// The bits of a plane from those of a row on: those of at least eight rows.
    #[inline]
    fn bits(&self, bytes: &[u8], row: usize) -> u64 {
        let bit = row * usize::from(self.width);
        let from = bytes.get(self.at + bit / 8..).unwrap_or_default();
        let word = match from.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            // The last plane may have no bytes behind it.
            None => from.iter().rev().fold(0, |above, byte| above << 8 | u64::from(*byte)),
        };
        word >> (bit % 8)
    }

    /// Puts the bytes of rows from `first` on into their places, of a plane.
    #[inline]
    pub(super) fn restore_plane(
        &self,
        bytes: &[u8],
        first: usize,
        mut places: impl Iterator<Item = usize>,
        to: &mut [u8],
    ) {
        let mask = (1_u8 << self.width) - 1;
        for row in (first..).step_by(8) {
            let mut bits = self.bits(bytes, row);
            for _ in 0..8 {
                let Some(at) = places.next() else { return };
                to[at] = self.base.wrapping_add(bits as u8 & mask);
                bits >>= self.width;
            }
        }
    }
}
