//! Operations as the engine takes them.

use std::sync::Arc;

use thermae_engine::{RowWrite, Schema, WriteBatch, WriteKind};
use thermae_formats::encode_key;
use thermae_formats::row::RowLayout;

use super::{Operation, entity_key};

/// Encodes an operation into a batch's arena and returns its row, which the caller pushes. An
/// operation that does not fit the schema is a mistake of the test: its bytes are left empty, and
/// the store's answer will disagree with the model.
pub fn encode(
    batch: &mut WriteBatch,
    schema: &Arc<Schema>,
    operation: &Operation,
    producer_sequence: u64,
) -> RowWrite {
    let (view, entity) = operation.target();
    let mut key = Vec::new();
    let encoded = encode_key(&schema.definition.join_keys, &[entity_key(view, entity)], &mut key);
    debug_assert!(encoded.is_ok());
    let mut value = Vec::new();
    let key = batch.store(&key);
    let mut row = RowWrite { producer_sequence, ..RowWrite::delete(schema, 0, key) };
    match operation {
        Operation::Put { event_time, created_time, expire_at, values, .. } => {
            row.kind = WriteKind::Put;
            row.event_time = *event_time;
            row.created_time = *created_time;
            row.expire_at = *expire_at;
            row.dense = schema.layout.encode(values, &mut value).unwrap_or(false);
        }
        Operation::Partial { event_time, feature, value: one, .. } => {
            row.kind = WriteKind::Partial { features: Arc::from([*feature]) };
            row.event_time = *event_time;
            let subset = [schema.definition.features[usize::from(*feature)].clone()];
            if let Ok(layout) = RowLayout::new(&subset) {
                let one = std::slice::from_ref(one);
                row.dense = layout.encode(one, &mut value).unwrap_or(false);
            }
        }
        Operation::Delete { event_time, .. } => row.event_time = *event_time,
        Operation::Erase { .. } => row.kind = WriteKind::Erase,
    }
    row.value = batch.store(&value);
    row
}
