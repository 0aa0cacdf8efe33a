//! The server's state machine on one shard: connections in, frames to `dispatch`, answers out.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use thermae_engine::{Cx, Fetched, Outcome, Service};
use thermae_env::{ConnId, Env, Event, Listener, Received, Ring};
use thermae_formats::wire::ErrorCode;

use super::connection::{Connection, Overdue};
use super::core::{Core, Shared};
use super::counters::Cut;
use super::dispatch::{self, State};
use super::histogram::add;
use super::waiting::{Pending, What};
use super::{reads, writes};
use crate::serve::limits::ns;

/// How often deadlines are looked at while any runs, in nanoseconds: they are seconds long.
const SWEEP_NS: u64 = 50_000_000;
/// How soon a parked read is looked at again, in nanoseconds.
const PARKED_NS: u64 = 100_000;
/// Connections past the limit that are told so; beyond these they are closed without a word.
const TOLD: u32 = 256;

struct Session {
    connection: Connection,
    state: State,
    closing: bool,
}

/// One shard's front end.
pub struct Front<E: Env> {
    core: Core<E>,
    listeners: Vec<Listener>,
    /// By the ring's slot of the connection.
    sessions: Vec<Option<Box<Session>>>,
    live: usize,
    sweep_ns: Option<u64>,
    stop_by_ns: Option<u64>,
}

impl<E: Env> Front<E> {
    /// The front end of shard `shard`, which accepts from `listeners`.
    pub fn new(env: E, shared: Arc<Shared>, shard: usize, listeners: Vec<Listener>) -> Self {
        let core = Core::new(env, shared, shard);
        Self { core, listeners, sessions: Vec::new(), live: 0, sweep_ns: None, stop_by_ns: None }
    }

