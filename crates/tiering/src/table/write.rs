//! Writes a table from the front to the back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, OpenHow};
use thermae_formats::ViewId;
use thermae_formats::table::{
    Section, TableFooter, TableId, TableIndex, TableKind, TableRef, encode_filter, seal_block,
};
use thermae_formats::version::Version;

use super::filter::FilterBuilder;
use super::order::RowOrder;
use super::pack::{Packer, Packing};
use super::path::{table_path, temporary_path};
use crate::buffers::Buffers;
use crate::error::WarmError;

/// Bytes of a write, unless the caller says otherwise.
const WRITE_BYTES: usize = 1 << 20;
/// Pages are numbered in 32 bits; some are left for index and filter.
const MOST_BYTES: u64 = (1 << 44) - (1 << 36);

/// Which table to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Store that it belongs to.
    pub store_id: [u8; 16],
    /// Its number, and its file name.
    pub file_id: u64,
    /// What it will hold.
    pub kind: TableKind,
    /// Seed of the entity hash that its rows are sorted by.
    pub hash_seed: u64,
    /// Whether stubs may be among its rows.
    pub may_hold_stubs: bool,
}

/// Streams a table into `ID.tbl.tmp`. Dropped before it is finished, it removes that file.
pub struct TableWriter<E: Env> {
    env: E,
    id: TableId,
    warm_dir: PathBuf,
    temporary: PathBuf,
    file: E::File,
    is_finished: bool,
    /// Bytes in the file; those of `out` follow.
    written_bytes: u64,
    out: AlignedBuf,
    write_bytes: usize,
    packer: Packer,
    index: TableIndex,
    filter: FilterBuilder,
    order: RowOrder,
    counts: Counts,
}

struct Counts {
    rows: u64,
    tombstones: u64,
    min_event_time: i64,
    max_event_time: i64,
}

impl<E: Env> TableWriter<E> {
    /// Begins a table in `warm_dir`. A file of the same number that was left behind unfinished is
    /// replaced.
    ///
    /// # Errors
    /// The file cannot be made, or the table exists.
    pub fn create(env: &E, warm_dir: &Path, spec: TableSpec) -> Result<Self, WarmError> {
        Self::create_with(env, warm_dir, spec, Packing::default())
    }

