//! The Parquet reader: row groups decoded piece by piece, only the columns that are wanted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};

use super::arrow_cell;
use super::cell::{Batch, Cell, Column, Reader};
use super::error::IngestError;

/// A decoded batch should hold about this much, judged by the row groups' uncompressed sizes.
const BATCH_BYTES: u64 = 16 << 20;
const BATCH_ROWS: u64 = 8192;

/// Reads one Parquet file.
pub struct ParquetReader {
    path: PathBuf,
    columns: Vec<Column>,
    metadata: ArrowReaderMetadata,
    file: Option<File>,
    selected: Vec<usize>,
    rows: Option<ParquetRecordBatchReader>,
    rows_total: u64,
    batch: ParquetBatch,
}

impl ParquetReader {
    /// Reads the footer. `path` is named in errors.
    ///
    /// # Errors
    /// [`IngestError::Malformed`] if the file is no Parquet or damaged.
    pub fn new(path: &Path, file: File) -> Result<Self, IngestError> {
        // The arrow schema hidden in the metadata is skipped: it only adds dictionary types.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options)
            .map_err(|e| malformed(path, &e.to_string()))?;
        let columns: Vec<Column> = metadata
            .schema()
            .fields()
            .iter()
            .map(|field| Column {
                name: field.name().clone(),
                type_name: arrow_cell::type_name(field.data_type()),
                readable: arrow_cell::is_readable(field.data_type()),
                data_type: Some(field.data_type().clone()),
            })
            .collect();
        let rows_total = u64::try_from(metadata.metadata().file_metadata().num_rows())
            .map_err(|_| malformed(path, "its row count is negative"))?;
        let selected = (0..columns.len()).collect();
        let batch = ParquetBatch::default();
        let path = path.to_owned();
        Ok(Self {
            path,
            columns,
            metadata,
            file: Some(file),
            selected,
            rows: None,
            rows_total,
            batch,
        })
    }

    /// Decodes only these columns; the others read as null. To be called before the first batch.
    pub fn select(&mut self, columns: &[usize]) {
        self.selected = columns.to_vec();
        self.selected.sort_unstable();
        self.selected.dedup();
    }

    /// Rows a batch may have so that it holds about [`BATCH_BYTES`].
    fn batch_rows(&self) -> usize {
        let groups = self.metadata.metadata().row_groups();
        let widest = groups.iter().map(|group| {
            let bytes = u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX);
            bytes / u64::try_from(group.num_rows()).unwrap_or(0).max(1)
        });
        let row_bytes = widest.max().unwrap_or(0).max(1);
        usize::try_from((BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS)).unwrap_or(1)
    }

    fn start(&mut self, file: File) -> Result<ParquetRecordBatchReader, IngestError> {
        let batch_rows = self.batch_rows();
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), self.selected.iter().copied());
        builder
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|e| malformed(&self.path, &e.to_string()))
    }
}

fn malformed(path: &Path, reason: &str) -> IngestError {
    IngestError::Malformed { path: path.to_owned(), format: "Parquet", reason: reason.to_owned() }
}

impl Reader for ParquetReader {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn next_batch(&mut self) -> Result<Option<Box<dyn Batch + '_>>, IngestError> {
        if let Some(file) = self.file.take() {
            self.rows = Some(self.start(file)?);
        }
        let Some(rows) = self.rows.as_mut() else { return Ok(None) };
        let next = rows.next().transpose().map_err(|e| malformed(&self.path, &e.to_string()))?;
        let Some(record_batch) = next else { return Ok(None) };
        let mut positions = vec![None; self.columns.len()];
        for (position, column) in self.selected.iter().enumerate() {
            positions[*column] = Some(position);
        }
        self.batch = ParquetBatch { record_batch: Some(record_batch), positions };
        Ok(Some(Box::new(&self.batch)))
    }

    fn rows_total(&self) -> Option<u64> {
        Some(self.rows_total)
    }
}

#[derive(Default)]
struct ParquetBatch {
    record_batch: Option<RecordBatch>,
    /// Where each of the file's columns is in the batch; `None` if it was not selected.
    positions: Vec<Option<usize>>,
}

impl Batch for &ParquetBatch {
    fn rows(&self) -> usize {
        self.record_batch.as_ref().map_or(0, RecordBatch::num_rows)
    }

    fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        match (&self.record_batch, self.positions.get(column).copied().flatten()) {
            (Some(batch), Some(position)) => arrow_cell::cell(batch.column(position).as_ref(), row),
            _ => Cell::Null,
        }
    }

    fn array(&self, column: usize) -> Option<ArrayRef> {
        let position = self.positions.get(column).copied().flatten()?;
        Some(Arc::clone(self.record_batch.as_ref()?.column(position)))
    }

    fn broken(&self, _row: usize) -> Option<&str> {
        None
    }
}
