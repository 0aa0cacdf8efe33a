//! What a shard's log makes true: hot table, partitions, counts. Replay and live writes go
//! through the same [`ShardState::apply`].

mod erasing;
mod hot_rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thermae_formats::NO_TIME;
use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::ViewId;
use thermae_formats::checkpoint::CheckpointPartition;
use thermae_formats::hash;
use thermae_formats::schema::History;
use thermae_formats::version::Version;
use thermae_hot::{ASKED_ROWS, HotError, HotWriter, Lookup, Reservation, RowBuf};
use thermae_tiering::erase::PendingErases;
use thermae_tiering::memtable::Marks;
use thermae_tiering::merge::is_past;
use thermae_tiering::residency;

use crate::bases::Bases;
use crate::catalogue::{Catalogue, View};
use crate::fetch::Fetched;
use crate::memory::MemoryPlan;
use crate::memtables::Memtables;
use crate::partition::Partition;
use crate::reads;
use crate::stats::ShardStats;
pub use hot_rows::is_hot;

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
    /// Rows applied and not yet in tables.
    pub(crate) memtables: Memtables,
    /// Rows of the tables that pending rows are judged against.
    pub(crate) bases: Bases,
    /// What was erased and may still lie in memtables and tables. Shared with snapshots and the worker.
    erases: Arc<PendingErases>,
    /// Marks of their rows, for readers: set before a row leaves the hot table.
    erased_marks: Arc<Marks>,
    /// By partition number; none where another shard owns it.
    partitions: Vec<Option<Partition>>,
    applied: Arc<[AtomicU64]>,
    hash_seed: u64,
    shard: usize,
    shards: usize,
    corrupt: u64,
    /// By view id, the newest event time that came by since the store was opened; `NO_TIME` where none did.
    newest_by_view: Vec<i64>,
}

/// The newest applied row of a key, as far as memory tells.
pub enum Newest<'a> {
    /// Here it is; perhaps a tombstone.
    Row(Version<'a>),
    /// There is none.
    Absent,
    /// Only the tables on disk can tell.
    Below,
    /// The tables could not be read where it would be, and why.
    Unreadable(&'a Arc<str>),
}

/// Where a row belongs.
pub struct Place<'a> {
    /// Its view.
    pub view: &'a View,
    /// Hash of its key.
    pub entity_hash: u64,
    /// Hash of its key and view.
    pub row_hash: u64,
}

/// What a record is judged against.
pub enum Judged {
    /// The newest applied row of its key, if there is one that counts.
    Known(Option<Current>),
    /// Only the tables on disk can tell.
    Below,
    /// The tables could not be read where it would be.
    Unreadable,
}

/// The current row of a key, as far as ordering needs it.
pub struct Current {
    event_time: i64,
    order: (i64, i64, u64),
    digest: u64,
    is_live: bool,
    bytes: i64,
}

