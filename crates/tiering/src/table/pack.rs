//! Packs rows into blocks: as many as compress into the pages of a block.

use std::io;

use thermae_env::AlignedBuf;
use thermae_formats::table::{
    BLOCK_HEADER_BYTES, BlockHeader, Codec, MAX_RAW_BYTES, PAGE_BYTES, append_columns,
};
use thermae_formats::version::Version;
use zstd::bulk::Compressor;

/// Decompressed bytes that one page may hold at most: what a look-up decompresses is bounded.
const RAW_BYTES_A_PAGE: usize = 64 << 10;
/// Compressions that one block may cost.
const ATTEMPTS: usize = 4;

/// How blocks are made. The default is what tables are written with; others are for measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Pages of a block that no single row exceeds.
    pub block_pages: u16,
    /// Level of Zstandard.
    pub level: i32,
}

impl Default for Packing {
    fn default() -> Self {
        Self { block_pages: 1, level: -1 }
    }
}

/// Rows that stay in one block: of one entity in a table of latest versions, else a single one.
struct Group {
    end: usize,
    rows: u32,
    hash: u64,
}

/// Rows not yet in a block, in their order.
pub(super) struct Packer {
    compressor: Compressor<'static>,
    block_bytes: usize,
    raw: Vec<u8>,
    groups: Vec<Group>,
    /// Compressed bytes a raw byte, of the blocks before.
    ratio: f64,
    /// Columns of the rows last tried.
    columns: Vec<u8>,
    best: Vec<u8>,
    trial: Vec<u8>,
}

/// A block just made.
pub(super) struct Packed {
    pub(super) first_hash: u64,
    pub(super) header: BlockHeader,
}

impl Packer {
    pub(super) fn new(packing: Packing) -> io::Result<Self> {
        let block_bytes = usize::from(packing.block_pages.max(1)) * PAGE_BYTES;
        Ok(Self {
            compressor: Compressor::new(packing.level)?,
            block_bytes,
            raw: Vec::new(),
            groups: Vec::new(),
            ratio: 0.5,
            columns: Vec::new(),
            best: Vec::new(),
            trial: Vec::new(),
        })
    }

