//! The side of a shard that asks: it splits batches among their owners and gathers the outcomes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use thermae_env::{Env, Ring};
use thermae_formats::{NO_TIME, ViewId};

use crate::below::BelowHot;
use crate::catalogue::Catalogue;
use crate::fetch::{FetchBatch, Fetched};
use crate::gate::Gate;
use crate::log::ManifestStore;
use crate::message::{FetchPart, Gather, Gathered, Mailbox, Message, Origin, Part};
use crate::pending::bytes_on_their_way;
use crate::reads::Reads;
use crate::room::Room;
use crate::scratch::Scratch;
use crate::snapshot::Places;
use crate::stats::{ShardStats, Stats, ViewStats};
use crate::table_readers::TableReaders;
use crate::write::{Ack, Outcome, Refusal, WriteBatch};

/// The waker of an environment's rings.
pub type WakerOf<E> = <<E as Env>::Ring as Ring>::Waker;

/// Messages of the outbox, from the newest, among which one for the same ticket is looked for.
const OUTBOX_SEARCHED: usize = 16;

/// What all shards and callers share.
pub struct Shared<E: Env> {
    /// One mailbox a shard.
    pub mailboxes: Vec<Mailbox<E>>,
    /// The present catalogue; replaced by shard 0 alone.
    pub catalogue: ArcSwap<Catalogue>,
    /// What every batch passes first, where there are rules.
    pub gate: ArcSwapOption<Box<dyn Gate>>,
    /// Hot reads.
    pub reads: Reads,
    /// What lies below the hot tables.
    pub below: Arc<BelowHot<E>>,
    /// Threads that look into tables themselves.
    pub readers: TableReaders<E>,
    /// The room of each shard for writes on their way.
    pub rooms: Vec<Arc<Room>>,
    /// The manifest of the directory.
    pub manifests: Arc<ManifestStore<E>>,
    /// The places for snapshots.
    pub snapshots: Arc<Places>,
    /// What long reads may use.
    #[cfg_attr(not(feature = "cold"), allow(dead_code))]
    pub scratch: Scratch<E>,
    /// An archive holds, or will hold, what is written.
    pub has_archive: bool,
    /// The archive is open here.
    pub is_archive_open: bool,
    /// A shard waits for the archive to remove what was erased.
    pub erase_waits: AtomicBool,
    /// Views whose history needs the archive, for what lies before an event time, microseconds UTC.
    pub needs_archive: ArcSwap<BTreeMap<ViewId, i64>>,
    /// The archive.
    #[cfg(feature = "cold")]
    pub shelf: crate::cold::Shelf,
    /// Rows that shards ask of it.
    #[cfg(feature = "cold")]
    pub archive_asks: Arc<crate::archived::Asks>,
    /// The newest figures of each shard.
    pub stats: Vec<ArcSwap<ShardStats>>,
    /// Set once; nothing new is taken from then on.
    pub stopping: AtomicBool,
}

impl<E: Env> Shared<E> {
    /// Figures of all shards and views.
    pub fn stats(&self) -> Stats {
        let shards: Vec<ShardStats> =
            self.stats.iter().map(|stats| ShardStats::clone(&stats.load())).collect();
        let catalogue = self.catalogue.load();
        let views = catalogue.views().map(|view| {
            let at = view.id.0 as usize;
            let sum = shards.iter().filter_map(|shard| shard.by_view.get(at));
            let (rows, bytes) = sum.fold((0, 0), |(r, b), (rows, bytes)| (r + rows, b + bytes));
            let newest = shards.iter().filter_map(|shard| shard.newest_by_view.get(at));
            let newest = newest.copied().filter(|time| *time != NO_TIME).max();
            let definition = &view.latest.definition;
            ViewStats {
                project: definition.project.clone(),
                name: definition.name.clone(),
                version: definition.version,
                rows: u64::try_from(rows).unwrap_or(0),
                bytes: u64::try_from(bytes).unwrap_or(0),
                newest_event_time: newest,
            }
        });
        Stats {
            views: views.collect(),
            shards,
            #[cfg(feature = "cold")]
            archive: self.shelf.figures().map(|figures| (*figures).clone()),
        }
    }

