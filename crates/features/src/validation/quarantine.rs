//! How rows that fail are made rows of the quarantine.

use std::sync::atomic::{AtomicU64, Ordering};

use thermae_engine::{RowWrite, Schema, WriteBatch, WriteKind};
use thermae_formats::{NO_TIME, Value};

/// Most rows that go into one view's quarantine within an hour; more are refused. With the time that they are kept it
/// bounds how large it becomes.
pub(super) const ROWS_AN_HOUR: u64 = 100_000;
const HOUR_US: i64 = 3_600_000_000;

/// Rows of the present hour, counted by any number of threads without a lock.
#[derive(Debug, Default)]
pub(super) struct Rate(AtomicU64);

impl Rate {
    /// Whether one more may go in.
    pub fn takes(&self, now_us: i64) -> bool {
        // The hour and its rows are one word. Hours since 1970 fit 32 bits for half a million years.
        let hour = u64::from(u32::try_from(now_us / HOUR_US).unwrap_or(0)) << 32;
        let next = |word: u64| {
            let rows = if word >> 32 == hour >> 32 { word & u64::from(u32::MAX) } else { 0 };
            (rows < ROWS_AN_HOUR).then_some(hour | (rows + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// A row that failed.
pub(super) struct Failed<'a> {
    /// Why.
    pub reasons: Vec<String>,
    /// Its values, in the order of the view.
    pub values: &'a [Value],
}

/// Makes the row at `index` of a batch one of the quarantine. Its created time there is the present one; what its event
/// time becomes the engine says ([`thermae_engine::Verdict`]).
///
/// # Errors
/// It does not fit, being too large with its reasons; the batch is as before.
pub(super) fn put_aside(
    batch: &mut WriteBatch,
    index: u32,
    schema: &Schema,
    failed: Failed<'_>,
    now_us: i64,
) -> Result<(), String> {
    let Some(row) = batch.rows.get(index as usize) else { return Ok(()) };
    let time = |time: i64| if time == NO_TIME { Value::Null } else { Value::Timestamp(time) };
    let mut reasons = failed.reasons;
    if let WriteKind::Partial { .. } = row.kind {
        reasons.push("a partial write: features that it does not name are null here".to_owned());
    }
    let reasons = Value::List(reasons.into_iter().map(Value::String).collect());
    let mut values = vec![reasons, time(row.event_time), time(row.created_time)];
    values.extend_from_slice(failed.values);
    let mut bytes = Vec::new();
    let dense = schema.layout.encode(&values, &mut bytes).map_err(|e| e.to_string())?;
    let value = batch.store(&bytes);
    if let Some(row) = batch.rows.get_mut(index as usize) {
        *row = RowWrite {
            kind: WriteKind::Put,
            view_id: schema.view_id,
            schema_id: schema.id,
            dense,
            event_time: row.event_time.min(now_us),
            created_time: now_us,
            expire_at: NO_TIME,
            producer_sequence: row.producer_sequence,
            key: row.key.clone(),
            value,
        };
    }
    Ok(())
}
