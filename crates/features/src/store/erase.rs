//! The right to be forgotten, by name.

use std::sync::Arc;

use thermae_engine::{Ack, Outcome, RowWrite, Schema, WriteBatch, WriteKind};
use thermae_env::Env;
use thermae_formats::KeyValue;
use thermae_formats::key::encode_key;

use super::FeatureStore;
use crate::error::Error;
use crate::model::quarantine_name;

impl<E: Env> FeatureStore<E> {
    /// Erases entities from a feature view and from its quarantine, as
    /// [`Store::erase`](thermae_engine::Store::erase) does from one; outcomes view by view.
    ///
    /// # Errors
    /// There is no such view, or a key does not fit it; then none is erased.
    pub fn erase(&self, view: &str, keys: &[Vec<KeyValue>]) -> Result<Vec<Outcome>, Error> {
        let schema = self.schema(view)?;
        let of = &schema.definition;
        let catalogue = self.handle.catalogue();
        let quarantine = catalogue.view_at(&of.project, &quarantine_name(&of.name), of.version);
        let quarantine = quarantine.map(|view| Arc::clone(&view.latest));
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        for schema in std::iter::once(&schema).chain(&quarantine) {
            for (at, key) in keys.iter().enumerate() {
                push(&mut batch, schema, key)
                    .map_err(|e| Error::Invalid(format!("row {at}: {e}")))?;
            }
        }
        Ok(self.handle.write(batch)?)
    }
}

fn push(batch: &mut WriteBatch, schema: &Schema, key: &[KeyValue]) -> Result<(), String> {
    let mut bytes = Vec::new();
    encode_key(&schema.definition.join_keys, key, &mut bytes).map_err(|e| e.to_string())?;
    let key = batch.store(&bytes);
    batch.rows.push(RowWrite { kind: WriteKind::Erase, ..RowWrite::delete(schema, 0, key) });
    Ok(())
}
