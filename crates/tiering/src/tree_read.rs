//! Reading trees with blocking calls: for an open, where nothing else goes on.

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::version::Version;

use crate::WarmError;
use crate::compact::TableSource;
use crate::merge::{Merge, Together};
use crate::table::Scratch;
use crate::tree::Tree;

/// Bytes that are read at once from each table: nothing waits for this work but an open.
const SCAN_BYTES: usize = 128 << 10;

impl<E: Env> Tree<E> {
    /// Looks for the newest version of a row and shows it to `found`, if there is one.
    ///
    /// # Errors
    /// A table that may have it cannot be read.
    pub fn read_newest(
        &self,
        view: ViewId,
        entity_hash: u64,
        key: &[u8],
        found: impl FnOnce(&Version<'_>),
    ) -> Result<(), WarmError> {
        let mut scratch = Scratch::new();
        for table in self.latest.iter().map(|run| &run.table) {
            if !table.may_hold(view, entity_hash) {
                continue;
            }
            let Some(extent) = table.locate(view, entity_hash) else { continue };
            let block = table.read(extent)?;
            if let Some(version) = table.search(extent, &block, key, &mut scratch)? {
                found(&version);
                return Ok(());
            }
        }
        Ok(())
    }

    /// All rows of `latest`, key by key: the first version of each group is its newest.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn newest_rows(&self) -> Result<Merge<TableSource<E>>, WarmError> {
        let sources = self.latest.iter().map(|run| TableSource::new(&run.table, SCAN_BYTES));
        Ok(Merge::new(sources.collect::<Result<_, _>>()?, Together::Keys))
    }
}
