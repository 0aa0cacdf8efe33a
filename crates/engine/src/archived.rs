//! Newest rows of which the tables have only a stub: asked of the archive by a shard, which does not wait, and
//! read there by helper threads (`archive/reader.rs`).
//!
//! Every ask ends: with an answer, or at its deadline. After a deadline nothing is asked for a moment, so that an
//! object store that hangs costs each request one deadline at most, and not one for each of its rows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;
use thermae_formats::ViewId;

use crate::fetch::{Fetched, OwnedVersion};
use crate::row_hash_map::RowHashMap;
use crate::tiers::ArchiveReadStats;
use crate::warm::{Asker, Wanted};

/// Asks that wait for a reader, of all shards together.
const WAITING_MAX: usize = 4096;
/// Asks of a shard that are under way, and rows that it keeps for partial writes.
const UNDER_WAY_MAX: usize = 1024;
/// How long nothing is asked after a deadline has passed, nanoseconds.
const SILENCE_NS: u64 = 500_000_000;

/// One row to be read.
#[derive(Debug)]
pub struct Ask {
    /// The shard that asks.
    pub shard: usize,
    /// By which it knows the ask.
    pub token: u64,
    /// The row's view.
    pub view: ViewId,
    /// Hash of its key.
    pub entity_hash: u64,
    /// Its encoded key.
    pub key: Box<[u8]>,
    /// Event time, created time and sequence of the version that is wanted.
    pub order: (i64, i64, u64),
    /// After this monotonic time, nanoseconds, nobody waits for it any more.
    pub deadline_ns: u64,
}

/// Asks of all shards, on their way to the readers.
#[derive(Debug)]
pub struct Asks {
    queue: ArrayQueue<Ask>,
    readers: OnceLock<Vec<Thread>>,
}

impl Default for Asks {
    fn default() -> Self {
        Self { queue: ArrayQueue::new(WAITING_MAX), readers: OnceLock::new() }
    }
}

impl Asks {
    /// Hands one over; gives it back when too many wait.
    fn post(&self, ask: Ask) -> Result<(), Ask> {
        self.queue.push(ask)?;
        self.readers.get().into_iter().flatten().for_each(Thread::unpark);
        Ok(())
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<Ask> {
        self.queue.pop()
    }

    /// Says who is to be woken; once.
    pub fn set_readers(&self, readers: Vec<Thread>) {
        let _ = self.readers.set(readers);
    }
}

/// The way of a shard to the archive.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where asks go.
    pub asks: Arc<Asks>,
    /// How long an answer is waited for, nanoseconds.
    pub deadline_ns: u64,
}

/// A row that was asked for.
#[derive(Debug)]
pub struct UnderWay {
    /// Whose it is.
    pub asker: Asker,
    /// What is looked for.
    pub wanted: Wanted,
    /// What the tables have of it.
    pub stub: OwnedVersion,
    /// How often the tables had changed when it was asked for.
    pub changes: u64,
    begun_ns: u64,
}

/// The asks of one shard.
#[derive(Debug)]
pub struct ArchiveReads {
    way: Option<Way>,
    shard: usize,
    under_way: HashMap<u64, UnderWay>,
    /// (Deadline, token), ascending.
    by_age: VecDeque<(u64, u64)>,
    next_token: u64,
    silent_until_ns: u64,
    /// Rows that partial writes are to be merged onto.
    for_writes: RowHashMap<ForWrite>,
    stats: ArchiveReadStats,
}

#[derive(Debug)]
struct ForWrite {
    view: ViewId,
    key: Box<[u8]>,
    order: (i64, i64, u64),
    /// None as long as it is under way.
    found: Option<Fetched>,
}

impl ArchiveReads {
    /// Nothing under way; without a way everything is unavailable.
    pub fn new(shard: usize, way: Option<Way>) -> Self {
        Self {
            way,
            shard,
            under_way: HashMap::new(),
            by_age: VecDeque::new(),
            next_token: 0,
            silent_until_ns: 0,
            for_writes: RowHashMap::default(),
            stats: ArchiveReadStats::default(),
        }
    }

    /// Figures so far.
    pub const fn stats(&self) -> ArchiveReadStats {
        self.stats
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// When the oldest ask ends at the latest, monotonic nanoseconds.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.by_age.front().map(|(deadline_ns, _)| *deadline_ns)
    }

