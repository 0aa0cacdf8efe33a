//! Rows that the hot tables lack, asked of the shards that own them.
//!
//! A hot table may hold only some of its shard's rows. Whoever finds a row absent there and must know
//! asks its owner, who looks in its memtables and then in its tables on disk.

use std::ops::Range;
use std::sync::Arc;

use thermae_formats::catalogue::ViewId;
use thermae_formats::version::Version;

/// Keys to fetch, of one or several views.
#[derive(Debug, Default)]
pub struct FetchBatch {
    bytes: Vec<u8>,
    keys: Vec<WantedKey>,
}

/// One key of a [`FetchBatch`].
#[derive(Clone, Debug)]
pub struct WantedKey {
    /// The view of the row.
    pub view_id: ViewId,
    /// Hash of the encoded entity key.
    pub entity_hash: u64,
    key: Range<u32>,
}

impl FetchBatch {
    /// Adds a key.
    pub fn push(&mut self, view_id: ViewId, entity_hash: u64, key: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(key);
        self.keys.push(WantedKey { view_id, entity_hash, key: start..self.bytes.len() as u32 });
    }

    /// The keys, in the order they were added.
    pub fn keys(&self) -> &[WantedKey] {
        &self.keys
    }

    /// The encoded entity key of one of them.
    pub fn key(&self, wanted: &WantedKey) -> &[u8] {
        self.bytes.get(wanted.key.start as usize..wanted.key.end as usize).unwrap_or_default()
    }
}

/// What became of one key.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// There is no such row.
    Absent,
    /// Its newest version; perhaps a tombstone.
    Row(OwnedVersion),
    /// It could not be read, and why: a damaged or unreadable table, a shard that is gone.
    Failed(Arc<str>),
    /// It lies in the archive, which does not answer, and why: it may be asked for again.
    Unavailable(Arc<str>),
}

impl Fetched {
    /// It is a row of which the tables have only a stub.
    pub(crate) fn is_stub(&self) -> bool {
        matches!(self, Self::Row(row) if row.is_stub())
    }
}

/// The bytes of one version of a row.
#[derive(Clone, Debug)]
pub struct OwnedVersion {
    bytes: Arc<[u8]>,
}

impl OwnedVersion {
    /// Copies a version.
    pub fn new(version: &Version<'_>) -> Self {
        let mut bytes = Vec::with_capacity(version.encoded_bytes());
        version.encode(&mut bytes);
        OwnedVersion { bytes: bytes.into() }
    }

    /// Its bytes.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The tables have only a stub of it.
    pub(crate) fn is_stub(&self) -> bool {
        self.get().is_some_and(|version| version.is_stub())
    }

    /// The version. It was encoded by [`Self::new`], so that it is always there.
    pub fn get(&self) -> Option<Version<'_>> {
        Version::split_first(&self.bytes).ok().map(|(version, _)| version)
    }
}

/// Some keys of a batch, by index.
pub type FetchedKeys = Vec<(u32, Fetched)>;
