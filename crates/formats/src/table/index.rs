//! The index of a table: first hash and page of every block, and the views that they belong to.

use std::ops::{Range, RangeInclusive};

use super::TableKind;
use super::block::MAX_BLOCK_PAGES;
use super::error::{TableError, impossible};
use super::footer::TableFooter;
use super::page::exactly;
use super::sizes::{BLOCK_ENTRY_BYTES, PAGE_BYTES, VIEW_ENTRY_BYTES, padded};
use crate::bytes_at::{u32_at, u64_at};
use crate::catalogue::ViewId;

const INDEX: &str = "table index";

/// The blocks of one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewBlocks {
    /// The view.
    pub view: ViewId,
    /// Its first block.
    pub first_block: u32,
    /// How many it has, at least one.
    pub blocks: u32,
    /// Versions in them.
    pub rows: u64,
}

/// Where every block begins: in the file, and in the order of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableIndex {
    views: Vec<ViewBlocks>,
    first_hashes: Vec<u64>,
    /// First page of each block, and of what follows the last.
    pages: Vec<u32>,
}

impl TableIndex {
    /// An index without blocks, to push to.
    pub fn new() -> Self {
        Self { views: Vec::new(), first_hashes: Vec::new(), pages: vec![1] }
    }

    /// Adds a block of `view`, at the end of the ones before.
    pub fn push(&mut self, view: ViewId, first_hash: u64, rows: u32, pages: u16) {
        let block = self.first_hashes.len() as u32;
        if self.views.last().is_none_or(|last| last.view != view) {
            self.views.push(ViewBlocks { view, first_block: block, blocks: 0, rows: 0 });
        }
        if let Some(last) = self.views.last_mut() {
            last.blocks += 1;
            last.rows += u64::from(rows);
        }
        self.first_hashes.push(first_hash);
        let end = self.pages.last().copied().unwrap_or(1);
        self.pages.push(end.saturating_add(u32::from(pages)));
    }

    /// Blocks.
    pub fn blocks(&self) -> u32 {
        self.first_hashes.len() as u32
    }

    /// The views, ascending.
    pub fn views(&self) -> &[ViewBlocks] {
        &self.views
    }

