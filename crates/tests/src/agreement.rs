//! Random operations against the naive model, through any way into the store.

use std::sync::Arc;

use thermae_engine::handle::Found;
use thermae_engine::reads::RowBuf;
use thermae_engine::store::Store;
use thermae_engine::{Ack, Key, Outcome, Refusal, WriteBatch};
use thermae_env::RealEnv;
use thermae_formats::visibility::{Visibility, visibility};
use thermae_formats::{Value, encode_key};

use crate::model::{Model, Operation, Rng, VIEWS, Verdict, encode, entity_key};

/// Entities a view.
const ENTITIES: u64 = 3_000;
/// Rows a batch at most.
const BATCH_ROWS_MAX: u64 = 120;

/// One way into a store.
pub trait Target {
    /// The partition of an entity.
    fn partition(&self, view: usize, entity: u64) -> u16;
    /// Writes operations of one view and kind, in order; true for each accepted one.
    fn write(&mut self, operations: &[Operation]) -> Result<Vec<bool>, String>;
    /// Reads all features of some entities; none where there is no row.
    fn read(
        &mut self,
        view: usize,
        entities: &[u64],
        read_time: i64,
    ) -> Result<Vec<Option<Vec<Value>>>, String>;
}

/// Writes and reads `operations` random operations and compares every answer with the model.
/// Returns how many reads were compared.
pub fn agree(target: &mut dyn Target, seed: u64, operations: usize) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let mut models = vec![Model::default(); 4096];
    let mut written = 0;
    let mut compared = 0;
    while written < operations {
        let batch = draw_batch(&mut rng, written as u64);
        let answers = target.write(&batch)?;
        if answers.len() != batch.len() {
            return Err(format!("{} answers for {} rows", answers.len(), batch.len()));
        }
        for (operation, accepted) in batch.iter().zip(answers) {
            let (view, entity) = operation.target();
            let model = &mut models[usize::from(target.partition(view, entity))];
            let verdict = model.write(operation);
            if accepted != (verdict == Verdict::Accepted) {
                return Err(format!("{operation:?}: accepted is {accepted}, must be {verdict:?}"));
            }
        }
        written += batch.len();
        compared += compare(target, &models, &mut rng)?;
    }
    Ok(compared)
}

/// Operations of one view and kind, as the wire wants them.
fn draw_batch(rng: &mut Rng, number: u64) -> Vec<Operation> {
    let first = Operation::draw(rng, number, ENTITIES);
    let same = |other: &Operation| match (&first, other) {
        (Operation::Partial { feature: a, .. }, Operation::Partial { feature: b, .. })
            if a != b =>
        {
            false
        }
        _ => {
            std::mem::discriminant(&first) == std::mem::discriminant(other)
                && first.target().0 == other.target().0
        }
    };
    let rows = 1 + rng.below(BATCH_ROWS_MAX);
    let mut batch = vec![first.clone()];
    while (batch.len() as u64) < rows {
        let next = Operation::draw(rng, number + batch.len() as u64, ENTITIES);
        if same(&next) {
            batch.push(next);
        }
    }
    batch
}

fn compare(target: &mut dyn Target, models: &[Model], rng: &mut Rng) -> Result<usize, String> {
    let view = rng.below(VIEWS.len() as u64) as usize;
    let count = [0, 1, 10, 100][rng.below(4) as usize];
    let mut entities: Vec<u64> = (0..count).map(|_| rng.below(ENTITIES + 5)).collect();
    if let Some(&first) = entities.first() {
        entities.push(first);
    }
    let read_time = 1_700_000_000_000_000 + rng.below(16) as i64;
    let answers = target.read(view, &entities, read_time)?;
    if answers.len() != entities.len() {
        return Err(format!("{} answers for {} keys", answers.len(), entities.len()));
    }
    for (&entity, answer) in entities.iter().zip(&answers) {
        let model = &models[usize::from(target.partition(view, entity))];
        let want = model.visible(view, entity, read_time);
        let same = match (answer.as_deref(), want) {
            (None, None) => true,
            (Some(got), Some(want)) => {
                got.len() == want.len() && got.iter().zip(want).all(|(a, b)| a.same_bits(b))
            }
            _ => false,
        };
        if !same {
            return Err(format!("view {view} entity {entity}: {answer:?}, must be {want:?}"));
        }
    }
    Ok(entities.len())
}

/// The embedded store.
pub struct InProcess<'a>(pub &'a Store<RealEnv>);

impl Target for InProcess<'_> {
    fn partition(&self, view: usize, entity: u64) -> u16 {
        let catalogue = self.0.handle().catalogue();
        let mut key = Vec::new();
        if let Ok(view_def) = catalogue.resolve(VIEWS[view]) {
            let keys = &view_def.latest.definition.join_keys;
            let _ = encode_key(keys, &[entity_key(view, entity)], &mut key);
        }
        let reads = self.0.handle().reads();
        reads.partition(reads.hash(&key))
    }

    fn write(&mut self, operations: &[Operation]) -> Result<Vec<bool>, String> {
        let catalogue = self.0.handle().catalogue();
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for operation in operations {
            let view = catalogue.resolve(VIEWS[operation.target().0]).map_err(|e| e.to_string())?;
            let row = encode(&mut batch, &view.latest, operation, 0);
            batch.rows.push(row);
        }
        let outcomes = self.0.handle().write(batch).map_err(|e| e.to_string())?;
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Ok { .. } => Ok(true),
                Outcome::NotApplied(Refusal::Late) => Ok(false),
                other => Err(format!("{other:?}")),
            })
            .collect()
    }

    fn read(
        &mut self,
        view: usize,
        entities: &[u64],
        read_time: i64,
    ) -> Result<Vec<Option<Vec<Value>>>, String> {
        let catalogue = self.0.handle().catalogue();
        let view_def = Arc::clone(catalogue.resolve(VIEWS[view]).map_err(|e| e.to_string())?);
        let reads = self.0.handle().reads();
        let mut encoded = Vec::new();
        for &entity in entities {
            let mut key = Vec::new();
            let keys = &view_def.latest.definition.join_keys;
            encode_key(keys, &[entity_key(view, entity)], &mut key).map_err(|e| e.to_string())?;
            encoded.push(key);
        }
        let keys: Vec<Key<'_>> =
            encoded.iter().map(|bytes| Key { entity_hash: reads.hash(bytes), bytes }).collect();
        let mut answers: Vec<_> = keys.iter().map(|_| Ok(None)).collect();
        let handle = self.0.handle();
        let read = handle.read(&view_def, &keys, &mut RowBuf::default(), |at, found| {
            answers[at] = decode(&catalogue, found, read_time);
        });
        read.map_err(|e| e.to_string())?;
        answers.into_iter().collect()
    }
}

fn decode(
    catalogue: &thermae_engine::Catalogue,
    found: Found<'_, '_>,
    read_time: i64,
) -> Result<Option<Vec<Value>>, String> {
    let row = match found {
        Found::Absent => return Ok(None),
        Found::Failed(why) | Found::Unavailable(why) => return Err(why.to_owned()),
        Found::Row(row) => row,
    };
    let standing = visibility(row.is_tombstone(), row.expire_at, row.event_time, 0, read_time);
    if standing != Visibility::Present {
        return Ok(None);
    }
    let schema = catalogue.schema(row.schema_id).ok_or("unknown schema")?;
    let values = schema.layout.decode(row.value, row.is_dense());
    values.map(Some).map_err(|e| e.to_string())
}
