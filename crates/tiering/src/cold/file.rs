//! A file as its reader knows it: the verified tail, kept, and what it tells about where rows are.

use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::bloom_filter::Sbbf;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use thermae_formats::{KeyType, split_key};
use xxhash_rust::xxh3::xxh3_64;

use super::checked::CHUNK_BYTES;
use super::columns::SYSTEM;
use super::fetch::{Parts, cut, fetch};
use super::footer::{chunk_bytes, group_starts, read_footer};
use super::format::FENCE_ROWS;
use super::meta::{FileMeta, Store};
use super::objects::Objects;
use super::{ColdError, Columns, FileRef};

/// An open file.
pub struct ColdFile {
    object: String,
    file: FileRef,
    store: Store,
    columns: Arc<Columns>,
    meta: FileMeta,
    footer: ArrowReaderMetadata,
    tail: Parts,
    /// First row of each row group, and the rows of all.
    group_starts: Vec<u64>,
}

impl ColdFile {
    /// Reads and verifies the tail of the object at `object`, which the log lists as `file`.
    ///
    /// # Errors
    /// The object store fails; the tail is not what the log says, or its parts contradict each other; or it is of
    /// another store, schema or format version.
    pub fn open(
        objects: &dyn Objects,
        object: &str,
        file: &FileRef,
        store: Store,
        columns: &Arc<Columns>,
    ) -> Result<Self, ColdError> {
        let begin = file.bytes.checked_sub(file.tail_bytes);
        let begin = begin.ok_or_else(|| ColdError::damaged(object, 0, "the tail is too long"))?;
        let bytes = objects
            .get_range(object, begin..file.bytes)
            .map_err(|error| ColdError::objects("read", object, error))?;
        if bytes.len() as u64 != file.tail_bytes {
            return Err(cut(object, begin, &bytes, file.tail_bytes));
        }
        if xxh3_64(&bytes) != file.tail_checksum {
            return Err(ColdError::damaged(object, begin, "the tail's checksum does not match"));
        }
        let tail = Parts::new(file.bytes, vec![(begin, bytes)]);
        Self::read_tail(object, file, store, columns, tail)
    }

    /// Reads a tail that was verified.
    fn read_tail(
        object: &str,
        file: &FileRef,
        store: Store,
        columns: &Arc<Columns>,
        tail: Parts,
    ) -> Result<Self, ColdError> {
        let begin = file.bytes - file.tail_bytes;
        let damaged = |what: String| ColdError::damaged(object, begin, what);
        let footer = read_footer(&tail, begin).map_err(damaged)?;
        let pairs = footer.file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let meta = FileMeta::from_pairs(object, &pairs, &store, columns)?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let footer = ArrowReaderMetadata::try_new(Arc::new(footer), options)
            .map_err(|error| damaged(error.to_string()))?;
        if footer.schema().fields() != columns.arrow().fields() {
            return Err(damaged("its columns are not those of its schema".to_owned()));
        }
        let group_starts = group_starts(footer.metadata())
            .filter(|starts| starts.last() == Some(&file.rows))
            .ok_or_else(|| damaged("its row groups do not have the file's rows".to_owned()))?;
        if meta.fences.len() as u64 != file.rows.div_ceil(FENCE_ROWS as u64)
            || meta.checksums.len() as u64 != begin.div_ceil(CHUNK_BYTES)
            || meta.day != file.day
        {
            return Err(damaged("its metadata contradict each other".to_owned()));
        }
        let (object, file, columns) = (object.to_owned(), file.clone(), Arc::clone(columns));
        Ok(Self { object, file, store, columns, meta, footer, tail, group_starts })
    }

    /// What the log says of it.
    pub fn file(&self) -> &FileRef {
        &self.file
    }