    /// As [`Self::create`], with blocks made otherwise.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_with(
        env: &E,
        warm_dir: &Path,
        spec: TableSpec,
        packing: Packing,
    ) -> Result<Self, WarmError> {
        let TableSpec { store_id, file_id, kind, hash_seed, may_hold_stubs } = spec;
        let path = table_path(warm_dir, file_id);
        let temporary = temporary_path(warm_dir, file_id);
        let failed = |what, source| WarmError::io(what, &temporary, 0, source);
        if env.exists(&path).map_err(|source| failed("look for", source))? {
            let source = ErrorKind::AlreadyExists.into();
            return Err(WarmError::Io { what: "create", path, source });
        }
        let packer = Packer::new(packing).map_err(|source| failed("compress", source))?;
        let how = OpenHow::CREATE.direct();
        let file = match env.open(&temporary, how) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                env.remove(&temporary).and_then(|()| env.open(&temporary, how))
            }
            opened => opened,
        };
        let file = file.map_err(|source| failed("create", source))?;
        let salt = env.random_u64();
        let id = TableId { kind, store_id, file_id, salt, hash_seed, may_hold_stubs };
        let mut out = AlignedBuf::new();
        out.extend_from_slice(&id.header_page());
        Ok(Self {
            env: env.clone(),
            id,
            warm_dir: warm_dir.to_owned(),
            temporary,
            file,
            is_finished: false,
            written_bytes: 0,
            out,
            write_bytes: WRITE_BYTES,
            packer,
            index: TableIndex::new(),
            filter: FilterBuilder::new(),
            order: RowOrder::new(kind),
            counts: Counts {
                rows: 0,
                tombstones: 0,
                min_event_time: i64::MAX,
                max_event_time: i64::MIN,
            },
        })
    }

    /// The same, with buffers of other sizes than the usual. Before the first row.
    #[must_use]
    pub fn with_buffers(mut self, buffers: &Buffers) -> Self {
        self.write_bytes = buffers.write_bytes;
        let mut out = AlignedBuf::with_capacity(self.write_bytes + (self.write_bytes >> 2));
        out.extend_from_slice(&self.out);
        self.out = out;
        self.filter = FilterBuilder::with_parts_of(buffers.filter_hashes);
        self
    }

    /// Adds a row: ascending by (view, entity hash, key), and the versions of a key from the newest
    /// to the oldest, of which a table of latest versions takes one. After an error the table
    /// cannot be finished.
    ///
    /// # Errors
    /// The row does not follow the one before, or the disk refuses.
    pub fn add(
        &mut self,
        view: ViewId,
        entity_hash: u64,
        version: &Version<'_>,
    ) -> Result<(), WarmError> {
        self.order.check(view, entity_hash, version).map_err(|what| self.refused(what))?;
        if version.is_stub() && !self.id.may_hold_stubs {
            return Err(self.refused("a stub in a table that is to have none"));
        }
        let joins = self.id.kind == TableKind::Latest && self.order.is_same(view, entity_hash);
        match self.order.last_view() {
            Some(last) if last != view => self.pack_rest()?,
            _ if !joins => {
                while self.packer.is_ready() {
                    self.pack_block()?;
                }
            }
            _ => {}
        }
        if !self.packer.push(entity_hash, joins, version) {
            return Err(self.refused("rows of one hash are larger than a block may be"));
        }
        self.filter.push(view, entity_hash);
        self.remember(view, entity_hash, version);
        Ok(())
    }

    /// Rows added so far.
    pub const fn rows(&self) -> u64 {
        self.counts.rows
    }

    /// Bytes of the file so far.
    pub const fn bytes(&self) -> u64 {
        self.written_bytes + self.out.len() as u64
    }

    /// Writes what is left, makes the file durable and gives it its name.
    ///
    /// # Errors
    /// There is no row, or the disk refuses; then no file is left.
    pub fn finish(mut self) -> Result<TableRef, WarmError> {
        self.pack_rest()?;
        if self.counts.rows == 0 {
            return Err(self.refused("there is none: a table has at least one"));
        }
        let about = self.write_end()?;
        let temporary = self.temporary.clone();
        let failed = |what, source| WarmError::io(what, &temporary, 0, source);
        self.file.sync_data().map_err(|source| failed("sync", source))?;
        let path = table_path(&self.warm_dir, self.id.file_id);
        self.env.rename(&self.temporary, &path).map_err(|source| failed("rename", source))?;
        self.is_finished = true;
        if let Err(source) = self.env.sync_dir(&self.warm_dir) {
            // Nobody will name the file: best that it goes.
            let _ = self.env.remove(&path);
            return Err(WarmError::io("sync", &self.warm_dir, 0, source));
        }
        Ok(about)
    }

    /// Removes what was written.
    pub fn abandon(self) {
        drop(self);
    }

    fn refused(&self, what: &'static str) -> WarmError {
        WarmError::Order { path: self.temporary.clone(), what }
    }

    fn remember(&mut self, view: ViewId, hash: u64, version: &Version<'_>) {
        self.order.follow(view, hash, version);
        let counts = &mut self.counts;
        counts.rows += 1;
        counts.tombstones += u64::from(version.is_tombstone());
        counts.min_event_time = counts.min_event_time.min(version.event_time);
        counts.max_event_time = counts.max_event_time.max(version.event_time);
    }

    fn pack_rest(&mut self) -> Result<(), WarmError> {
        while !self.packer.is_empty() {
            self.pack_block()?;
        }
        Ok(())
    }

    fn pack_block(&mut self) -> Result<(), WarmError> {
        let Some(view) = self.order.last_view() else { return Ok(()) };
        let (start, offset_bytes) = (self.out.len(), self.bytes());
        if offset_bytes > MOST_BYTES {
            return Err(self.refused("the table is as large as one may be"));
        }
        let packed = self.packer.pack(&mut self.out);
        seal_block(&mut self.out[start..], &packed.header, &self.id, offset_bytes);
        self.index.push(view, packed.first_hash, packed.header.rows, packed.header.pages);
        if self.out.len() >= self.write_bytes { self.write_out() } else { Ok(()) }
    }

    /// Appends a section, a buffer at a time; returns where it lies.
    fn section(&mut self, pages: &[u8], used_bytes: u64) -> Result<Section, WarmError> {
        let offset_bytes = self.bytes();
        let checksum = self.id.checksum(pages, offset_bytes);
        for piece in pages.chunks(self.write_bytes) {
            self.out.extend_from_slice(piece);
            if self.out.len() >= self.write_bytes {
                self.write_out()?;
            }
        }
        Ok(Section { offset_bytes, bytes: used_bytes, checksum })
    }

    fn write_end(&mut self) -> Result<TableRef, WarmError> {
        let (views, blocks) = (self.index.views().len() as u32, self.index.blocks());
        let index = self.index.to_bytes();
        let index = self.section(&index, TableFooter::index_bytes(views, blocks))?;
        let (parts, entities) = std::mem::replace(&mut self.filter, FilterBuilder::new()).finish();
        let filter_parts = parts.len() as u32;
        let (filter, used_bytes) = encode_filter(&parts);
        drop(parts);
        let filter = self.section(&filter, used_bytes)?;
        let footer = TableFooter {
            id: self.id,
            blocks,
            views,
            filter_parts,
            index,
            filter,
            rows: self.counts.rows,
            tombstones: self.counts.tombstones,
            entities,
            min_event_time: self.counts.min_event_time,
            max_event_time: self.counts.max_event_time,
        };
        let (page, about) = footer.to_page();
        self.out.extend_from_slice(&page);
        self.write_out()?;
        Ok(about)
    }

    fn write_out(&mut self) -> Result<(), WarmError> {
        let bytes = self.out.len() as u64;
        let written = self.file.write_all_at(&self.out, self.written_bytes);
        written.map_err(|source| WarmError::io("write", &self.temporary, bytes, source))?;
        self.written_bytes += bytes;
        self.out.clear();
        Ok(())
    }
}

impl<E: Env> Drop for TableWriter<E> {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed at the next open: no manifest names it.
            let _ = self.env.remove(&self.temporary);
        }
    }
}
