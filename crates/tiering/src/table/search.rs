//! Finds a row in a block that was read.

use thermae_env::File;
use thermae_formats::table::{BlockHeader, Codec, Rows, open_block};
use thermae_formats::version::Version;
use zstd::bulk::Decompressor;

use super::read::{Extent, Table};
use crate::error::WarmError;

/// Memory that look-ups reuse: the rows of one block, decompressed.
#[derive(Default)]
pub struct Scratch {
    decompressor: Option<Decompressor<'static>>,
    pub(super) raw: Vec<u8>,
}

impl Scratch {
    /// Without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the rows of a verified block into `raw`; false: they are not what the header says.
    fn fill(&mut self, header: &BlockHeader, stored: &[u8]) -> bool {
        self.raw.clear();
        if header.codec == Codec::Raw {
            self.raw.extend_from_slice(stored);
            return true;
        }
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        let Some(decompressor) = &mut self.decompressor else { return false };
        // What is reserved bounds what a hostile frame may write.
        self.raw.reserve(header.raw_bytes as usize);
        let raw_bytes = decompressor.decompress_to_buffer(stored, &mut self.raw);
        raw_bytes.is_ok_and(|raw_bytes| raw_bytes == header.raw_bytes as usize)
    }
}

impl<F: File> Table<F> {
    /// The version of `key` in the block, which was read from `extent` as [`Table::locate`] told; in
    /// a history, the newest.
    ///
    /// # Errors
    /// The block is not what was written there.
    pub fn search<'s>(
        &self,
        extent: Extent,
        block: &[u8],
        key: &[u8],
        scratch: &'s mut Scratch,
    ) -> Result<Option<Version<'s>>, WarmError> {
        let (mut offset_bytes, mut rest) = (extent.offset_bytes, block);
        let mut found = None;
        while found.is_none() && !rest.is_empty() {
            let (one, after) = self.first_block(offset_bytes, rest)?;
            let rows = self.decompress(offset_bytes, one, scratch)?;
            found = self.find(offset_bytes, Rows::new(&scratch.raw, rows), key)?;
            offset_bytes += one.len() as u64;
            rest = after;
        }
        let row = found.and_then(|at| scratch.raw.get(at..));
        Ok(row.and_then(|row| Version::split_first(row).ok()).map(|(version, _)| version))
    }

    /// Splits what was read from `offset_bytes` behind its first block.
    fn first_block<'b>(
        &self,
        offset_bytes: u64,
        bytes: &'b [u8],
    ) -> Result<(&'b [u8], &'b [u8]), WarmError> {
        let number = self.index.block_at(offset_bytes);
        let length = number.map(|number| self.extent(number..number + 1).bytes);
        length
            .and_then(|length| bytes.split_at_checked(length as usize))
            .ok_or_else(|| self.damaged(offset_bytes, &"the bytes given are no block of the table"))
    }

    /// Verifies a block and puts its rows into `scratch`; returns how many there are.
    pub(super) fn decompress(
        &self,
        offset_bytes: u64,
        block: &[u8],
        scratch: &mut Scratch,
    ) -> Result<u32, WarmError> {
        let opened = open_block(block, &self.id, offset_bytes);
        let (header, stored) =
            opened.map_err(|error| WarmError::format(self.path(), offset_bytes, &error))?;
        match scratch.fill(&header, stored) {
            true => Ok(header.rows),
            false => Err(self.damaged(offset_bytes, &"a block's rows do not decompress")),
        }
    }

    /// Where the first version of `key` begins in the rows of a block.
    fn find(
        &self,
        offset_bytes: u64,
        mut rows: Rows<'_>,
        key: &[u8],
    ) -> Result<Option<usize>, WarmError> {
        loop {
            let at = rows.offset();
            match rows.next() {
                Some(Ok(version)) if version.key == key => return Ok(Some(at)),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return Err(WarmError::format(self.path(), offset_bytes, &error));
                }
                None => return Ok(None),
            }
        }
    }
}
