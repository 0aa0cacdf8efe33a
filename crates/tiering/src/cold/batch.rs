//! Rows that are archived together, in memory: taken in any order, written a file for each day.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thermae_formats::hash::partition_of;
use thermae_formats::version::Version;

use super::{ColdError, Columns, FileRef, FileWriter, Store, event_day};

/// Rows of one view: of each partition those from one sequence up to another.
pub struct Batch {
    store: Store,
    columns: Arc<Columns>,
    advances: BTreeMap<u16, (u64, u64)>,
    /// Encoded versions, one after the other.
    arena: Vec<u8>,
    rows: Vec<(u64, usize)>,
}

impl Batch {
    /// A batch of the rows of a view whose sequences lie in `advances`: for each partition the first, and the
    /// first that is not in it.
    pub fn new(store: Store, columns: &Arc<Columns>, advances: BTreeMap<u16, (u64, u64)>) -> Self {
        let (arena, rows) = (Vec::new(), Vec::new());
        Self { store, columns: Arc::clone(columns), advances, arena, rows }
    }

    /// Takes a row, if it is one of the batch's. The same version may come more than once.
    pub fn push(&mut self, entity_hash: u64, version: &Version<'_>) -> bool {
        let partition = partition_of(entity_hash, self.store.partitions);
        let range = self.advances.get(&partition);
        let takes = range.is_some_and(|(from, to)| (*from..*to).contains(&version.sequence));
        if takes {
            self.rows.push((entity_hash, self.arena.len()));
            version.encode(&mut self.arena);
        }
        takes
    }

    /// Rows that it took; the same version may be among them more than once.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        self.arena.len() + std::mem::size_of_val(&self.rows[..])
    }

    /// The columns that its files have.
    pub fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// What it advances.
    pub fn advances(&self) -> &BTreeMap<u16, (u64, u64)> {
        &self.advances
    }

    /// Its rows as files, each with its bytes, one after the other to `take`.
    ///
    /// # Errors
    /// A row does not read, or `take` fails.
    pub fn write(
        &self,
        mut take: impl FnMut(FileRef, Bytes) -> Result<(), ColdError>,
    ) -> Result<(), ColdError> {
        let mut rows = Vec::with_capacity(self.rows.len());
        for (hash, at) in &self.rows {
            let (version, _) = Version::split_first(&self.arena[*at..])
                .map_err(|_| ColdError::Order("it does not read"))?;
            rows.push((event_day(version.event_time), *hash, version));
        }
        rows.sort_unstable_by(|a, b| {
            let by_key = (a.0, a.1, a.2.key).cmp(&(b.0, b.1, b.2.key));
            by_key.then_with(|| b.2.order().cmp(&a.2.order()))
        });
        rows.dedup_by(|a, b| (a.1, a.2.key, a.2.order()) == (b.1, b.2.key, b.2.order()));
        for day in rows.chunk_by(|a, b| a.0 == b.0) {
            let Some((number, ..)) = day.first() else { continue };
            let mut writer = FileWriter::new(self.store, &self.columns, *number, Vec::new());
            for (_, hash, version) in day {
                writer.push(self.columns.view(), *hash, version)?;
            }
            let (bytes, file) = writer.finish()?;
            take(file, bytes.into())?;
        }
        Ok(())
    }
}