impl ShardState {
    /// An empty state that owns the partitions of `shard`, with memory for memtables and for rows that writes
    /// are judged against by `plan`.
    pub fn new(
        shard: usize,
        shards: usize,
        hot: HotWriter,
        hash_seed: u64,
        applied: Arc<[AtomicU64]>,
        plan: &MemoryPlan,
    ) -> Self {
        let owns = |partition| usize::from(hash::shard_of(partition, shards as u16)) == shard;
        let partitions =
            (0..applied.len() as u16).map(|number| owns(number).then(Partition::default)).collect();
        ShardState {
            hot,
            buf: RowBuf::default(),
            memtables: Memtables::new(plan.memtable_bytes as usize),
            bases: Bases::new(plan.base_bytes()),
            erases: Arc::default(),
            erased_marks: erasing::no_marks(),
            partitions,
            applied,
            hash_seed,
            shard,
            shards,
            corrupt: 0,
            newest_by_view: Vec::new(),
        }
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

    /// Asks for the memory of rows that are about to be admitted or applied one by one; of the first
    /// [`ASKED_ROWS`](thermae_hot::ASKED_ROWS).
    pub fn ask_for(&self, row_hashes: impl Iterator<Item = u64>) {
        let (mut asked, mut count) = ([0; ASKED_ROWS], 0);
        for (place, row_hash) in asked.iter_mut().zip(row_hashes) {
            *place = row_hash;
            count += 1;
        }
        let asked = || asked[..count].iter().copied();
        self.hot.ask_for(asked());
        self.memtables.ask_for(asked());
    }

    /// Looks for the newest applied row of a key in memory.
    pub fn with_newest<R>(
        &mut self,
        view: &View,
        row_hash: u64,
        key: &[u8],
        look: impl FnOnce(Newest<'_>) -> R,
    ) -> R {
        match self.hot.get(row_hash, view.schema_ids(), key, &mut self.buf) {
            Lookup::Found(row) => return look(Newest::Row(reads::version_of(&row))),
            Lookup::Absent if self.hot.is_complete() => return look(Newest::Absent),
            Lookup::Absent => {}
            Lookup::Corrupt(_) | Lookup::Busy => {
                // Memory went bad under this row: it is taken from below.
                self.corrupt += 1;
                self.hot.set_complete(false);
                let _ = self.hot.discard_corrupt(row_hash);
            }
        }
        if let Some(version) = self.memtables.newest(view.id, row_hash, key) {
            // What lies below it came before it, and was erased with it.
            let is_erased = self.erases.hides_row(view.id, row_hash, key, version.sequence);
            return look(if is_erased { Newest::Absent } else { Newest::Row(version) });
        }
        match self.bases.get(view.id, row_hash, key) {
            Some(Fetched::Row(row)) => look(row.get().map_or(Newest::Absent, Newest::Row)),
            Some(Fetched::Absent) => look(Newest::Absent),
            Some(Fetched::Failed(why) | Fetched::Unavailable(why)) => look(Newest::Unreadable(why)),
            None => look(Newest::Below),
        }
    }

    /// Partitions of the store.
    pub fn partitions(&self) -> u16 {
        self.partitions.len() as u16
    }

    /// Shards that the store is open with.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// This shard.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Its partitions as they are now, for a checkpoint.
    pub fn checkpoints(&self) -> Vec<CheckpointPartition> {
        let partitions = self.partitions.iter().zip(0..);
        let mut all: Vec<_> = partitions
            .filter_map(|(partition, number)| Some(partition.as_ref()?.checkpoint(number)))
            .collect();
        self.add_erases(&mut all);
        all
    }

    /// Takes over one of its partitions as a checkpoint has it.
    pub fn restore(&mut self, checkpoint: &CheckpointPartition) {
        let number = usize::from(checkpoint.number);
        if let Some(Some(partition)) = self.partitions.get_mut(number) {
            *partition = Partition::from_checkpoint(checkpoint);
            self.restore_erases(&checkpoint.erases);
            if let Some(applied) = self.applied.get(number) {
                applied.store(checkpoint.applied, Ordering::Release);
            }
        }
    }

    /// The newest applied event time of each of its partitions that has rows.
    pub fn watermarks(&self) -> impl Iterator<Item = (u16, i64)> {
        let partitions = self.partitions.iter().enumerate();
        partitions.filter_map(|(number, partition)| {
            Some((number as u16, partition.as_ref()?.watermark()?))
        })
    }

    /// The newest applied event time of one of its partitions, if it has rows.
    pub fn watermark_of(&self, partition: u16) -> Option<i64> {
        self.partitions.get(usize::from(partition))?.as_ref()?.watermark()
    }

    /// The last sequence applied in each of its partitions that has any.
    pub fn applied_partitions(&self) -> impl Iterator<Item = (u16, u64)> {
        let partitions = self.partitions.iter().enumerate();
        partitions
            .filter_map(|(number, partition)| Some((number as u16, partition.as_ref()?.applied())))
            .filter(|(_, applied)| *applied > 0)
    }

    /// Where a record's row belongs.
    ///
    /// # Errors
    /// The catalogue does not know its schema.
    pub fn place<'a>(
        &self,
        catalogue: &'a Catalogue,
        record: &Record<'_>,
    ) -> Result<Place<'a>, ApplyError> {
        let view = catalogue
            .view_of_schema(record.schema_id)
            .ok_or(ApplyError::UnknownSchema(record.schema_id.0))?;
        let entity_hash = self.entity_hash(record.key);
        Ok(Place { view, entity_hash, row_hash: hash::row_hash(entity_hash, view.id) })
    }

    /// What a record that is applied next will be judged against.
    pub fn judge(&mut self, place: &Place<'_>, record: &Record<'_>) -> Judged {
        let watermark = self.watermark(record.partition);
        self.with_newest(place.view, place.row_hash, record.key, |newest| match newest {
            Newest::Row(row) => Judged::Known(Some(Current::of(&row, watermark))),
            Newest::Absent => Judged::Known(None),
            Newest::Below => Judged::Below,
            Newest::Unreadable(_) => Judged::Unreadable,
        })
    }

