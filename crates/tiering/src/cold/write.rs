//! Writes a file: sorted rows of one view and one day, in bounded memory.

use std::io::Write;
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use thermae_formats::hash::partition_of;
use thermae_formats::time::format_timestamp_us;
use thermae_formats::version::Version;
use thermae_formats::{SchemaId, ViewId};

use super::build::BatchBuilder;
use super::checked::Checked;
use super::encoding::{SAMPLE_ROWS, properties};
use super::format::FENCE_ROWS;
use super::meta::{FileMeta, Store};
use super::{ColdError, Columns};

pub(super) const DAY_US: i64 = 86_400 * 1_000_000;
/// 0001-01-01 and 9999-12-31: the days that every reader of a table knows.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// Day of the file that a row of that event time belongs to, in days since 1970-01-01.
pub fn event_day(event_time: i64) -> i32 {
    // Within i32 by the bounds.
    event_time.div_euclid(DAY_US).clamp(FIRST_DAY, LAST_DAY) as i32
}

/// A day as the log writes it: `2013-01-31`.
pub(super) fn day_text(day: i32) -> String {
    format_timestamp_us(i64::from(day) * DAY_US).chars().take(10).collect()
}

/// A file as the log lists it: all that its reader must know beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Its path below its table, made of what it holds.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Event date of its rows, in days since 1970-01-01.
    pub day: i32,
    /// Schema that its rows are laid out by.
    pub schema_id: SchemaId,
    /// Its rows, at least 1.
    pub rows: u64,
    /// Length of what follows its data.
    pub tail_bytes: u64,
    /// Checksum of that.
    pub tail_checksum: u64,
    /// Least and greatest entity hash of its rows.
    pub hashes: (u64, u64),
    /// Least and greatest event time of its rows, in microseconds UTC.
    pub event_times: (i64, i64),
    /// Least and greatest sequence of its rows; of one partition they compare, of several they do not.
    pub sequences: (u64, u64),
}

/// Writes one file.
pub struct FileWriter<W: Write + Send> {
    store: Store,
    columns: Arc<Columns>,
    day: i32,
    batch: BatchBuilder,
    sink: Sink<W>,
    fences: Vec<u64>,
    last: Option<Last>,
    extent: Option<Extent>,
    rows: u64,
}

/// The encodings are chosen by the first batch, so that there is no writer before it.
enum Sink<W: Write + Send> {
    Sampling(W),
    Writing(Box<ArrowWriter<Checked<W>>>),
    /// An error came between the two.
    Broken,
}

/// What a row must not sort before.
struct Last {
    hash: u64,
    key: Vec<u8>,
    order: (i64, i64, u64),
}

struct Extent {
    hashes: (u64, u64),
    event_times: (i64, i64),
    sequences: (u64, u64),
}

