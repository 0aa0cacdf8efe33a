//! Packs rows into blocks: as many as fit into the pages of a block, taken apart, and compressed where
//! that makes the table notably smaller.

use std::io;

use thermae_env::AlignedBuf;
use thermae_formats::table::{
    BLOCK_HEADER_BYTES, BlockHeader, Codec, ColumnsWriter, MAX_RAW_BYTES, PAGE_BYTES,
};
use thermae_formats::version::Version;
use zstd::bulk::Compressor;

/// Bytes of rows that one page may hold at most: what a look-up restores is bounded.
const ROW_BYTES_A_PAGE: usize = 64 << 10;
/// Times that a block may be measured, and compressed.
const MEASUREMENTS: usize = 8;
const COMPRESSIONS: usize = 4;
/// Compressing takes several times as long, to write and to read: a block must hold at least one more of so
/// many groups.
const GAIN: usize = 8;
/// Blocks until it is tried again, after a block that it did not pay for.
const BLOCKS_BETWEEN_TRIALS: u32 = 31;

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

/// So many groups must fit compressed where `plain` do without.
const fn gainful(plain: usize) -> usize {
    plain + plain.div_ceil(GAIN)
}

/// Rows that stay in one block: of one entity in a table of latest versions, else a single one.
struct Group {
    end: usize,
    rows: u32,
    hash: u64,
}

/// Stored bytes a byte of rows, of the blocks before.
struct Ratio(f64);

impl Ratio {
    fn note(&mut self, stored_bytes: usize, row_bytes: usize) {
        let ratio = stored_bytes as f64 / row_bytes as f64;
        self.0 = (0.7 * self.0 + 0.3 * ratio).clamp(1.0 / 64.0, 1.0);
    }

    /// Bytes of rows that will probably fill `capacity`.
    fn filling(&self, capacity: usize) -> usize {
        (capacity as f64 * 0.98 / self.0) as usize
    }
}

/// Rows not yet in a block, in their order.
pub(super) struct Packer {
    compressor: Compressor<'static>,
    block_bytes: usize,
    raw: Vec<u8>,
    groups: Vec<Group>,
    plain: Ratio,
    compressed: Ratio,
    /// Compressing paid for the last block; if not, how many are made before it is tried again.
    pays: bool,
    until_trial: u32,
    writer: ColumnsWriter,
    /// Columns of the rows last compressed, and what became of them.
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
            plain: Ratio(0.7),
            compressed: Ratio(0.5),
            pays: false,
            until_trial: 0,
            writer: ColumnsWriter::default(),
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
        // Columns of rows that share nothing are a little longer than they.
        end - start <= MAX_RAW_BYTES as usize - PAGE_BYTES
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

    const fn most_row_bytes(&self) -> usize {
        ROW_BYTES_A_PAGE * (self.block_bytes / PAGE_BYTES)
    }

    /// Bytes of rows that will probably fill a block.
    fn goal_bytes(&self) -> usize {
        let plain = self.plain.filling(self.capacity());
        let goal = match self.pays {
            true => plain.max(self.compressed.filling(self.capacity())),
            false => plain,
        };
        goal.min(self.most_row_bytes())
    }

    /// Groups that end within `row_bytes`.
    fn groups_within(&self, row_bytes: usize) -> usize {
        self.groups.partition_point(|group| group.end <= row_bytes)
    }

    /// Appends the next block to `out`, its header still open; there must be a row.
    pub(super) fn pack(&mut self, out: &mut AlignedBuf) -> Packed {
        let (groups, codec) = self.fit();
        let row_bytes = self.groups[groups - 1].end;
        if codec == Codec::Raw {
            self.take_apart(groups);
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
            raw_bytes: self.columns.len() as u32,
            rows: self.rows_of(groups),
            // In range: a group has at most MAX_RAW_BYTES.
            pages: pages as u16,
            codec,
        };
        let packed = Packed { first_hash: self.groups[0].hash, header };
        self.forget(groups, row_bytes);
        packed
    }

    /// How many groups go into the next block, and how they are stored. For [`Codec::Zstd`] `best` has them
    /// compressed and `columns` not.
    fn fit(&mut self) -> (usize, Codec) {
        let rows = self.rows_of(self.groups.len());
        self.writer.begin(&self.raw, rows as usize);
        let plain = self.fit_plain();
        if plain == 0 {
            return (1, self.compress_first());
        }
        if !self.may_pay(plain) {
            return (plain, Codec::Raw);
        }
        let compressed = self.fit_compressed(plain);
        self.pays = compressed >= gainful(plain);
        match self.pays {
            true => (compressed, Codec::Zstd),
            false => (plain, Codec::Raw),
        }
    }

