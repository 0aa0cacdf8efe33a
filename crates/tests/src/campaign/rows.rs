//! Every row of a simulated store against the model.

use thermae_engine::Key;
use thermae_engine::handle::Found;
use thermae_engine::reads::RowBuf;
use thermae_formats::{Value, encode_key};

use super::run::ENTITIES;
use super::world::World;
use crate::model::{ModelRow, VIEWS, entity_key};

impl World {
    /// Compares every row of the store, whatever tier it lies in, with the model.
    ///
    /// # Errors
    /// A row is another one, or cannot be read.
    pub fn check_rows(&mut self) -> Result<(), String> {
        self.unreadable_rows()?.pop().map_or(Ok(()), Err)
    }

    /// The same, but a row may be refused: why each was that is. Every other time the tables of a view are
    /// read by its shards alone, as they are for each other.
    ///
    /// # Errors
    /// A row is another one.
    pub fn unreadable_rows(&mut self) -> Result<Vec<String>, String> {
        let mut unreadable = Vec::new();
        self.checks += 1;
        let catalogue = self.handle.catalogue();
        for (view, name) in VIEWS.iter().enumerate() {
            let Ok(definition) = catalogue.resolve(name) else { continue };
            let join_keys = &definition.latest.definition.join_keys;
            let mut encoded = Vec::new();
            for entity in 0..ENTITIES {
                let mut key = Vec::new();
                encode_key(join_keys, &[entity_key(view, entity)], &mut key)
                    .map_err(|e| e.to_string())?;
                encoded.push(key);
            }
            let reads = self.handle.reads().clone();
            let keys: Vec<Key<'_>> =
                encoded.iter().map(|bytes| Key { entity_hash: reads.hash(bytes), bytes }).collect();
            let model = |key: &Key<'_>| {
                self.histories[usize::from(reads.partition(key.entity_hash))].model()
            };
            let want: Vec<_> = (keys.iter().zip(0..))
                .map(|(key, entity)| model(key).row(view, entity).cloned())
                .collect();
            let is_past = |(key, want): (&Key<'_>, &Option<ModelRow>)| {
                want.as_ref().is_some_and(|want| model(key).may_be_gone(view, want))
            };
            let may_be_gone: Vec<bool> = keys.iter().zip(&want).map(is_past).collect();
            let mut result = Ok(());
            let mut check = |at: usize, found: Found<'_, '_>| {
                if let Found::Failed(why) | Found::Unavailable(why) = found {
                    unreadable.push(format!("view {view} entity {at}: unreadable: {why}"));
                } else if matches!(found, Found::Absent) && may_be_gone[at] {
                    // Past `keep_for`.
                } else if let (Ok(()), Err(error)) =
                    (&result, compare(&catalogue, found, want[at].as_ref()))
                {
                    result = Err(format!("view {view} entity {at}: {error}"));
                }
            };
            let handle = self.handle.clone();
            let mut buf = RowBuf::default();
            let mut rest = match (self.checks + view as u64).is_multiple_of(2) {
                true => handle.read_hot(definition, &keys, &mut buf, &mut check),
                false => handle.read_here(definition, &keys, &mut buf, &mut check),
            };
            let fetched = self.fetch(std::mem::take(&mut rest.batch))?;
            rest.take(&fetched, &mut check);
            result?;
        }
        Ok(unreadable)
    }
}

fn compare(
    catalogue: &thermae_engine::Catalogue,
    found: Found<'_, '_>,
    want: Option<&ModelRow>,
) -> Result<(), String> {
    let row = match (found, want) {
        (Found::Absent, None) => return Ok(()),
        (Found::Row(row), Some(_)) => row,
        (Found::Row(row), None) => {
            return Err(format!("a row of sequence {} that nobody wrote", row.sequence));
        }
        (Found::Absent, Some(want)) => return Err(format!("missing: {want:?}")),
        (Found::Failed(why) | Found::Unavailable(why), _) => return Err(why.to_string()),
    };
    let Some(want) = want else { return Ok(()) };
    if row.order() != want.order || row.expire_at != want.expire_at {
        return Err(format!("{:?}, must be {:?}", row.order(), want.order));
    }
    let Some(values) = &want.values else {
        return if row.is_tombstone() { Ok(()) } else { Err("must be a tombstone".to_owned()) };
    };
    let schema = catalogue.schema(row.schema_id).ok_or("unknown schema")?;
    let got = schema.layout.decode(row.value, row.is_dense()).map_err(|e| e.to_string())?;
    let same =
        got.len() == values.len() && got.iter().zip(values).all(|(a, b)| Value::same_bits(a, b));
    if same { Ok(()) } else { Err(format!("{got:?}, must be {values:?}")) }
}
