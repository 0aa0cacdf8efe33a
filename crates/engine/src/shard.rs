//! One shard: a single-threaded state machine over `Env`, moved on by [`Shard::turn`].
//!
//! Production runs it on a pinned thread over a real ring; the simulator runs the same code, turn
//! by turn, over a simulated disk and clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thermae_env::{Env, Event, Ring, Wait};
use thermae_formats::manifest::SealedLog;

use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::log::LogEvent;
use crate::message::Message;
use crate::options::Options;
pub use crate::outside::{Outside, Shared};
use crate::owner::Owner;
use crate::service::{Cx, Service};
use crate::stats::{DamagedTable, ShardStats};

/// The longest sleep: the heartbeat in the hot table, by which mapped readers know that the server
/// lives, must be renewed this often.
const SLEEP_MAX_NS: u64 = 100_000_000;
/// How often figures and heartbeat are published while busy.
const PUBLISH_EVERY_NS: u64 = 20_000_000;
/// Messages taken from the mailbox in one turn, so that the ring is not starved.
const MESSAGES_PER_TURN: usize = 256;

/// One core's share of the store, and the service that runs on its thread.
pub struct Shard<E: Env, S: Service<E>> {
    number: usize,
    env: E,
    ring: E::Ring,
    service: S,
    owner: Owner<E>,
    outside: Outside<E>,
    shared: Arc<Shared<E>>,
    catalogue: Arc<Catalogue>,
    events: Vec<Event>,
    spin_ns: u64,
    active_ns: u64,
    published_ns: u64,
    deadline_ns: Option<u64>,
    phase: Phase,
}

/// Where a shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// Answering what is under way.
    Draining,
    /// Waiting for the last memtables to be tables.
    Flushing,
    /// Writing the last horizon batch.
    Closing,
}

impl<E: Env, S: Service<E>> Shard<E, S> {
    pub(crate) fn new(
        number: usize,
        env: E,
        ring: E::Ring,
        service: S,
        mut owner: Owner<E>,
        shared: Arc<Shared<E>>,
        options: &Options,
    ) -> Result<Self, Error> {
        let catalogue = shared.catalogue.load_full();
        owner
            .start_work(options.background, ring.waker(), &catalogue)
            .map_err(|e| Error::io(format!("starting the worker of shard {number}"), e))?;
        Ok(Shard {
            number,
            env,
            ring,
            service,
            owner,
            outside: Outside::new(number, Arc::clone(&shared)),
            catalogue,
            shared,
            events: Vec::with_capacity(256),
            spin_ns: options.spin_us.saturating_mul(1000),
            active_ns: 0,
            published_ns: 0,
            deadline_ns: None,
            phase: Phase::New,
        })
    }