    /// Asks for the row that `stub` stands for.
    ///
    /// # Errors
    /// Why it cannot be asked for, with what was to be asked.
    #[allow(clippy::result_large_err)] // What was handed in, moved back.
    pub fn start(
        &mut self,
        asker: Asker,
        wanted: Wanted,
        stub: OwnedVersion,
        changes: u64,
        now_ns: u64,
    ) -> Result<(), (UnderWay, &'static str)> {
        self.stats.asked += 1;
        let order = stub.get().map_or((0, 0, 0), |stub| stub.order());
        let key = wanted.key.clone();
        let (view, entity_hash) = (wanted.view, wanted.entity_hash);
        let under_way = UnderWay { asker, wanted, stub, changes, begun_ns: now_ns };
        let Some(way) = &self.way else {
            return Err((under_way, "the store is open without its archive"));
        };
        if now_ns < self.silent_until_ns {
            return Err((under_way, "the archive did not answer in time a moment ago"));
        }
        if self.under_way.len() >= UNDER_WAY_MAX {
            return Err((under_way, "too many rows are asked of the archive already"));
        }
        let (token, deadline_ns) = (self.next_token, now_ns.saturating_add(way.deadline_ns));
        let shard = self.shard;
        if way.asks.post(Ask { shard, token, view, entity_hash, key, order, deadline_ns }).is_err()
        {
            return Err((under_way, "too many rows are asked of the archive already"));
        }
        self.next_token += 1;
        if matches!(under_way.asker, Asker::Write { .. }) {
            self.remember(&under_way.wanted, order, None);
        }
        self.under_way.insert(token, under_way);
        self.by_age.push_back((deadline_ns, token));
        Ok(())
    }

    /// An answer has come: whose it is, if anybody waits for it still.
    pub fn take(&mut self, token: u64, found: &Fetched) -> Option<UnderWay> {
        let under_way = self.under_way.remove(&token)?;
        if !matches!(found, Fetched::Unavailable(_)) {
            self.silent_until_ns = 0;
        }
        while let Some((_, oldest)) = self.by_age.front()
            && !self.under_way.contains_key(oldest)
        {
            self.by_age.pop_front();
        }
        Some(under_way)
    }

    /// One whose deadline has passed.
    pub fn take_late(&mut self, now_ns: u64) -> Option<UnderWay> {
        while let Some((deadline_ns, token)) = self.by_age.front().copied()
            && deadline_ns <= now_ns
        {
            self.by_age.pop_front();
            if let Some(late) = self.under_way.remove(&token) {
                self.silent_until_ns = now_ns.saturating_add(SILENCE_NS);
                return Some(late);
            }
        }
        None
    }

    /// Counts how one ended.
    pub fn count(&mut self, ended: &UnderWay, found: &Fetched, now_ns: u64) {
        let stats = &mut self.stats;
        stats.waited_ns += now_ns.saturating_sub(ended.begun_ns);
        match found {
            Fetched::Row(_) => stats.hits += 1,
            Fetched::Absent => {}
            Fetched::Unavailable(_) => stats.unavailable += 1,
            Fetched::Failed(_) => stats.failed += 1,
        }
    }

    /// Keeps what was found, or that it is under way, for the partial write that needs it.
    pub fn remember(&mut self, wanted: &Wanted, order: (i64, i64, u64), found: Option<Fetched>) {
        if self.for_writes.len() >= UNDER_WAY_MAX {
            // A cache, as `bases` is: what is let go too early is asked for again.
            self.for_writes.retain(|_, kept| kept.found.is_none());
        }
        let kept = ForWrite { view: wanted.view, key: wanted.key.clone(), order, found };
        self.for_writes.insert(wanted.row_hash, kept);
    }

    /// What is known of a version that a partial write needs: `None`: it was not asked for; `Some(None)`: it is
    /// under way. That it could not be had is told once.
    pub fn for_write(
        &mut self,
        view: ViewId,
        row_hash: u64,
        key: &[u8],
        order: (i64, i64, u64),
    ) -> Option<Option<Fetched>> {
        let kept = self.for_writes.get(&row_hash)?;
        if (kept.view, &*kept.key, kept.order) != (view, key, order) {
            return None;
        }
        let found = kept.found.clone();
        if matches!(found, Some(Fetched::Absent | Fetched::Unavailable(_) | Fetched::Failed(_))) {
            self.for_writes.remove(&row_hash);
        }
        Some(found)
    }

