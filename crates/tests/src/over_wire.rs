//! The client's way into a store, for the agreement tests.

use thermae_client::{
    CellStatus, Client, Keys, NotApplied, Plan, ReadOptions, RowOutcome, ServerInfo, ViewFeatures,
    ViewHandle, WriteBatch,
};
use thermae_formats::hash::{entity_hash, partition_of};
use thermae_formats::{NO_TIME, Value};

use crate::agreement::Target;
use crate::model::{Operation, entity_key};

/// Project of the model's views.
const PROJECT: &str = "test";
/// The model's views without their project.
const NAMES: [&str; 2] = ["by_number", "by_name"];
/// The model's features.
const FEATURES: [&str; 3] = ["number", "ratio", "text"];

/// A client, over TCP or a unix socket.
pub struct OverWire {
    client: Client,
    server: ServerInfo,
    plans: Vec<Plan>,
    handles: Vec<ViewHandle>,
}

impl OverWire {
    /// Prepares reads and writes of the model's views, which the server has.
    pub fn new(client: Client) -> Result<Self, thermae_client::Error> {
        let mut plans = Vec::new();
        let mut handles = Vec::new();
        for view in NAMES {
            let features = FEATURES.to_vec();
            let wanted = ViewFeatures { project: PROJECT, view, version: 0, features };
            plans.push(client.prepare(&[wanted])?);
            handles.push(client.view(PROJECT, view)?);
        }
        Ok(OverWire { server: client.server()?, client, plans, handles })
    }

    /// The read plan of each view.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// Packed keys of some entities.
    pub fn keys(&self, view: usize, entities: &[u64]) -> Result<Keys, String> {
        let mut keys = self.plans[view].keys(0).map_err(|e| e.to_string())?;
        for &entity in entities {
            keys.push(&[entity_key(view, entity)]).map_err(|e| e.to_string())?;
        }
        Ok(keys)
    }

    fn batch(&self, operations: &[Operation]) -> Result<WriteBatch, thermae_client::Error> {
        let first = operations.first();
        let handle = &self.handles[first.map_or(0, |operation| operation.target().0)];
        let mut batch = match first {
            Some(Operation::Partial { feature, .. }) => {
                WriteBatch::partial(handle, &[FEATURES[usize::from(*feature)]])?
            }
            Some(Operation::Delete { .. }) => WriteBatch::delete(handle),
            _ => WriteBatch::put(handle),
        };
        for operation in operations {
            let (view, entity) = operation.target();
            let key = [entity_key(view, entity)];
            match operation {
                Operation::Put { event_time, created_time, expire_at, values, .. } => {
                    batch.push_expiring(&key, *event_time, *created_time, *expire_at, values)?;
                }
                Operation::Partial { event_time, value, .. } => {
                    batch.push(&key, *event_time, NO_TIME, std::slice::from_ref(value))?;
                }
                Operation::Delete { event_time, .. } => batch.push_key(&key, *event_time)?,
                // Agreement is about reads; erases are drawn by the campaigns.
                Operation::Erase { .. } => {}
            }
        }
        Ok(batch)
    }
}

impl Target for OverWire {
    fn partition(&self, view: usize, entity: u64) -> u16 {
        let Ok(keys) = self.keys(view, &[entity]) else { return u16::MAX };
        let hash = entity_hash(keys.packed().bytes, self.server.hash_seed);
        partition_of(hash, self.server.partitions)
    }

    fn write(&mut self, operations: &[Operation]) -> Result<Vec<bool>, String> {
        let mut batch = self.batch(operations).map_err(|e| e.to_string())?;
        let written = self.client.write(&mut batch).map_err(|e| e.to_string())?;
        written
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                RowOutcome::Ok { .. } => Ok(true),
                RowOutcome::NotApplied(NotApplied::Late) => Ok(false),
                other => Err(format!("{other:?}: {}", written.message)),
            })
            .collect()
    }

    fn read(
        &mut self,
        view: usize,
        entities: &[u64],
        read_time: i64,
    ) -> Result<Vec<Option<Vec<Value>>>, String> {
        let plan = &self.plans[view];
        let keys = self.keys(view, entities)?;
        let options = ReadOptions { read_time, ..ReadOptions::default() };
        let answer = self.client.read(plan, &[&keys], &options).map_err(|e| e.to_string())?;
        let row = |row: usize| -> Result<Option<Vec<Value>>, String> {
            match answer.status(0, row, 0) {
                CellStatus::NotFound => Ok(None),
                CellStatus::Present | CellStatus::NullValue => (0..FEATURES.len())
                    .map(|column| answer.value(0, row, column).map_err(|e| e.to_string()))
                    .collect::<Result<_, _>>()
                    .map(Some),
                other => Err(format!("row {row}: {other:?}")),
            }
        };
        (0..entities.len()).map(row).collect()
    }
}