    /// Sends a batch through the gate and splits it into parts by owner, each with the room that it takes there, or without if there is
    /// none within `patience`. Rooms are taken in the order of the shards.
    pub fn split(
        &self,
        mut batch: WriteBatch,
        origin: &Origin<Outcome>,
        patience: Duration,
    ) -> Vec<(usize, Part)> {
        if let Some(gate) = &*self.gate.load()
            && !batch.is_refused
        {
            gate.admit(&mut batch, &self.catalogue.load());
        }
        let hashes = batch.rows.iter().map(|row| self.reads.hash(batch.key(row)));
        let owners = self.by_owner(hashes);
        let room = |shard: usize, rows: &[u32]| match self.rooms.get(shard) {
            Some(room) if !batch.is_refused => {
                room.take_within(bytes_on_their_way(&batch, rows), patience).map(Arc::new)
            }
            _ => None,
        };
        let rooms: Vec<_> = owners.iter().map(|(shard, rows)| room(*shard, rows)).collect();
        let is_refused = rooms.iter().all(Option::is_none);
        let batch = Arc::new(if is_refused { batch.without_values() } else { batch });
        let parts = owners.into_iter().zip(rooms).map(|((shard, rows), room)| {
            let (batch, origin) = (Arc::clone(&batch), origin.clone());
            (shard, Part { batch, rows, origin, room, asked: None })
        });
        parts.collect()
    }

    /// Splits keys into parts by owner.
    pub fn split_fetch(
        &self,
        batch: FetchBatch,
        origin: &Origin<Fetched>,
    ) -> Vec<(usize, FetchPart)> {
        let owners = self.by_owner(batch.keys().iter().map(|wanted| wanted.entity_hash));
        let batch = Arc::new(batch);
        owners
            .into_iter()
            .map(|(shard, indices)| {
                (shard, FetchPart { batch: Arc::clone(&batch), indices, origin: origin.clone() })
            })
            .collect()
    }

    /// Indices of the hashes by the shard that owns them, of shards that own any.
    fn by_owner(&self, hashes: impl Iterator<Item = u64>) -> Vec<(usize, Vec<u32>)> {
        let mut owned: Vec<Vec<u32>> = vec![Vec::new(); self.mailboxes.len()];
        for (index, hash) in hashes.enumerate() {
            owned[self.reads.shard(self.reads.partition(hash))].push(index as u32);
        }
        owned.into_iter().enumerate().filter(|(_, indices)| !indices.is_empty()).collect()
    }
}

/// The asking side of one shard.
pub struct Outside<E: Env> {
    shard: usize,
    shared: Arc<Shared<E>>,
    writes: HashMap<u64, Gather<Outcome>>,
    /// Tickets whose every row is decided.
    written: VecDeque<(u64, Vec<Outcome>)>,
    fetches: HashMap<u64, Gather<Fetched>>,
    /// Tickets whose every key is known.
    fetched: VecDeque<(u64, Vec<Fetched>)>,
    /// Messages that a full mailbox gave back, and answers of this turn; order per receiver is kept.
    outbox: VecDeque<(usize, Message<E>)>,
}

impl<E: Env> Outside<E> {
    pub(crate) fn new(shard: usize, shared: Arc<Shared<E>>) -> Self {
        Outside {
            shard,
            shared,
            writes: HashMap::new(),
            written: VecDeque::new(),
            fetches: HashMap::new(),
            fetched: VecDeque::new(),
            outbox: VecDeque::new(),
        }
    }

    pub(crate) fn write(&mut self, ticket: u64, batch: WriteBatch, _: &Reads) {
        let rows = batch.rows.len();
        if batch.ack == Ack::Replicated || self.is_stopping() || rows == 0 {
            let refusal = if self.is_stopping() { Refusal::ReadOnly } else { Refusal::Unsupported };
            self.written.push_back((ticket, vec![Outcome::NotApplied(refusal); rows]));
            return;
        }
        self.writes.insert(ticket, Gather::new(rows, Outcome::InDoubt));
        let origin = Origin::Shard { shard: self.shard, ticket };
        for (owner, part) in self.shared.split(batch, &origin, Duration::ZERO) {
            self.post(owner, Message::Write(part));
        }
    }

