//! Where the rows come from that features are joined onto.

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

use super::Cause;

/// Batches of a spine, in order.
pub type Batches<'s> = Box<dyn Iterator<Item = Result<RecordBatch, Cause>> + Send + 's>;

/// Rows with join keys, a time, and whatever else is to be kept. Read twice, so it must be the same twice.
pub trait Spine {
    /// Its columns.
    fn schema(&self) -> SchemaRef;
    /// How many rows there are, where that is known beforehand.
    fn rows(&self) -> Option<u64>;
    /// Its rows from the first to the last. A batch is held in memory whole: some thousand rows are a good
    /// size.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self) -> Result<Batches<'_>, Cause>;
}

/// A spine in memory.
#[derive(Clone, Debug)]
pub struct MemorySpine {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl MemorySpine {
    /// A spine of batches of one schema.
    ///
    /// # Errors
    /// A batch has other columns.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, ArrowError> {
        if batches.iter().any(|batch| batch.schema().fields() != schema.fields()) {
            return Err(ArrowError::SchemaError("a batch has columns of its own".to_owned()));
        }
        Ok(Self { schema, batches })
    }
}

impl Spine for MemorySpine {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn rows(&self) -> Option<u64> {
        Some(self.batches.iter().map(|batch| batch.num_rows() as u64).sum())
    }

    fn read(&self) -> Result<Batches<'_>, Cause> {
        Ok(Box::new(self.batches.iter().cloned().map(Ok)))
    }
}