impl<W: Write + Send> FileWriter<W> {
    /// A file of rows of `columns`' view of one day, as [`event_day`] gives it.
    pub fn new(store: Store, columns: &Arc<Columns>, day: i32, sink: W) -> Self {
        Self {
            store,
            columns: Arc::clone(columns),
            day,
            batch: BatchBuilder::new(columns),
            sink: Sink::Sampling(sink),
            fences: Vec::new(),
            last: None,
            extent: None,
            rows: 0,
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the writer holds in memory, beside those of its sink: at most a row group's.
    pub fn memory_bytes(&self) -> usize {
        match &self.sink {
            Sink::Writing(writer) => writer.memory_size(),
            Sink::Sampling(_) | Sink::Broken => 0,
        }
    }

    /// Appends the next row.
    ///
    /// # Errors
    /// It does not follow the row before it, is of another view or day, or does not read; or the sink fails.
    /// The writer is of no use afterwards.
    pub fn push(
        &mut self,
        view: ViewId,
        entity_hash: u64,
        version: &Version<'_>,
    ) -> Result<(), ColdError> {
        self.check(view, entity_hash, version)?;
        if self.rows.is_multiple_of(FENCE_ROWS as u64) {
            self.fences.push(entity_hash);
        }
        self.batch.push(version, partition_of(entity_hash, self.store.partitions))?;
        self.follow(entity_hash, version);
        if self.batch.rows() == SAMPLE_ROWS {
            self.write_batch()?;
        }
        Ok(())
    }

    /// Ends the file; returns the sink and what the log is to know of it.
    ///
    /// # Errors
    /// There is no row, or the sink fails.
    pub fn finish(mut self) -> Result<(W, FileRef), ColdError> {
        if self.batch.rows() > 0 {
            self.write_batch()?;
        }
        let (Sink::Writing(mut writer), Some(extent)) = (self.sink, self.extent) else {
            return Err(ColdError::Order("a file has at least one row"));
        };
        writer.flush()?;
        writer.sync().map_err(|error| ColdError::Encode(error.to_string()))?;
        let meta = FileMeta {
            schema_id: self.columns.schema_id(),
            day: self.day,
            fences: self.fences,
            checksums: writer.inner_mut().end_data(),
        };
        for pair in meta.to_pairs(&self.store, self.columns.view()) {
            writer.append_key_value_metadata(pair);
        }
        let (sink, checksums) = writer.into_inner()?.finish();
        let name = format!("{:016x}-{:x}.parquet", checksums.whole, checksums.bytes);
        let file = FileRef {
            path: format!("event_date={}/{name}", day_text(self.day)),
            bytes: checksums.bytes,
            day: self.day,
            schema_id: self.columns.schema_id(),
            rows: self.rows,
            tail_bytes: checksums.tail_bytes,
            tail_checksum: checksums.tail,
            hashes: extent.hashes,
            event_times: extent.event_times,
            sequences: extent.sequences,
        };
        Ok((sink, file))
    }

    fn check(&self, view: ViewId, hash: u64, version: &Version<'_>) -> Result<(), ColdError> {
        if view != self.columns.view() {
            return Err(ColdError::Order("it is of another view"));
        }
        if event_day(version.event_time) != self.day {
            return Err(ColdError::Order("its event time is of another day"));
        }
        let Some(last) = &self.last else { return Ok(()) };
        match (hash, version.key).cmp(&(last.hash, &last.key)) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Less => {
                Err(ColdError::Order("it sorts before the row that it follows"))
            }
            std::cmp::Ordering::Equal if version.order() < last.order => Ok(()),
            std::cmp::Ordering::Equal => {
                Err(ColdError::Order("it is not older than the version that it follows"))
            }
        }
    }

    fn follow(&mut self, hash: u64, version: &Version<'_>) {
        self.rows += 1;
        let mut key = self.last.take().map_or_else(Vec::new, |last| last.key);
        key.clear();
        key.extend_from_slice(version.key);
        self.last = Some(Last { hash, key, order: version.order() });
        let (time, sequence) = (version.event_time, version.sequence);
        let extent = self.extent.get_or_insert(Extent {
            hashes: (hash, hash),
            event_times: (time, time),
            sequences: (sequence, sequence),
        });
        extent.hashes.1 = hash;
        extent.event_times = (extent.event_times.0.min(time), extent.event_times.1.max(time));
        extent.sequences = (extent.sequences.0.min(sequence), extent.sequences.1.max(sequence));
    }

    fn write_batch(&mut self) -> Result<(), ColdError> {
        let batch = self.batch.finish()?;
        let mut writer = match std::mem::replace(&mut self.sink, Sink::Broken) {
            Sink::Writing(writer) => writer,
            Sink::Sampling(sink) => {
                let options = ArrowWriterOptions::new()
                    .with_properties(properties(&self.columns, &batch)?)
                    .with_skip_arrow_metadata(true);
                let schema = Arc::clone(self.columns.arrow());
                let sink = Checked::new(sink);
                Box::new(ArrowWriter::try_new_with_options(sink, schema, options)?)
            }
            Sink::Broken => return Err(ColdError::Order("the writer failed before")),
        };
        writer.write(&batch)?;
        self.sink = Sink::Writing(writer);
        Ok(())
    }
}
