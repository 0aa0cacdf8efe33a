//! The rows of a block, position by position: bytes that all rows have in the same place are kept
//! together, as one byte, in as few bits as they differ in, or as they are. A row is found, and restored,
//! without the others. Bytes: `docs/formats/warm.md`.

use std::ops::Range;

use super::columns_layout::{Ends, KEY_PART, Lane, Layout, ROWS, Run, WHOLE};
use super::error::{TableError, impossible};

/// The rows of a block as [`super::ColumnsWriter`] wrote them.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    bytes: &'a [u8],
    tail: &'a [u8],
    layout: &'a Layout,
}

impl<'a> Columns<'a> {
    /// Of `bytes`, which must be `rows` rows, at least one.
    ///
    /// # Errors
    /// The runs do not fit into the bytes given. What the lengths of single rows come to is found out
    /// when they are restored, or by [`Self::check`].
    pub fn parse(bytes: &'a [u8], rows: u32, layout: &'a mut Layout) -> Result<Self, TableError> {
        layout.parse(bytes, rows)?;
        Self::again(bytes, layout).ok_or_else(|| impossible(ROWS, "length", 0))
    }

    /// Of the bytes that a layout was parsed from. `None`: these are others, by their length.
    #[inline]
    pub fn again(bytes: &'a [u8], layout: &'a Layout) -> Option<Self> {
        let is_it = bytes.len() == layout.bytes && layout.rows > 0;
        let tail = bytes.get(layout.tail_at..).filter(|_| is_it)?;
        Some(Self { bytes, tail, layout })
    }

    /// Whether all rows begin, and have the parts of their keys and values, at the same distances: any of them is
    /// restored as quickly as another.
    pub const fn are_alike(&self) -> bool {
        self.layout.same_ends.is_some()
    }

    /// Event time of row `row`, microseconds; it must be one of the block, as in the following.
    #[inline]
    pub fn event_time(&self, row: usize) -> i64 {
        self.layout.event_time(self.bytes, row)
    }

