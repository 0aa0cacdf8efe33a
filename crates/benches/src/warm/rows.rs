//! The rows: an int64 key, ten float32, two short strings, computable by anyone from the key.

use crate::workload::{FEATURES, value};
use anyhow::ensure;
use std::sync::Arc;
use thermae_engine::catalogue::View;
use thermae_engine::reads::Key;
use thermae_engine::write::{Ack, RowWrite, WriteBatch, WriteKind};
use thermae_engine::{Store, handle::Found};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, NO_TIME, RowLayout, Scalar, Value};

/// Bytes of a row that a user would count: key, floats, strings.
pub const PAYLOAD_BYTES: u64 = 8 + 4 * FEATURES as u64 + 2 + 12;
/// Event time of every row, microseconds UTC.
pub const TIME_US: i64 = 1_700_000_000_000_000;

/// The view.
pub fn definition() -> FeatureView {
    let floats = (0..FEATURES).map(|at| Feature::new(format!("f{at}"), Scalar::Float32));
    let strings = ["country", "segment"].map(|name| Feature::new(name, Scalar::String));
    let features = floats.chain(strings).collect();
    FeatureView::new("bench", "warm", vec![JoinKey::new("id", KeyType::Int64)], features)
}

fn values(id: u64) -> Vec<Value> {
    let floats = (0..FEATURES).map(|at| Value::Float32(value(id, at)));
    let letter = |at: u64| char::from(b'A' + (at % 26) as u8);
    let country: String = [letter(id), letter(id / 26 % 9)].iter().collect();
    let segment = format!("segment-{:04}", id % 977);
    floats.chain([Value::String(country), Value::String(segment)]).collect()
}

/// Appends the value of row `id` in the encoding of the store, and says whether it is dense.
///
/// # Errors
/// The layout is not that of [`definition`].
pub fn encode(layout: &RowLayout, id: u64, bytes: &mut Vec<u8>) -> anyhow::Result<bool> {
    Ok(layout.encode(&values(id), bytes)?)
}

/// Makes rows of the view, and knows them again.
pub struct Rows {
    /// The view as the store has it.
    pub view: Arc<View>,
}

impl Rows {
    /// Defines the view.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn define(store: &Store) -> anyhow::Result<Self> {
        store.apply(&[definition()])?;
        let view = Arc::clone(store.handle().catalogue().resolve("bench/warm")?);
        Ok(Self { view })
    }

    /// The value of row `id`, and whether it is dense.
    fn encode(&self, id: u64, bytes: &mut Vec<u8>) -> anyhow::Result<bool> {
        bytes.clear();
        encode(&self.view.latest.layout, id, bytes)
    }

    /// A durable batch of rows.
    ///
    /// # Errors
    /// The values do not fit the view.
    pub fn batch(&self, ids: std::ops::Range<u64>) -> anyhow::Result<WriteBatch> {
        let (mut batch, mut bytes) = (WriteBatch::new(Ack::Durable, 0), Vec::new());
        for id in ids {
            let dense = self.encode(id, &mut bytes)?;
            let key = batch.store(&id.to_le_bytes());
            let value = batch.store(&bytes);
            batch.rows.push(RowWrite {
                kind: WriteKind::Put,
                view_id: self.view.id,
                schema_id: self.view.latest.id,
                dense,
                event_time: TIME_US,
                created_time: NO_TIME,
                expire_at: NO_TIME,
                producer_sequence: 0,
                key,
                value,
            });
        }
        Ok(batch)
    }

    /// Compares what was found with row `id`, whole. A row of the hot table is padded to whole words.
    ///
    /// # Errors
    /// It is not there, or is another.
    pub fn check(&self, id: u64, found: &Found<'_, '_>) -> anyhow::Result<()> {
        let Found::Row(row) = found else {
            anyhow::bail!("row {id} was written and acknowledged, and is not there: {found:?}")
        };
        let mut bytes = Vec::new();
        let dense = self.encode(id, &mut bytes)?;
        let padding = row.value.strip_prefix(bytes.as_slice());
        let is_whole = padding.is_some_and(|rest| rest.len() < 8 && rest.iter().all(|b| *b == 0));
        let is_right = row.key == id.to_le_bytes().as_slice()
            && row.event_time == TIME_US
            && row.is_dense() == dense
            && !row.is_tombstone();
        ensure!(is_whole && is_right, "row {id} is not as written: {row:?}");
        Ok(())
    }
}

/// The keys of `ids`, hashed; `bytes` must outlive them.
pub fn keys<'a>(store: &Store, bytes: &'a [[u8; 8]]) -> Vec<Key<'a>> {
    let reads = store.handle().reads();
    bytes.iter().map(|key| Key { entity_hash: reads.hash(key), bytes: key }).collect()
}
