//! A file's rows in table order.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use thermae_formats::NO_TIME;
use thermae_formats::hash::entity_hash;
use thermae_formats::hot_layout::{FLAG_DENSE, FLAG_TOMBSTONE, row_flags};
use thermae_formats::version::Version;
use thermae_formats::{KeyType, ViewId};

use super::cells::Cells;
use super::columns::SYSTEM;
use super::file::ColdFile;
use super::format::FENCE_ROWS;
use super::objects::Objects;
use super::{ColdError, Columns};
use crate::merge::{Entry, SeekSource, Source};

/// Rows of a batch: few enough that their columns stay in the cache.
const BATCH_ROWS: usize = 4_096;

/// Reads a file's rows from the front to the back, or from where it is sent.
///
/// Rows are fetched in portions: one fence after a seek, then twice as many each time, up to a row group. So a
/// look-up reads little, and a scan asks seldom.
pub struct ColdScan {
    objects: Arc<dyn Objects>,
    file: Arc<ColdFile>,
    /// Whether each column is read; join keys and what is before them always are.
    wanted: Vec<bool>,
    mask: ProjectionMask,
    /// First row that is not fetched.
    next_row: u64,
    portion_rows: u64,
    portion_rows_max: u64,
    reader: Option<ParquetRecordBatchReader>,
    batch: Option<Batch>,
    row: Option<Row>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Decoded rows, and the one that is next.
struct Batch {
    /// A column that is not read has none.
    cells: Vec<Option<Cells>>,
    rows: usize,
    at: usize,
}

/// The present row, beside its key and value.
#[derive(Clone, Copy)]
struct Row {
    entity_hash: u64,
    flags: u8,
    sequence: u64,
    event_time: i64,
    created_time: i64,
    expire_at: i64,
}

impl ColdScan {
    /// At the first row; each feature is read.
    ///
    /// # Errors
    /// The first rows cannot be read.
    pub fn new(objects: Arc<dyn Objects>, file: Arc<ColdFile>) -> Result<Self, ColdError> {
        Self::of_features(objects, file, |_| true)
    }

    /// At the first row; reads only features whose position in the file's schema `is_wanted`, the others are
    /// null.
    ///
    /// # Errors
    /// The first rows cannot be read.
    pub fn of_features(
        objects: Arc<dyn Objects>,
        file: Arc<ColdFile>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Self, ColdError> {
        let mut scan = Self::before(objects, file, is_wanted);
        scan.advance()?;
        Ok(scan)
    }

    /// At a row before which each has a lesser entity hash than this one, without having read those; each feature
    /// is read.
    ///
    /// # Errors
    /// The rows there cannot be read.
    pub fn from_hash(
        objects: Arc<dyn Objects>,
        file: Arc<ColdFile>,
        entity_hash: u64,
    ) -> Result<Self, ColdError> {
        let mut scan = Self::before(objects, file, |_| true);
        scan.next_row = scan.file.first_row_of(entity_hash);
        scan.advance()?;
        Ok(scan)
    }

    /// Before the first row.
    fn before(
        objects: Arc<dyn Objects>,
        file: Arc<ColdFile>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let columns = file.columns();
        let first = columns.features_at();
        let all = 0..columns.columns().len();
        let wanted: Vec<bool> = all.map(|at| at < first || is_wanted(at - first)).collect();
        let roots = (0..wanted.len()).filter(|at| wanted[*at]);
        let mask = ProjectionMask::roots(file.footer().parquet_schema(), roots);
        Self {
            objects,
            file,
            wanted,
            mask,
            next_row: 0,
            portion_rows: FENCE_ROWS as u64,
            portion_rows_max: u64::MAX,
            reader: None,
            batch: None,
            row: None,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Has it fetch about `bytes` at a time at most, but never fewer rows than lie between two fences.
    #[must_use]
    pub fn fetching(mut self, bytes: u64) -> Self {
        let file = self.file.file();
        let row_bytes = (file.bytes / file.rows.max(1)).max(1);
        self.portion_rows_max = (bytes / row_bytes).max(FENCE_ROWS as u64);
        self
    }

    /// Goes to the next row, its key and times only.
    fn next_key(&mut self) -> Result<(), ColdError> {
        while self.batch.as_ref().is_none_or(|batch| batch.at == batch.rows) {
            if !self.next_batch()? {
                self.row = None;
                return Ok(());
            }
        }
        let Some(batch) = &mut self.batch else { return Ok(()) };
        let damaged = |what| ColdError::damaged(self.file.object(), 0, format!("a row has {what}"));
        self.key.clear();
        batch.append_key(self.file.columns(), &mut self.key).map_err(damaged)?;
        let hash = entity_hash(&self.key, self.file.store().hash_seed);
        self.row = Some(batch.row(hash).map_err(damaged)?);
        batch.at += 1;
        Ok(())
    }

    /// Makes the present row's value.
    fn make_value(&mut self) -> Result<(), ColdError> {
        self.value.clear();
        let (Some(row), Some(batch)) = (&mut self.row, &self.batch) else { return Ok(()) };
        if row.flags & FLAG_TOMBSTONE != 0 {
            return Ok(());
        }
        let at = batch.at - 1;
        let columns = self.file.columns();
        let features = &batch.cells[columns.features_at()..];
        let is_null = |index: usize| features[index].as_ref().is_none_or(|cells| cells.is_null(at));
        let append = |index: usize, out: &mut Vec<u8>| {
            if let Some(cells) = &features[index] {
                cells.append(at, out);
            }
        };
        let dense = columns
            .layout()
            .encode_fields(is_null, append, &mut self.value)
            .map_err(|error| ColdError::damaged(self.file.object(), 0, error))?;
        row.flags |= if dense { FLAG_DENSE } else { 0 };
        Ok(())
    }

    /// Decodes the next batch; `false` at the end.
    fn next_batch(&mut self) -> Result<bool, ColdError> {
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(batch) = reader.next() {
                    let batch =
                        batch.map_err(|error| ColdError::damaged(self.file.object(), 0, error))?;
                    self.batch = Some(Batch::new(&self.file, &self.wanted, &batch)?);
                    return Ok(true);
                }
                self.reader = None;
            }
            let Some((group, rows)) = self.file.group_of(self.next_row) else { return Ok(false) };
            let end = rows.end.min(self.next_row.saturating_add(self.portion_rows));
            let within = self.next_row - rows.start..end - rows.start;
            self.reader = Some(self.open_rows(group, within)?);
            self.next_row = end;
            self.portion_rows = self.portion_rows.saturating_mul(2).min(self.portion_rows_max);
        }
    }

    /// A reader of rows of one row group, counted from its first.
    fn open_rows(
        &self,
        group: usize,
        rows: Range<u64>,
    ) -> Result<ParquetRecordBatchReader, ColdError> {
        let is_wanted = |leaf| self.mask.leaf_included(leaf);
        let parts = self.file.fetch_rows(&*self.objects, group, rows.clone(), is_wanted)?;
        let (skipped, selected) = (rows.start as usize, (rows.end - rows.start) as usize);
        let selection = vec![RowSelector::skip(skipped), RowSelector::select(selected)];
        ParquetRecordBatchReaderBuilder::new_with_metadata(parts, self.file.footer().clone())
            .with_row_groups(vec![group])
            .with_projection(self.mask.clone())
            .with_row_selection(RowSelection::from(selection))
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| ColdError::damaged(self.file.object(), 0, error))
    }