    /// No write waits any more.
    pub fn forget_writes(&mut self) {
        self.for_writes.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use thermae_formats::version::Version;
    use thermae_formats::{NO_TIME, SchemaId};

    use super::*;

    fn wanted(row_hash: u64) -> Wanted {
        Wanted { view: ViewId(1), entity_hash: 7, row_hash, key: b"k".as_slice().into() }
    }

    fn stub() -> OwnedVersion {
        let row = Version {
            schema_id: SchemaId(1),
            flags: 0,
            sequence: 3,
            event_time: 1,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: b"k",
            value: b"v",
        };
        OwnedVersion::new(&row.stub(&row.stub_value()))
    }

    const WRITE: Asker = Asker::Write { needs_value: true };
    const ORDER: (i64, i64, u64) = (1, NO_TIME, 3);

    #[test]
    fn an_ask_ends_at_its_deadline_and_silence_follows_until_somebody_answers() {
        let asks = Arc::new(Asks::default());
        let way = Way { asks: Arc::clone(&asks), deadline_ns: 100 };
        let mut reads = ArchiveReads::new(0, Some(way));
        reads.start(WRITE, wanted(1), stub(), 0, 1_000).unwrap();
        reads.start(WRITE, wanted(2), stub(), 0, 1_050).unwrap();
        assert_eq!(reads.deadline_ns(), Some(1_100));
        assert!(reads.take_late(1_099).is_none());
        assert_eq!(reads.take_late(1_100).unwrap().wanted.row_hash, 1);
        assert!(reads.take_late(1_100).is_none());
        let (refused, why) = reads.start(WRITE, wanted(3), stub(), 0, 1_120).unwrap_err();
        assert_eq!(refused.wanted.row_hash, 3);
        assert!(why.contains("a moment ago"), "{why}");
        // The answer of the first comes too late; that of the second ends the silence.
        let (first, second) = (asks.take().unwrap(), asks.take().unwrap());
        assert!(reads.take(first.token, &Fetched::Absent).is_none());
        assert!(reads.take(second.token, &Fetched::Absent).is_some());
        assert!(reads.is_empty() && reads.deadline_ns().is_none());
        reads.start(WRITE, wanted(3), stub(), 0, 1_130).unwrap();
    }

    #[test]
    fn a_row_for_a_write_is_kept_and_a_failure_is_told_once() {
        let asks = Arc::new(Asks::default());
        let mut reads = ArchiveReads::new(0, Some(Way { asks, deadline_ns: 100 }));
        let known = |reads: &mut ArchiveReads, order| reads.for_write(ViewId(1), 1, b"k", order);
        assert!(known(&mut reads, ORDER).is_none());
        reads.start(WRITE, wanted(1), stub(), 0, 0).unwrap();
        assert!(matches!(known(&mut reads, ORDER), Some(None)));
        assert!(known(&mut reads, (2, 0, 4)).is_none(), "another version");
        reads.remember(&wanted(1), ORDER, Some(Fetched::Row(stub())));
        assert!(matches!(known(&mut reads, ORDER), Some(Some(Fetched::Row(_)))));
        reads.remember(&wanted(1), ORDER, Some(Fetched::Unavailable("no".into())));
        assert!(matches!(known(&mut reads, ORDER), Some(Some(Fetched::Unavailable(_)))));
        assert!(known(&mut reads, ORDER).is_none());
    }

    #[test]
    fn there_is_a_bound_of_asks_and_without_an_archive_there_is_none() {
        let asks = Arc::new(Asks::default());
        let mut reads = ArchiveReads::new(0, Some(Way { asks, deadline_ns: 100 }));
        for row in 0..UNDER_WAY_MAX as u64 {
            reads.start(WRITE, wanted(row), stub(), 0, 0).unwrap();
        }
        let (_, why) = reads.start(WRITE, wanted(9_999), stub(), 0, 0).unwrap_err();
        assert!(why.contains("too many"), "{why}");
        let mut none = ArchiveReads::new(0, None);
        let (_, why) = none.start(WRITE, wanted(1), stub(), 0, 0).unwrap_err();
        assert!(why.contains("without its archive"), "{why}");
    }
}
