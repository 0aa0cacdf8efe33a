//! The ladder inside one process: memory, hot table, store. Each rung does all that the one below does.

use crate::ours::{self, definition};
use crate::target::Reader;
use crate::workload::{FEATURES, blob, row};
use anyhow::{Context, ensure};
use std::path::Path;
use std::sync::Arc;
use thermae_engine::catalogue::View;
use thermae_engine::options::Options;
use thermae_engine::reads::{Key, Visibility, visibility};
use thermae_engine::store::Store;
use thermae_engine::write::{Ack, Outcome, RowWrite, WriteBatch, WriteKind};
use thermae_formats::hash::row_hash;
use thermae_formats::projection::Projection;
use thermae_formats::{NO_TIME, SchemaId};
use thermae_hot::{Lookup, Probe, RowBuf, multi_get};

/// Rows as plain memory, in the hot table's slot size: what copying them costs at least.
pub struct Memory<'a>(pub &'a [Slot]);

/// A row in 80 bytes, the hot table's slot of such a row.
pub type Slot = [f32; 20];

/// Rows `0..rows` as slots.
pub fn slots(rows: u64) -> Vec<Slot> {
    let slot = |id| std::array::from_fn(|at| row(id).get(at).copied().unwrap_or_default());
    (0..rows).map(slot).collect()
}

impl Reader for Memory<'_> {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        rows.clear();
        ids.iter().for_each(|id| rows.extend_from_slice(&self.0[*id as usize][..FEATURES]));
        Ok(())
    }
}

/// An embedded store that holds the rows.
pub struct Embedded {
    store: Store,
    view: Arc<View>,
    projection: Projection,
}

impl Embedded {
    /// Opens an empty directory and writes rows `0..rows`.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn load(folder: &Path, rows: u64, memory_bytes: u64) -> anyhow::Result<Self> {
        let store = Store::open_with(folder, Options { memory_bytes, ..Options::default() })?;
        store.apply(&[definition()])?;
        let catalogue = store.handle().catalogue();
        let name = format!("{}/{}", ours::PROJECT, ours::VIEW);
        let view = Arc::clone(catalogue.resolve(&name)?);
        let ids: Vec<u64> = (0..rows).collect();
        let mut sent = std::collections::VecDeque::new();
        for chunk in ids.chunks(1000) {
            sent.push_back(store.handle().submit(batch(&view, chunk))?);
            while sent.len() > 16 {
                landed(sent.pop_front().map(|ticket| ticket.wait()))?;
            }
        }
        while let Some(ticket) = sent.pop_front() {
            landed(Some(ticket.wait()))?;
        }
        let versions: Vec<_> =
            view.schemas.iter().map(|schema| (schema.id, &schema.definition)).collect();
        let names: Vec<String> = (0..FEATURES).map(|index| format!("f{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let projection = Projection::compile(&versions, &names)?;
        Ok(Self { view, projection, store })
    }
}

fn landed(outcomes: Option<Vec<Outcome>>) -> anyhow::Result<()> {
    let outcomes = outcomes.context("nothing was sent")?;
    let bad = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Ok { .. }));
    ensure!(bad.is_none(), "a row was not written: {bad:?}");
    Ok(())
}

fn batch(view: &View, ids: &[u64]) -> WriteBatch {
    let mut batch = WriteBatch::new(Ack::Durable, 0);
    for id in ids {
        let key = batch.store(&id.to_le_bytes());
        let value = batch.store(&blob(*id));
        batch.rows.push(RowWrite {
            kind: WriteKind::Put,
            view_id: view.id,
            schema_id: view.latest.id,
            dense: true,
            event_time: 1_700_000_000_000_000,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            producer_sequence: 0,
            key,
            value,
        });
    }
    batch
}

/// The hot table alone: hash, look up, verify, copy.
pub struct Hot<'a>(pub &'a Embedded, pub RowBuf);

impl Reader for Hot<'_> {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        let (reads, view) = (self.0.store.handle().reads(), &self.0.view);
        let keys: Vec<[u8; 8]> = ids.iter().map(|id| id.to_le_bytes()).collect();
        let probes = keys.iter().map(|key| {
            let hash = reads.hash(key);
            let table = reads.shard(reads.partition(hash)) as u32;
            let row_hash = row_hash(hash, view.id);
            Probe { table, row_hash, key, schema_ids: view.schema_ids() }
        });
        rows.clear();
        rows.resize(ids.len() * FEATURES, 0.0);
        let (slots, _) = rows.as_chunks_mut::<FEATURES>();
        multi_get(reads.tables(), probes, &mut self.1, |index, found| {
            let Lookup::Found(row) = found else { return };
            let (floats, _) = row.value().as_chunks::<4>();
            for (slot, bytes) in slots[index].iter_mut().zip(floats) {
                *slot = f32::from_le_bytes(*bytes);
            }
        });
        Ok(())
    }
}

/// The store as the server uses it: the hot table, then visibility and the projection.
pub struct Whole<'a>(pub &'a Embedded, pub RowBuf);

impl Reader for Whole<'_> {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        let Embedded { store, view, projection } = self.0;
        let reads = store.handle().reads();
        let bytes: Vec<[u8; 8]> = ids.iter().map(|id| id.to_le_bytes()).collect();
        let keys: Vec<Key<'_>> =
            bytes.iter().map(|key| Key { entity_hash: reads.hash(key), bytes: key }).collect();
        rows.clear();
        rows.resize(ids.len() * FEATURES, f32::NAN);
        let (slots, _) = rows.as_chunks_mut::<FEATURES>();
        let ttl_us = view.latest.definition.ttl_us;
        reads.multi_get(view, &keys, &mut self.1, |index, found| {
            let Lookup::Found(row) = found else { return };
            if visibility(row, ttl_us, 1_800_000_000_000_000) == Visibility::Present {
                let schema = SchemaId(row.schema_id());
                // A row that cannot be read stays NaN, and the check of the answer finds it.
                let _ =
                    projection.matrix_row(schema, row.value(), row.is_dense(), &mut slots[index]);
            }
        });
        Ok(())
    }
}
