//! Training reads as a load: over a connection of their own, one after the other, of every row that there is.

use crate::ours::{PROJECT, Server, VIEW};
use crate::socket::Waiting;
use crate::workload::{Dice, FEATURES, value};
use anyhow::{Context, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thermae_client::{HistoryQuery, HistoryView};
use thermae_env::go_last;

/// Rows of a batch of the spine.
const BATCH_ROWS: u64 = 8192;
/// Time of every row of the spine, microseconds: after all that was written.
const LATER_US: i64 = 1_800_000_000_000_000;

/// Reads with a spine of so many rows, of keys below `rows` in any order.
pub struct Training<'a> {
    pub server: &'a Server,
    pub rows: u64,
    pub spine_rows: u64,
}

impl Training<'_> {
    /// Runs `read` while training reads go on. What that found, and rows of the spine that were answered.
    pub fn beside<T>(&self, read: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, u64)> {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let training = scope.spawn(|| {
                // It has a core of this machine because there is no other, and is to disturb no more than it must.
                go_last();
                let mut rows = 0;
                while !is_over.load(Ordering::Acquire) {
                    rows += self.train(&is_over)?;
                }
                Ok::<_, anyhow::Error>(rows)
            });
            let found = read();
            is_over.store(true, Ordering::Release);
            let rows =
                training.join().map_err(|_| anyhow::anyhow!("the trainer has panicked"))??;
            Ok((found?, rows))
        })
    }

    /// One read, up to its end or until it is over. Rows that were answered.
    fn train(&self, is_over: &AtomicBool) -> anyhow::Result<u64> {
        let client = self.server.client(Waiting::Block)?;
        let view = HistoryView { view: format!("{PROJECT}/{VIEW}"), ..HistoryView::default() };
        let query =
            HistoryQuery { time_column: "at".into(), views: vec![view], ..HistoryQuery::default() };
        let batches = (0..self.spine_rows).step_by(BATCH_ROWS as usize);
        let schema = self.batch(0..1)?.schema();
        let mut writer = StreamWriter::try_new(client.history(&query)?, &schema)?;
        for first in batches {
            if is_over.load(Ordering::Acquire) {
                return Ok(0);
            }
            writer.write(&self.batch(first..self.spine_rows.min(first + BATCH_ROWS))?)?;
        }
        let mut rows = 0;
        for batch in StreamReader::try_new(writer.into_inner()?.join()?, None)? {
            let batch = batch?;
            check(&batch)?;
            rows += batch.num_rows() as u64;
            if is_over.load(Ordering::Acquire) {
                break;
            }
        }
        Ok(rows)
    }

    fn batch(&self, rows: std::ops::Range<u64>) -> anyhow::Result<RecordBatch> {
        let mut dice = Dice::new(rows.start);
        let ids: Int64Array = rows.clone().map(|_| (dice.next_u64() % self.rows) as i64).collect();
        let times = TimestampMicrosecondArray::from_value(LATER_US, ids.len());
        let columns = [("id", Arc::new(ids) as _), ("at", Arc::new(times) as _)];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

/// Compares the first row of a batch with what it must be.
fn check(batch: &RecordBatch) -> anyhow::Result<()> {
    let id = batch.column(0).as_primitive::<Int64Type>().value(0);
    for feature in 0..FEATURES {
        let column = batch.columns().get(2 + feature).context("an answer without features")?;
        let column = column.as_primitive::<Float32Type>();
        let is_right = column.is_valid(0) && column.value(0) == value(id as u64, feature);
        ensure!(is_right, "a training read has a wrong value for row {id}");
    }
    Ok(())
}
