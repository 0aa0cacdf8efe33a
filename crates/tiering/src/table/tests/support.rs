//! Rows by the seed, tables of them, look-ups in those.

use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, SimEnv};
use thermae_formats::hash::entity_hash;
use thermae_formats::hot_layout::{FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use thermae_formats::table::{TableKind, TableRef};
use thermae_formats::version::Version;
use thermae_formats::{NO_TIME, SchemaId, ViewId};

use crate::table::{Scratch, Table, TableSpec, TableWriter};

pub(super) const STORE: [u8; 16] = *b"0123456789abcdef";
pub(super) const SEED: u64 = 0x5EED;

/// SplitMix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedRow {
    pub(super) view: ViewId,
    pub(super) hash: u64,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) flags: u8,
    pub(super) times: (i64, i64, i64),
    pub(super) sequence: u64,
}

impl OwnedRow {
    pub(super) fn new(view: u32, key: &[u8], value: &[u8]) -> Self {
        Self {
            view: ViewId(view),
            hash: entity_hash(key, SEED),
            key: key.to_vec(),
            value: value.to_vec(),
            flags: 0,
            times: (1, NO_TIME, NO_TIME),
            sequence: 1,
        }
    }

    pub(super) fn version(&self) -> Version<'_> {
        Version {
            schema_id: SchemaId(1),
            flags: self.flags,
            sequence: self.sequence,
            event_time: self.times.0,
            created_time: self.times.1,
            expire_at: self.times.2,
            key: &self.key,
            value: &self.value,
        }
    }

    pub(super) fn random(rng: &mut Rng, view: u32, key: &[u8], most: usize) -> Self {
        let len = rng.below(most as u64 + 1) as usize;
        let value = match rng.below(3) {
            0 => vec![rng.next() as u8; len],
            _ => rng.bytes(len),
        };
        let mut row = Self::new(view, key, &value);
        row.times.0 = rng.next() as i64;
        row.sequence = rng.below(1 << 48);
        if rng.below(4) == 0 {
            row.times.1 = rng.next() as i64 >> 1;
        }
        if rng.below(4) == 0 {
            (row.times.2, row.flags) = (rng.next() as i64 >> 1, FLAG_HAS_EXPIRE);
        }
        if rng.below(5) == 0 {
            row.value.clear();
            row.flags |= FLAG_TOMBSTONE;
        }
        row
    }
}

/// Sorts as a table does; of a key's versions the newest first.
pub(super) fn sort(rows: &mut [OwnedRow]) {
    rows.sort_by(|one, other| {
        let place = (one.view, one.hash, &one.key).cmp(&(other.view, other.hash, &other.key));
        place.then(other.version().order().cmp(&one.version().order()))
    });
}

pub(super) const fn spec(kind: TableKind, file_id: u64) -> TableSpec {
    TableSpec { store_id: STORE, file_id, kind, hash_seed: SEED, may_hold_stubs: false }
}

pub(super) fn build<E: Env>(env: &E, dir: &Path, kind: TableKind, rows: &[OwnedRow]) -> TableRef {
    let mut writer = TableWriter::create(env, dir, spec(kind, 1)).unwrap();
    for row in rows {
        writer.add(row.view, row.hash, &row.version()).unwrap();
    }
    assert_eq!(writer.rows(), rows.len() as u64);
    writer.finish().unwrap()
}

pub(super) fn sim() -> (SimEnv, PathBuf) {
    let env = SimEnv::new(7);
    let dir = PathBuf::from("/store/warm");
    env.create_dir_all(&dir).unwrap();
    (env, dir)
}

/// A look-up as the engine makes it: filter, index, one read, search.
pub(super) fn look_up<F: File>(
    table: &Table<F>,
    view: ViewId,
    hash: u64,
    key: &[u8],
) -> Result<Option<OwnedRow>, crate::WarmError> {
    if !table.may_hold(view, hash) {
        return Ok(None);
    }
    let Some(extent) = table.locate(view, hash) else { return Ok(None) };
    let mut block = AlignedBuf::zeroed(extent.bytes as usize);
    assert_eq!(table.file().read_at(&mut block, extent.offset_bytes).unwrap(), block.len());
    let mut scratch = Scratch::new();
    let found = table.search(extent, &block, key, &mut scratch)?;
    Ok(found.map(|version| owned(view, hash, &version)))
}

pub(super) fn owned(view: ViewId, hash: u64, version: &Version<'_>) -> OwnedRow {
    OwnedRow {
        view,
        hash,
        key: version.key.to_vec(),
        value: version.value.to_vec(),
        flags: version.flags,
        times: (version.event_time, version.created_time, version.expire_at),
        sequence: version.sequence,
    }
}
