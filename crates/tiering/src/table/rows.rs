//! The rows of one view in a range of entity hashes, with jumps forward over what is not wanted.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use thermae_env::File;
use thermae_formats::hash::entity_hash;
use thermae_formats::version::Version;
use thermae_formats::{NO_TIME, SchemaId, ViewId};

use super::blocks::Blocks;
use super::read::Table;
use super::search::Scratch;
use crate::error::WarmError;

/// A place among a view's rows of a table. It holds one run of blocks as read, and the rows of one block;
/// what unpacks them is lent by the caller, who may have hundreds of tables at a time.
///
/// An operation that fails leaves it where it was, or further on towards where it was to go, and may be
/// repeated.
pub struct ViewRows<F> {
    view: ViewId,
    last_hash: u64,
    blocks: Blocks<F>,
    /// The rows of the block that it stands in, and where the present one lies in them; none is there
    /// before the first row and behind the last.
    raw: Vec<u8>,
    row: Range<usize>,
    /// The present row but for its bytes, and where its key and value begin.
    head: Version<'static>,
    key_at: usize,
    value_at: usize,
    entity_hash: u64,
    /// Rows of the block behind the present one.
    left: u32,
    offset_bytes: u64,
}

/// Of no row.
const NO_VERSION: Version<'static> = Version {
    schema_id: SchemaId(0),
    flags: 0,
    sequence: 0,
    event_time: NO_TIME,
    created_time: NO_TIME,
    expire_at: NO_TIME,
    key: &[],
    value: &[],
};

impl<F: File> Table<F> {
    /// The view's rows with hashes in `hashes`, read up to `run_bytes` at a time; standing before the
    /// first. `None`: there is none.
    pub fn view_rows(
        self: &Arc<Self>,
        view: ViewId,
        hashes: &RangeInclusive<u64>,
        run_bytes: usize,
    ) -> Option<ViewRows<F>> {
        let blocks = self.index.within(self.about().kind, view, hashes)?;
        (!blocks.is_empty()).then(|| ViewRows {
            view,
            last_hash: *hashes.end(),
            blocks: Blocks::within(Arc::clone(self), blocks, run_bytes),
            raw: Vec::new(),
            row: 0..0,
            head: NO_VERSION,
            key_at: 0,
            value_at: 0,
            entity_hash: 0,
            left: 0,
            offset_bytes: 0,
        })
    }
}

impl<F: File> ViewRows<F> {
    /// The same, read through the page cache, where that can be had.
    #[must_use]
    pub fn through_cache(self) -> Self {
        Self { blocks: self.blocks.through_cache(), ..self }
    }

    /// Entity hash and version of the present row; `None` before the first and behind the last.
    pub fn peek(&self) -> Option<(u64, Version<'_>)> {
        if self.row.is_empty() {
            return None;
        }
        let key = self.raw.get(self.key_at..self.value_at)?;
        let value = self.raw.get(self.value_at..self.row.end)?;
        Some((self.entity_hash, Version { key, value, ..self.head }))
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// A block cannot be read, or is not what was written there.
    pub fn advance(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        if self.left == 0 {
            if self.row.end < self.raw.len() {
                return Err(self.damaged(&"more bytes follow the rows of the block"));
            }
            return self.load(scratch);
        }
        self.step(self.row.end)
    }

    /// Goes forward to the first row that does not lie before this hash and key.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn seek(
        &mut self,
        entity_hash: u64,
        key: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), WarmError> {
        let is_before = |row: Option<(u64, Version<'_>)>| {
            row.is_some_and(|(hash, version)| (hash, version.key) < (entity_hash, key))
        };
        let is_begun = !self.raw.is_empty();
        if is_begun && !is_before(self.peek()) {
            return Ok(());
        }
        let table = &self.blocks.table;
        let hashes = entity_hash..=self.last_hash.max(entity_hash);
        let wanted = table.index.within(table.about().kind, self.view, &hashes);
        if self.blocks.skip_to(wanted.map_or(0, |blocks| blocks.start)) || !is_begun {
            self.load(scratch)?;
        }
        while is_before(self.peek()) {
            self.advance(scratch)?;
        }
        Ok(())
    }

    /// Goes to the first row of the next block.
    fn load(&mut self, scratch: &mut Scratch) -> Result<(), WarmError> {
        let block = self.blocks.load(scratch)?;
        std::mem::swap(&mut self.raw, &mut scratch.raw);
        let Some(block) = block else {
            self.end();
            return Ok(());
        };
        (self.row, self.left) = (0..0, block.rows);
        self.offset_bytes = block.offset_bytes;
        self.step(0)
    }

    /// Goes to the row that begins at `at` of the block.
    fn step(&mut self, at: usize) -> Result<(), WarmError> {
        let rest = self.raw.get(at..).unwrap_or_default();
        let (version, after) = Version::split_first(rest).map_err(|error| self.damaged(&error))?;
        let hash = entity_hash(version.key, self.blocks.table.hash_seed());
        let end = at + rest.len() - after.len();
        let (key_bytes, value_bytes) = (version.key.len(), version.value.len());
        let Version { schema_id, flags, sequence, event_time, created_time, expire_at, .. } =
            version;
        let times = Version { event_time, created_time, expire_at, ..NO_VERSION };
        let head = Version { schema_id, flags, sequence, ..times };
        if hash > self.last_hash {
            self.end();
            return Ok(());
        }
        self.value_at = end - value_bytes;
        self.key_at = self.value_at - key_bytes;
        (self.row, self.head, self.entity_hash) = (at..end, head, hash);
        self.left -= 1;
        Ok(())
    }

    /// Behind the last row; the memory is given back.
    fn end(&mut self) {
        self.blocks.finish();
        (self.raw, self.row, self.left) = (Vec::new(), 0..0, 0);
    }

    fn damaged(&self, what: &impl ToString) -> WarmError {
        self.blocks.table.damaged(self.offset_bytes, what)
    }
}
