//! The blocks of a table one after the other, read many at a time.

use std::ops::Range;
use std::sync::Arc;

use thermae_env::{AlignedBuf, File};
use thermae_formats::ViewId;

use super::read::{Extent, Table};
use super::search::Scratch;
use crate::error::WarmError;

/// Bytes of the first read after a jump: whoever jumps may soon jump again. Each further one is twice as
/// long, up to what the reader wants.
const FIRST_BYTES: u64 = 16 << 10;

/// Blocks in their order, by blocking direct reads.
pub(super) struct Blocks<F> {
    pub(super) table: Arc<Table<F>>,
    /// What is read: the table's own file, or the same through the page cache.
    file: F,
    left: Range<u32>,
    run: AlignedBuf,
    run_at: u64,
    most_bytes: u64,
    ahead_bytes: u64,
}

/// Where a block lies in the file, and in what was read of it.
pub(super) struct Place {
    pub(super) offset_bytes: u64,
    pub(super) in_run: Range<usize>,
}

/// A block whose rows are in the scratch.
pub(super) struct Block {
    pub(super) number: u32,
    pub(super) view: ViewId,
    pub(super) offset_bytes: u64,
    pub(super) rows: u32,
}

impl<F: File> Blocks<F> {
    /// All of a table, read `run_bytes` at a time, or a block where one is larger.
    pub(super) fn new(table: Arc<Table<F>>, run_bytes: usize) -> Self {
        let left = 0..table.blocks();
        let most_bytes = run_bytes as u64;
        let (run, file) = (AlignedBuf::new(), table.file().clone());
        Self { table, file, left, run, run_at: 0, most_bytes, ahead_bytes: most_bytes }
    }

    /// Some of a table: the first reads are short.
    pub(super) fn within(table: Arc<Table<F>>, blocks: Range<u32>, run_bytes: usize) -> Self {
        let all = Self::new(table, run_bytes);
        Self { left: blocks, ahead_bytes: FIRST_BYTES.min(all.most_bytes), ..all }
    }

    /// The same through the page cache, where that can be had.
    pub(super) fn through_cache(mut self) -> Self {
        if let Ok(file) = self.file.through_cache() {
            self.file = file;
        }
        self
    }

    /// Restores the rows of the next block; after an error, the one after it.
    pub(super) fn next(&mut self, scratch: &mut Scratch) -> Result<Option<Block>, WarmError> {
        let next = self.left.start + 1;
        let loaded = self.load(scratch);
        if loaded.is_err() {
            self.left.start = next;
        }
        loaded
    }

    /// Restores the rows of the next block; after an error, the same again.
    fn load(&mut self, scratch: &mut Scratch) -> Result<Option<Block>, WarmError> {
        scratch.raw.clear();
        let Some(place) = self.present()? else { return Ok(None) };
        let block = self.run.get(place.in_run).unwrap_or_default();
        let (number, offset_bytes) = (self.left.start, place.offset_bytes);
        let rows = self.table.restore(offset_bytes, block, scratch)?;
        self.pass();
        let view = self.table.index.view_of(number).unwrap_or_default();
        Ok(Some(Block { number, view, offset_bytes, rows }))
    }

    /// The next block, as it was read: it stays there until [`Self::pass`] and the block after it.
    pub(super) fn present(&mut self) -> Result<Option<Place>, WarmError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let number = self.left.start;
        let Extent { offset_bytes, bytes } = self.table.extent(number..number + 1);
        if offset_bytes + bytes > self.run_at + self.run.len() as u64 {
            self.read_run(number)?;
        }
        let start = (offset_bytes - self.run_at) as usize;
        Ok(Some(Place { offset_bytes, in_run: start..start + bytes as usize }))
    }

    /// Goes behind the block that is present.
    pub(super) fn pass(&mut self) {
        self.left.start = self.left.end.min(self.left.start + 1);
    }

    /// What was read last.
    pub(super) fn run(&self) -> &[u8] {
        &self.run
    }

    /// Reads into this memory from now on; gives back what it had.
    pub(super) fn lend(&mut self, run: AlignedBuf) -> AlignedBuf {
        let mut was = std::mem::replace(&mut self.run, run);
        was.clear();
        self.run.clear();
        was
    }

    /// The block that was read last, or could not be.
    pub(super) const fn last(&self) -> u32 {
        self.left.start.saturating_sub(1)
    }

    /// Leaves out the blocks before `block`.
    pub(super) fn skip_to(&mut self, block: u32) {
        if block > self.left.start {
            self.left.start = block.min(self.left.end);
            self.ahead_bytes = FIRST_BYTES.min(self.most_bytes);
        }
    }

    /// Leaves out all that are left.
    pub(super) fn finish(&mut self) {
        self.left.start = self.left.end;
    }

    /// Bytes of the blocks before the next one.
    pub(super) fn passed_bytes(&self) -> u64 {
        self.table.extent(0..self.left.start).bytes
    }

    /// Reads the blocks from `first` on that a run holds.
    fn read_run(&mut self, first: u32) -> Result<(), WarmError> {
        let whole = self.table.extent(first..self.left.end);
        let offset_bytes = whole.offset_bytes;
        let one_bytes = self.table.extent(first..first + 1).bytes;
        let bytes = whole.bytes.min(self.ahead_bytes.max(one_bytes));
        self.ahead_bytes = (self.ahead_bytes * 2).min(self.most_bytes);
        if self.run.capacity() < bytes as usize {
            // The old memory goes first: there is never memory for two runs.
            self.run = AlignedBuf::new();
        }
        self.run.resize(bytes as usize, 0);
        self.run_at = offset_bytes;
        let read = self.table.read_into(&self.file, offset_bytes, &mut self.run);
        if read.is_err() {
            self.run.clear();
        }
        read
    }
}
