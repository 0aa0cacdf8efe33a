//! Which table a file is: the header page, whose fields the footer repeats.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::TableKind;
use super::error::{TableError, impossible};
use super::page::{exactly, put};
use super::sizes::{PAGE_BYTES, TABLE_VERSION, TABLE_VERSION_STUBS};
use crate::bytes_at::{u16_at, u64_at};

/// Bytes that header and footer begin with alike.
pub(super) const ID_BYTES: usize = 56;
/// Where the checksum of a header or footer page is, in every version.
pub(super) const CHECKSUM_AT: usize = PAGE_BYTES - 8;

const HEADER_MAGIC: [u8; 8] = *b"THRMTABL";
const HEADER: &str = "table header";

/// What a table file says of itself in its first page, and again in its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableId {
    /// What it holds.
    pub kind: TableKind,
    /// Store that it belongs to.
    pub store_id: [u8; 16],
    /// Its number in the store.
    pub file_id: u64,
    /// Random, new for every file, also for a second one of the same number.
    pub salt: u64,
    /// Seed of the entity hash that its rows are sorted by.
    pub hash_seed: u64,
    /// It may hold stubs, which builds from before there were any must not take for rows.
    pub may_hold_stubs: bool,
}

impl TableId {
    /// Seed of the checksum of what lies at `offset_bytes`: bytes of another place, file or store do
    /// not verify there.
    pub fn checksum_key(&self, offset_bytes: u64) -> u64 {
        let mut place = [0; 32];
        put(&mut place, 0, &self.store_id);
        put(&mut place, 16, &self.file_id.to_le_bytes());
        put(&mut place, 24, &offset_bytes.to_le_bytes());
        xxh3_64_with_seed(&place, self.salt)
    }

    /// Checksum of a section or block that lies at `offset_bytes`.
    pub fn checksum(&self, bytes: &[u8], offset_bytes: u64) -> u64 {
        xxh3_64_with_seed(bytes, self.checksum_key(offset_bytes))
    }

    /// The header page.
    pub fn header_page(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        self.write(&mut page, HEADER_MAGIC);
        seal_page(&mut page);
        page
    }

    /// Verifies and reads a header page.
    ///
    /// # Errors
    /// It is none, of another version, or damaged.
    pub fn parse_header(page: &[u8]) -> Result<Self, TableError> {
        let id = Self::read(page, HEADER, HEADER_MAGIC)?;
        match page[ID_BYTES..CHECKSUM_AT].iter().any(|&byte| byte != 0) {
            true => Err(impossible(HEADER, "reserved space", ID_BYTES)),
            false => Ok(id),
        }
    }

    pub(super) fn write(&self, page: &mut [u8; PAGE_BYTES], magic: [u8; 8]) {
        put(page, 0, &magic);
        let version = if self.may_hold_stubs { TABLE_VERSION_STUBS } else { TABLE_VERSION };
        put(page, 8, &version.to_le_bytes());
        page[10] = self.kind as u8;
        put(page, 16, &self.store_id);
        put(page, 32, &self.file_id.to_le_bytes());
        put(page, 40, &self.salt.to_le_bytes());
        put(page, 48, &self.hash_seed.to_le_bytes());
    }

    /// Verifies a header or footer page, and reads what both begin with.
    pub(super) fn read(
        page: &[u8],
        part: &'static str,
        magic: [u8; 8],
    ) -> Result<Self, TableError> {
        exactly(part, page, PAGE_BYTES as u64)?;
        if page[..8] != magic {
            return Err(TableError::Magic(part));
        }
        if u64_at(page, CHECKSUM_AT) != xxh3_64(&page[..CHECKSUM_AT]) {
            return Err(TableError::Checksum(part));
        }
        let version = u16_at(page, 8);
        if version == 0 {
            return Err(impossible(part, "version", 8));
        }
        if version != TABLE_VERSION && version != TABLE_VERSION_STUBS {
            return Err(TableError::Version(version));
        }
        let kind = TableKind::from_code(page[10]).ok_or(impossible(part, "kind", 10))?;
        if page[11..16] != [0; 5] {
            return Err(impossible(part, "reserved space", 11));
        }
        let mut store_id = [0; 16];
        store_id.copy_from_slice(&page[16..32]);
        Ok(Self {
            kind,
            store_id,
            file_id: u64_at(page, 32),
            salt: u64_at(page, 40),
            hash_seed: u64_at(page, 48),
            may_hold_stubs: version == TABLE_VERSION_STUBS,
        })
    }
}

/// Writes the checksum of a header or footer page.
pub(super) fn seal_page(page: &mut [u8; PAGE_BYTES]) -> u64 {
    let checksum = xxh3_64(&page[..CHECKSUM_AT]);
    put(page, CHECKSUM_AT, &checksum.to_le_bytes());
    checksum
}
