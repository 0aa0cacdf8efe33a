//! What a shard's log makes true: hot table, partitions, counts. Replay and live writes go
//! through the same [`ShardState::apply`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::ViewId;
use thermae_formats::hash;
use thermae_formats::hot_layout::{FLAG_TOMBSTONE, body_bytes};
use thermae_hot::{FullCause, HotError, HotWriter, Lookup, NewRow, Reservation, RowBuf};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::catalogue::{Catalogue, View};
use crate::merge::Base;
use crate::partition::Partition;
use crate::stats::ShardStats;
use crate::write::Refusal;

/// What applying a record did to the newest row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The record is the newest row now.
    Newest,
    /// It was older than the newest row: it is history.
    Late,
}

/// Why a record could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The hot budget is exhausted.
    #[error("the hot budget is exhausted")]
    Full,
    /// The hot table could not take it.
    #[error("hot table: {0}")]
    Hot(HotError),
    /// The record names what the catalogue does not have.
    #[error("a record names schema {0}, which the catalogue does not have")]
    UnknownSchema(u16),
    /// The record's partition is not one of this shard's.
    #[error("a record names partition {0}, which is not this shard's")]
    ForeignPartition(u16),
    /// A record's sequence does not follow.
    #[error("partition {partition}: record {found} follows record {applied}")]
    OutOfOrder {
        /// The partition.
        partition: u16,
        /// Applied before.
        applied: u64,
        /// Found next.
        found: u64,
    },
}

/// The state of one shard.
pub struct ShardState {
    hot: HotWriter,
    buf: RowBuf,
    /// By partition number; none where another shard owns it.
    partitions: Vec<Option<Partition>>,
    applied: Arc<[AtomicU64]>,
    hash_seed: u64,
    shard: usize,
    /// Live rows and their key and value bytes, by view id.
    by_view: Vec<(i64, i64)>,
    corrupt: u64,
}

/// The current row of a key, as far as ordering needs it.
struct Current {
    order: (i64, i64, u64),
    digest: u64,
    is_live: bool,
    bytes: i64,
}

impl ShardState {
    /// An empty state that owns the partitions of `shard`.
    pub fn new(
        shard: usize,
        shards: usize,
        hot: HotWriter,
        hash_seed: u64,
        applied: Arc<[AtomicU64]>,
    ) -> Self {
        let owns = |partition| usize::from(hash::shard_of(partition, shards as u16)) == shard;
        let partitions =
            (0..applied.len() as u16).map(|number| owns(number).then(Partition::default)).collect();
        let buf = RowBuf::default();
        let by_view = Vec::new();
        ShardState { hot, buf, partitions, applied, hash_seed, shard, by_view, corrupt: 0 }
    }

    /// The table, for its readers and descriptor.
    pub fn hot(&self) -> &HotWriter {
        &self.hot
    }

    /// Hash of an encoded entity key.
    pub fn entity_hash(&self, key: &[u8]) -> u64 {
        hash::entity_hash(key, self.hash_seed)
    }

    /// Hash of a view's row of an entity.
    pub fn row_hash(&self, entity_hash: u64, view_id: ViewId) -> u64 {
        hash::row_hash(entity_hash, view_id)
    }

    /// The partition of an entity, if this shard owns it.
    pub fn partition_mut(&mut self, entity_hash: u64) -> Option<(u16, &mut Partition)> {
        let number = hash::partition_of(entity_hash, self.partitions.len() as u16);
        let partition = self.partitions.get_mut(usize::from(number))?.as_mut()?;
        Some((number, partition))
    }

    /// The newest event time logged in an entity's partition.
    pub fn logged_watermark(&mut self, entity_hash: u64) -> Option<i64> {
        self.partition_mut(entity_hash)?.1.logged_watermark()
    }

    /// The highest applied sequence of a partition.
    pub fn applied(&self, partition: u16) -> u64 {
        self.partitions
            .get(usize::from(partition))
            .and_then(Option::as_ref)
            .map_or(0, Partition::applied)
    }

    /// Sets room aside for a row, before it is logged. A full table still takes what fits in the
    /// place of the entity's present row, tombstones first of all.
    pub fn reserve(
        &mut self,
        view: &View,
        row_hash: u64,
        key: &[u8],
        value_len: usize,
        expires: bool,
    ) -> Result<Reservation, Refusal> {
        let body = body_bytes(key.len(), value_len, expires);
        let reserved = self.hot.reserve_for(row_hash, view.schema_ids(), key, body);
        reserved.map_err(|full| match full.cause {
            FullCause::RowTooLarge => Refusal::RowTooLarge,
            FullCause::Memory => Refusal::MemoryFull,
        })
    }

