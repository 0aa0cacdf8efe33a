//! Writes by name.

use std::sync::Arc;

use thermae_engine::store::Row;
use thermae_engine::{Ack, Outcome, Schema, WriteBatch};
use thermae_env::Env;

use super::{FeatureStore, name};
use crate::error::Error;
use crate::model::{Kind, Lifecycle};

/// How rows are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushOptions {
    /// When they are acknowledged.
    pub ack: Ack,
    /// Who pushes, and the number of the first row in that producer's sequence, from 1: repeating rows under
    /// the same numbers changes nothing. Producer 0 is nobody, and nothing is recognised.
    pub producer: (u64, u64),
}

impl Default for PushOptions {
    /// Durable, by nobody.
    fn default() -> Self {
        PushOptions { ack: Ack::Durable, producer: (0, 0) }
    }
}

impl<E: Env> FeatureStore<E> {
    /// Writes rows into a feature view, online and history at once; one outcome a row. A row that is older than
    /// what is there becomes history, and what is served stays. A bare name means the version that serves.
    ///
    /// # Errors
    /// There is no such view, it is retired, or a row does not fit it; then none is written.
    pub fn push(
        &self,
        view: &str,
        rows: &[Row],
        options: &PushOptions,
    ) -> Result<Vec<Outcome>, Error> {
        let schema = self.schema(view)?;
        let (producer, first) = options.producer;
        let mut batch = WriteBatch::new(options.ack, producer);
        for (row, sequence) in rows.iter().zip(first..) {
            batch.push(&schema, row, sequence)?;
        }
        Ok(self.handle.write(batch)?)
    }

    /// The schema that rows of a view are written by.
    pub(super) fn schema(&self, view: &str) -> Result<Arc<Schema>, Error> {
        let published = self.registry.published();
        let object = published.state.find(&[Kind::View], &name(view)?, None)?;
        if object.about.lifecycle == Lifecycle::Retired {
            return Err(Error::Invalid(format!("{} is retired: nothing is written", object.id)));
        }
        let id = &object.id;
        let known = published.catalogue.view_at(&id.project, &id.name, id.version);
        let known = known.ok_or_else(|| Error::NotFound(format!("{id} is not stored yet")))?;
        Ok(Arc::clone(&known.latest))
    }
}
