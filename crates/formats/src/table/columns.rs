//! The rows of a block, position by position: bytes that all rows have in the same place are kept
//! together, as one byte, in as few bits as they differ in, or as they are. A row is found, and restored,
//! without the others. Bytes: `docs/formats/warm.md`.

use super::block::MAX_RAW_BYTES;
use super::error::{TableError, impossible};
use crate::bytes_at::{u16_at, u32_at};
use crate::hot_layout::FLAG_HAS_EXPIRE;
use crate::version::{HAS_CREATED, VERSION_FIXED_BYTES};

const ROWS: &str = "block's rows";
/// Bytes before the runs.
pub(super) const COLUMNS_HEADER_BYTES: usize = 9;
/// Bytes before the bases of a run.
pub(super) const RUN_HEADER_BYTES: usize = 2;
/// Width of a run whose bytes are stored as they are.
pub(super) const WHOLE: u8 = 8;
const KEY_PART: usize = 1;
const TIME_BYTES: usize = 8;
/// Where in a version its flags and the lengths of its key and value are.
const FLAGS_AT: usize = 0;
const KEY_BYTES_AT: usize = 4;
const VALUE_BYTES_AT: usize = 12;

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
    fn rests(&self, ends: &Ends) -> Option<[(usize, usize); 3]> {
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
struct Run {
    /// 0 head, [`KEY_PART`], 2 value; and where in it.
    part: usize,
    at: usize,
    bytes: usize,
    /// 0: every row has the bases. 1 to 7: as many bits a row and byte, to be added to its base, a plane
    /// for each byte. 8: the bytes of each row together.
    width: u8,
    bases_at: usize,
    data_at: usize,
}

/// Memory for the runs of a block, to be used again.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Run>);

/// One byte of every row.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    width: u8,
    base: u8,
    at: usize,
    stride: usize,
}

/// The rows of a block as [`super::ColumnsWriter`] wrote them.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    bytes: &'a [u8],
    runs: &'a [Run],
    tail: &'a [u8],
    rows: usize,
    restored_bytes: usize,
    common: Common,
    /// Of the flags, and of the bytes of the two lengths.
    flags: Lane,
    key_bytes: [Lane; 2],
    value_bytes: [Lane; 4],
    /// Of every row, where all have the same.
    ends: Option<Ends>,
}

impl<'a> Columns<'a> {
    /// Of `bytes`, which must be `rows` rows, at least one.
    ///
    /// # Errors
    /// The runs do not fit into the bytes given. What the lengths of single rows come to is found out
    /// when they are restored.
    pub fn parse(bytes: &'a [u8], rows: u32, runs: &'a mut Runs) -> Result<Self, TableError> {
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
        runs.0.clear();
        let tail_at = parse_runs(bytes, rows, &common, &mut runs.0)?;
        let tail = bytes.get(tail_at..).unwrap_or_default();
        let runs = &runs.0[..];
        let lane = |at| lane(runs, rows, bytes, at);
        let mut columns = Self {
            bytes,
            runs,
            tail,
            rows,
            restored_bytes,
            common,
            flags: lane(FLAGS_AT),
            key_bytes: [0, 1].map(|byte| lane(KEY_BYTES_AT + byte)),
            value_bytes: [0, 1, 2, 3].map(|byte| lane(VALUE_BYTES_AT + byte)),
            ends: None,
        };
        let mut lanes = columns.key_bytes.iter().chain(&columns.value_bytes);
        let are_same = columns.flags.width == 0 && lanes.all(|lane| lane.width == 0);
        columns.ends = are_same.then(|| columns.ends(0));
        Ok(columns)
    }