    /// The first row of `key`.
    ///
    /// # Errors
    /// The lengths of a row are not those of one of the block.
    pub fn find(&self, key: &[u8]) -> Result<Option<usize>, TableError> {
        let Some((front, rest)) = key.split_at_checked(self.layout.common.key) else {
            return Ok(None);
        };
        let runs = self.runs_of_keys();
        // What all keys have is compared once; of the rest that first which tells most of them apart.
        let differ = |run: &&Run| run.width == 0 && self.bases(run) != run.of(front);
        if runs.iter().any(|run| differ(&run)) {
            return Ok(None);
        }
        let first = runs.iter().max_by_key(|run| usize::from(run.width) * run.bytes);
        for row in 0..self.layout.rows {
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
        let runs = &self.layout.runs;
        let from = runs.partition_point(|run| run.part < KEY_PART);
        let to = runs.partition_point(|run| run.part <= KEY_PART);
        &runs[from..to]
    }

    /// Whether the key of a row ends with these bytes behind what all keys have in common places.
    fn has_rest(&self, row: usize, rest: &[u8]) -> Result<bool, TableError> {
        let rests = self.rests(&self.ends(row))?;
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
        let ends = self.ends(row);
        let rests = self.rests(&ends)?;
        let tail_at = self.tail_before(row)?;
        if ends.value > self.layout.restored_bytes {
            return Err(impossible(ROWS, "length of a row", 0));
        }
        let start = out.len();
        out.resize(start + ends.value, 0);
        let to = &mut out[start..];
        for run in &self.layout.runs {
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
        self.check()?;
        self.append_some(0..self.layout.rows, out)
    }

    /// Whether the lengths of the rows are those of the block.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self) -> Result<(), TableError> {
        let of = |row| {
            let ends = self.ends(row);
            self.rests(&ends).map(|rests| (ends.value, tail_bytes(&rests)))
        };
        let rows = self.layout.rows;
        let (restored, tail) = match self.are_alike() {
            true => of(0).map(|(bytes, tail)| (bytes.saturating_mul(rows), tail * rows))?,
            false => (0..rows).try_fold((0_usize, 0), |sum, row| {
                of(row).map(|(bytes, tail)| (sum.0.saturating_add(bytes), sum.1 + tail))
            })?,
        };
        match (restored, tail) == (self.layout.restored_bytes, self.tail.len()) {
            true => Ok(()),
            false => Err(impossible(ROWS, "length", 0)),
        }
    }

    /// Appends some rows as the encoded versions they were; they must be of the block.
    ///
    /// # Errors
    /// The lengths of the rows are not those of the block.
    pub fn append_some(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<(), TableError> {
        let start = out.len();
        let restored = self.restore_some(rows, out);
        if restored.is_err() {
            out.truncate(start);
        }
        restored
    }

    fn restore_some(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<(), TableError> {
        // Where each row's head, key and value begin.
        let (mut places, mut end) = (Vec::with_capacity(rows.len()), out.len());
        let most = end + self.layout.restored_bytes;
        for row in rows.clone() {
            let ends = self.ends(row);
            self.rests(&ends)?;
            places.push([end, end + ends.times, end + ends.key]);
            end += ends.value;
            if end > most {
                return Err(impossible(ROWS, "length of a row", 0));
            }
        }
        out.resize(end, 0);
        if self.have_rests() {
            let mut tail_at = self.tail_before(rows.start)?;
            for (row, place) in rows.clone().zip(&places) {
                let rests = self.rests(&self.ends(row))?;
                tail_at = self.restore_rests(&rests, tail_at, &mut out[place[0]..])?;
            }
        }
        for run in &self.layout.runs {
            let places = places.iter().map(|starts| starts[run.part] + run.at);
            self.restore_run(run, rows.start, places, out);
        }
        Ok(())
    }

    /// Puts the keys of all rows in place of what is in `keys`, and in `ends` where each ends.
    ///
    /// # Errors
    /// The lengths of the rows are not those of the block.
    pub fn keys(&self, keys: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), TableError> {
        keys.clear();
        ends.clear();
        if let Some(parts) = self.layout.same_ends.filter(|_| !self.have_rests()) {
            let key_bytes = parts.key - parts.times;
            // A block has at most 64 MiB of them.
            ends.extend((1..=self.layout.rows).map(|row| (row * key_bytes) as u32));
            keys.resize(self.layout.rows * key_bytes, 0);
            for run in self.runs_of_keys() {
                let places = (0..self.layout.rows).map(|row| row * key_bytes + run.at);
                self.restore_run(run, 0, places, keys);
            }
            return Ok(());
        }
        let mut end = 0;
        for row in 0..self.layout.rows {
            let parts = self.ends(row);
            self.rests(&parts)?;
            end += parts.key - parts.times;
            ends.push(end as u32);
        }
        if end > self.layout.restored_bytes {
            return Err(impossible(ROWS, "length of a key", 0));
        }
        keys.resize(end, 0);
        let mut tail_at = 0;
        for (row, end) in ends.iter().enumerate() {
            let rests = self.rests(&self.ends(row))?;
            let ((head, times), (from, to)) = (rests[0], rests[KEY_PART]);
            let (at, end) = (tail_at + times - head, *end as usize);
            let rest = self.tail.get(at..at + to - from);
            let rest = rest.ok_or_else(|| impossible(ROWS, "length of a key", 0))?;
            keys[end - rest.len()..end].copy_from_slice(rest);
            tail_at += tail_bytes(&rests);
        }
        for run in self.runs_of_keys() {
            let begins = std::iter::once(0).chain(ends.iter().map(|end| *end as usize));
            let places = begins.take(self.layout.rows).map(|begin| begin + run.at);
            self.restore_run(run, 0, places, keys);
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
        self.layout.ends(self.bytes, row)
    }

    fn rests(&self, ends: &Ends) -> Result<[(usize, usize); 3], TableError> {
        self.layout.common.rests(ends).ok_or_else(|| impossible(ROWS, "length of a row", 0))
    }

    /// Whether there may be rows with something in the tail, or that are not those of a block.
    fn have_rests(&self) -> bool {
        let rests = self.layout.same_ends.and_then(|ends| self.layout.common.rests(&ends));
        rests.is_none_or(|rests| tail_bytes(&rests) > 0)
    }

    /// Bytes of the tail that are those of the first `rows` rows.
    fn tail_before(&self, rows: usize) -> Result<usize, TableError> {
        if let Some(ends) = &self.layout.same_ends {
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

    /// The same for rows from `first` on, each at its place.
    fn restore_run(
        &self,
        run: &Run,
        first: usize,
        places: impl Iterator<Item = usize> + Clone,
        to: &mut [u8],
    ) {
        match run.width {
            0 => {
                let bases = self.bases(run);
                places.for_each(|at| copy(bases, &mut to[at..at + bases.len()]));
            }
            WHOLE => {
                let whole = self.bytes[run.data_at + first * run.bytes..].chunks_exact(run.bytes);
                whole.zip(places).for_each(|(bytes, at)| copy(bytes, &mut to[at..at + run.bytes]));
            }
            _ => {
                for byte in 0..run.bytes {
                    let places = places.clone().map(|at| at + byte);
                    self.lane(run, byte).restore_plane(self.bytes, first, places, to);
                }
            }
        }
    }

    fn lane(&self, run: &Run, byte: usize) -> Lane {
        run.lane(byte, self.layout.rows, self.bytes)
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
