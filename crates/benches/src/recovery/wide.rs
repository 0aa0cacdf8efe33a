//! Wide rows, so that many GB are few enough rows to be loaded in minutes: 250 float32 under an int64 key.

use crate::ours::Server;
use crate::socket::Waiting;
use crate::workload::value;
use crate::writes::Writes;
use anyhow::{Context, ensure};
use std::ops::Range;
use thermae_client::{Client, Keys, Plan, ReadOptions, ViewFeatures, WriteBatch};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, NO_TIME, Scalar};

const FEATURES: usize = 250;
/// Bytes of a row's values.
pub const VALUE_BYTES: usize = 4 * FEATURES;
const PROJECT: &str = "bench";
const VIEW: &str = "wide";
const TIME_US: i64 = 1_700_000_000_000_000;
const BATCH_ROWS: usize = 200;
const IN_FLIGHT: usize = 16;

/// The view.
pub fn definition() -> FeatureView {
    let features =
        (0..FEATURES).map(|at| Feature::new(format!("f{at}"), Scalar::Float32)).collect();
    FeatureView::new(PROJECT, VIEW, vec![JoinKey::new("id", KeyType::Int64)], features)
}

/// The values of row `id` as bytes.
pub fn blob(id: u64) -> Vec<u8> {
    (0..FEATURES).flat_map(|at| value(id, at).to_le_bytes()).collect()
}

/// Writes rows `ids`, durable.
///
/// # Errors
/// A refusal.
pub fn write(server: &Server, ids: Range<u64>) -> anyhow::Result<()> {
    let client = server.client(Waiting::Block)?;
    let (view, mut writes) = (client.view(PROJECT, VIEW)?, Writes::new(client));
    let ids: Vec<u64> = ids.collect();
    for chunk in ids.chunks(BATCH_ROWS) {
        let mut batch = WriteBatch::put(&view);
        for id in chunk {
            batch.push_encoded(&id.to_le_bytes(), &blob(*id), true, [TIME_US, NO_TIME, NO_TIME]);
        }
        writes.send(batch)?;
        if writes.len() == IN_FLIGHT {
            writes.receive()?;
        }
    }
    while !writes.is_empty() {
        writes.receive()?;
    }
    Ok(())
}

/// Reads rows and compares them.
pub struct Reads {
    client: Client,
    plan: Plan,
    keys: Keys,
}

impl Reads {
    /// Prepares the read of all values.
    ///
    /// # Errors
    /// A refusal.
    pub fn new(client: Client) -> anyhow::Result<Self> {
        let wanted =
            ViewFeatures { project: PROJECT, view: VIEW, version: 0, features: Vec::new() };
        let plan = client.prepare(&[wanted])?;
        let keys = plan.keys(0)?;
        Ok(Self { client, plan, keys })
    }

    /// Reads rows `ids`; the one at `compared` must be as written, and all must be there. Returns how many are.
    ///
    /// # Errors
    /// A row is not there, or is another.
    pub fn read(&mut self, ids: &[u64], compared: usize) -> anyhow::Result<usize> {
        self.keys.clear();
        for id in ids {
            self.keys.push_packed(&id.to_le_bytes(), 1);
        }
        let options = ReadOptions { matrix: true, ..ReadOptions::default() };
        let answer = self.client.read(&self.plan, &[&self.keys], &options)?;
        let view = answer.view(0).context("an answer without a view")?;
        let found = view.statuses().iter().filter(|status| **status == 1).count();
        let row =
            answer.matrix(0)?.chunks_exact(FEATURES).nth(compared).context("a short answer")?;
        let bytes = row.iter().flat_map(|feature| feature.to_le_bytes());
        ensure!(
            found == ids.len() && bytes.eq(blob(ids[compared])),
            "row {} is not as written",
            ids[compared]
        );
        Ok(found)
    }
}

/// Reads each `step`-th of rows `0..rows` from the last one down, and compares it. Returns how many.
///
/// # Errors
/// A row is not there, or is another.
pub fn check(server: &Server, rows: u64, step: u64) -> anyhow::Result<u64> {
    let mut reads = Reads::new(server.client(Waiting::Block)?)?;
    let mut checked = 0;
    for id in (0..rows).rev().step_by(step.max(1) as usize) {
        reads.read(&[id], 0)?;
        checked += 1;
    }
    Ok(checked)
}