    /// One turn: submit and complete on the ring, serve, admit, apply. Returns false when the
    /// shard has stopped.
    ///
    /// # Errors
    /// The ring itself is unusable: the shard cannot go on, what was in flight is in doubt.
    pub fn turn(&mut self) -> Result<bool, Error> {
        let wait = self.wait();
        let mut events = std::mem::take(&mut self.events);
        if let Err(error) = self.ring.turn(wait, &mut events) {
            return Err(self.end(error));
        }
        let now_ns = self.env.monotonic_ns();
        let now_us = self.env.now_us();
        self.refresh_catalogue();
        let mut active = self.phase == Phase::New;
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            self.with_service(now_us, now_ns, |service, cx| service.on_start(cx));
        }
        for event in events.drain(..) {
            active |= self.on_event(event, now_us, now_ns);
        }
        self.events = events;
        active |= self.take_messages();
        self.owner.fetch_more(&self.catalogue, &mut self.ring, &mut self.outside);
        self.owner.admit(now_us, &self.catalogue, &mut self.ring, &mut self.outside);
        self.owner.submit(&mut self.ring);
        let log_deadline = self.owner.log.tick(now_ns, &mut self.ring);
        active |= self.complete(now_us, now_ns);
        self.owner.tend(&self.catalogue, now_us, &self.outside);
        let deadline = self.with_service(now_us, now_ns, |service, cx| service.on_turn(cx));
        self.outside.flush();
        self.deadline_ns = [log_deadline, deadline].into_iter().flatten().min();
        #[cfg(feature = "cold")]
        self.end_late_archived();
        if active {
            self.active_ns = now_ns;
        }
        if now_ns.saturating_sub(self.published_ns) >= PUBLISH_EVERY_NS
            || self.phase != Phase::Running
        {
            self.publish(now_us, now_ns);
        }
        Ok(self.advance(now_us, now_ns))
    }

    /// Answers those whom the archive has kept waiting too long, and wakes for the next of them.
    #[cfg(feature = "cold")]
    fn end_late_archived(&mut self) {
        self.owner.end_late_archived(&mut self.outside);
        let next = self.owner.archived.deadline_ns();
        self.deadline_ns = [self.deadline_ns, next].into_iter().flatten().min();
    }

    /// Where the log ended, once the shard has stopped well.
    pub(crate) fn log_end(&self) -> Option<SealedLog> {
        self.owner.log.end()
    }

    /// How long the ring may wait: not at all while work is at hand or a request came lately.
    fn wait(&self) -> Wait {
        let now_ns = self.env.monotonic_ns();
        let mailbox_waits =
            self.shared.mailboxes.get(self.number).is_some_and(|mailbox| !mailbox.is_empty());
        let busy = self.phase == Phase::New
            || mailbox_waits
            || self.outside.has_backlog()
            || self.owner.has_more()
            || now_ns.saturating_sub(self.active_ns) < self.spin_ns;
        if busy {
            return Wait::Poll;
        }
        let latest = now_ns.saturating_add(SLEEP_MAX_NS);
        Wait::Until { monotonic_ns: self.deadline_ns.map_or(latest, |at| at.min(latest)) }
    }

    fn on_event(&mut self, event: Event, now_us: i64, now_ns: u64) -> bool {
        if matches!(event, Event::Woken) {
            return false;
        }
        match LogEvent::from_event(event) {
            Ok(event) => {
                self.owner.log.on_event(event, &mut self.ring);
                false
            }
            Err(event) => {
                let (ring, outside) = (&mut self.ring, &mut self.outside);
                if let Err(event) = self.owner.on_read(event, &self.catalogue, ring, outside) {
                    self.with_service(now_us, now_ns, |service, cx| service.on_event(event, cx));
                }
                true
            }
        }
    }

    fn take_messages(&mut self) -> bool {
        let mut taken = 0;
        while taken < MESSAGES_PER_TURN {
            let Some(mailbox) = self.shared.mailboxes.get(self.number) else { break };
            let Some(message) = mailbox.take() else { break };
            taken += 1;
            match message {
                Message::Write(part) => self.owner.take(part, &mut self.outside),
                Message::Written { ticket, outcomes } => {
                    self.outside.note_written(ticket, outcomes)
                }
                Message::Fetch(part) => {
                    self.owner.fetch(part, &self.catalogue, &mut self.ring, &mut self.outside);
                }
                Message::Fetched { ticket, keys } => self.outside.note_fetched(ticket, keys),
                Message::Apply { definitions, answerer } => {
                    self.owner.take_apply(definitions, answerer);
                }
                Message::Digests(answerer) => answerer.put(self.owner.state.digests()),
                Message::Snapshot(request) => self.owner.take_cut(request),
                Message::Tables { answerer, flush } => {
                    self.owner.give_tables(&answerer, flush, &self.catalogue);
                }
                Message::Depart(departures) => self.owner.depart(departures),
                #[cfg(feature = "cold")]
                Message::Archived { token, found } => {
                    self.owner.take_archived(token, found, &self.catalogue, &mut self.outside);
                }
                Message::ArchiveErased { round, work } => {
                    self.owner.note_archive_erased(round, work);
                }
                Message::Erases(query) => self.owner.take_erase_query(query),
                Message::Stop => {
                    self.shared.stopping.store(true, Ordering::Release);
                    self.phase = Phase::Draining.max_of(self.phase);
                }
            }
        }
        taken > 0
    }

    /// Applies what is safe, takes over a new catalogue, delivers decided batches.
    fn complete(&mut self, now_us: i64, now_ns: u64) -> bool {
        let (ring, outside) = (&mut self.ring, &mut self.outside);
        self.owner.complete(&self.catalogue, &self.shared.catalogue, ring, outside);
        self.refresh_catalogue();
        let mut delivered = false;
        while let Some((ticket, outcomes)) = self.outside.next_written() {
            delivered = true;
            self.with_service(now_us, now_ns, |service, cx| {
                service.on_written(ticket, outcomes, cx);
            });
        }
        while let Some((ticket, keys)) = self.outside.next_fetched() {
            delivered = true;
            self.with_service(now_us, now_ns, |service, cx| service.on_fetched(ticket, keys, cx));
        }
        delivered
    }

    /// Takes over the newest catalogue. Mapped readers are told by the table's generation, before a
    /// row of a new schema can be applied.
    fn refresh_catalogue(&mut self) {
        let newest = self.shared.catalogue.load();
        if newest.generation() != self.catalogue.generation() || self.phase == Phase::New {
            self.catalogue = Arc::clone(&newest);
            self.owner.state.set_generation(newest.generation());
        }
    }

    /// Moves towards the end; false when it is reached.
    fn advance(&mut self, now_us: i64, now_ns: u64) -> bool {
        if self.phase == Phase::Draining {
            let drained = self.with_service(now_us, now_ns, |service, cx| service.on_stop(cx));
            if drained && self.owner.is_idle() && self.outside.is_idle() {
                self.phase = Phase::Flushing;
            }
        }
        // With everything in tables the next open has nothing to replay.
        if self.phase == Phase::Flushing && !self.owner.wants_flush(&self.catalogue) {
            self.phase = Phase::Closing;
            self.owner.log.stop(&mut self.ring);
        }
        !(self.phase == Phase::Closing && self.owner.log.is_stopped())
    }

    /// Lets everybody know that this shard goes on no more.
    fn end(&mut self, error: std::io::Error) -> Error {
        let error = Error::io(format!("ring of shard {}", self.number), error);
        if let Some(place) = self.shared.stats.get(self.number) {
            let last = ShardStats::clone(&place.load());
            place.store(Arc::new(ShardStats { ended: Some(error.to_string()), ..last }));
        }
        error
    }

    fn publish(&mut self, now_us: i64, now_ns: u64) {
        self.published_ns = now_ns;
        self.owner.state.heartbeat(now_us);
        self.owner.show_room();
        let log = self.owner.log.stats();
        let failed = self.owner.log.progress().failed;
        let counters = &self.owner.counters;
        let stats = ShardStats {
            shard: self.number,
            rows_written: counters.written,
            rows_late: counters.late,
            rows_duplicate: counters.duplicate,
            rows_refused: counters.refused,
            log_batches: log.batches,
            rows_in_flight: self.owner.rows_in_flight() as u64,
            damaged_tables: self.owner.warm.damaged().iter().map(DamagedTable::from).collect(),
            read_only: failed.map(|failure| failure.to_string()),
            published_ns: now_ns,
            tiers: self.owner.tiers(),
            ..self.owner.state.stats()
        };
        if let Some(place) = self.shared.stats.get(self.number) {
            place.store(Arc::new(stats));
        }
    }

    fn with_service<R>(
        &mut self,
        now_us: i64,
        now_ns: u64,
        call: impl FnOnce(&mut S, &mut Cx<'_, E>) -> R,
    ) -> R {
        let mut cx = Cx {
            ring: &mut self.ring,
            reads: &self.shared.reads,
            below: &self.shared.below,
            catalogue: &self.catalogue,
            now_us,
            now_ns,
            shard: self.number,
            outside: &mut self.outside,
        };
        call(&mut self.service, &mut cx)
    }
}

impl<E: Env, S: Service<E>> Drop for Shard<E, S> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.shared.mailboxes.get(self.number) {
            mailbox.close();
        }
        if let Some(below) = self.shared.below.shard(self.number) {
            below.hide();
        }
    }
}

impl Phase {
    /// The later of two phases: a second stop must not undo the first.
    fn max_of(self, other: Phase) -> Phase {
        if self as u8 > other as u8 { self } else { other }
    }
}
