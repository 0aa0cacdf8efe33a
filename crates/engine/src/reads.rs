//! Hot reads on the calling thread, straight from every shard's table.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thermae_formats::catalogue::SchemaId;
use thermae_formats::hash::{entity_hash, partition_of, row_hash, shard_of};
use thermae_formats::version::Version;
pub use thermae_formats::visibility::Visibility;
pub use thermae_hot::{HotReader, Lookup, Probe, RowBuf, RowView};

use crate::catalogue::View;

/// One key of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// `Reads::hash` of the bytes.
    pub entity_hash: u64,
    /// The encoded entity key.
    pub bytes: &'a [u8],
}

/// Judges a row of the hot table; see [`thermae_formats::visibility`].
pub fn visibility(row: &RowView<'_>, ttl_us: i64, read_time: i64) -> Visibility {
    thermae_formats::visibility::visibility(
        row.is_tombstone(),
        row.expire_at(),
        row.event_time(),
        ttl_us,
        read_time,
    )
}

/// A row of the hot table as the warm tier would hold it; its value is padded to whole words.
pub fn version_of<'a>(row: &RowView<'a>) -> Version<'a> {
    Version {
        schema_id: SchemaId(row.schema_id()),
        flags: row.flags(),
        sequence: row.sequence(),
        event_time: row.event_time(),
        created_time: row.created_time(),
        expire_at: row.expire_at(),
        key: row.key(),
        value: row.value(),
    }
}

/// The hot tables of all shards, readable from any thread.
#[derive(Clone)]
pub struct Reads {
    tables: Arc<[HotReader]>,
    descriptors: Arc<[OwnedFd]>,
    applied: Arc<[AtomicU64]>,
    hash_seed: u64,
}

impl Reads {
    pub(crate) fn new(
        tables: Vec<HotReader>,
        descriptors: Vec<OwnedFd>,
        applied: Arc<[AtomicU64]>,
        hash_seed: u64,
    ) -> Self {
        Reads { tables: tables.into(), descriptors: descriptors.into(), applied, hash_seed }
    }

    /// Hash of an encoded entity key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        entity_hash(key, self.hash_seed)
    }

    /// The seed of [`Self::hash`].
    pub fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// The partition of an entity.
    #[inline]
    pub fn partition(&self, entity_hash: u64) -> u16 {
        partition_of(entity_hash, self.partitions())
    }

    /// The shard that owns a partition.
    #[inline]
    pub fn shard(&self, partition: u16) -> usize {
        usize::from(shard_of(partition, self.tables.len() as u16))
    }

    /// Partitions of the store.
    pub fn partitions(&self) -> u16 {
        self.applied.len() as u16
    }

    /// Shards of the store as it is open now.
    pub fn shards(&self) -> usize {
        self.tables.len()
    }

    /// The highest sequence number of a partition that readers see; 0 before any, and for a
    /// partition that does not exist.
    pub fn applied(&self, partition: u16) -> u64 {
        self.applied.get(usize::from(partition)).map_or(0, |at| at.load(Ordering::Acquire))
    }

    /// Read-only descriptors of the tables, in shard order, for readers in other processes.
    ///
    /// # Errors
    /// The system has no descriptor left, or the tables are not mapped memory.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        if self.descriptors.len() != self.tables.len() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the tables are not mapped"));
        }
        self.descriptors.iter().map(OwnedFd::try_clone).collect()
    }

    /// The table of each shard.
    pub fn tables(&self) -> &[HotReader] {
        &self.tables
    }

    /// Looks up many keys of one view. `sink` is called once a key, in order, with what is there:
    /// tombstones and expired rows too, which [`visibility`] judges.
    pub fn multi_get(
        &self,
        view: &View,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        sink: impl FnMut(usize, &Lookup<'_>),
    ) {
        self.multi_get_views(std::iter::once((view, keys.len())), keys, buf, sink);
    }

    /// Looks up keys of several views, all at once, so that a few of each overlap as many of one do: `views` says how
    /// many of the keys are each one's, in order. `sink` is as for [`Self::multi_get`]; keys of no view are corrupt.
    pub fn multi_get_views<'a>(
        &self,
        mut views: impl Iterator<Item = (&'a View, usize)>,
        keys: &'a [Key<'a>],
        buf: &mut RowBuf,
        sink: impl FnMut(usize, &Lookup<'_>),
    ) {
        let (mut present, mut left) = (None, 0);
        let probes = keys.iter().map(|key| {
            while left == 0 {
                let next = views.next();
                present = next.map(|(view, _)| view);
                left = next.map_or(usize::MAX, |(_, count)| count);
            }
            left -= 1;
            match present {
                Some(view) => self.probe(view, key),
                None => Probe { table: u32::MAX, row_hash: 0, key: key.bytes, schema_ids: &[] },
            }
        });
        thermae_hot::multi_get(&self.tables, probes, buf, sink);
    }

    #[inline]
    fn probe<'a>(&self, view: &'a View, key: &Key<'a>) -> Probe<'a> {
        Probe {
            table: self.shard(self.partition(key.entity_hash)) as u32,
            row_hash: row_hash(key.entity_hash, view.id),
            key: key.bytes,
            schema_ids: view.schema_ids(),
        }
    }
}