    /// Its columns.
    pub fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// The object that it is.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Bytes of memory that it takes, about: those of its tail, twice.
    pub fn memory_bytes(&self) -> usize {
        2 * self.tail.held_bytes()
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn footer(&self) -> &ArrowReaderMetadata {
        &self.footer
    }

    /// Rows of the row group that holds `row`, and its number.
    pub(super) fn group_of(&self, row: u64) -> Option<(usize, Range<u64>)> {
        let group = self.group_starts.partition_point(|start| *start <= row).checked_sub(1)?;
        let end = *self.group_starts.get(group + 1)?;
        Some((group, self.group_starts[group]..end))
    }

    /// First row that may have this entity hash: every row before it has a lesser one.
    pub(super) fn first_row_of(&self, entity_hash: u64) -> u64 {
        let fence = self.meta.fences.partition_point(|fence| *fence < entity_hash);
        fence.saturating_sub(1) as u64 * FENCE_ROWS as u64
    }

    /// Whether the file may hold rows of a key, by its range of hashes and its bloom filters. No is certain.
    ///
    /// # Errors
    /// A filter does not read.
    pub fn may_hold(&self, entity_hash: u64, key: &[u8]) -> Result<bool, ColdError> {
        self.may_hold_any(&[(entity_hash, key)])
    }

    /// The same of several keys, each with its hash, that are looked for together: each filter is read once.
    ///
    /// # Errors
    /// A filter does not read.
    pub fn may_hold_any(&self, keys: &[(u64, &[u8])]) -> Result<bool, ColdError> {
        let (first, last) = self.file.hashes;
        let is_within = |(hash, _): &&(u64, &[u8])| (first..=last).contains(hash);
        for group in self.footer.metadata().row_groups() {
            let mut filters = Vec::new();
            for column in 0..self.columns.join_keys().len() {
                let chunk = group.columns().get(SYSTEM.len() + column);
                let filter =
                    chunk.map(|chunk| Sbbf::read_from_column_chunk(chunk, &self.tail)).transpose();
                let damaged = |error| ColdError::damaged(&self.object, 0, error);
                filters.push(filter.map_err(damaged)?.flatten());
            }
            if keys.iter().filter(is_within).any(|(_, key)| self.passes(&filters, key)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether no filter of a row group says that the key is not in it.
    fn passes(&self, filters: &[Option<Sbbf>], key: &[u8]) -> bool {
        let mut rest = key;
        self.columns.join_keys().iter().zip(filters).all(|(join_key, filter)| {
            let Ok((field, after)) = split_key(&[join_key.key_type], rest) else { return false };
            rest = after;
            filter.as_ref().is_none_or(|filter| holds(filter, join_key.key_type, field))
        })
    }

    /// Fetches and verifies what is needed of these rows of one row group, of the leaves that `is_wanted`.
    pub(super) fn fetch_rows(
        &self,
        objects: &dyn Objects,
        group: usize,
        rows: Range<u64>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Parts, ColdError> {
        let data_bytes = self.file.bytes - self.file.tail_bytes;
        let ranges = self.page_ranges(group, rows, is_wanted).ok_or_else(|| {
            ColdError::damaged(&self.object, data_bytes, "its page index has gaps")
        })?;
        let checksums = &self.meta.checksums;
        fetch(objects, &self.object, self.file.bytes, data_bytes, checksums, ranges)
    }

    fn page_ranges(
        &self,
        group: usize,
        rows: Range<u64>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Option<Vec<Range<u64>>> {
        let metadata = self.footer.metadata();
        let chunks = metadata.row_groups().get(group)?.columns();
        let index = metadata.page_index_for_row_group(group);
        let mut ranges = Vec::new();
        for (leaf, chunk) in chunks.iter().enumerate().filter(|(leaf, _)| is_wanted(*leaf)) {
            let pages = index.page_locations(leaf)?;
            let begin = chunk_bytes(chunk)?.start;
            // What lies before the first page is the dictionary.
            ranges.push(begin..u64::try_from(pages.first()?.offset).ok()?);
            for (at, page) in pages.iter().enumerate() {
                let first = u64::try_from(page.first_row_index).ok()?;
                let next = pages.get(at + 1).map_or(u64::MAX, |next| next.first_row_index as u64);
                if first < rows.end && rows.start < next {
                    let offset = u64::try_from(page.offset).ok()?;
                    ranges.push(offset..offset + u64::try_from(page.compressed_page_size).ok()?);
                }
            }
        }
        Some(ranges)
    }
}

fn holds(filter: &Sbbf, key_type: KeyType, field: &[u8]) -> bool {
    let integer = field.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
    match key_type {
        KeyType::Int32 => filter.check(&(integer as i32)),
        KeyType::Int64 => filter.check(&integer),
        KeyType::String | KeyType::Bytes => filter.check(&ByteArray::from(field[2..].to_vec())),
        KeyType::Uuid => filter.check(&FixedLenByteArray::from(ByteArray::from(field.to_vec()))),
    }
}
