//! The way into a running store from any thread.

mod erases;
mod snapshots;
mod tables;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::schema::FeatureView;
use thermae_formats::version::Version;

use crate::catalogue::{Applied, Catalogue, View};
use crate::error::Error;
use crate::fetch::{FetchBatch, Fetched};
use crate::gate::Gate;
use crate::message::{ApplyAnswer, Digests, Gather, Message, Origin};
use crate::outside::Shared;
use crate::reads::{Key, Lookup, Reads, RowBuf, version_of};
use crate::stats::Stats;
use crate::waiter::{Waiter, waiter, waiter_of};
use crate::write::{Ack, Outcome, Refusal, WriteBatch};
pub use erases::{ArchiveState, EraseTicket, ErasedShard};
pub use snapshots::SnapshotTicket;

/// How long a writer who waits for the outcome anyway waits for room before.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// A cheap handle; clones share the store.
pub struct Handle<E: Env> {
    shared: Arc<Shared<E>>,
}

impl<E: Env> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Handle { shared: Arc::clone(&self.shared) }
    }
}

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a, 'b> {
    /// Its newest version.
    Row(&'a Version<'b>),
    /// There is no such row.
    Absent,
    /// It cannot be read, and why.
    Failed(&'a str),
    /// It lies in the archive, which does not answer at present, and why.
    Unavailable(&'a str),
}

/// Keys that the hot tables cannot tell about.
#[derive(Debug, Default)]
pub struct Rest {
    /// To be fetched.
    pub batch: FetchBatch,
    places: Vec<usize>,
}

impl Rest {
    fn add(&mut self, at: usize, view: ViewId, key: &Key<'_>) {
        self.places.push(at);
        self.batch.push(view, key.entity_hash, key.bytes);
    }

    /// Hands over what was fetched for [`Rest::batch`].
    pub fn take(&self, fetched: &[Fetched], mut sink: impl FnMut(usize, Found<'_, '_>)) {
        for (&at, fetched) in self.places.iter().zip(fetched) {
            match fetched {
                Fetched::Row(row) => match row.get() {
                    Some(version) => sink(at, Found::Row(&version)),
                    None => sink(at, Found::Absent),
                },
                Fetched::Absent => sink(at, Found::Absent),
                Fetched::Failed(why) => sink(at, Found::Failed(why)),
                Fetched::Unavailable(why) => sink(at, Found::Unavailable(why)),
            }
        }
    }
}

/// A request on its way to the shards that own its parts.
pub struct Ticket<T> {
    waiter: Waiter<(u32, T)>,
    gather: Gather<T>,
}

/// A write on its way.
pub type WriteTicket = Ticket<Outcome>;
/// A fetch on its way.
pub type FetchTicket = Ticket<Fetched>;

impl<T: Clone> Ticket<T> {
    /// Waits until every part is answered, or nobody is left who could: what is not known then is as it was before.
    pub fn wait(mut self) -> Vec<T> {
        self.gather.note(self.waiter.take());
        self.gather.into_answers()
    }

    /// The answers that have come by now; what has not is as it was before any did.
    pub fn so_far(mut self) -> Vec<T> {
        self.gather.note(self.waiter.poll());
        self.gather.into_answers()
    }

    /// The answers if all are there, or the ticket back.
    pub fn poll(mut self) -> Result<Vec<T>, Self> {
        self.gather.note(self.waiter.poll());
        if self.gather.is_complete() { Ok(self.gather.into_answers()) } else { Err(self) }
    }
}

impl<E: Env> Handle<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>) -> Self {
        Handle { shared }
    }

    pub(crate) fn shared(&self) -> &Shared<E> {
        &self.shared
    }

    /// Hot reads, on the calling thread.
    pub fn reads(&self) -> &Reads {
        &self.shared.reads
    }

    /// The present catalogue.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.shared.catalogue.load_full()
    }

    /// Figures, at most 100 ms old.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Whether histories can be read through the archive: it was found, and is this store's.
    #[cfg(feature = "cold")]
    pub fn is_archive_attached(&self) -> bool {
        self.shared.shelf.is_attached()
    }

    /// From now on every batch passes `gate`, whichever way it comes; the gate before it is replaced.
    pub fn set_gate(&self, gate: Box<dyn Gate>) {
        self.shared.gate.store(Some(Arc::new(gate)));
    }

    /// Sends a batch to its owners. Blocks only while a mailbox is full: rows that find no room in memory are
    /// refused as overloaded.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn submit(&self, batch: WriteBatch) -> Result<WriteTicket, Error> {
        self.submit_within(batch, Duration::ZERO)
    }

    /// Sends a batch to its owners, and first waits up to `patience` in each shard for room in memory; rows
    /// that find none are refused as overloaded.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn submit_within(
        &self,
        batch: WriteBatch,
        patience: Duration,
    ) -> Result<WriteTicket, Error> {
        let rows = batch.rows.len();
        let (answerer, waiter) = waiter_of(rows);
        let mut gather = Gather::new(rows, Outcome::InDoubt);
        if batch.ack == Ack::Replicated {
            let refused = Outcome::NotApplied(Refusal::Unsupported);
            gather.note((0..rows as u32).map(|row| (row, refused)));
            return Ok(Ticket { waiter, gather });
        }
        let origin = Origin::Caller(answerer);
        for (shard, part) in self.shared.split(batch, &origin, patience) {
            self.post(shard, Message::Write(part))?;
        }
        Ok(Ticket { waiter, gather })
    }

    /// Writes a batch and waits for the outcome of every row, in order; for room, a second.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn write(&self, batch: WriteBatch) -> Result<Vec<Outcome>, Error> {
        Ok(self.submit_within(batch, WRITE_PATIENCE)?.wait())
    }

    /// Looks up many keys of one view in all tiers: rows of hot tables and of tables on disk by the calling thread,
    /// the others by their owners, who are waited for. `sink` is called once a key, in no order, with the newest
    /// version: tombstones and expired rows too, which [`visibility`](crate::visibility) judges. As many threads as
    /// their memory was set aside for read from the disk by themselves, with up to 256 KiB each; others leave that to the
    /// owners, too.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn read(
        &self,
        view: &View,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        mut sink: impl FnMut(usize, Found<'_, '_>),
    ) -> Result<(), Error> {
        let mut rest = self.read_here(view, keys, buf, &mut sink);
        if !rest.places.is_empty() {
            let ticket = self.submit_fetch(std::mem::take(&mut rest.batch))?;
            rest.take(&ticket.wait(), sink);
        }
        Ok(())
    }

    /// The first half of [`Handle::read`]: what the calling thread can tell goes to `sink`, the rest comes back, to be
    /// fetched.
    pub fn read_here(
        &self,
        view: &View,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        sink: &mut impl FnMut(usize, Found<'_, '_>),
    ) -> Rest {
        let (mut rest, below) = self.find_hot(view, keys, buf, sink);
        let left = self.read_tables(view, keys, below, sink);
        left.into_iter().for_each(|at| rest.add(at, view.id, &keys[at]));
        rest
    }

    /// The same, but it waits for no disk: what lies in tables comes back, too.
    pub fn read_hot(
        &self,
        view: &View,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        sink: &mut impl FnMut(usize, Found<'_, '_>),
    ) -> Rest {
        let (mut rest, below) = self.find_hot(view, keys, buf, sink);
        below.into_iter().for_each(|at| rest.add(at, view.id, &keys[at]));
        rest
    }

    /// What the hot tables can tell goes to `sink`. What is damaged there comes back, and which keys may lie below.
    fn find_hot(
        &self,
        view: &View,
        keys: &[Key<'_>],
        buf: &mut RowBuf,
        sink: &mut impl FnMut(usize, Found<'_, '_>),
    ) -> (Rest, Vec<usize>) {
        let (mut absent, mut rest) = (Vec::new(), Rest::default());
        self.reads().multi_get(view, keys, buf, |at, found| match found {
            Lookup::Found(row) => sink(at, Found::Row(&version_of(row))),
            Lookup::Absent => absent.push(at),
            Lookup::Corrupt(_) | Lookup::Busy => rest.add(at, view.id, &keys[at]),
        });
        let place = |at: &usize| (view.id, keys[*at].entity_hash);
        let asked = self.shared.below.ask(&absent, place);
        let below = asked.filter_map(|(&at, may_lie_below)| match may_lie_below {
            true => Some(at),
            false => {
                sink(at, Found::Absent);
                None
            }
        });
        let below = below.collect();
        (rest, below)
    }

    /// Asks the owners of rows that the hot tables lack.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn submit_fetch(&self, batch: FetchBatch) -> Result<FetchTicket, Error> {
        let (answerer, waiter) = waiter_of(batch.keys().len());
        let unknown = Fetched::Unavailable(Arc::from("the store was stopped"));
        let gather = Gather::new(batch.keys().len(), unknown);
        let origin = Origin::Caller(answerer);
        for (shard, part) in self.shared.split_fetch(batch, &origin) {
            self.post(shard, Message::Fetch(part))?;
        }
        Ok(Ticket { waiter, gather })
    }

    /// Applies definitions: all or none.
    ///
    /// # Errors
    /// The first definition that is invalid or incompatible, or the log takes no writes.
    pub fn apply(&self, definitions: &[FeatureView]) -> Result<Vec<Applied>, Error> {
        let waiter = self.submit_apply(definitions)?;
        waiter.take().pop().unwrap_or(Err(Error::Stopped))
    }

    /// Sends definitions to shard 0; the waiter gets one answer, or none if the store stops.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn submit_apply(&self, definitions: &[FeatureView]) -> Result<Waiter<ApplyAnswer>, Error> {
        let (answerer, waiter) = waiter();
        self.post(0, Message::Apply { definitions: definitions.to_vec(), answerer })?;
        Ok(waiter)
    }

    /// State digest of every partition, by partition: equal after a replay, a duplicate, or a
    /// different batching of the same writes.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn digests(&self) -> Result<Vec<(u16, u64)>, Error> {
        let waiters = self.submit_digests()?;
        let answers = waiters.iter().map(|waiter| waiter.take().pop().ok_or(Error::Stopped));
        let mut all = answers.collect::<Result<Vec<_>, _>>()?.concat();
        all.sort_unstable();
        Ok(all)
    }

    /// Asks every shard for its digests; each waiter gets one answer.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn submit_digests(&self) -> Result<Vec<Waiter<Digests>>, Error> {
        let mut waiters = Vec::new();
        for shard in 0..self.shared.mailboxes.len() {
            let (answerer, waiter) = waiter();
            self.post(shard, Message::Digests(answerer))?;
            waiters.push(waiter);
        }
        Ok(waiters)
    }

    /// Posts to a shard, waiting for room: a caller is slowed rather than refused, so that rows of
    /// one producer keep their order.
    fn post(&self, shard: usize, mut message: Message<E>) -> Result<(), Error> {
        loop {
            if self.shared.stopping.load(Ordering::Acquire) {
                return Err(Error::Stopped);
            }
            let Some(mailbox) = self.shared.mailboxes.get(shard) else {
                return Err(Error::Stopped);
            };
            match mailbox.post(message) {
                Ok(()) => return Ok(()),
                Err(back) => message = back,
            }
            std::thread::yield_now();
        }
    }
}
