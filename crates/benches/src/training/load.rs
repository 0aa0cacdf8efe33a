//! The history in a store: every row written as a service would, oldest first, until the tables rest.

use super::data::Sizes;
use crate::warm::load::{BATCH_ROWS, IN_FLIGHT, rest, until_written};
use crate::workload::FEATURES;
use anyhow::Context;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use thermae_engine::catalogue::View;
use thermae_engine::handle::WriteTicket;
use thermae_engine::write::{Ack, RowWrite, WriteBatch, WriteKind};
use thermae_engine::{Options, Store};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, Scalar, Value};

/// Memory of the store, beside that of a training read.
pub const MEMORY_BYTES: u64 = 256 << 20;

/// Memory of the store while it is loaded: enough for a row of each key in the hot table, or each write would read what
/// it replaces from the disk.
pub fn load_memory_bytes(sizes: &Sizes) -> u64 {
    MEMORY_BYTES.max(sizes.keys() * 256)
}

/// The view that is joined.
pub const VIEW: &str = "bench/history";

/// The view; of versions that are superseded, those older than `warm_for_us` may leave for an archive, if there is
/// one and that is not 0.
pub fn definition(warm_for_us: i64) -> FeatureView {
    let features = (0..FEATURES).map(|at| Feature::new(format!("f{at}"), Scalar::Float32));
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let mut view = FeatureView::new("bench", "history", keys, features.collect());
    view.tiers.warm_for_us = warm_for_us;
    view
}

/// Writes the history to a new store in `folder`; rows acknowledged as durable a second.
///
/// # Errors
/// A row was not written, or the tables do not come to rest.
pub fn load(folder: &Path, sizes: &Sizes) -> anyhow::Result<f64> {
    let memory_bytes = load_memory_bytes(sizes);
    let store =
        Store::open_with(folder, Options { memory_bytes, spin_us: 0, ..Options::default() })?;
    store.apply(&[definition(0)])?;
    let view = Arc::clone(store.handle().catalogue().resolve(VIEW)?);
    let (started, mut sent) = (Instant::now(), VecDeque::new());
    for begin in (0..sizes.history).step_by(BATCH_ROWS as usize) {
        let rows = begin..sizes.history.min(begin + BATCH_ROWS);
        sent.push_back((rows.clone(), store.handle().submit(batch(&view, sizes, rows)?)?));
        if sent.len() >= IN_FLIGHT {
            landed(&store, &view, sizes, sent.pop_front())?;
        }
    }
    while !sent.is_empty() {
        landed(&store, &view, sizes, sent.pop_front())?;
    }
    let rows_per_s = sizes.history as f64 / started.elapsed().as_secs_f64();
    rest(store.handle(), &folder.join("warm"))?;
    store.close()?;
    Ok(rows_per_s)
}

fn batch(view: &View, sizes: &Sizes, rows: Range<u64>) -> anyhow::Result<WriteBatch> {
    let (mut batch, mut bytes) = (WriteBatch::new(Ack::Durable, 0), Vec::new());
    for number in rows {
        let version = sizes.version(number);
        bytes.clear();
        let values = version.values().map(Value::Float32);
        let dense = view.latest.layout.encode(&values, &mut bytes)?;
        let key = batch.store(&version.id.to_le_bytes());
        let value = batch.store(&bytes);
        let empty = RowWrite::delete(&view.latest, version.time_us, key);
        batch.rows.push(RowWrite { kind: WriteKind::Put, dense, value, ..empty });
    }
    Ok(batch)
}

fn landed(
    store: &Store,
    view: &View,
    sizes: &Sizes,
    sent: Option<(Range<u64>, WriteTicket)>,
) -> anyhow::Result<()> {
    let (rows, ticket) = sent.context("nothing was sent")?;
    until_written(store, ticket, || batch(view, sizes, rows.clone()))
}