    /// Adds a row; with `joins`, to the group of the one before. False: the group is too large.
    pub(super) fn push(&mut self, hash: u64, joins: bool, version: &Version<'_>) -> bool {
        let before = self.raw.len();
        version.encode(&mut self.raw);
        let end = self.raw.len();
        match self.groups.last_mut() {
            Some(last) if joins => {
                last.end = end;
                last.rows += 1;
            }
            _ => self.groups.push(Group { end, rows: 1, hash }),
        }
        let start = match self.groups.len().checked_sub(2) {
            Some(before_last) => self.groups[before_last].end,
            None => 0,
        };
        debug_assert!(start <= before);
        end - start <= MAX_RAW_BYTES as usize
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether there is more than a block will probably take.
    pub(super) fn is_ready(&self) -> bool {
        self.raw.len() > self.goal_bytes() + self.goal_bytes() / 4
    }

    const fn capacity(&self) -> usize {
        self.block_bytes - BLOCK_HEADER_BYTES
    }

    fn most_raw_bytes(&self) -> usize {
        RAW_BYTES_A_PAGE * (self.block_bytes / PAGE_BYTES)
    }

    /// Raw bytes that will probably fill a block.
    fn goal_bytes(&self) -> usize {
        ((self.capacity() as f64 * 0.98 / self.ratio) as usize).min(self.most_raw_bytes())
    }

    /// Groups that end within `raw_bytes`.
    fn groups_within(&self, raw_bytes: usize) -> usize {
        self.groups.partition_point(|group| group.end <= raw_bytes)
    }

    /// Appends the next block to `out`, its header still open; there must be a row.
    pub(super) fn pack(&mut self, out: &mut AlignedBuf) -> Packed {
        let (groups, codec) = match self.fit() {
            (0, _) => (1, self.compress_first()),
            fitting => fitting,
        };
        let raw_bytes = self.groups[groups - 1].end;
        if codec == Codec::Raw {
            self.arrange(groups);
        }
        let stored = match codec {
            Codec::Raw => &self.columns,
            Codec::Zstd => &self.best,
        };
        let start = out.len();
        out.resize(start + BLOCK_HEADER_BYTES, 0);
        out.extend_from_slice(stored);
        let pages = (out.len() - start).div_ceil(PAGE_BYTES);
        out.resize(start + pages * PAGE_BYTES, 0);
        let header = BlockHeader {
            stored_bytes: stored.len() as u32,
            raw_bytes: raw_bytes as u32,
            rows: self.rows_of(groups),
            // In range: a group has at most MAX_RAW_BYTES.
            pages: pages as u16,
            codec,
        };
        let packed = Packed { first_hash: self.groups[0].hash, header };
        self.forget(groups, raw_bytes);
        packed
    }

    /// How many groups fit into a block, and how they are stored; `best` holds them if compressed.
    fn fit(&mut self) -> (usize, Codec) {
        let capacity = self.capacity();
        let most = self.groups_within(self.most_raw_bytes());
        let (mut fitting, mut codec) = (self.groups_within(capacity), Codec::Raw);
        let mut too_many = most + 1;
        let mut wanted = self.groups_within(self.goal_bytes());
        for _ in 0..ATTEMPTS {
            if fitting + 1 >= too_many {
                break;
            }
            wanted = wanted.clamp(fitting + 1, too_many - 1);
            let raw_bytes = self.groups[wanted - 1].end;
            let Some(stored_bytes) = self.compress(wanted, capacity) else {
                too_many = wanted;
                self.ratio = (self.ratio * 1.03).min(1.0);
                wanted = self.groups_within(raw_bytes - raw_bytes / 16);
                continue;
            };
            (fitting, codec) = (wanted, Codec::Zstd);
            std::mem::swap(&mut self.best, &mut self.trial);
            let ratio = stored_bytes as f64 / raw_bytes as f64;
            self.ratio = (0.7 * self.ratio + 0.3 * ratio).max(1.0 / 64.0);
            if capacity - stored_bytes < capacity / 16 {
                break;
            }
            wanted = self.groups_within((capacity as f64 * 0.97 / ratio) as usize);
            if wanted <= fitting {
                break;
            }
        }
        (fitting, codec)
    }

    /// Compresses the first group, which is too large for a block of its own kind.
    fn compress_first(&mut self) -> Codec {
        let raw_bytes = self.groups[0].end;
        // Compressed only where that saves a page.
        let pages = (raw_bytes + BLOCK_HEADER_BYTES).div_ceil(PAGE_BYTES);
        let most = (pages - 1) * PAGE_BYTES - BLOCK_HEADER_BYTES;
        match self.compress(1, most) {
            Some(_) => {
                std::mem::swap(&mut self.best, &mut self.trial);
                Codec::Zstd
            }
            None => Codec::Raw,
        }
    }

    /// Compresses the first `groups` into `trial`, if they fit into `most` bytes.
    fn compress(&mut self, groups: usize, most: usize) -> Option<usize> {
        self.arrange(groups);
        self.trial.resize(most, 0);
        let stored = self.compressor.compress_to_buffer(&self.columns, &mut self.trial[..]).ok()?;
        self.trial.truncate(stored);
        Some(stored)
    }

    /// Puts the columns of the first `groups` into `columns`.
    fn arrange(&mut self, groups: usize) {
        self.columns.clear();
        let raw = &self.raw[..self.groups[groups - 1].end];
        append_columns(raw, self.rows_of(groups) as usize, &mut self.columns);
    }

    fn rows_of(&self, groups: usize) -> u32 {
        self.groups[..groups].iter().map(|group| group.rows).sum()
    }

    fn forget(&mut self, groups: usize, raw_bytes: usize) {
        self.groups.drain(..groups);
        self.groups.iter_mut().for_each(|group| group.end -= raw_bytes);
        self.raw.drain(..raw_bytes);
    }
}
