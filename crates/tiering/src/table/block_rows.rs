//! The rows of one block of a history: the hashes of all at once, a row itself when somebody stands at it.
//!
//! A row that nobody asks for costs its key and its hash. Rows are restored one by one by those who jump, and in
//! groups that double by those who step: whoever steps through a block restores it in a few pieces.

use std::ops::Range;

use thermae_env::File;
use thermae_formats::hash::entity_hash;
use thermae_formats::table::{Columns, Layout};
use thermae_formats::version::Version;

use super::blocks::Place;
use super::read::Table;
use super::search::Scratch;
use crate::error::WarmError;

/// The rows of a block up to the last that is wanted.
#[derive(Default)]
pub(super) struct BlockRows {
    offset_bytes: u64,
    layout: Layout,
    /// Where the columns lie in what was read; else they were compressed, and are here.
    in_run: Option<Range<usize>>,
    unpacked: Vec<u8>,
    hashes: Vec<u64>,
    /// Rows that are restored, one after the other: from which on, and where each begins.
    raw: Vec<u8>,
    first: usize,
    starts: Vec<u32>,
}

impl BlockRows {
    /// Takes the rows of a block of a run in place of those that it has, those behind `last_hash` left out; whether
    /// there were any of these. After an error it has of the rows that it had at most row `at`.
    pub fn open<F: File>(
        &mut self,
        table: &Table<F>,
        place: Place,
        run: &[u8],
        at: usize,
        last_hash: u64,
        scratch: &mut Scratch,
    ) -> Result<bool, WarmError> {
        let opened = self.try_open(table, place, run, last_hash, scratch);
        if opened.is_err() {
            self.keep(at);
        }
        opened
    }

    /// Keeps row `at` alone, if it is restored, and nothing behind it: what was read is there no more.
    pub fn keep(&mut self, at: usize) {
        self.hashes.truncate(at + 1);
        self.layout = Layout::default();
    }

    fn try_open<F: File>(
        &mut self,
        table: &Table<F>,
        place: Place,
        run: &[u8],
        last_hash: u64,
        scratch: &mut Scratch,
    ) -> Result<bool, WarmError> {
        let Place { offset_bytes, in_run } = place;
        let block = run.get(in_run.clone()).unwrap_or_default();
        let (layout, unpacked) = (&mut self.layout, &mut self.unpacked);
        let columns = table.open_columns(offset_bytes, block, layout, unpacked, scratch)?;
        let at = in_run.start;
        let columns = columns.map(|columns| at + columns.start..at + columns.end);
        let (mut begin, seed) = (0, table.hash_seed());
        let Scratch { keys, key_ends, hashes, .. } = scratch;
        hashes.clear();
        hashes.extend(key_ends.iter().map(|end| {
            let key = begin..*end as usize;
            begin = key.end;
            entity_hash(keys.get(key).unwrap_or_default(), seed)
        }));
        if !hashes.is_sorted() {
            let what = "a row sorts before the one that it follows";
            return Err(table.damaged(offset_bytes, &what));
        }
        let wanted = hashes.partition_point(|hash| *hash <= last_hash);
        let is_last = wanted < hashes.len();
        hashes.truncate(wanted);
        std::mem::swap(&mut self.hashes, hashes);
        (self.offset_bytes, self.in_run) = (offset_bytes, columns);
        self.starts.clear();
        Ok(is_last)
    }

    /// Entity hashes of all rows.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Event time of row `at`.
    pub fn event_time(&self, run: &[u8], at: usize) -> Option<i64> {
        let is_there = at < self.hashes.len();
        self.columns(run).filter(|_| is_there).map(|columns| columns.event_time(at))
    }

    /// Row `at`; `None` if it is not restored.
    pub fn get(&self, at: usize) -> Option<(u64, Version<'_>)> {
        let start = *self.starts.get(at.checked_sub(self.first)?)?;
        let row = self.raw.get(start as usize..)?;
        // It was read once, when it was restored.
        let (version, _) = Version::split_first(row).ok()?;
        Some((*self.hashes.get(at)?, version))
    }

    /// Restores row `at`, if there is such a row, out of the run that the block was opened in, unless it is; where it
    /// follows those that are, up to `most` rows, twice as many as those.
    pub fn restore<F: File>(
        &mut self,
        table: &Table<F>,
        run: &[u8],
        at: usize,
        most: usize,
    ) -> Result<(), WarmError> {
        let restored = self.first..self.first + self.starts.len();
        let all = self.hashes.len();
        if restored.contains(&at) || at >= all {
            return Ok(());
        }
        let Some(columns) = self.columns(run) else { return Ok(()) };
        let rows = match columns.are_alike() {
            // To find one of these all before it are looked at.
            false => 0..all,
            true if at == restored.end => at..all.min(at + most.min(2 * restored.len().max(1))),
            true => at..at + 1,
        };
        self.restore_some(run, rows).map_err(|what| self.damaged(table, &what))
    }

    fn restore_some(&mut self, run: &[u8], rows: Range<usize>) -> Result<(), String> {
        let (mut raw, mut starts) =
            (std::mem::take(&mut self.raw), std::mem::take(&mut self.starts));
        raw.clear();
        starts.clear();
        let restored = self.restore_into(run, rows.clone(), &mut raw, &mut starts);
        if restored.is_err() {
            starts.clear();
        }
        (self.raw, self.starts, self.first) = (raw, starts, rows.start);
        restored
    }

    fn restore_into(
        &self,
        run: &[u8],
        rows: Range<usize>,
        raw: &mut Vec<u8>,
        starts: &mut Vec<u32>,
    ) -> Result<(), String> {
        let Some(columns) = self.columns(run) else { return Ok(()) };
        let restored = match rows.len() {
            1 => columns.append_row(rows.start, raw),
            _ => columns.append_some(rows.clone(), raw),
        };
        restored.map_err(|error| error.to_string())?;
        let mut rest = &raw[..];
        for _ in rows {
            // A block has at most 64 MiB of them.
            starts.push((raw.len() - rest.len()) as u32);
            (_, rest) = Version::split_first(rest).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn columns<'a>(&'a self, run: &'a [u8]) -> Option<Columns<'a>> {
        let bytes = match &self.in_run {
            Some(place) => run.get(place.clone())?,
            None => &self.unpacked,
        };
        Columns::again(bytes, &self.layout)
    }

    fn damaged<F: File>(&self, table: &Table<F>, what: &impl ToString) -> WarmError {
        table.damaged(self.offset_bytes, what)
    }
}