    /// Gives room back.
    pub fn release(&mut self, reservation: Reservation) {
        self.hot.release(reservation);
    }

    /// The newest applied row of a key, for a partial write.
    pub fn newest(
        &mut self,
        view: &View,
        row_hash: u64,
        key: &[u8],
    ) -> Result<Option<Base>, Refusal> {
        match self.hot.get(row_hash, view.schema_ids(), key, &mut self.buf) {
            Lookup::Found(row) => Ok(Some(Base::of_row(&row))),
            Lookup::Absent => Ok(None),
            Lookup::Corrupt(_) | Lookup::Busy => Err(Refusal::CorruptBase),
        }
    }

    /// Applies a row record: newest by (event time, created time, sequence) wins.
    ///
    /// # Errors
    /// The record does not follow from the state, or there is no room for it. With a reservation
    /// that was made for the row there is room.
    pub fn apply(
        &mut self,
        catalogue: &Catalogue,
        record: &Record<'_>,
        reservation: Option<Reservation>,
    ) -> Result<Effect, ApplyError> {
        let view = catalogue
            .schema(record.schema_id)
            .and_then(|schema| catalogue.view_by_id(schema.view_id))
            .ok_or(ApplyError::UnknownSchema(record.schema_id.0))?;
        self.check_order(record)?;
        let row_hash = hash::row_hash(self.entity_hash(record.key), view.id);
        let current = self.current(view, row_hash, record)?;
        let order = (record.event_time, record.created_time, record.sequence);
        let is_newest = current.as_ref().is_none_or(|current| order > current.order);
        let effect = if is_newest {
            self.put_newest(view, row_hash, record, current, reservation)?;
            Effect::Newest
        } else {
            if let Some(reservation) = reservation {
                self.hot.release(reservation);
            }
            Effect::Late
        };
        if let Some(Some(partition)) = self.partitions.get_mut(usize::from(record.partition)) {
            partition.note_applied(record);
        }
        if let Some(applied) = self.applied.get(usize::from(record.partition)) {
            applied.store(record.sequence, Ordering::Release);
        }
        Ok(effect)
    }

    fn check_order(&self, record: &Record<'_>) -> Result<(), ApplyError> {
        let partition = self
            .partitions
            .get(usize::from(record.partition))
            .and_then(Option::as_ref)
            .ok_or(ApplyError::ForeignPartition(record.partition))?;
        let applied = partition.applied();
        if record.sequence != applied + 1 {
            return Err(ApplyError::OutOfOrder {
                partition: record.partition,
                applied,
                found: record.sequence,
            });
        }
        Ok(())
    }

    /// The row that a record competes with, unless it is reset at this record's apply.
    fn current(
        &mut self,
        view: &View,
        row_hash: u64,
        record: &Record<'_>,
    ) -> Result<Option<Current>, ApplyError> {
        let row = match self.hot.get(row_hash, view.schema_ids(), record.key, &mut self.buf) {
            Lookup::Found(row) => row,
            Lookup::Absent => return Ok(None),
            Lookup::Corrupt(_) | Lookup::Busy => {
                // Memory went bad under this row. The log still has it; serving goes on with the
                // record at hand, and the damage is counted.
                self.corrupt += 1;
                self.hot.discard_corrupt(row_hash).map_err(ApplyError::Hot)?;
                return Ok(None);
            }
        };
        let reset = self
            .partitions
            .get(usize::from(record.partition))
            .and_then(Option::as_ref)
            .is_some_and(|partition| partition.is_reset(row.expire_at()));
        let order = (row.event_time(), row.created_time(), row.sequence());
        let digest = Canonical {
            schema_id: row.schema_id(),
            flags: row.flags(),
            order,
            expire_at: row.expire_at(),
            key: row.key(),
            value: row.value(),
        };
        Ok(Some(Current {
            order: if reset { (i64::MIN, i64::MIN, 0) } else { order },
            digest: digest.hash(),
            is_live: !row.is_tombstone(),
            bytes: (row.key().len() + row.value().len()) as i64,
        }))
    }

