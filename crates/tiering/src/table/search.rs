//! Finds a row in a block that was read.

use std::ops::Range;

use thermae_env::{AlignedBuf, File};
use thermae_formats::table::{
    BLOCK_HEADER_BYTES, BlockHeader, Codec, Columns, Layout, TableError, open_block,
};
use thermae_formats::version::Version;
use zstd::bulk::Decompressor;

use super::read::{Extent, Table};
use crate::error::WarmError;

/// Memory that look-ups and scans reuse.
#[derive(Default)]
pub struct Scratch {
    unpacker: Unpacker,
    layout: Layout,
    /// Keys of a block's rows, where each ends, and their hashes.
    pub(super) keys: Vec<u8>,
    pub(super) key_ends: Vec<u32>,
    pub(super) hashes: Vec<u64>,
    /// What the last history that came to its end had read into.
    pub(super) run: AlignedBuf,
    /// Versions restored from a block: the one found, or all of them.
    pub(super) raw: Vec<u8>,
}

/// The columns of one block.
#[derive(Default)]
struct Unpacker {
    decompressor: Option<Decompressor<'static>>,
    columns: Vec<u8>,
}

impl Scratch {
    /// Without memory yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Unpacker {
    /// The columns of a verified block; none: they are not what the header says.
    fn unpack<'a>(&'a mut self, header: &BlockHeader, stored: &'a [u8]) -> Option<&'a [u8]> {
        if header.codec == Codec::Raw {
            return Some(stored);
        }
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        let decompressor = self.decompressor.as_mut()?;
        self.columns.clear();
        // What is reserved bounds what a hostile frame may write.
        self.columns.reserve(header.raw_bytes as usize);
        let raw_bytes = decompressor.decompress_to_buffer(stored, &mut self.columns).ok()?;
        (raw_bytes == header.raw_bytes as usize).then_some(&self.columns)
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
        let read_bytes = block.len() as u64;
        if read_bytes != extent.bytes {
            let what = format!("of {} bytes the file gave {read_bytes}", extent.bytes);
            return Err(self.damaged(extent.offset_bytes + read_bytes, &what));
        }
        let (mut offset_bytes, mut rest) = (extent.offset_bytes, block);
        scratch.raw.clear();
        while scratch.raw.is_empty() && !rest.is_empty() {
            let (one, after) = self.first_block(offset_bytes, rest)?;
            self.unpack(offset_bytes, one, scratch, |columns, raw| match columns.find(key)? {
                Some(row) => columns.append_row(row, raw),
                None => Ok(()),
            })?;
            offset_bytes += one.len() as u64;
            rest = after;
        }
        if scratch.raw.is_empty() {
            return Ok(None);
        }
        match Version::split_first(&scratch.raw) {
            Ok((version, _)) => Ok(Some(version)),
            Err(error) => Err(self.damaged(extent.offset_bytes, &error)),
        }
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

    /// Puts all rows of a block into `scratch`; returns how many there are.
    pub(super) fn restore(
        &self,
        offset_bytes: u64,
        block: &[u8],
        scratch: &mut Scratch,
    ) -> Result<u32, WarmError> {
        scratch.raw.clear();
        self.unpack(offset_bytes, block, scratch, |columns, raw| columns.append_rows(raw))
    }

    /// Verifies a block and hands its columns on, with the memory for rows; returns how many rows
    /// there are.
    fn unpack(
        &self,
        offset_bytes: u64,
        block: &[u8],
        scratch: &mut Scratch,
        take: impl FnOnce(&Columns<'_>, &mut Vec<u8>) -> Result<(), TableError>,
    ) -> Result<u32, WarmError> {
        let format = |error| WarmError::format(self.path(), offset_bytes, &error);
        let (header, stored) = open_block(block, &self.id, offset_bytes).map_err(format)?;
        let columns = self.columns(offset_bytes, &header, stored, &mut scratch.unpacker)?;
        let columns = Columns::parse(columns, header.rows, &mut scratch.layout).map_err(format)?;
        take(&columns, &mut scratch.raw).map_err(format)?;
        Ok(header.rows)
    }

    fn columns<'a>(
        &self,
        offset_bytes: u64,
        header: &BlockHeader,
        stored: &'a [u8],
        unpacker: &'a mut Unpacker,
    ) -> Result<&'a [u8], WarmError> {
        let columns = unpacker.unpack(header, stored);
        columns.ok_or_else(|| self.damaged(offset_bytes, &"a block's rows do not decompress"))
    }

    /// Verifies a block, and reads where its columns lie, without a look at them: in the block itself where it is
    /// told how far behind its start, or in `unpacked`. `layout` is of as many rows as there are.
    pub(super) fn open_columns(
        &self,
        offset_bytes: u64,
        block: &[u8],
        layout: &mut Layout,
        unpacked: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<Option<Range<usize>>, WarmError> {
        let format = |error| WarmError::format(self.path(), offset_bytes, &error);
        let (header, stored) = open_block(block, &self.id, offset_bytes).map_err(format)?;
        let columns = self.columns(offset_bytes, &header, stored, &mut scratch.unpacker)?;
        let columns = Columns::parse(columns, header.rows, layout).map_err(format)?;
        columns.check().map_err(format)?;
        columns.keys(&mut scratch.keys, &mut scratch.key_ends).map_err(format)?;
        if header.codec == Codec::Raw {
            return Ok(Some(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + stored.len()));
        }
        std::mem::swap(unpacked, &mut scratch.unpacker.columns);
        Ok(None)
    }
}
