//! History and spine as Parquet: what the peers read, and our spine.

use super::data::Sizes;
use crate::workload::FEATURES;
use anyhow::Context;
use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thermae_engine::training::{Batches, Cause, Spine};

/// Rows of a batch that is written or read.
const BATCH_ROWS: u64 = 65_536;

/// Writes `history.parquet` and `spine.parquet`, in order of time.
///
/// # Errors
/// The folder takes no more.
pub fn write(folder: &Path, sizes: &Sizes) -> anyhow::Result<()> {
    write_file(&history_path(folder), sizes.history, |rows| history_batch(sizes, rows))?;
    write_file(&spine_path(folder), sizes.spine, |rows| spine_batch(sizes, rows))
}

/// The history's file.
pub fn history_path(folder: &Path) -> PathBuf {
    folder.join("history.parquet")
}

/// The spine's file.
pub fn spine_path(folder: &Path) -> PathBuf {
    folder.join("spine.parquet")
}

fn write_file(
    path: &Path,
    rows: u64,
    batch: impl Fn(Range<u64>) -> anyhow::Result<RecordBatch>,
) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    // Floats of every bit repeat too seldom for a dictionary, and hardly compress.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(file, batch(0..0)?.schema(), Some(properties))?;
    for begin in (0..rows).step_by(BATCH_ROWS as usize) {
        writer.write(&batch(begin..rows.min(begin + BATCH_ROWS))?)?;
    }
    writer.close()?;
    Ok(())
}

fn history_batch(sizes: &Sizes, rows: Range<u64>) -> anyhow::Result<RecordBatch> {
    let versions: Vec<_> = rows.map(|number| sizes.version(number)).collect();
    let values: Vec<_> = versions.iter().map(super::data::Version::values).collect();
    let ids: Int64Array = versions.iter().map(|version| version.id).collect();
    let times = times(versions.iter().map(|version| version.time_us));
    let mut columns = vec![("id".to_owned(), Arc::new(ids) as ArrayRef), ("at".to_owned(), times)];
    columns.extend((0..FEATURES).map(|at| {
        let column: Float32Array = values.iter().map(|row| row[at]).collect();
        (format!("f{at}"), Arc::new(column) as ArrayRef)
    }));
    not_null(columns)
}

/// A spine's row has its number, which tells an answer's place to whoever does not keep the order.
fn spine_batch(sizes: &Sizes, rows: Range<u64>) -> anyhow::Result<RecordBatch> {
    let numbers: Int64Array = rows.clone().map(|number| number as i64).collect();
    let ids: Int64Array = rows.clone().map(|number| sizes.asked(number).0).collect();
    let times = times(rows.map(|number| sizes.asked(number).1));
    not_null(vec![
        ("row".to_owned(), Arc::new(numbers) as ArrayRef),
        ("id".to_owned(), Arc::new(ids) as ArrayRef),
        ("at".to_owned(), times),
    ])
}

fn times(times_us: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times_us))
}

fn not_null(columns: Vec<(String, ArrayRef)>) -> anyhow::Result<RecordBatch> {
    let field = |(name, array): &(String, ArrayRef)| {
        let data_type = match array.data_type() {
            DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => other.clone(),
        };
        Field::new(name, data_type, false)
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), arrays)?)
}

/// The spine's file, for a training read.
pub struct SpineFile {
    path: PathBuf,
    schema: SchemaRef,
    rows: u64,
}

impl SpineFile {
    /// Reads what it says of itself.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        let about = ArrowReaderMetadata::load(&File::open(&path)?, Default::default())?;
        let rows = about.metadata().file_metadata().num_rows() as u64;
        Ok(Self { path, schema: Arc::clone(about.schema()), rows })
    }
}

impl Spine for SpineFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn read(&self) -> Result<Batches<'_>, Cause> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&self.path)?)?;
        let batches = builder.with_batch_size(8192).build()?;
        Ok(Box::new(batches.map(|batch| batch.map_err(Cause::from))))
    }
}