    /// Works on one connection, then settles what follows from it.
    fn with(
        &mut self,
        id: ConnId,
        cx: &mut Cx<'_, E>,
        work: impl FnOnce(&mut Session, &mut Core<E>, &mut Cx<'_, E>),
    ) {
        let Some(place) = self.sessions.get_mut(id.slot() as usize) else { return };
        let Some(mut session) = place.take_if(|session| session.connection.id == id) else {
            return;
        };
        work(&mut session, &mut self.core, cx);
        if self.settle(&mut session, cx) && self.sweep_ns.is_none() {
            self.sweep_ns = Some(cx.now_ns + SWEEP_NS);
        }
        self.sessions[id.slot() as usize] = Some(session);
    }

    /// Sends what was answered, pauses or resumes, counts memory. Says whether a deadline runs.
    fn settle(&mut self, session: &mut Session, cx: &mut Cx<'_, E>) -> bool {
        let connection = &mut session.connection;
        if let Some(output) = connection.take_output(cx.now_ns) {
            cx.ring.send(connection.id, output);
        }
        let held_bytes = connection.held_bytes();
        if held_bytes != connection.charged_bytes {
            self.core.release(connection.charged_bytes);
            self.core.charge(held_bytes);
            connection.charged_bytes = held_bytes;
        }
        match connection.held_up(&self.core.limits, &self.core.budget) {
            Some(cut) if !connection.paused => {
                self.core.counters.cut(cut);
                cx.ring.pause(connection.id);
                connection.paused = true;
            }
            None if connection.paused => {
                cx.ring.resume(connection.id);
                connection.paused = false;
            }
            _ => {}
        }
        connection.is_timed()
    }

    fn accept(&mut self, id: ConnId, local: bool, cx: &mut Cx<'_, E>) {
        add(&self.core.counters.accepted, 1);
        if cx.is_stopping() {
            cx.ring.close(id);
            return;
        }
        let open = self.core.shared.open.fetch_add(1, AcqRel);
        let limits = self.core.limits;
        if open >= limits.connections {
            self.core.counters.cut(Cut::Connections);
        }
        if open >= limits.connections.saturating_add(TOLD) {
            self.core.shared.open.fetch_sub(1, AcqRel);
            cx.ring.close(id);
            return;
        }
        let slot = id.slot() as usize;
        if slot >= self.sessions.len() {
            self.sessions.resize_with(slot + 1, || None);
        }
        let connection = Connection::new(id, local, &limits, cx.now_ns);
        let session = Session { connection, state: State::default(), closing: false };
        self.sessions[slot] = Some(Box::new(session));
        self.live += 1;
        add(&self.core.counters.open, 1);
        self.with(id, cx, |session, _, cx| {
            if open >= limits.connections {
                let text = format!("the server serves {} connections at most", limits.connections);
                session.connection.end(0, ErrorCode::Overloaded, &text, cx.now_ns);
            }
        });
    }

    fn receive(&mut self, id: ConnId, data: Received, cx: &mut Cx<'_, E>) {
        self.with(id, cx, |session, core, cx| {
            let (limits, budget, now_ns) = (core.limits, core.budget, cx.now_ns);
            let Session { connection, state, .. } = session;
            let cut = connection.receive(&data, &limits, &budget, now_ns, &mut |conn, frame| {
                dispatch::frame(core, conn, state, frame, cx);
            });
            count(core, cut);
        });
        cx.ring.recycle(data);
    }

    fn sent(&mut self, id: ConnId, buf: Vec<u8>, cx: &mut Cx<'_, E>) {
        let bytes = buf.len();
        self.core.give_spare(buf);
        self.with(id, cx, |session, core, cx| {
            session.connection.sent(bytes);
            go_on(session, core, cx);
        });
    }

    fn closed(&mut self, id: ConnId) {
        let Some(place) = self.sessions.get_mut(id.slot() as usize) else { return };
        let Some(session) = place.take_if(|session| session.connection.id == id) else { return };
        self.live -= 1;
        self.core.release(session.connection.charged_bytes + session.state.plans.held_bytes());
        self.core.shared.open.fetch_sub(1, AcqRel);
        let open = self.core.counters.open.load(Relaxed);
        self.core.counters.open.store(open.saturating_sub(1), Relaxed);
    }

    /// Takes a decided request off the books and lets `answer` append its answer.
    fn decided(
        &mut self,
        ticket: u64,
        cx: &mut Cx<'_, E>,
        answer: impl FnOnce(&mut Core<E>, &mut Connection, Pending, u64),
    ) {
        let Some(pending) = self.core.tickets.take(ticket) else { return };
        self.core.release(pending.held_bytes);
        self.with(pending.conn, cx, |session, core, cx| {
            session.connection.in_flight = session.connection.in_flight.saturating_sub(1);
            answer(core, &mut session.connection, pending, cx.now_ns);
            go_on(session, core, cx);
        });
    }

    /// Answers the scans, training reads, definitions and questions about erases for which something has come.
    fn take_pages(&mut self, cx: &mut Cx<'_, E>) {
        while let Some((ticket, page)) = self.core.arrivals.next() {
            let Some(pending) = self.core.tickets.take(ticket) else { continue };
            self.core.release(pending.held_bytes);
            self.with(pending.conn, cx, |session, core, cx| {
                let connection = &mut session.connection;
                connection.in_flight = connection.in_flight.saturating_sub(1);
                match pending.what {
                    What::History => session.state.history.answered(page.is_err()),
                    What::EraseStatus => session.state.is_asking_erases = false,
                    What::Scan => session.state.is_scanning = false,
                    _ => {}
                }
                match page {
                    Ok(frame) => core.give_spare(connection.push(frame)),
                    Err(failure) => {
                        let request_id = pending.request_id;
                        dispatch::refuse(core, connection, request_id, &failure, cx.now_ns);
                    }
                }
                go_on(session, core, cx);
            });
        }
    }

    /// Looks at the parked reads again.
    fn unpark(&mut self, cx: &mut Cx<'_, E>) {
        let mut index = 0;
        while index < self.core.parked.len() {
            let parked = self.core.parked.swap_remove(index);
            let (id, bytes) = (parked.conn, parked.frame.capacity());
            let mut kept = None;
            self.with(id, cx, |session, core, cx| {
                let Session { connection, state, .. } = session;
                match reads::retry(core, connection, &mut state.plans, &parked, cx) {
                    None => {
                        kept = Some(parked);
                        return;
                    }
                    Some(Ok(())) => {}
                    Some(Err(failure)) => {
                        let request_id = reads::request_id(&parked.frame);
                        dispatch::refuse(core, connection, request_id, &failure, cx.now_ns);
                    }
                }
                connection.in_flight = connection.in_flight.saturating_sub(1);
                go_on(session, core, cx);
            });
            match kept {
                Some(parked) => {
                    self.core.parked.push(parked);
                    let last = self.core.parked.len() - 1;
                    self.core.parked.swap(index, last);
                    index += 1;
                }
                // Answered, or its connection is gone.
                None => self.core.release(bytes),
            }
        }
    }

    /// Closes connections whose time is up; says whether any deadline still runs.
    fn sweep(&mut self, cx: &mut Cx<'_, E>) -> bool {
        let mut any_timed = false;
        for session in self.sessions.iter_mut().flatten() {
            let connection = &mut session.connection;
            let queued = cx.ring.queued_bytes(connection.id);
            if let Some(overdue) = connection.overdue(queued, &self.core.limits, cx.now_ns)
                && !session.closing
            {
                if let Overdue::Cut(cut) = overdue {
                    self.core.counters.cut(cut);
                }
                cx.ring.close(connection.id);
                session.closing = true;
            }
            any_timed |= connection.is_timed();
        }
        any_timed
    }

    fn publish(&self) {
        let waiting = self.core.tickets.len() + self.core.parked.len();
        self.core.counters.waiting.store(waiting as u64, Relaxed);
        self.core.counters.buffered_bytes.store(self.core.budget.held_bytes, Relaxed);
    }
}

/// Goes on with what a connection held back, now that something was answered or sent.
fn go_on<E: Env>(session: &mut Session, core: &mut Core<E>, cx: &mut Cx<'_, E>) {
    if !session.connection.paused {
        return;
    }
    let (limits, budget, now_ns) = (core.limits, core.budget, cx.now_ns);
    let Session { connection, state, .. } = session;
    let cut = connection.go_on(&limits, &budget, now_ns, &mut |conn, frame| {
        dispatch::frame(core, conn, state, frame, cx);
    });
    count(core, cut);
}

/// Counts what ended or refused something; pauses are counted where they begin.
fn count<E: Env>(core: &Core<E>, cut: Option<Cut>) {
    if let Some(cut @ (Cut::OversizeFrame | Cut::Malformed)) = cut {
        core.counters.cut(cut);
        add(&core.counters.errors, 1);
    }
}

impl<E: Env> Service<E> for Front<E> {
    fn on_start(&mut self, cx: &mut Cx<'_, E>) {
        self.core.arrivals.wake_by(cx.ring);
        for listener in self.listeners.drain(..) {
            cx.ring.listen(listener);
        }
    }