    /// The first row of `key`.
    ///
    /// # Errors
    /// The lengths of a row are not those of one of the block.
    pub fn find(&self, key: &[u8]) -> Result<Option<usize>, TableError> {
        let Some((front, rest)) = key.split_at_checked(self.common.key) else { return Ok(None) };
        let runs = self.runs_of_keys();
        // What all keys have is compared once; of the rest that first which tells most of them apart.
        let differ = |run: &&Run| run.width == 0 && self.bases(run) != run.of(front);
        if runs.iter().any(|run| differ(&run)) {
            return Ok(None);
        }
        let first = runs.iter().max_by_key(|run| usize::from(run.width) * run.bytes);
        for row in 0..self.rows {
            let may_be = first.is_none_or(|run| self.has(run, row, run.of(front)));
            if may_be
                && runs.iter().all(|run| self.has(run, row, run.of(front)))
                && self.has_rest(row, rest)?
            {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn runs_of_keys(&self) -> &[Run] {
        let from = self.runs.partition_point(|run| run.part < KEY_PART);
        let to = self.runs.partition_point(|run| run.part <= KEY_PART);
        &self.runs[from..to]
    }

    /// Whether the key of a row ends with these bytes behind what all keys have in common places.
    fn has_rest(&self, row: usize, rest: &[u8]) -> Result<bool, TableError> {
        let rests = self.rests(&self.ends.unwrap_or_else(|| self.ends(row)))?;
        if rests[KEY_PART].1 - rests[KEY_PART].0 != rest.len() {
            return Ok(false);
        }
        let at = self.tail_before(row)? + rests[0].1 - rests[0].0;
        Ok(rest.is_empty() || self.tail.get(at..at + rest.len()) == Some(rest))
    }

    /// Appends row `row` as the encoded version it was; it must be one of the block.
    ///
    /// # Errors
    /// The lengths of the rows are not those of the block.
    pub fn append_row(&self, row: usize, out: &mut Vec<u8>) -> Result<(), TableError> {
        let ends = self.ends.unwrap_or_else(|| self.ends(row));
        let rests = self.rests(&ends)?;
        let tail_at = self.tail_before(row)?;
        if ends.value > self.restored_bytes {
            return Err(impossible(ROWS, "length of a row", 0));
        }
        let start = out.len();
        out.resize(start + ends.value, 0);
        let to = &mut out[start..];
        for run in self.runs {
            let at = [0, ends.times, ends.key][run.part] + run.at;
            self.restore(run, row, &mut to[at..at + run.bytes]);
        }
        let restored = self.restore_rests(&rests, tail_at, to);
        if restored.is_err() {
            out.truncate(start);
        }
        restored.map(drop)
    }

    /// Appends all rows as the encoded versions they were.
    ///
    /// # Errors
    /// The lengths of the rows are not those of the block.
    pub fn append_rows(&self, out: &mut Vec<u8>) -> Result<(), TableError> {
        let start = out.len();
        out.resize(start + self.restored_bytes, 0);
        let restored = self.restore_all(&mut out[start..]);
        if restored.is_err() {
            out.truncate(start);
        }
        restored
    }

    fn restore_all(&self, to: &mut [u8]) -> Result<(), TableError> {
        // Where each row's head, key and value begin.
        let mut places = Vec::with_capacity(self.rows);
        let (mut at, mut tail_at) = (0, 0);
        for row in 0..self.rows {
            let ends = self.ends.unwrap_or_else(|| self.ends(row));
            let rests = self.rests(&ends)?;
            let Some(whole) = to.get_mut(at..at + ends.value) else {
                return Err(impossible(ROWS, "length of a row", 0));
            };
            places.push([at, at + ends.times, at + ends.key]);
            tail_at = self.restore_rests(&rests, tail_at, whole)?;
            at += ends.value;
        }
        if at != to.len() || tail_at != self.tail.len() {
            return Err(impossible(ROWS, "length", 0));
        }
        for run in self.runs {
            let places = places.iter().map(|starts| starts[run.part] + run.at);
            self.restore_run(run, places, to);
        }
        Ok(())
    }

    /// Puts what a row has for itself into its place; returns where the next row's begins.
    fn restore_rests(
        &self,
        rests: &[(usize, usize); 3],
        mut tail_at: usize,
        to: &mut [u8],
    ) -> Result<usize, TableError> {
        for (from, end) in rests {
            let bytes = end - from;
            if bytes > 0 {
                let Some(rest) = self.tail.get(tail_at..tail_at + bytes) else {
                    return Err(impossible(ROWS, "length of a row", 0));
                };
                to[*from..*end].copy_from_slice(rest);
                tail_at += bytes;
            }
        }
        Ok(tail_at)
    }

    fn ends(&self, row: usize) -> Ends {
        let byte = |lane: &Lane| usize::from(lane.get(self.bytes, row));
        let number =
            |lanes: &[Lane]| lanes.iter().rev().fold(0, |above, lane| above << 8 | byte(lane));
        let times = VERSION_FIXED_BYTES + times_bytes(self.flags.get(self.bytes, row));
        let key = times + number(&self.key_bytes);
        Ends { times, key, value: key + number(&self.value_bytes) }
    }

    fn rests(&self, ends: &Ends) -> Result<[(usize, usize); 3], TableError> {
        self.common.rests(ends).ok_or_else(|| impossible(ROWS, "length of a row", 0))
    }

    /// Bytes of the tail that are those of the first `rows` rows.
    fn tail_before(&self, rows: usize) -> Result<usize, TableError> {
        if let Some(ends) = &self.ends {
            return Ok(rows * tail_bytes(&self.rests(ends)?));
        }
        let mut sum = 0;
        for row in 0..rows {
            sum += tail_bytes(&self.rests(&self.ends(row))?);
        }
        Ok(sum)
    }

    fn bases(&self, run: &Run) -> &[u8] {
        &self.bytes[run.bases_at..][..run.bytes]
    }

    /// Whether a row has just these bytes.
    fn has(&self, run: &Run, row: usize, bytes: &[u8]) -> bool {
        match run.width {
            0 => self.bases(run) == bytes,
            // Byte by byte: as a rule the first one differs.
            WHOLE => {
                let of_row = &self.bytes[run.data_at + row * run.bytes..][..run.bytes];
                of_row.iter().zip(bytes).all(|(one, other)| one == other)
            }
            _ => {
                (0..run.bytes).all(|byte| self.lane(run, byte).get(self.bytes, row) == bytes[byte])
            }
        }
    }

    fn restore(&self, run: &Run, row: usize, to: &mut [u8]) {
        match run.width {
            0 => copy(self.bases(run), to),
            WHOLE => {
                copy(&self.bytes[run.data_at + row * run.bytes..][..run.bytes], to);
            }
            _ => {
                for (byte, to) in to.iter_mut().enumerate() {
                    *to = self.lane(run, byte).get(self.bytes, row);
                }
            }
        }
    }

    /// The same for all rows, each at its place.
    fn restore_run(&self, run: &Run, places: impl Iterator<Item = usize> + Clone, to: &mut [u8]) {
        match run.width {
            0 => {
                let bases = self.bases(run);
                places.for_each(|at| copy(bases, &mut to[at..at + bases.len()]));
            }
            WHOLE => {
                let whole = self.bytes[run.data_at..].chunks_exact(run.bytes);
                whole.zip(places).for_each(|(bytes, at)| copy(bytes, &mut to[at..at + run.bytes]));
            }
            _ => {
                for byte in 0..run.bytes {
                    let lane = self.lane(run, byte);
                    for (row, at) in places.clone().enumerate() {
                        to[at + byte] = lane.get(self.bytes, row);
                    }
                }
            }
        }
    }

    fn lane(&self, run: &Run, byte: usize) -> Lane {
        run.lane(byte, self.rows, self.bytes)
    }
}

/// Few bytes at a time, without a call.
#[inline]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        8 => to.copy_from_slice(&from[..8]),
        4 => to.copy_from_slice(&from[..4]),
        3 => to.copy_from_slice(&from[..3]),
        1 => to[0] = from[0],
        _ => to.copy_from_slice(from),
    }
}

fn tail_bytes(rests: &[(usize, usize); 3]) -> usize {
    rests.iter().map(|(from, to)| to - from).sum()
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
    fn of<'b>(&self, part: &'b [u8]) -> &'b [u8] {
        &part[self.at..self.at + self.bytes]
    }

    fn lane(&self, byte: usize, rows: usize, bytes: &[u8]) -> Lane {
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
    fn get(&self, bytes: &[u8], row: usize) -> u8 {
        match self.width {
            0 => self.base,
            WHOLE => bytes[self.at + row * self.stride],
            width => {
                let bit = row * usize::from(width);
                let at = self.at + bit / 8;
                // The last bits of the last plane may have no byte behind them.
                let above = bytes.get(at + 1).copied().unwrap_or_default();
                let two = u16::from(bytes[at]) | u16::from(above) << 8;
                let more = (two >> (bit % 8)) as u8 & ((1 << width) - 1);
                self.base.wrapping_add(more)
            }
        }
    }
}
