//! An open table: header, index, filter and footer verified and in memory.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, OpenHow};
use thermae_formats::ViewId;
use thermae_formats::table::{
    PAGE_BYTES, Section, TableError, TableFilter, TableFooter, TableId, TableIndex, TableRef,
    padded,
};

use super::path::table_path;
use crate::error::WarmError;

const PAGE: u64 = PAGE_BYTES as u64;

/// Where a block lies in its file; in a history, where several that follow each other lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, a multiple of 4096.
    pub offset_bytes: u64,
    /// Length, a multiple of 4096.
    pub bytes: u64,
}

/// A table that can be looked up and scanned. Its data blocks are verified when they are read.
#[derive(Debug)]
pub struct Table<F> {
    about: TableRef,
    path: PathBuf,
    file: F,
    pub(super) id: TableId,
    pub(super) entities: u64,
    pub(super) index: TableIndex,
    filter: TableFilter,
}

impl<F: File> Table<F> {
    /// Opens the table that the manifest names `what`.
    ///
    /// # Errors
    /// The file is missing, of a later version, damaged, or another one.
    pub fn open<E: Env<File = F>>(
        env: &E,
        warm_dir: &Path,
        store_id: &[u8; 16],
        what: &TableRef,
    ) -> Result<Self, WarmError> {
        let path = table_path(warm_dir, what.file_id);
        let file = env.open(&path, OpenHow::READ.direct());
        let file = file.map_err(|source| WarmError::io("open", &path, 0, source))?;
        Self::of_file(file, path, store_id, what)
    }

    /// The table in an open file, which may be a copy of another name.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_file(
        file: F,
        path: PathBuf,
        store_id: &[u8; 16],
        what: &TableRef,
    ) -> Result<Self, WarmError> {
        let file_bytes = file.len_bytes();
        let file_bytes = file_bytes.map_err(|source| WarmError::io("measure", &path, 0, source))?;
        let read = |offset_bytes, bytes| read_pages(&file, &path, offset_bytes, bytes);
        let format =
            |offset_bytes, error: TableError| WarmError::format(&path, offset_bytes, &error);
        // The header first: it alone tells a later version in any file.
        let header = read(0, PAGE)?;
        let id = TableId::parse_header(&header).map_err(|error| format(0, error))?;
        check_id(&path, &id, store_id, what)?;
        if file_bytes != what.bytes || file_bytes < 4 * PAGE || !file_bytes.is_multiple_of(PAGE) {
            let (part, needed, found) = ("table file", what.bytes, file_bytes);
            let at = file_bytes.min(what.bytes);
            return Err(format(at, TableError::Length { part, needed, found }));
        }
        let footer_at = file_bytes - PAGE;
        let parsed = TableFooter::parse(&read(footer_at, PAGE)?, file_bytes);
        let (footer, found) = parsed.map_err(|error| format(footer_at, error))?;
        if found != *what || footer.id != id {
            let what = "the footer is not that of the table that the manifest names";
            return Err(WarmError::damaged(&path, footer_at, &what));
        }
        let section = |section: &Section| read(section.offset_bytes, padded(section.bytes));
        let index = TableIndex::parse(&section(&footer.index)?, &footer)
            .map_err(|error| format(footer.index.offset_bytes, error))?;
        let filter = TableFilter::parse(&section(&footer.filter)?, &footer)
            .map_err(|error| format(footer.filter.offset_bytes, error))?;
        let entities = footer.entities;
        Ok(Self { about: *what, path, file, id, entities, index, filter })
    }

    /// What the manifest says of it.
    pub const fn about(&self) -> &TableRef {
        &self.about
    }

    /// Whether stubs may be among its rows.
    pub const fn may_hold_stubs(&self) -> bool {
        self.id.may_hold_stubs
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its file, opened for direct reads.
    pub const fn file(&self) -> &F {
        &self.file
    }

    /// Seed of the entity hash that its rows are sorted by.
    pub const fn hash_seed(&self) -> u64 {
        self.id.hash_seed
    }

    /// Data blocks.
    pub fn blocks(&self) -> u32 {
        self.index.blocks()
    }

    /// Bytes of index and filter in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.index.memory_bytes() + self.filter.memory_bytes()
    }

    /// Bytes of the filter in memory.
    pub fn filter_bytes(&self) -> u64 {
        self.filter.memory_bytes()
    }

    /// The filter that [`Self::may_hold`] asks.
    pub const fn filter(&self) -> &TableFilter {
        &self.filter
    }

    /// Whether it may hold a row of this view and entity hash. False is certain; true is wrong for
    /// about one of 256 that it does not hold.
    pub fn may_hold(&self, view: ViewId, entity_hash: u64) -> bool {
        self.filter.may_hold(view, entity_hash)
    }

    /// The one block that holds the rows of this view and entity hash, if there are any; in a
    /// history, the blocks.
    pub fn locate(&self, view: ViewId, entity_hash: u64) -> Option<Extent> {
        let blocks = self.index.locate(self.about.kind, view, entity_hash)?;
        Some(self.extent(blocks))
    }

    pub(super) fn extent(&self, blocks: Range<u32>) -> Extent {
        let place = self.index.place(blocks);
        Extent { offset_bytes: place.start, bytes: place.end - place.start }
    }

    /// What a read of this table that the system refused comes to.
    pub fn read_failed(&self, source: io::Error) -> WarmError {
        WarmError::io("read", &self.path, 0, source)
    }

    pub(crate) fn read(&self, extent: Extent) -> Result<AlignedBuf, WarmError> {
        read_pages(&self.file, &self.path, extent.offset_bytes, extent.bytes)
    }

    /// The same, out of a handle of its file, from `offset_bytes` on, as many bytes as there are in `pages`.
    pub(super) fn read_into(
        &self,
        file: &F,
        offset_bytes: u64,
        pages: &mut AlignedBuf,
    ) -> Result<(), WarmError> {
        fill_pages(file, &self.path, offset_bytes, pages)
    }

    pub(super) fn damaged(&self, offset_bytes: u64, what: &impl ToString) -> WarmError {
        WarmError::damaged(&self.path, offset_bytes, what)
    }
}

fn check_id(
    path: &Path,
    id: &TableId,
    store_id: &[u8; 16],
    what: &TableRef,
) -> Result<(), WarmError> {
    let wrong = if id.store_id != *store_id {
        "the table belongs to another store"
    } else if id.file_id != what.file_id {
        "the table has another number than its name"
    } else if id.kind != what.kind {
        "the table is of another kind than the manifest says"
    } else {
        return Ok(());
    };
    Err(WarmError::damaged(path, 0, &wrong))
}

fn read_pages<F: File>(
    file: &F,
    path: &Path,
    offset_bytes: u64,
    bytes: u64,
) -> Result<AlignedBuf, WarmError> {
    let mut pages = AlignedBuf::zeroed(bytes as usize);
    fill_pages(file, path, offset_bytes, &mut pages)?;
    Ok(pages)
}

fn fill_pages<F: File>(
    file: &F,
    path: &Path,
    offset_bytes: u64,
    pages: &mut AlignedBuf,
) -> Result<(), WarmError> {
    let read = file.read_at(pages, offset_bytes);
    let read = read.map_err(|source| WarmError::io("read", path, 0, source))?;
    if read < pages.len() {
        let what = format!("the file ends {} bytes too early", pages.len() - read);
        return Err(WarmError::damaged(path, offset_bytes + read as u64, &what));
    }
    Ok(())
}
