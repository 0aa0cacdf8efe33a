//! Parquet with a typed column each.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use thermae_client::ScannedRow;

use super::{Shape, Sink, columns};

/// Rows that are collected for one batch.
const BATCH_ROWS: usize = 8_192;
/// Bytes of encoded columns from which on a row group ends: what is held in memory at most.
pub(super) const GROUP_BYTES: usize = 64 << 20;

/// Collects rows and writes them by columns.
pub(super) struct ParquetSink {
    shape: Shape,
    writer: ArrowWriter<BufWriter<File>>,
    rows: Vec<ScannedRow>,
}

impl ParquetSink {
    /// Begins the file.
    pub fn new(shape: Shape, out: BufWriter<File>) -> Result<Self, ParquetError> {
        let schema = columns::batch(&shape, &[])?.schema();
        let writer = ArrowWriter::try_new(out, schema, Some(properties()?))?;
        Ok(Self { shape, writer, rows: Vec::with_capacity(BATCH_ROWS) })
    }

    fn write(&mut self) -> Result<(), ParquetError> {
        let batch = columns::batch(&self.shape, &self.rows)?;
        self.rows.clear();
        self.writer.write(&batch)?;
        if self.writer.in_progress_size() >= GROUP_BYTES {
            self.writer.flush()?;
        }
        Ok(())
    }
}

/// How a file is written.
pub(super) fn properties() -> Result<WriterProperties, ParquetError> {
    let level = ZstdLevel::try_new(3)?;
    Ok(WriterProperties::builder().set_compression(Compression::ZSTD(level)).build())
}

impl Sink for ParquetSink {
    fn push(&mut self, row: ScannedRow) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() >= BATCH_ROWS { self.write().map_err(io::Error::other) } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write().map_err(io::Error::other)?;
        let mut out = self.writer.into_inner().map_err(io::Error::other)?;
        out.flush()
    }
}
