//! What a shard thread runs beside the store: the seam for a network front end.

use std::sync::Arc;

use thermae_env::{Env, Event};

use crate::below::BelowHot;
use crate::catalogue::Catalogue;
use crate::fetch::{FetchBatch, Fetched};
use crate::reads::Reads;
use crate::shard::Outside;
use crate::stats::Stats;
use crate::write::{Outcome, WriteBatch};

/// A state machine on a shard's thread. It never blocks; it gets the ring's network events.
pub trait Service<E: Env>: Sized {
    /// Called once, before the first turn: register listeners here.
    fn on_start(&mut self, cx: &mut Cx<'_, E>);
    /// A network event.
    fn on_event(&mut self, event: Event, cx: &mut Cx<'_, E>);
    /// Every row of the batch written under `ticket` is decided, in row order.
    fn on_written(&mut self, ticket: u64, outcomes: Vec<Outcome>, cx: &mut Cx<'_, E>);
    /// Every key of the batch fetched under `ticket` is known, in the order of the batch.
    fn on_fetched(&mut self, ticket: u64, keys: Vec<Fetched>, cx: &mut Cx<'_, E>);
    /// Called every turn; returns when it wants the next one at the latest, monotonic nanoseconds.
    fn on_turn(&mut self, cx: &mut Cx<'_, E>) -> Option<u64>;
    /// Called every turn while the shard stops; true when nothing is left to answer.
    fn on_stop(&mut self, cx: &mut Cx<'_, E>) -> bool;
}

/// What a service may use during a call.
pub struct Cx<'a, E: Env> {
    /// The shard's ring, for network operations.
    pub ring: &'a mut E::Ring,
    /// Hot reads over all shards.
    pub reads: &'a Reads,
    /// What lies below the hot tables.
    pub below: &'a BelowHot<E>,
    /// The catalogue as of this turn.
    pub catalogue: &'a Arc<Catalogue>,
    /// Wall clock of this turn, microseconds UTC.
    pub now_us: i64,
    /// Monotonic clock of this turn, nanoseconds.
    pub now_ns: u64,
    /// The shard that runs this.
    pub shard: usize,
    pub(crate) outside: &'a mut Outside<E>,
}

impl<E: Env> Cx<'_, E> {
    /// Writes a batch; the outcome always comes by `on_written`, never during this call.
    pub fn write(&mut self, ticket: u64, batch: WriteBatch) {
        self.outside.write(ticket, batch, self.reads);
    }

    /// Asks the owners of rows that the hot tables lack; they come by `on_fetched`, never during this
    /// call.
    pub fn fetch(&mut self, ticket: u64, batch: FetchBatch) {
        self.outside.fetch(ticket, batch);
    }

    /// Figures of every shard, at most 100 ms old.
    pub fn stats(&self) -> Stats {
        self.outside.stats()
    }

    /// The engine is stopping: no new work should be taken.
    pub fn is_stopping(&self) -> bool {
        self.outside.is_stopping()
    }
}

/// No front end: the embedded store.
#[derive(Debug, Default)]
pub struct NoService;

impl<E: Env> Service<E> for NoService {
    fn on_start(&mut self, _: &mut Cx<'_, E>) {}
    fn on_event(&mut self, _: Event, _: &mut Cx<'_, E>) {}
    fn on_written(&mut self, _: u64, _: Vec<Outcome>, _: &mut Cx<'_, E>) {}
    fn on_fetched(&mut self, _: u64, _: Vec<Fetched>, _: &mut Cx<'_, E>) {}
    fn on_turn(&mut self, _: &mut Cx<'_, E>) -> Option<u64> {
        None
    }
    fn on_stop(&mut self, _: &mut Cx<'_, E>) -> bool {
        true
    }
}
