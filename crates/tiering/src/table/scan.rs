//! Reads a table from the front to the back.

use std::sync::Arc;

use thermae_env::{AlignedBuf, File};
use thermae_formats::ViewId;
use thermae_formats::hash::entity_hash;
use thermae_formats::version::Version;

use super::read::{Extent, Table};
use super::search::Scratch;
use crate::error::WarmError;

/// Bytes of a read, unless a block is larger or the caller says otherwise.
const RUN_BYTES: usize = 512 << 10;

/// One row of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its view.
    pub view: ViewId,
    /// Hash of its key.
    pub entity_hash: u64,
    /// The row.
    pub version: Version<'a>,
}

/// All rows of a table in their order, by blocking direct reads.
pub struct TableScan<F> {
    blocks: Blocks<F>,
    view: ViewId,
    offset_bytes: u64,
    at: usize,
    left: u32,
}

impl<F: File> Table<F> {
    /// All its rows in their order.
    pub fn scan(self: &Arc<Self>) -> TableScan<F> {
        self.scan_by(RUN_BYTES)
    }

    /// All its rows in their order, read `run_bytes` at a time, or a block where one is larger.
    pub fn scan_by(self: &Arc<Self>, run_bytes: usize) -> TableScan<F> {
        let blocks = Blocks { run_bytes: run_bytes as u64, ..Blocks::new(Arc::clone(self)) };
        TableScan { blocks, view: ViewId(0), offset_bytes: 0, at: 0, left: 0 }
    }
}

impl<F: File> TableScan<F> {
    /// The next row.
    ///
    /// # Errors
    /// A block cannot be read, or is not what was written there. After an error of one block the
    /// rows of the next follow.
    // No iterator: the row is lent from the scan.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, WarmError> {
        while self.left == 0 {
            let raw_bytes = self.blocks.scratch.raw.len();
            if std::mem::replace(&mut self.at, raw_bytes) < raw_bytes {
                let what = "more bytes follow the rows of the block";
                return Err(self.blocks.table.damaged(self.offset_bytes, &what));
            }
            let Some(block) = self.blocks.next()? else { return Ok(None) };
            (self.view, self.offset_bytes, self.left) =
                (block.view, block.offset_bytes, block.rows);
            self.at = 0;
        }
        let raw = self.blocks.scratch.raw.get(self.at..).unwrap_or_default();
        match Version::split_first(raw) {
            Ok((version, after)) => {
                self.at += raw.len() - after.len();
                self.left -= 1;
                let entity_hash = entity_hash(version.key, self.blocks.table.hash_seed());
                Ok(Some(Row { view: self.view, entity_hash, version }))
            }
            Err(error) => {
                (self.left, self.at) = (0, usize::MAX);
                Err(self.blocks.table.damaged(self.offset_bytes, &error))
            }
        }
    }
}

/// Blocks of a table one after the other, read in runs, their rows restored.
pub(super) struct Blocks<F> {
    pub(super) table: Arc<Table<F>>,
    pub(super) scratch: Scratch,
    next: u32,
    run: AlignedBuf,
    run_at: u64,
    run_bytes: u64,
}

/// A block whose rows are in the scratch.
pub(super) struct Block {
    pub(super) number: u32,
    pub(super) view: ViewId,
    pub(super) offset_bytes: u64,
    pub(super) rows: u32,
}

impl<F: File> Blocks<F> {
    pub(super) fn new(table: Arc<Table<F>>) -> Self {
        let (scratch, run) = (Scratch::new(), AlignedBuf::new());
        Self { table, scratch, next: 0, run, run_at: 0, run_bytes: RUN_BYTES as u64 }
    }

    /// Restores the rows of the next block; after an error, the one after it.
    pub(super) fn next(&mut self) -> Result<Option<Block>, WarmError> {
        self.scratch.raw.clear();
        let number = self.next;
        if number >= self.table.blocks() {
            return Ok(None);
        }
        self.next += 1;
        let place = self.table.extent(number..self.next);
        if place.offset_bytes + place.bytes > self.run_at + self.run.len() as u64 {
            self.read_run(number)?;
        }
        let start = (place.offset_bytes - self.run_at) as usize;
        let block = self.run.get(start..start + place.bytes as usize).unwrap_or_default();
        let rows = self.table.restore(place.offset_bytes, block, &mut self.scratch)?;
        let view = self.table.index.view_of(number).unwrap_or_default();
        Ok(Some(Block { number, view, offset_bytes: place.offset_bytes, rows }))
    }

    /// Bytes of the blocks before the next one.
    pub(super) fn passed_bytes(&self) -> u64 {
        self.table.extent(0..self.next).bytes
    }

    /// Reads the blocks from `first` on that a run holds.
    fn read_run(&mut self, first: u32) -> Result<(), WarmError> {
        let whole = self.table.extent(first..self.table.blocks());
        let offset_bytes = whole.offset_bytes;
        let bytes = whole.bytes.min(self.run_bytes.max(self.table.extent(first..first + 1).bytes));
        self.run = AlignedBuf::new();
        self.run_at = offset_bytes;
        self.run = self.table.read(Extent { offset_bytes, bytes })?;
        Ok(())
    }
}
