//! Rows that name their write: how the campaigns on a real server write them and read them back.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::Instant;

use thermae_client::{
    Ack, CellStatus, Client, PendingWrite, ReadOptions, ViewFeatures, ViewHandle, WriteBatch,
};
use thermae_formats::hash::{entity_hash, partition_of, shard_of};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value};

use crate::ledger::Ledger;
use crate::model::Rng;

/// Entities written to.
const ENTITIES: u64 = 500;
/// Batches under way at a time.
const PIPELINE: usize = 4;
/// Event times count up from here, microseconds UTC.
const BASE_US: i64 = 1_700_000_000_000_000;

struct UnderWay {
    rows: Range<usize>,
    asked: Ack,
    answer: PendingWrite,
}

/// One connection that writes batches, several under way.
pub struct Writer<'c> {
    client: &'c Client,
    view: ViewHandle,
    under_way: VecDeque<UnderWay>,
    all_acknowledged: bool,
}

impl<'c> Writer<'c> {
    /// A writer to the view that [`define`] made.
    pub fn new(client: &'c Client) -> Result<Self, String> {
        let view = client.view("test", "numbered").map_err(text)?;
        Ok(Writer { client, view, under_way: VecDeque::new(), all_acknowledged: true })
    }

    /// Sends a batch of random rows; when enough are under way, waits for the oldest first.
    ///
    /// # Errors
    /// The batch could not be sent; its rows are in doubt.
    pub fn send(&mut self, rng: &mut Rng, ledger: &mut Ledger, ack: Ack) -> Result<(), String> {
        if self.under_way.len() >= PIPELINE {
            self.note_oldest(ledger);
        }
        let mut batch = WriteBatch::put(&self.view);
        batch.ack(ack);
        let first = ledger.entered();
        for _ in 0..1 + rng.below(40) {
            let entity = rng.below(ENTITIES);
            let number = ledger.enter(entity) as i64;
            let values = [Value::Int64(number), Value::Int64(entity as i64)];
            let key = [KeyValue::Int(entity as i64)];
            batch.push(&key, BASE_US + number, NO_TIME, &values).map_err(text)?;
        }
        let rows = first..ledger.entered();
        match self.client.send_write(&mut batch) {
            Ok(answer) => {
                self.under_way.push_back(UnderWay { rows, asked: ack, answer });
                Ok(())
            }
            Err(error) => {
                self.all_acknowledged = ledger.answer(rows, ack, None);
                Err(error.to_string())
            }
        }
    }

    /// Waits for all that is under way. Answers that came before a crash count; the rest is in doubt.
    pub fn drain(&mut self, ledger: &mut Ledger) {
        while !self.under_way.is_empty() {
            self.note_oldest(ledger);
        }
    }

    /// Whether the newest batch with an outcome was acknowledged, every row.
    pub fn is_acknowledged(&self) -> bool {
        self.all_acknowledged
    }

    fn note_oldest(&mut self, ledger: &mut Ledger) {
        if let Some(UnderWay { rows, asked, answer }) = self.under_way.pop_front() {
            let written = answer.wait().ok();
            self.all_acknowledged = ledger.answer(rows, asked, written.as_ref());
        }
    }
}

/// Makes the view that the rows are of.
pub fn define(client: &Client) -> Result<(), String> {
    let features =
        vec![Feature::new("number", Scalar::Int64), Feature::new("owner", Scalar::Int64)];
    let keys = vec![JoinKey::new("entity", KeyType::Int64)];
    let view = FeatureView::new("test", "numbered", keys, features).to_json().map_err(text)?;
    let view = String::from_utf8_lossy(&view);
    client.apply(&format!("{{\"views\":[{view}]}}")).map_err(text).map(|_| ())
}

/// Reads every entity and compares with the ledger, which was written to under `shards` shards; `cut`
/// is when the power was cut, none if only the process was killed.
///
/// # Errors
/// The promise that is broken, or why the server could not be asked.
pub fn judge(
    client: &Client,
    ledger: &mut Ledger,
    shards: usize,
    cut: Option<Instant>,
) -> Result<(), String> {
    let found = read_all(client)?;
    let server = client.server().map_err(text)?;
    let shard = |entity: u64| {
        let hash = entity_hash(&(entity as i64).to_le_bytes(), server.hash_seed);
        usize::from(shard_of(partition_of(hash, server.partitions), shards as u16))
    };
    ledger.judge(found, shards, shard, cut)
}

/// The number that each entity holds.
fn read_all(client: &Client) -> Result<HashMap<u64, u64>, String> {
    let features = vec!["number", "owner"];
    let wanted = ViewFeatures { project: "test", view: "numbered", version: 0, features };
    let plan = client.prepare(&[wanted]).map_err(text)?;
    let mut keys = plan.keys(0).map_err(text)?;
    for entity in 0..ENTITIES {
        keys.push_i64(entity as i64).map_err(text)?;
    }
    let answer = client.read(&plan, &[&keys], &ReadOptions::default()).map_err(text)?;
    let mut found = HashMap::new();
    for entity in 0..ENTITIES {
        let row = entity as usize;
        match answer.status(0, row, 0) {
            CellStatus::NotFound => {}
            CellStatus::Present => {
                let number = answer.value(0, row, 0).map_err(text)?;
                let owner = answer.value(0, row, 1).map_err(text)?;
                let (Value::Int64(number), Value::Int64(owner)) = (&number, &owner) else {
                    return Err(format!("entity {entity}: {number:?} {owner:?}"));
                };
                if *owner as u64 != entity {
                    return Err(format!("entity {entity} got the row of entity {owner}"));
                }
                found.insert(entity, *number as u64);
            }
            other => return Err(format!("entity {entity}: {other:?}")),
        }
    }
    Ok(found)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
