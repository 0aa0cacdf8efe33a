//! A data block: a checked header, and columns of rows that may be compressed.

use super::error::{TableError, impossible};
use super::id::TableId;
use super::page::{exactly, put};
use super::sizes::PAGE_BYTES;
use crate::bytes_at::{u16_at, u32_at, u64_at};
use crate::version::{VERSION_FIXED_BYTES, Version};

/// Bytes before the rows of a block.
pub const BLOCK_HEADER_BYTES: usize = 24;
/// Most pages of a block.
pub const MAX_BLOCK_PAGES: u16 = u16::MAX;
/// Most bytes that the columns of a block take, and its rows when they are restored.
pub const MAX_RAW_BYTES: u32 = 64 << 20;

const BLOCK: &str = "table block";

/// How the columns of a block are stored.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// One frame of Zstandard.
    Zstd = 1,
}

/// What a block says of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of the columns as stored.
    pub stored_bytes: u32,
    /// Bytes of the columns decompressed, at most [`MAX_RAW_BYTES`].
    pub raw_bytes: u32,
    /// Rows, at least one.
    pub rows: u32,
    /// Pages of the block.
    pub pages: u16,
    /// How the rows are stored.
    pub codec: Codec,
}

/// Writes header and checksum into a block whose payload already follows the header's place, and
/// whose length is `header.pages` pages.
pub fn seal_block(block: &mut [u8], header: &BlockHeader, id: &TableId, offset_bytes: u64) {
    put(block, 8, &header.stored_bytes.to_le_bytes());
    put(block, 12, &header.raw_bytes.to_le_bytes());
    put(block, 16, &header.rows.to_le_bytes());
    put(block, 20, &header.pages.to_le_bytes());
    put(block, 22, &[header.codec as u8, 0]);
    let checksum = id.checksum(&block[8..], offset_bytes);
    put(block, 0, &checksum.to_le_bytes());
}

/// Verifies a block that lies at `offset_bytes`; returns what it says and its columns as stored.
///
/// # Errors
/// It is not the block that was written there.
pub fn open_block<'a>(
    block: &'a [u8],
    id: &TableId,
    offset_bytes: u64,
) -> Result<(BlockHeader, &'a [u8]), TableError> {
    let Some((head, payload)) = block.split_first_chunk::<BLOCK_HEADER_BYTES>() else {
        exactly(BLOCK, block, PAGE_BYTES as u64)?;
        return Err(impossible(BLOCK, "length", 0));
    };
    if u64_at(head, 0) != id.checksum(&block[8..], offset_bytes) {
        return Err(TableError::Checksum(BLOCK));
    }
    let codec = match head[22] {
        0 => Codec::Raw,
        1 => Codec::Zstd,
        _ => return Err(impossible(BLOCK, "codec", 22)),
    };
    let header = BlockHeader {
        stored_bytes: u32_at(head, 8),
        raw_bytes: u32_at(head, 12),
        rows: u32_at(head, 16),
        pages: u16_at(head, 20),
        codec,
    };
    exactly(BLOCK, block, u64::from(header.pages) * PAGE_BYTES as u64)?;
    if head[23] != 0 {
        return Err(impossible(BLOCK, "reserved space", 23));
    }
    let is_whole = codec == Codec::Zstd || header.raw_bytes == header.stored_bytes;
    if header.raw_bytes > MAX_RAW_BYTES || !is_whole {
        return Err(impossible(BLOCK, "length of rows", 12));
    }
    let needed = u64::from(header.rows) * VERSION_FIXED_BYTES as u64;
    if header.rows == 0 || needed > u64::from(MAX_RAW_BYTES) {
        return Err(impossible(BLOCK, "number of rows", 16));
    }
    match payload.get(..header.stored_bytes as usize) {
        Some(stored) => Ok((header, stored)),
        None => Err(impossible(BLOCK, "length as stored", 8)),
    }
}

/// The rows of a block, decompressed and restored, one after the other.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    raw: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Rows<'a> {
    /// Of `raw`, which must be exactly `rows` rows.
    pub const fn new(raw: &'a [u8], rows: u32) -> Self {
        Self { raw, at: 0, left: rows }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Version<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        if self.left == 0 {
            if rest.is_empty() {
                return None;
            }
            let at = std::mem::replace(&mut self.at, self.raw.len());
            return Some(Err(impossible("block's rows", "number", at)));
        }
        match Version::split_first(rest) {
            Ok((version, after)) => {
                self.left -= 1;
                self.at = self.raw.len() - after.len();
                Some(Ok(version))
            }
            Err(source) => {
                let at = std::mem::replace(&mut self.at, self.raw.len());
                self.left = 0;
                Some(Err(TableError::Row { at, source }))
            }
        }
    }
}