    /// Whether compressing more groups than `plain` is worth the attempt: it was for the last block, or is now
    /// when it is tried with just enough of them.
    fn may_pay(&mut self, plain: usize) -> bool {
        if self.pays {
            return true;
        }
        self.until_trial = self.until_trial.checked_sub(1).unwrap_or(BLOCKS_BETWEEN_TRIALS);
        let enough = gainful(plain);
        self.until_trial == BLOCKS_BETWEEN_TRIALS
            && enough <= self.groups.len()
            && self.compress(enough, self.capacity()).is_some()
    }

    /// As many groups as fit without being compressed; 0: not even one.
    fn fit_plain(&mut self) -> usize {
        let capacity = self.capacity();
        let most = self.groups_within(self.most_row_bytes());
        let (mut fitting, mut too_many) = (0, most + 1);
        let mut wanted = self.groups_within(self.plain.filling(capacity));
        for attempt in 0..MEASUREMENTS {
            if fitting + 1 >= too_many {
                break;
            }
            if attempt > MEASUREMENTS / 2 {
                wanted = usize::midpoint(fitting, too_many);
            }
            wanted = wanted.clamp(fitting + 1, too_many - 1);
            let row_bytes = self.groups[wanted - 1].end;
            let stored_bytes = self.measure(wanted);
            self.plain.note(stored_bytes, row_bytes);
            if stored_bytes <= capacity {
                fitting = wanted;
                self.writer.keep();
                // Not one more of their size.
                if capacity - stored_bytes < stored_bytes / wanted {
                    break;
                }
            } else {
                too_many = wanted;
            }
            let ratio = stored_bytes as f64 / row_bytes as f64;
            wanted = self.groups_within((capacity as f64 / ratio) as usize);
        }
        fitting
    }

    /// As many groups as fit compressed, of more than `plain`; `plain` if no more do.
    fn fit_compressed(&mut self, plain: usize) -> usize {
        let capacity = self.capacity();
        let most = self.groups_within(self.most_row_bytes());
        let (mut fitting, mut too_many) = (plain, most + 1);
        let mut wanted = self.groups_within(self.compressed.filling(capacity));
        for _ in 0..COMPRESSIONS {
            if fitting + 1 >= too_many {
                break;
            }
            wanted = wanted.clamp(fitting + 1, too_many - 1);
            let row_bytes = self.groups[wanted - 1].end;
            let Some(stored_bytes) = self.compress(wanted, capacity) else {
                too_many = wanted;
                self.compressed.0 = (self.compressed.0 * 1.03).min(1.0);
                wanted = self.groups_within(row_bytes - row_bytes / 16);
                continue;
            };
            fitting = wanted;
            std::mem::swap(&mut self.best, &mut self.trial);
            self.compressed.note(stored_bytes, row_bytes);
            if capacity - stored_bytes < capacity / 16 {
                break;
            }
            let ratio = stored_bytes as f64 / row_bytes as f64;
            wanted = self.groups_within((capacity as f64 * 0.97 / ratio) as usize);
            if wanted <= fitting {
                break;
            }
        }
        if fitting > plain {
            // The last attempt may have been another.
            self.take_apart(fitting);
        }
        fitting
    }

    /// The first group alone, which is as a rule too large for one page: compressed where that saves one.
    fn compress_first(&mut self) -> Codec {
        let pages = (self.measure(1) + BLOCK_HEADER_BYTES).div_ceil(PAGE_BYTES);
        let most = ((pages - 1) * PAGE_BYTES).saturating_sub(BLOCK_HEADER_BYTES);
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
        self.take_apart(groups);
        self.trial.resize(most, 0);
        let stored = self.compressor.compress_to_buffer(&self.columns, &mut self.trial[..]).ok()?;
        self.trial.truncate(stored);
        Some(stored)
    }

    /// Bytes of the columns of the first `groups`.
    fn measure(&mut self, groups: usize) -> usize {
        let rows = self.rows_of(groups) as usize;
        self.writer.measure(&self.raw[..self.groups[groups - 1].end], rows)
    }

    /// Puts the columns of the first `groups` into `columns`.
    fn take_apart(&mut self, groups: usize) {
        self.measure(groups);
        self.columns.clear();
        self.writer.append(&self.raw[..self.groups[groups - 1].end], &mut self.columns);
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
