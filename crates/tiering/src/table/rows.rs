//! The rows of one view in a range of entity hashes, with jumps forward over what is not wanted.

use std::ops::RangeInclusive;
use std::sync::Arc;

use thermae_env::File;
use thermae_formats::ViewId;
use thermae_formats::hash::entity_hash;
use thermae_formats::table::TableRef;
use thermae_formats::version::Version;

use super::blocks::Blocks;
use super::read::Table;
use super::search::Scratch;
use crate::error::WarmError;
use crate::merge::before;

/// A place among a view's rows of a table. It holds one run of blocks as read, and the rows of one block;
/// what unpacks them is lent by the caller, who may have hundreds of tables at a time.
///
/// An operation that fails leaves it where it was, or further on towards where it was to go, and may be
/// repeated.
pub struct ViewRows<F> {
    view: ViewId,
    last_hash: u64,
    blocks: Blocks<F>,
    /// The rows of the block that it stands in, one after the other; none before the first row and behind the last.
    raw: Vec<u8>,
    /// How many those are, as long as they were not looked through; 0 afterwards.
    unseen: u32,
    /// Of each row up to the last that is wanted, where it begins,
    starts: Vec<u32>,
    /// .. and its entity hash: rows that are not wanted are left out by that alone.
    hashes: Vec<u64>,
    /// The present row.
    at: usize,
    offset_bytes: u64,
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
            raw: Vec::new(),
            unseen: 0,
            starts: Vec::new(),
            hashes: Vec::new(),
            at: 0,
            offset_bytes: 0,
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
        let (hash, start) = (self.hashes.get(self.at)?, self.starts.get(self.at)?);
        let row = self.raw.get(*start as usize..)?;
        // It was read once, when the block was looked through.
        Version::split_first(row).ok().map(|(version, _)| (*hash, version))
    }

    /// Entity hashes of the rows of the block from the present one on.
    pub fn hashes(&self) -> &[u64] {
        self.hashes.get(self.at..).unwrap_or_default()
    }

    /// Leaves out so many of them, fewer than there are.
    pub fn leave_out(&mut self, rows: usize) {
        self.at += rows;
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// A block cannot be read, or is not what was written there.
    pub fn advance(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        if self.at + 1 < self.starts.len() {
            self.at += 1;
            return Ok(());
        }
        self.load(scratch)
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
        // None: the block is still to be looked through, or there is none yet, or none any more.
        if self.hashes.last().is_none_or(is_before) {
            let table = &self.blocks.table;
            let hashes = entity_hash..=self.last_hash.max(entity_hash);
            let wanted = table.index.within(table.about().kind, self.view, &hashes);
            if self.blocks.skip_to(wanted.map_or(0, |blocks| blocks.start)) {
                // What was not looked through is not wanted.
                self.unseen = 0;
            }
            self.load(scratch)?;
        }
        while !self.raw.is_empty() {
            self.at += before(self.hashes(), entity_hash);
            while let Some((hash, version)) = self.peek() {
                if (hash, version.key) >= (entity_hash, key) {
                    return Ok(());
                }
                self.at += 1;
            }
            self.load(scratch)?;
        }
        Ok(())
    }

    /// Goes to the first row of the next block.
    fn load(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        if self.unseen == 0 {
            let block = self.blocks.load(scratch)?;
            std::mem::swap(&mut self.raw, &mut scratch.raw);
            self.starts.clear();
            self.hashes.clear();
            self.at = 0;
            let Some(block) = block else {
                self.end();
                return Ok(());
            };
            (self.unseen, self.offset_bytes) = (block.rows, block.offset_bytes);
        }
        self.look_through().map_err(|what| {
            self.starts.clear();
            self.hashes.clear();
            self.blocks.table.damaged(self.offset_bytes, &what)
        })?;
        self.unseen = 0;
        if self.starts.is_empty() {
            self.end();
        }
        Ok(())
    }

    /// Notes where the rows of the block are, up to the last that is wanted.
    fn look_through(&mut self) -> Result<(), String> {
        let (all, seed) = (self.unseen as usize, self.blocks.table.hash_seed());
        let mut rest = &self.raw[..];
        self.starts.reserve(all);
        self.hashes.reserve(all);
        for _ in 0..all {
            let (version, after) = Version::split_first(rest).map_err(|error| error.to_string())?;
            let hash = entity_hash(version.key, seed);
            if hash > self.last_hash {
                self.blocks.finish();
                return Ok(());
            }
            if self.hashes.last().is_some_and(|last| *last > hash) {
                return Err("a row sorts before the one that it follows".to_owned());
            }
            // A block has at most 64 MiB of them.
            self.starts.push((self.raw.len() - rest.len()) as u32);
            self.hashes.push(hash);
            rest = after;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err("more bytes follow the rows of the block".to_owned())
    }

    /// Behind the last row; the memory is given back.
    fn end(&mut self) {
        self.blocks.finish();
        (self.raw, self.starts, self.hashes, self.at) = (Vec::new(), Vec::new(), Vec::new(), 0);
    }
}