    /// Applies a row record: newest by (event time, created time, sequence) wins. `current` is what
    /// [`Self::judge`] knew, with nothing applied since.
    ///
    /// # Errors
    /// The record does not follow from the state, or there is no room for it. With a reservation
    /// that was made for the row there is room.
    pub fn apply(
        &mut self,
        place: &Place<'_>,
        record: &Record<'_>,
        current: Option<Current>,
        reservation: Option<Reservation>,
    ) -> Result<Effect, ApplyError> {
        self.check_order(record)?;
        if record.kind == RecordKind::Erase {
            self.release(reservation);
            return self.apply_erase(place, record, current).map(|()| Effect::Newest);
        }
        let Place { view, entity_hash, row_hash } = *place;
        let version = version_of(record);
        let tiers = &view.latest.definition.tiers;
        let watermark = self.watermark(record.partition);
        // What is past `keep_for` may be gone from the tables or not: neither may show.
        let is_past = |event_time| is_past(event_time, tiers.keep_for_us, watermark);
        let current = current.filter(|current| !is_past(current.event_time));
        let is_newest = !is_past(record.event_time)
            && current.as_ref().is_none_or(|current| version.order() > current.order);
        let keeps_history = tiers.history == History::Full && !is_past(record.event_time);
        let effect = if is_newest {
            self.put_hot(place, &version, reservation)?;
            let active = self.memtables.active();
            active.put_newest(view.id, entity_hash, row_hash, &version, keeps_history);
            self.bases.forget(row_hash);
            self.note_newest(place, current, record.partition, &version);
            Effect::Newest
        } else {
            self.release(reservation);
            if keeps_history {
                self.memtables.active().put_late(view.id, entity_hash, &version);
            }
            Effect::Late
        };
        if !version.is_tombstone() {
            self.note_event_time(view.id, record.event_time);
        }
        self.note_applied(record);
        Ok(effect)
    }

    /// Notes that a view has a row of an event time.
    fn note_event_time(&mut self, view: ViewId, event_time: i64) {
        let at = view.0 as usize;
        if self.newest_by_view.len() <= at {
            self.newest_by_view.resize(at + 1, NO_TIME);
        }
        if let Some(newest) = self.newest_by_view.get_mut(at)
            && (*newest == NO_TIME || *newest < event_time)
        {
            *newest = event_time;
        }
    }

    fn note_applied(&mut self, record: &Record<'_>) {
        if let Some(Some(partition)) = self.partitions.get_mut(usize::from(record.partition)) {
            partition.note_applied(record);
        }
        if let Some(applied) = self.applied.get(usize::from(record.partition)) {
            applied.store(record.sequence, Ordering::Release);
        }
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

    /// The newest event time applied in a partition.
    fn watermark(&self, partition: u16) -> Option<i64> {
        let partition = self.partitions.get(usize::from(partition));
        partition.and_then(Option::as_ref).and_then(Partition::watermark)
    }

    fn note_newest(
        &mut self,
        place: &Place<'_>,
        current: Option<Current>,
        partition: u16,
        version: &Version<'_>,
    ) {
        if let Some(Some(partition)) = self.partitions.get_mut(usize::from(partition)) {
            let old = current.as_ref().map(|current| current.digest);
            partition.swap_row_digest(old, version.digest());
            let (rows, bytes) = change_in_count(current.as_ref(), version);
            partition.count(place.view.id, rows, bytes);
        }
    }

    /// Live rows and their bytes by view id, of all partitions.
    fn by_view(&self) -> Vec<(i64, i64)> {
        let mut sums = Vec::new();
        for partition in self.partitions.iter().flatten() {
            let counts = partition.by_view();
            sums.resize(sums.len().max(counts.len()), (0, 0));
            for ((rows, bytes), count) in sums.iter_mut().zip(counts) {
                *rows += count.0;
                *bytes += count.1;
            }
        }
        sums
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
            by_view: self.by_view(),
            newest_by_view: self.newest_by_view.clone(),
            ..ShardStats::default()
        }
    }
}

impl Current {
    fn of(row: &Version<'_>, watermark: Option<i64>) -> Current {
        let is_reset = residency::is_reset(row.expire_at, watermark);
        Current {
            event_time: row.event_time,
            order: if is_reset { (i64::MIN, i64::MIN, 0) } else { row.order() },
            digest: row.digest(),
            is_live: !row.is_tombstone(),
            bytes: padded_bytes(row),
        }
    }
}

/// What a row in the place of `current` adds to its view's live rows and bytes.
fn change_in_count(current: Option<&Current>, row: &Version<'_>) -> (i64, i64) {
    let (mut rows, mut bytes) = (0, 0);
    if let Some(current) = current.filter(|current| current.is_live) {
        rows -= 1;
        bytes -= current.bytes;
    }
    if !row.is_tombstone() {
        rows += 1;
        bytes += padded_bytes(row);
    }
    (rows, bytes)
}

/// Bytes of a key and value as the hot table holds them: in whole words.
fn padded_bytes(row: &Version<'_>) -> i64 {
    (row.key.len() + row.value_bytes()).next_multiple_of(8) as i64
}

/// A record as a version of its row.
pub fn version_of<'a>(record: &Record<'a>) -> Version<'a> {
    Version {
        schema_id: record.schema_id,
        flags: record.flags,
        sequence: record.sequence,
        event_time: record.event_time,
        created_time: record.created_time,
        expire_at: record.expire_at,
        key: record.key,
        value: record.value,
    }
}