    /// Bytes that it takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.views.len() as u64 * size_of::<ViewBlocks>() as u64
            + self.blocks() as u64 * BLOCK_ENTRY_BYTES as u64
    }

    /// Where blocks lie in the file, in bytes; empty when they are not blocks of the table.
    pub fn place(&self, blocks: Range<u32>) -> Range<u64> {
        let page = |block: u32| self.pages.get(block as usize).copied();
        match (page(blocks.start), page(blocks.end)) {
            (Some(start), Some(end)) => {
                u64::from(start) * PAGE_BYTES as u64..u64::from(end) * PAGE_BYTES as u64
            }
            _ => 0..0,
        }
    }

    /// Hash of the first entity in a block.
    pub fn first_hash(&self, block: u32) -> Option<u64> {
        self.first_hashes.get(block as usize).copied()
    }

    /// The view that a block belongs to.
    pub fn view_of(&self, block: u32) -> Option<ViewId> {
        let end = self.views.partition_point(|entry| entry.first_block <= block);
        let entry = end.checked_sub(1).and_then(|at| self.views.get(at))?;
        (block - entry.first_block < entry.blocks).then_some(entry.view)
    }

    /// The block that begins at `offset_bytes`.
    pub fn block_at(&self, offset_bytes: u64) -> Option<u32> {
        let page = u32::try_from(offset_bytes / PAGE_BYTES as u64).ok()?;
        let block = self.pages.binary_search(&page).ok()? as u32;
        (block < self.blocks() && offset_bytes.is_multiple_of(PAGE_BYTES as u64)).then_some(block)
    }

    /// The blocks that may hold an entity: one in a table of latest versions, in a history as many
    /// as its versions may lie in.
    pub fn locate(&self, kind: TableKind, view: ViewId, entity_hash: u64) -> Option<Range<u32>> {
        let blocks = self.within(kind, view, &(entity_hash..=entity_hash))?;
        let is_before_all = self.first_hash(blocks.start).is_some_and(|first| first > entity_hash);
        (!is_before_all && !blocks.is_empty()).then_some(blocks)
    }

    /// The blocks that may hold a view's entities of these hashes, perhaps none; `None` where the table
    /// has no row of the view.
    pub fn within(
        &self,
        kind: TableKind,
        view: ViewId,
        hashes: &RangeInclusive<u64>,
    ) -> Option<Range<u32>> {
        let at = self.views.binary_search_by_key(&view, |entry| entry.view).ok()?;
        let entry = self.views.get(at)?;
        let first = entry.first_block as usize;
        let first_hashes = self.first_hashes.get(first..first + entry.blocks as usize)?;
        let end = first_hashes.partition_point(|hash| hash <= hashes.end());
        let behind = match kind {
            TableKind::Latest => first_hashes.partition_point(|hash| hash <= hashes.start()),
            // Versions of it may begin in the block before the first that begins with it.
            TableKind::History => first_hashes.partition_point(|hash| hash < hashes.start()),
        };
        let start = behind.saturating_sub(1).min(end);
        Some(entry.first_block + start as u32..entry.first_block + end as u32)
    }

    /// Its bytes, padded to whole pages.
    pub fn to_bytes(&self) -> Vec<u8> {
        let used = TableFooter::index_bytes(self.views.len() as u32, self.blocks());
        let mut bytes = Vec::with_capacity(padded(used) as usize);
        for entry in &self.views {
            bytes.extend_from_slice(&entry.view.0.to_le_bytes());
            bytes.extend_from_slice(&entry.first_block.to_le_bytes());
            bytes.extend_from_slice(&entry.blocks.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&entry.rows.to_le_bytes());
        }
        for (hash, page) in self.first_hashes.iter().zip(&self.pages) {
            bytes.extend_from_slice(&hash.to_le_bytes());
            bytes.extend_from_slice(&page.to_le_bytes());
        }
        bytes.resize(padded(used) as usize, 0);
        bytes
    }

    /// Verifies and reads the whole pages of an index, as `footer` describes it.
    ///
    /// # Errors
    /// They are not what was written, or contradict the footer.
    pub fn parse(bytes: &[u8], footer: &TableFooter) -> Result<Self, TableError> {
        exactly(INDEX, bytes, padded(footer.index.bytes))?;
        if footer.id.checksum(bytes, footer.index.offset_bytes) != footer.index.checksum {
            return Err(TableError::Checksum(INDEX));
        }
        let views_bytes = footer.views as usize * VIEW_ENTRY_BYTES;
        let Some((views, rest)) = bytes.split_at_checked(views_bytes) else {
            return Err(impossible(INDEX, "length", 0));
        };
        let Some(blocks) = rest.get(..footer.blocks as usize * BLOCK_ENTRY_BYTES) else {
            return Err(impossible(INDEX, "length", 0));
        };
        let blocks = blocks.chunks_exact(BLOCK_ENTRY_BYTES);
        let end_page = (footer.index.offset_bytes / PAGE_BYTES as u64) as u32;
        let index = Self {
            views: views.chunks_exact(VIEW_ENTRY_BYTES).map(read_view).collect(),
            first_hashes: blocks.clone().map(|entry| u64_at(entry, 0)).collect(),
            pages: blocks.map(|entry| u32_at(entry, 8)).chain([end_page]).collect(),
        };
        index.check_views(footer)?;
        index.check_blocks(footer.id.kind, views_bytes)?;
        match index.to_bytes() == bytes {
            true => Ok(index),
            false => Err(impossible(INDEX, "reserved space", 12)),
        }
    }

    fn check_views(&self, footer: &TableFooter) -> Result<(), TableError> {
        let (mut block, mut rows, mut before) = (0_u32, 0_u64, None);
        for (number, entry) in self.views.iter().enumerate() {
            let wrong = |field| impossible(INDEX, field, number * VIEW_ENTRY_BYTES);
            if before.is_some_and(|before| before >= entry.view) {
                return Err(wrong("order of views"));
            }
            if entry.first_block != block || entry.blocks == 0 {
                return Err(wrong("range of blocks"));
            }
            before = Some(entry.view);
            block = block.checked_add(entry.blocks).ok_or(wrong("range of blocks"))?;
            rows = rows.checked_add(entry.rows).ok_or(wrong("number of rows"))?;
        }
        if block != footer.blocks || rows != footer.rows {
            return Err(impossible(INDEX, "sum over the views", 0));
        }
        Ok(())
    }

    fn check_blocks(&self, kind: TableKind, start: usize) -> Result<(), TableError> {
        let wrong =
            |field, block: usize| Err(impossible(INDEX, field, start + block * BLOCK_ENTRY_BYTES));
        if self.pages.first() != Some(&1) {
            return wrong("first page", 0);
        }
        for (block, two) in self.pages.windows(2).enumerate() {
            if two[0] >= two[1] || two[1] - two[0] > u32::from(MAX_BLOCK_PAGES) {
                return wrong("order of pages", block);
            }
        }
        for entry in &self.views {
            let first = entry.first_block as usize;
            let hashes = &self.first_hashes[first..first + entry.blocks as usize];
            let is_ordered = match kind {
                TableKind::Latest => hashes.is_sorted_by(|one, next| one < next),
                TableKind::History => hashes.is_sorted(),
            };
            if !is_ordered {
                return wrong("order of hashes", first);
            }
        }
        Ok(())
    }
}

fn read_view(entry: &[u8]) -> ViewBlocks {
    ViewBlocks {
        view: ViewId(u32_at(entry, 0)),
        first_block: u32_at(entry, 4),
        blocks: u32_at(entry, 8),
        rows: u64_at(entry, 16),
    }
}