    fn on_event(&mut self, event: Event, cx: &mut Cx<'_, E>) {
        match event {
            Event::Received { conn, data } => self.receive(conn, data, cx),
            Event::Sent { conn, buf, .. } => self.sent(conn, buf, cx),
            Event::Accepted { conn, local, .. } => self.accept(conn, local, cx),
            Event::Closed { conn } => self.closed(conn),
            Event::Written { .. }
            | Event::Synced { .. }
            | Event::Named { .. }
            | Event::Read { .. }
            | Event::Woken => {}
        }
    }

    fn on_written(&mut self, ticket: u64, outcomes: Vec<Outcome>, cx: &mut Cx<'_, E>) {
        self.decided(ticket, cx, |core, conn, pending, now_ns| {
            writes::written(core, conn, pending, &outcomes, now_ns);
        });
    }

    fn on_fetched(&mut self, ticket: u64, keys: Vec<Fetched>, cx: &mut Cx<'_, E>) {
        let Some(pending) = self.core.tickets.take(ticket) else { return };
        self.core.release(pending.held_bytes);
        let What::Read(read) = pending.what else { return };
        self.with(pending.conn, cx, |session, core, cx| {
            let Session { connection, state, .. } = session;
            connection.in_flight = connection.in_flight.saturating_sub(1);
            let plans = &mut state.plans;
            if let Err(failure) = reads::fetched(core, connection, plans, read, keys, cx) {
                dispatch::refuse(core, connection, pending.request_id, &failure, cx.now_ns);
            }
            go_on(session, core, cx);
        });
    }

    fn on_turn(&mut self, cx: &mut Cx<'_, E>) -> Option<u64> {
        self.take_pages(cx);
        if !self.core.parked.is_empty() {
            self.unpark(cx);
        }
        if self.sweep_ns.is_some_and(|due| cx.now_ns >= due) {
            self.sweep_ns = None;
            if self.sweep(cx) {
                self.sweep_ns = Some(cx.now_ns + SWEEP_NS);
            }
        }
        self.publish();
        let parked = (!self.core.parked.is_empty()).then_some(cx.now_ns + PARKED_NS);
        [self.sweep_ns, parked].into_iter().flatten().min()
    }

    fn on_stop(&mut self, cx: &mut Cx<'_, E>) -> bool {
        let stop_by_ns =
            *self.stop_by_ns.get_or_insert(cx.now_ns + ns(self.core.limits.stop_deadline_ms));
        self.unpark(cx);
        self.take_pages(cx);
        let is_late = cx.now_ns >= stop_by_ns;
        for session in self.sessions.iter_mut().flatten() {
            if !session.closing && (is_late || session.connection.is_answered()) {
                cx.ring.close(session.connection.id);
                session.closing = true;
            }
        }
        self.publish();
        self.live == 0 || is_late
    }
}