    fn is_before(&self, entity_hash: u64, key: &[u8]) -> bool {
        self.row.is_some_and(|row| (row.entity_hash, &self.key[..]) < (entity_hash, key))
    }

    fn view(&self) -> ViewId {
        self.file.columns().view()
    }
}

impl Source for ColdScan {
    type Error = ColdError;

    fn peek(&self) -> Option<Entry<'_>> {
        let row = self.row?;
        let version = Version {
            schema_id: self.file.columns().schema_id(),
            flags: row.flags,
            sequence: row.sequence,
            event_time: row.event_time,
            created_time: row.created_time,
            expire_at: row.expire_at,
            key: &self.key,
            value: &self.value,
        };
        Some((self.view(), row.entity_hash, version))
    }

    fn advance(&mut self) -> Result<(), ColdError> {
        self.next_key()?;
        self.make_value()
    }
}

impl SeekSource for ColdScan {
    fn seek(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), ColdError> {
        if !self.is_before(entity_hash, key) {
            return Ok(());
        }
        let first = self.file.first_row_of(entity_hash);
        if first > self.next_row {
            (self.reader, self.batch) = (None, None);
            (self.next_row, self.portion_rows) = (first, FENCE_ROWS as u64);
        }
        while self.is_before(entity_hash, key) {
            self.next_key()?;
        }
        self.make_value()
    }
}

impl Batch {
    fn new(file: &ColdFile, wanted: &[bool], batch: &RecordBatch) -> Result<Self, ColdError> {
        let mut arrays = batch.columns().iter();
        let mut cells = Vec::with_capacity(wanted.len());
        for (column, wanted) in file.columns().columns().iter().zip(wanted) {
            let array = if *wanted { arrays.next() } else { None };
            let read = array.map(|array| Cells::new(&column.value_type, array)).transpose();
            cells.push(read.map_err(|what| ColdError::damaged(file.object(), 0, what))?);
        }
        Ok(Self { cells, rows: batch.num_rows(), at: 0 })
    }

    /// Appends the present row's encoded key.
    fn append_key(&self, columns: &Columns, out: &mut Vec<u8>) -> Result<(), &'static str> {
        for (join_key, cells) in columns.join_keys().iter().zip(&self.cells[SYSTEM.len()..]) {
            let cells = cells.as_ref().filter(|cells| !cells.is_null(self.at));
            let cells = cells.ok_or("no key")?;
            match join_key.key_type {
                KeyType::Int32 | KeyType::Int64 => {
                    let integer = cells.integer(self.at).ok_or("no key")?;
                    out.extend_from_slice(&integer.to_le_bytes());
                }
                KeyType::Uuid => cells.append(self.at, out),
                KeyType::String | KeyType::Bytes => {
                    let length_at = out.len();
                    out.extend_from_slice(&[0, 0]);
                    cells.append(self.at, out);
                    let length = u16::try_from(out.len() - length_at - 2);
                    let length = length.map_err(|_| "a key that is too long")?;
                    out[length_at..length_at + 2].copy_from_slice(&length.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// The present row's times and flags.
    fn row(&self, entity_hash: u64) -> Result<Row, &'static str> {
        let integer = |column: usize| {
            self.cells.get(column).and_then(Option::as_ref).and_then(|cells| cells.integer(self.at))
        };
        let [event, created, expire, sequence, _, deleted] = std::array::from_fn(integer);
        let expire_at = expire.unwrap_or(NO_TIME);
        let is_deleted = deleted.ok_or("no is_deleted")? == 1;
        Ok(Row {
            entity_hash,
            flags: row_flags(is_deleted, false, expire.is_some()),
            sequence: sequence.and_then(|s| u64::try_from(s).ok()).ok_or("no sequence")?,
            event_time: event.ok_or("no event time")?,
            created_time: created.unwrap_or(NO_TIME),
            expire_at,
        })
    }
}
