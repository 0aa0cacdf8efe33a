//! The rows of one view in a range of entity hashes, with jumps forward over what is not wanted.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::{AlignedBuf, File};
use thermae_formats::ViewId;
use thermae_formats::table::TableRef;
use thermae_formats::version::Version;

use super::block_rows::BlockRows;
use super::blocks::Blocks;
use super::read::Table;
use super::search::Scratch;
use crate::error::WarmError;
use crate::merge::before;

/// Rows that are restored together for whoever steps from one to the next.
const MOST_TOGETHER: usize = 64;

/// A place among a view's rows of a table. It holds one run of blocks as read, and of one block what was asked for;
/// what unpacks it is lent by the caller, who may have hundreds of tables at a time.
///
/// An operation that fails leaves it where it was, or further on towards where it was to go, and may be
/// repeated.
pub struct ViewRows<F> {
    view: ViewId,
    last_hash: u64,
    blocks: Blocks<F>,
    /// The block that it stands in; without rows before the first row and behind the last.
    rows: BlockRows,
    /// The present row: restored, unless that failed.
    at: usize,
}

impl<F: File> Table<F> {
    /// The view's rows with hashes in `hashes`, read up to `run_bytes` at a time; standing before the
    /// first. `None`: there is none.
    pub fn view_rows(
        self: &Arc<Self>,
        view: ViewId,
        hashes: &RangeInclusive<u64>,
        run_bytes: usize,
    ) -> Option<ViewRows<F>> {
        let blocks = self.index.within(self.about().kind, view, hashes)?;
        (!blocks.is_empty()).then(|| ViewRows {
            view,
            last_hash: *hashes.end(),
            blocks: Blocks::within(Arc::clone(self), blocks, run_bytes),
            rows: BlockRows::default(),
            at: 0,
        })
    }
}

impl<F: File> ViewRows<F> {
    /// The same, read through the page cache, where that can be had.
    #[must_use]
    pub fn through_cache(self) -> Self {
        Self { blocks: self.blocks.through_cache(), ..self }
    }

    /// What the manifest says of the table.
    pub fn about(&self) -> &TableRef {
        self.blocks.table.about()
    }

    /// Entity hash and version of the present row; `None` before the first and behind the last.
    pub fn peek(&self) -> Option<(u64, Version<'_>)> {
        self.rows.get(self.at)
    }

    /// Entity hashes of the rows of the block from the present one on.
    pub fn hashes(&self) -> &[u64] {
        self.rows.hashes().get(self.at..).unwrap_or_default()
    }

    /// Event time of one of them.
    pub fn event_time(&self, row: usize) -> Option<i64> {
        self.rows.event_time(self.blocks.run(), self.at + row)
    }

    /// Leaves out so many of them, fewer than there are.
    ///
    /// # Errors
    /// The row behind them is not what was written there.
    pub fn leave_out(&mut self, rows: usize) -> Result<(), WarmError> {
        self.at += rows;
        self.restore(1)
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// A block cannot be read, or is not what was written there.
    pub fn advance(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        let left = self.hashes().len();
        let has_failed = left > 0 && self.peek().is_none();
        match left {
            _ if has_failed => {}
            0 | 1 => self.load(scratch)?,
            _ => self.at += 1,
        }
        self.restore(MOST_TOGETHER)
    }

    /// Goes forward to the first row that does not lie before this hash and key.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn seek(
        &mut self,
        entity_hash: u64,
        key: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), WarmError> {
        let is_before = |last: &u64| *last < entity_hash;
        // None: there is no block yet, or none any more.
        if self.rows.hashes().last().is_none_or(is_before) {
            let table = &self.blocks.table;
            let hashes = entity_hash..=self.last_hash.max(entity_hash);
            let wanted = table.index.within(table.about().kind, self.view, &hashes);
            self.blocks.skip_to(wanted.map_or(0, |blocks| blocks.start));
            self.load(scratch)?;
        }
        while !self.rows.hashes().is_empty() {
            self.at += before(self.hashes(), entity_hash);
            while self.at < self.rows.hashes().len() {
                self.restore(MOST_TOGETHER)?;
                let row = self.peek().map(|(hash, version)| (hash, version.key));
                if row.is_none_or(|row| row >= (entity_hash, key)) {
                    return Ok(());
                }
                self.at += 1;
            }
            self.load(scratch)?;
        }
        Ok(())
    }

    /// Gives back the memory of what was read, for whoever reads next.
    pub fn release(&mut self, scratch: &mut Scratch) {
        let run = self.blocks.lend(AlignedBuf::new());
        if run.capacity() > scratch.run.capacity() {
            scratch.run = run;
        }
    }

    /// Goes to the first row of the next block, which is to be restored.
    fn load(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        if self.blocks.run().is_empty() {
            self.blocks.lend(std::mem::take(&mut scratch.run));
        }
        let place = self.blocks.present().inspect_err(|_| self.rows.keep(self.at))?;
        let Some(place) = place else {
            self.end(scratch);
            return Ok(());
        };
        let (table, run) = (&self.blocks.table, self.blocks.run());
        let is_last = self.rows.open(table, place, run, self.at, self.last_hash, scratch)?;
        self.at = 0;
        if is_last {
            self.blocks.finish();
        } else {
            self.blocks.pass();
        }
        if self.rows.hashes().is_empty() {
            self.end(scratch);
        }
        Ok(())
    }

    /// Restores the present row, if there is one, and up to so many with it.
    fn restore(&mut self, most: usize) -> Result<(), WarmError> {
        self.rows.restore(&self.blocks.table, self.blocks.run(), self.at, most)
    }

    /// Behind the last row; the memory is given back.
    fn end(&mut self, scratch: &mut Scratch) {
        self.blocks.finish();
        self.release(scratch);
        (self.rows, self.at) = (BlockRows::default(), 0);
    }
}