    pub(crate) fn fetch(&mut self, ticket: u64, batch: FetchBatch) {
        let len = batch.keys().len();
        if len == 0 {
            self.fetched.push_back((ticket, Vec::new()));
            return;
        }
        self.fetches.insert(ticket, Gather::new(len, Fetched::Absent));
        let origin = Origin::Shard { shard: self.shard, ticket };
        for (owner, part) in self.shared.split_fetch(batch, &origin) {
            self.post(owner, Message::Fetch(part));
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Has the archive begin its next round without waiting for its time.
    pub(crate) fn wake_archive(&self) {
        self.shared.erase_waits.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    /// Answers whoever asked for the outcomes of some rows.
    pub(crate) fn answer(&mut self, origin: &Origin<Outcome>, outcomes: Gathered) {
        match origin {
            Origin::Caller(answerer) => answerer.put_all(outcomes),
            Origin::Shard { shard, ticket } if *shard == self.shard => {
                self.note_written(*ticket, outcomes);
            }
            Origin::Shard { shard, ticket } => {
                self.post(*shard, Message::Written { ticket: *ticket, outcomes });
            }
        }
    }

    /// Answers whoever asked for some keys; another shard is told at the end of the turn, of all of them at once.
    pub(crate) fn answer_fetch(
        &mut self,
        origin: &Origin<Fetched>,
        keys: impl IntoIterator<Item = (u32, Fetched)>,
    ) {
        match origin {
            Origin::Caller(answerer) => answerer.put_all(keys),
            Origin::Shard { shard, ticket } if *shard == self.shard => {
                self.note_fetched(*ticket, keys);
            }
            Origin::Shard { shard, ticket } => self.post_fetched(*shard, *ticket, keys),
        }
    }

    /// Adds keys to what waits for a ticket of another shard.
    fn post_fetched(
        &mut self,
        shard: usize,
        ticket: u64,
        keys: impl IntoIterator<Item = (u32, Fetched)>,
    ) {
        let waits = self.outbox.iter_mut().rev().take(OUTBOX_SEARCHED);
        let same = waits.filter(|(receiver, _)| *receiver == shard).find_map(|(_, message)| {
            let Message::Fetched { ticket: of, keys } = message else { return None };
            (*of == ticket).then_some(keys)
        });
        match same {
            Some(waiting) => waiting.extend(keys),
            None => {
                let keys = keys.into_iter().collect();
                self.outbox.push_back((shard, Message::Fetched { ticket, keys }));
            }
        }
    }

    /// Notes outcomes that came back from an owner.
    pub(crate) fn note_written(&mut self, ticket: u64, outcomes: Gathered) {
        note(&mut self.writes, &mut self.written, ticket, outcomes);
    }

    /// Notes keys that came back from an owner.
    pub(crate) fn note_fetched(
        &mut self,
        ticket: u64,
        keys: impl IntoIterator<Item = (u32, Fetched)>,
    ) {
        note(&mut self.fetches, &mut self.fetched, ticket, keys);
    }

    /// The next write that is decided whole.
    pub(crate) fn next_written(&mut self) -> Option<(u64, Vec<Outcome>)> {
        self.written.pop_front()
    }

    /// The next fetch that is answered whole.
    pub(crate) fn next_fetched(&mut self) -> Option<(u64, Vec<Fetched>)> {
        self.fetched.pop_front()
    }

    /// Posts now, or as soon as the receiver has room; never blocks, keeps the order.
    pub(crate) fn post(&mut self, shard: usize, message: Message<E>) {
        self.outbox.push_back((shard, message));
        self.flush();
    }

    /// Retries what full mailboxes gave back.
    pub(crate) fn flush(&mut self) {
        while let Some((shard, message)) = self.outbox.pop_front() {
            let Some(mailbox) = self.shared.mailboxes.get(shard) else { continue };
            if let Err(message) = mailbox.post(message) {
                self.outbox.push_front((shard, message));
                return;
            }
        }
    }

    /// Nothing is owed to anybody and nothing waits to be delivered.
    pub(crate) fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.fetches.is_empty() && !self.has_backlog()
    }

    /// Messages wait for room, or outcomes for delivery: do not sleep.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.written.is_empty() || !self.fetched.is_empty() || !self.outbox.is_empty()
    }
}

/// Notes answers under a ticket, and moves the ticket on when they are all there.
fn note<T: Clone>(
    under_way: &mut HashMap<u64, Gather<T>>,
    complete: &mut VecDeque<(u64, Vec<T>)>,
    ticket: u64,
    answers: impl IntoIterator<Item = (u32, T)>,
) {
    let Some(gather) = under_way.get_mut(&ticket) else { return };
    gather.note(answers);
    if gather.is_complete()
        && let Some(gather) = under_way.remove(&ticket)
    {
        complete.push_back((ticket, gather.into_answers()));
    }
}
