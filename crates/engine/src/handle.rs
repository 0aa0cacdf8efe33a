//! The way into a running store from any thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_env::Env;
use thermae_formats::schema::FeatureView;

use crate::catalogue::{Applied, Catalogue};
use crate::error::Error;
use crate::message::{Gather, Gathered, Message, Origin, Waiter};
use crate::outside::Shared;
use crate::reads::Reads;
use crate::stats::Stats;
use crate::write::{Ack, Outcome, Refusal, WriteBatch};

/// A cheap handle; clones share the store.
pub struct Handle<E: Env> {
    shared: Arc<Shared<E>>,
}

impl<E: Env> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Handle { shared: Arc::clone(&self.shared) }
    }
}

/// A write on its way.
pub struct WriteTicket {
    waiter: Arc<Waiter<Gathered>>,
    gather: Gather,
}

impl WriteTicket {
    /// Waits until every row is decided.
    pub fn wait(mut self) -> Vec<Outcome> {
        while !self.gather.is_complete() {
            for piece in self.waiter.take() {
                self.gather.note(&piece);
            }
        }
        self.gather.into_outcomes()
    }

    /// The outcomes if every row is decided, or the ticket back.
    pub fn poll(mut self) -> Result<Vec<Outcome>, WriteTicket> {
        for piece in self.waiter.poll() {
            self.gather.note(&piece);
        }
        if self.gather.is_complete() { Ok(self.gather.into_outcomes()) } else { Err(self) }
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

    /// Sends a batch to its owners. Blocks only while a mailbox is full.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn submit(&self, batch: WriteBatch) -> Result<WriteTicket, Error> {
        let rows = batch.rows.len();
        let waiter = Arc::new(Waiter::default());
        let mut gather = Gather::new(rows);
        if batch.ack == Ack::Replicated {
            let refused = Outcome::NotApplied(Refusal::Unsupported);
            gather.note(&(0..rows as u32).map(|row| (row, refused)).collect::<Vec<_>>());
            return Ok(WriteTicket { waiter, gather });
        }
        let origin = Origin::Caller(Arc::clone(&waiter));
        for (shard, part) in self.shared.split(batch, &origin) {
            self.post(shard, Message::Write(part))?;
        }
        Ok(WriteTicket { waiter, gather })
    }

    /// Writes a batch and waits for the outcome of every row, in order.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn write(&self, batch: WriteBatch) -> Result<Vec<Outcome>, Error> {
        Ok(self.submit(batch)?.wait())
    }

    /// Applies definitions: all or none.
    ///
    /// # Errors
    /// The first definition that is invalid or incompatible, or the log takes no writes.
    pub fn apply(&self, definitions: &[FeatureView]) -> Result<Vec<Applied>, Error> {
        let waiter = self.submit_apply(definitions)?;
        waiter.take().pop().unwrap_or(Err(Error::Stopped))
    }

    /// Sends definitions to shard 0; the waiter gets one answer.
    ///
    /// # Errors
    /// The store is stopped.
    #[allow(clippy::type_complexity)]
    pub fn submit_apply(
        &self,
        definitions: &[FeatureView],
    ) -> Result<Arc<Waiter<Result<Vec<Applied>, Error>>>, Error> {
        let waiter = Arc::new(Waiter::default());
        let origin = Origin::Caller(Arc::clone(&waiter));
        self.post(0, Message::Apply { definitions: definitions.to_vec(), origin })?;
        Ok(waiter)
    }

    /// State digest of every partition, by partition: equal after a replay, a duplicate, or a
    /// different batching of the same writes.
    ///
    /// # Errors
    /// The store is stopped.
    pub fn digests(&self) -> Result<Vec<(u16, u64)>, Error> {
        let waiters = self.submit_digests()?;
        let mut all: Vec<_> = waiters.iter().flat_map(|waiter| waiter.take()).flatten().collect();
        all.sort_unstable();
        Ok(all)
    }

    /// Asks every shard for its digests; each waiter gets one answer.
    ///
    /// # Errors
    /// The store is stopped.
    #[allow(clippy::type_complexity)]
    pub fn submit_digests(&self) -> Result<Vec<Arc<Waiter<Vec<(u16, u64)>>>>, Error> {
        let mut waiters = Vec::new();
        for shard in 0..self.shared.mailboxes.len() {
            let waiter = Arc::new(Waiter::default());
            self.post(shard, Message::Digests(Arc::clone(&waiter)))?;
            waiters.push(waiter);
        }
        Ok(waiters)
    }

    /// Posts to a shard, waiting for room: a caller is slowed rather than refused, so that rows of
    /// one producer keep their order.
    fn post(&self, shard: usize, mut message: Message) -> Result<(), Error> {
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
