//! The last page of a table: where its sections lie, what they sum to, what it holds.

use super::TableRef;
use super::error::{TableError, impossible};
use super::id::{CHECKSUM_AT, TableId, seal_page};
use super::page::put;
use super::sizes::{BLOCK_ENTRY_BYTES, FILTER_PART_BYTES, PAGE_BYTES, VIEW_ENTRY_BYTES, padded};
use crate::bytes_at::{u32_at, u64_at};

const FOOTER_MAGIC: [u8; 8] = *b"THRMTEND";
const FOOTER: &str = "table footer";
const USED_BYTES: usize = 160;

/// Where a section lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Offset in the file, a multiple of [`PAGE_BYTES`].
    pub offset_bytes: u64,
    /// Bytes used; zeroes follow to the end of the page.
    pub bytes: u64,
    /// Checksum of its whole pages, keyed by their place.
    pub checksum: u64,
}

impl Section {
    /// Offset of what follows it.
    pub const fn end_bytes(&self) -> u64 {
        self.offset_bytes.saturating_add(padded(self.bytes))
    }
}

/// What the last page of a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFooter {
    /// As in the header.
    pub id: TableId,
    /// Data blocks; they fill the pages between the header and the index.
    pub blocks: u32,
    /// Feature views that have rows here.
    pub views: u32,
    /// Parts of the filter.
    pub filter_parts: u32,
    /// First hashes and pages of the blocks, and which views they belong to.
    pub index: Section,
    /// Fingerprints of the rows.
    pub filter: Section,
    /// Versions, tombstones included.
    pub rows: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Distinct pairs of view and entity hash.
    pub entities: u64,
    /// Smallest event time.
    pub min_event_time: i64,
    /// Greatest event time.
    pub max_event_time: i64,
}

impl TableFooter {
    /// Length of the file.
    pub const fn file_bytes(&self) -> u64 {
        self.filter.end_bytes().saturating_add(PAGE_BYTES as u64)
    }

    /// Bytes of an index of so many views and blocks.
    pub const fn index_bytes(views: u32, blocks: u32) -> u64 {
        views as u64 * VIEW_ENTRY_BYTES as u64 + blocks as u64 * BLOCK_ENTRY_BYTES as u64
    }

    /// The last page, and the table's name for the manifest.
    pub fn to_page(&self) -> ([u8; PAGE_BYTES], TableRef) {
        let mut page = [0; PAGE_BYTES];
        self.id.write(&mut page, FOOTER_MAGIC);
        put(&mut page, 56, &self.blocks.to_le_bytes());
        put(&mut page, 60, &self.views.to_le_bytes());
        put(&mut page, 64, &self.filter_parts.to_le_bytes());
        for (at, section) in [(72, &self.index), (96, &self.filter)] {
            put(&mut page, at, &section.offset_bytes.to_le_bytes());
            put(&mut page, at + 8, &section.bytes.to_le_bytes());
            put(&mut page, at + 16, &section.checksum.to_le_bytes());
        }
        for (at, count) in [(120, self.rows), (128, self.tombstones), (136, self.entities)] {
            put(&mut page, at, &count.to_le_bytes());
        }
        put(&mut page, 144, &self.min_event_time.to_le_bytes());
        put(&mut page, 152, &self.max_event_time.to_le_bytes());
        let checksum = seal_page(&mut page);
        (page, self.named(checksum))
    }

    /// Verifies and reads the last page of a file of `file_bytes`.
    ///
    /// # Errors
    /// It is none, of a later version, damaged, or contradicts itself or the length of the file.
    pub fn parse(page: &[u8], file_bytes: u64) -> Result<(Self, TableRef), TableError> {
        let id = TableId::read(page, FOOTER, FOOTER_MAGIC)?;
        let section = |at: usize| Section {
            offset_bytes: u64_at(page, at),
            bytes: u64_at(page, at + 8),
            checksum: u64_at(page, at + 16),
        };
        let footer = Self {
            id,
            blocks: u32_at(page, 56),
            views: u32_at(page, 60),
            filter_parts: u32_at(page, 64),
            index: section(72),
            filter: section(96),
            rows: u64_at(page, 120),
            tombstones: u64_at(page, 128),
            entities: u64_at(page, 136),
            min_event_time: u64_at(page, 144) as i64,
            max_event_time: u64_at(page, 152) as i64,
        };
        let reserved = page[68..72].iter().chain(&page[USED_BYTES..CHECKSUM_AT]);
        if reserved.into_iter().any(|&byte| byte != 0) {
            return Err(impossible(FOOTER, "reserved space", 68));
        }
        footer.check(file_bytes)?;
        Ok((footer, footer.named(u64_at(page, CHECKSUM_AT))))
    }

    const fn named(&self, checksum: u64) -> TableRef {
        TableRef {
            file_id: self.id.file_id,
            kind: self.id.kind,
            bytes: self.file_bytes(),
            rows: self.rows,
            tombstones: self.tombstones,
            min_event_time: self.min_event_time,
            max_event_time: self.max_event_time,
            checksum,
        }
    }

    fn check(&self, file_bytes: u64) -> Result<(), TableError> {
        let wrong = |field, at| Err(impossible(FOOTER, field, at));
        let page = PAGE_BYTES as u64;
        let (index, filter) = (&self.index, &self.filter);
        // By differences from the length of the file, so that nothing overflows.
        let before_index = index.offset_bytes.saturating_sub(page);
        if before_index / page < u64::from(self.blocks) || !before_index.is_multiple_of(page) {
            return wrong("place of the index", 72);
        }
        if self.blocks == 0 || index.offset_bytes / page > u64::from(u32::MAX) {
            return wrong("number of blocks", 56);
        }
        if self.views == 0 || self.views > self.blocks {
            return wrong("number of views", 60);
        }
        if index.bytes != Self::index_bytes(self.views, self.blocks) {
            return wrong("length of the index", 80);
        }
        if filter.offset_bytes != index.end_bytes() {
            return wrong("place of the filter", 96);
        }
        let fits = filter.bytes <= file_bytes && filter.bytes.is_multiple_of(8);
        if !fits || filter.bytes < u64::from(self.filter_parts) * FILTER_PART_BYTES as u64 {
            return wrong("length of the filter", 104);
        }
        if self.filter_parts == 0 {
            return wrong("number of filter parts", 64);
        }
        if self.file_bytes() != file_bytes {
            let part = "table file";
            return Err(TableError::Length { part, needed: self.file_bytes(), found: file_bytes });
        }
        self.check_counts()
    }

    fn check_counts(&self) -> Result<(), TableError> {
        let wrong = |field, at| Err(impossible(FOOTER, field, at));
        if self.rows < u64::from(self.blocks) {
            return wrong("number of rows", 120);
        }
        if self.tombstones > self.rows {
            return wrong("number of tombstones", 128);
        }
        if self.entities == 0 || self.entities > self.rows {
            return wrong("number of entities", 136);
        }
        if self.min_event_time > self.max_event_time {
            return wrong("range of event times", 144);
        }
        Ok(())
    }
}
