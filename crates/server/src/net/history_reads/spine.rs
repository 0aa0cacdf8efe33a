//! A spine as a client handed it over: kept on disk, read as often as it is asked for.

use arrow_schema::SchemaRef;
use thermae_engine::training::{Batches, Cause, SpillBytes, Spine};
use thermae_env::Env;

use super::stream::{StreamError, StreamReader};

/// A whole stream.
pub struct UploadedSpine<E: Env> {
    bytes: SpillBytes<E>,
    schema: SchemaRef,
}

impl<E: Env> UploadedSpine<E> {
    /// Looks at its schema; its batches are looked at when they are read.
    ///
    /// # Errors
    /// It begins with none that is taken.
    pub fn new(bytes: SpillBytes<E>) -> Result<Self, StreamError> {
        let schema = StreamReader::new(bytes.read())?.schema();
        Ok(Self { bytes, schema })
    }
}

impl<E: Env> Spine for UploadedSpine<E> {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn read(&self) -> Result<Batches<'_>, Cause> {
        let batches = StreamReader::new(self.bytes.read())?;
        Ok(Box::new(batches.map(|batch| batch.map_err(Cause::from))))
    }
}
