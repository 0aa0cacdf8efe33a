//! A table as a source of a merge.

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::version::Version;

use crate::WarmError;
use crate::merge::{Entry, Source};
use crate::table::{Table, TableScan};

/// A table's rows in order, the present one copied out of its block.
pub struct TableSource<E: Env> {
    scan: TableScan<E::File>,
    row: Option<(ViewId, u64)>,
    version: Vec<u8>,
}

impl<E: Env> TableSource<E> {
    /// At the table's first row; the table is read `scan_bytes` at a time.
    ///
    /// # Errors
    /// Its first block cannot be read.
    pub fn new(
        table: &std::sync::Arc<Table<E::File>>,
        scan_bytes: usize,
    ) -> Result<Self, WarmError> {
        let scan = table.scan_by(scan_bytes);
        let mut source = Self { scan, row: None, version: Vec::new() };
        source.advance()?;
        Ok(source)
    }
}

impl<E: Env> Source for TableSource<E> {
    type Error = WarmError;

    fn peek(&self) -> Option<Entry<'_>> {
        let (view, entity_hash) = self.row?;
        let (version, _) = Version::split_first(&self.version).ok()?;
        Some((view, entity_hash, version))
    }

    fn advance(&mut self) -> Result<(), WarmError> {
        let next = self.scan.next()?;
        self.version.clear();
        self.row = next.map(|row| {
            row.version.encode(&mut self.version);
            (row.view, row.entity_hash)
        });
        Ok(())
    }
}