    fn put_newest(
        &mut self,
        view: &View,
        row_hash: u64,
        record: &Record<'_>,
        current: Option<Current>,
        reservation: Option<Reservation>,
    ) -> Result<(), ApplyError> {
        let expires = record.expire_at != thermae_formats::NO_TIME;
        let reservation = match reservation {
            Some(reservation) => reservation,
            None => self
                .hot
                .reserve_for(
                    row_hash,
                    view.schema_ids(),
                    record.key,
                    body_bytes(record.key.len(), record.value.len(), expires),
                )
                .map_err(|_| ApplyError::Full)?,
        };
        let row = NewRow {
            schema_id: record.schema_id.0,
            flags: record.flags,
            sequence: record.sequence,
            event_time: record.event_time,
            created_time: record.created_time,
            expire_at: record.expire_at,
            key: record.key,
            value: record.value,
        };
        self.hot.upsert(reservation, row_hash, view.schema_ids(), &row).map_err(ApplyError::Hot)?;
        let digest = Canonical {
            schema_id: row.schema_id,
            flags: row.flags,
            order: (row.event_time, row.created_time, row.sequence),
            expire_at: row.expire_at,
            key: row.key,
            value: row.value,
        };
        if let Some(Some(partition)) = self.partitions.get_mut(usize::from(record.partition)) {
            partition.swap_row_digest(current.as_ref().map(|c| c.digest), digest.hash());
        }
        self.count(view.id, current.as_ref(), record);
        Ok(())
    }

    fn count(&mut self, view_id: ViewId, current: Option<&Current>, record: &Record<'_>) {
        let at = view_id.0 as usize;
        if self.by_view.len() <= at {
            self.by_view.resize(at + 1, (0, 0));
        }
        let Some((rows, bytes)) = self.by_view.get_mut(at) else { return };
        if let Some(current) = current.filter(|current| current.is_live) {
            *rows -= 1;
            *bytes -= current.bytes;
        }
        if record.kind == RecordKind::Put && record.flags & FLAG_TOMBSTONE == 0 {
            *rows += 1;
            // As the table holds it: body padded to whole words.
            let padded = body_bytes(record.key.len(), record.value.len(), false);
            *bytes += padded.next_multiple_of(8) as i64;
        }
    }

    /// (partition, digest) of every partition of this shard.
    pub fn digests(&self) -> Vec<(u16, u64)> {
        let digest = |(number, partition): (usize, &Option<Partition>)| {
            Some((number as u16, partition.as_ref()?.digest()))
        };
        self.partitions.iter().enumerate().filter_map(digest).collect()
    }

    /// Tells mapped readers that this shard lives.
    pub fn heartbeat(&mut self, now_us: i64) {
        self.hot.heartbeat(now_us);
    }

    /// Tells mapped readers that the catalogue has changed.
    pub fn set_generation(&mut self, generation: u64) {
        self.hot.set_generation(generation);
    }

    /// Rows and bytes for the report; the shard adds its counters.
    pub fn stats(&self) -> ShardStats {
        let hot = self.hot.stats();
        let used_bytes = hot.slot_bytes + hot.free_slot_bytes + hot.index_bytes;
        ShardStats {
            shard: self.shard,
            rows: hot.rows,
            hot_used_bytes: used_bytes,
            hot_fixed_bytes: hot.map_bytes.saturating_sub(hot.free_bytes + used_bytes),
            hot_budget_bytes: hot.map_bytes,
            rows_corrupt: self.corrupt,
            by_view: self.by_view.clone(),
            ..ShardStats::default()
        }
    }
}

/// A row as the digest sees it. The table pads bodies with zero bytes, and a value's length follows
/// from its bytes, so trailing zero bytes are left out of the hash.
struct Canonical<'a> {
    schema_id: u16,
    flags: u8,
    order: (i64, i64, u64),
    expire_at: i64,
    key: &'a [u8],
    value: &'a [u8],
}

impl Canonical<'_> {
    fn hash(&self) -> u64 {
        let end = self.value.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        let (event_time, created_time, sequence) = self.order;
        let parts = [
            u64::from(self.schema_id) << 8 | u64::from(self.flags),
            event_time as u64,
            created_time as u64,
            sequence,
            self.expire_at as u64,
            xxh3_64(self.key),
            xxh3_64(self.value.get(..end).unwrap_or_default()),
        ];
        let mut bytes = [0u8; 56];
        for (chunk, part) in bytes.chunks_exact_mut(8).zip(parts) {
            chunk.copy_from_slice(&part.to_le_bytes());
        }
        xxh3_64_with_seed(&bytes, 0)
    }
}
