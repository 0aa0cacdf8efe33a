//! Snapshots, asked of every shard.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::manifest::Manifest;

use super::Handle;
use crate::cut::ShardCut;
use crate::error::Error;
use crate::message::{CutAnswer, CutRequest, Message};
use crate::outside::Shared;
use crate::snapshot::{Below, Place, Snapshot};
use crate::waiter::{Waiter, waiter};

/// A snapshot that shards are being asked for.
pub struct SnapshotTicket<E: Env> {
    shared: Arc<Shared<E>>,
    place: Place,
    waiters: Vec<Waiter<CutAnswer<E>>>,
    cuts: Vec<ShardCut<E>>,
    #[cfg(feature = "cold")]
    cold: crate::cold::ColdPart,
}

impl<E: Env> Handle<E> {
    /// Whether rows have left the tables for the archive.
    #[cfg(not(feature = "cold"))]
    pub(crate) fn needs_archive(&self) -> bool {
        !self.shared.needs_archive.load().is_empty()
    }

    /// A snapshot of the store: it includes every write that was acknowledged before the call. Waits for
    /// the shards, each of which has little to do for it, or, where two full memtables are on their way to
    /// disk already, for a flush.
    ///
    /// # Errors
    /// There are too many snapshots, flushes fail, or the store is stopped.
    pub fn snapshot(&self) -> Result<Snapshot<E>, Error> {
        self.submit_snapshot()?.wait()
    }

    /// Asks every shard for its part of a snapshot.
    ///
    /// # Errors
    /// There are too many snapshots, or the store is stopped.
    pub fn submit_snapshot(&self) -> Result<SnapshotTicket<E>, Error> {
        self.submit_cut(false)
    }

    /// Asks every shard for its part of a snapshot that a backup can be made of.
    ///
    /// # Errors
    /// There are too many snapshots, or the store is stopped.
    pub fn submit_backup(&self) -> Result<SnapshotTicket<E>, Error> {
        self.submit_cut(true)
    }

    /// The manifest as it is now: for a backup, which store this is.
    pub(crate) fn manifest(&self) -> Arc<Manifest> {
        self.shared.manifests.current()
    }

    fn submit_cut(&self, is_backup: bool) -> Result<SnapshotTicket<E>, Error> {
        let place = self.shared.snapshots.take()?;
        // Before the shards are asked: see `cold/shelf.rs`.
        #[cfg(feature = "cold")]
        let cold = self.shared.shelf.before();
        let mut waiters = Vec::new();
        for shard in 0..self.shared.mailboxes.len() {
            let (answerer, waiter) = waiter();
            let request = CutRequest { answerer, is_backup };
            self.post(shard, Message::Snapshot(request))?;
            waiters.push(waiter);
        }
        let shared = Arc::clone(&self.shared);
        Ok(SnapshotTicket {
            shared,
            place,
            waiters,
            cuts: Vec::new(),
            #[cfg(feature = "cold")]
            cold,
        })
    }
}

impl<E: Env> SnapshotTicket<E> {
    /// Waits for every shard.
    ///
    /// # Errors
    /// A shard refuses.
    pub fn wait(mut self) -> Result<Snapshot<E>, Error> {
        while let Some(waiter) = self.waiters.last() {
            self.cuts.push(waiter.take().pop().ok_or(Error::Stopped)??);
            self.waiters.pop();
        }
        Ok(self.finish())
    }

    /// The snapshot if every shard has answered, or the ticket back.
    ///
    /// # Errors
    /// A shard refuses.
    pub fn poll(mut self) -> Result<Result<Snapshot<E>, Self>, Error> {
        let mut waiting = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter.poll().pop() {
                Some(cut) => self.cuts.push(cut?),
                None if waiter.is_abandoned() => return Err(Error::Stopped),
                None => waiting.push(waiter),
            }
        }
        self.waiters = waiting;
        Ok(if self.waiters.is_empty() { Ok(self.finish()) } else { Err(self) })
    }

    fn finish(self) -> Snapshot<E> {
        let needed = self.shared.needs_archive.load_full();
        let below = Below {
            needed,
            #[cfg(feature = "cold")]
            part: self.cold.and_after(&self.shared.shelf),
        };
        let Self { shared, place, cuts, .. } = self;
        let (catalogue, reads) = (shared.catalogue.load_full(), &shared.reads);
        Snapshot::new(cuts, reads.partitions(), catalogue, reads.hash_seed(), below, place)
    }
}
