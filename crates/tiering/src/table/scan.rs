//! Reads a table from the front to the back.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::File;
use thermae_formats::ViewId;
use thermae_formats::hash::entity_hash;
use thermae_formats::version::Version;

use super::blocks::Blocks;
use super::read::Table;
use super::search::Scratch;
use crate::error::WarmError;

/// Bytes of a read, unless a block is larger or the caller says otherwise.
pub(super) const RUN_BYTES: usize = 512 << 10;

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
    scratch: Scratch,
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
        let blocks = Blocks::new(Arc::clone(self), run_bytes);
        let scratch = Scratch::new();
        TableScan { blocks, scratch, view: ViewId(0), offset_bytes: 0, at: 0, left: 0 }
    }
}

impl<F: File> TableScan<F> {
    /// View and entity hashes of the block that it stands in, or could not read.
    pub fn present_block(&self) -> (ViewId, RangeInclusive<u64>) {
        let (index, number) = (&self.blocks.table.index, self.blocks.last());
        let view = index.view_of(number).unwrap_or_default();
        let is_last = index.view_of(number + 1) != Some(view);
        let next = index.first_hash(number + 1).filter(|_| !is_last);
        (view, index.first_hash(number).unwrap_or(0)..=next.unwrap_or(u64::MAX))
    }

    /// The next row.
    ///
    /// # Errors
    /// A block cannot be read, or is not what was written there. After an error of one block the
    /// rows of the next follow.
    // No iterator: the row is lent from the scan.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, WarmError> {
        while self.left == 0 {
            let raw_bytes = self.scratch.raw.len();
            if std::mem::replace(&mut self.at, raw_bytes) < raw_bytes {
                let what = "more bytes follow the rows of the block";
                return Err(self.blocks.table.damaged(self.offset_bytes, &what));
            }
            let Some(block) = self.blocks.next(&mut self.scratch)? else { return Ok(None) };
            (self.view, self.offset_bytes, self.left) =
                (block.view, block.offset_bytes, block.rows);
            self.at = 0;
        }
        let raw = self.scratch.raw.get(self.at..).unwrap_or_default();
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
