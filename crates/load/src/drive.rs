//! The loop of one driving thread. Open: requests leave on schedule, and latency counts from when each was
//! *due*, so that no stall of the server, and no lack of room, hides. Closed: a full window, for peak rate.

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::dice::{Dice, mix};
use crate::error::Error;
use crate::maker::Maker;
use crate::session::{Done, End, Session};
use crate::workload::Arrivals;

/// A second, in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Longest latency that is told apart, nanoseconds.
const LONGEST_NS: u64 = 120 * SECOND_NS;
/// How long answers are awaited after the last request was due.
const DRAIN_NS: u64 = 15 * SECOND_NS;
/// A schedule that is this far behind will not be caught up with: the rest of it is not sent.
const BEHIND_NS_MAX: u64 = 5 * SECOND_NS;

/// When requests leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This many a second, whatever the server does.
    Open {
        /// Of this thread.
        per_s: f64,
        /// How they are spread.
        arrivals: Arrivals,
        /// Where in its first period this thread begins, 0 to 1.
        phase: f64,
    },
    /// As soon as there is room.
    Closed,
}

/// From when to when a thread drives, in nanoseconds of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first request is due.
    pub start_ns: u64,
    /// Requests due from here on count.
    pub measured_ns: u64,
    /// No request is due from here on.
    pub end_ns: u64,
}

/// What one operation of a workload came to.
#[derive(Debug, Clone)]
pub struct Tally {
    /// From when a request was due to its answer, nanoseconds.
    pub latency: Histogram<u64>,
    /// From when it was sent: what a tool that waits for answers would report.
    pub service: Histogram<u64>,
    /// Rows asked for or written.
    pub rows: u64,
    /// Rows found or acknowledged.
    pub found: u64,
}

/// A second of a run.
#[derive(Debug, Clone)]
pub struct Second {
    /// Requests that ended in it.
    pub requests: u64,
    /// Their rows.
    pub rows: u64,
    /// Their latencies.
    pub latency: Histogram<u64>,
}

/// What one thread measured.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// By operation.
    pub operations: Vec<Tally>,
    /// By second since the measured time began.
    pub seconds: Vec<Second>,
    /// Requests that were answered in the measured time, whenever they were due.
    pub answered: u64,
    /// Rows of those.
    pub rows: u64,
    /// Requests that were due and never sent, or sent and not answered by the end of the drain; their latency
    /// is counted as at least the time until then.
    pub unfinished: u64,
    /// Refused as overloaded.
    pub refused: u64,
    /// Failed otherwise.
    pub failed: u64,
    /// The first failure.
    pub first_failure: Option<String>,
    /// What sums and seconds begin as.
    empty: Histogram<u64>,
    empty_second: Second,
}

/// An empty histogram of latencies, nanoseconds.
///
/// # Errors
/// Never in practice: the bounds are fixed and valid.
pub fn histogram(digits: u8) -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, LONGEST_NS, digits)
        .map_err(|error| Error::Given(format!("a histogram of {digits} digits: {error}")))
}

impl Recorded {
    /// Nothing measured yet of so many operations.
    ///
    /// # Errors
    /// As [`histogram`].
    pub fn new(operations: usize) -> Result<Self, Error> {
        let empty = histogram(3)?;
        let (latency, service) = (empty.clone(), empty.clone());
        let tally = Tally { latency, service, rows: 0, found: 0 };
        Ok(Self {
            operations: vec![tally; operations],
            seconds: Vec::new(),
            answered: 0,
            rows: 0,
            unfinished: 0,
            refused: 0,
            failed: 0,
            first_failure: None,
            empty,
            empty_second: Second { requests: 0, rows: 0, latency: histogram(2)? },
        })
    }

    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.operations.iter_mut().zip(&other.operations) {
            // Both have the same bounds, so that nothing is out of range.
            let _ = mine.latency.add(&theirs.latency);
            let _ = mine.service.add(&theirs.service);
            mine.rows += theirs.rows;
            mine.found += theirs.found;
        }
        self.second(other.seconds.len());
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.requests += theirs.requests;
            mine.rows += theirs.rows;
            let _ = mine.latency.add(&theirs.latency);
        }
        self.answered += other.answered;
        self.rows += other.rows;
        self.unfinished += other.unfinished;
        self.refused += other.refused;
        self.failed += other.failed;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }

    /// Latencies over all operations.
    pub fn latency(&self) -> Histogram<u64> {
        self.sum(|tally| &tally.latency)
    }

    /// Service times over all operations.
    pub fn service(&self) -> Histogram<u64> {
        self.sum(|tally| &tally.service)
    }

    fn sum(&self, pick: fn(&Tally) -> &Histogram<u64>) -> Histogram<u64> {
        let mut all = self.empty.clone();
        for tally in &self.operations {
            let _ = all.add(pick(tally));
        }
        all
    }

    fn second(&mut self, count: usize) {
        if self.seconds.len() < count {
            self.seconds.resize(count, self.empty_second.clone());
        }
    }
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    due_ns: u64,
    sent_ns: u64,
    operation: usize,
}

/// The schedule of an open loop: when the next request is due.
#[derive(Debug)]
struct Schedule {
    start_ns: u64,
    period_ns: f64,
    arrivals: Arrivals,
    sent: u64,
    /// Of the next request, nanoseconds since the start.
    next: f64,
    dice: Dice,
}

impl Schedule {
    fn due_ns(&self) -> u64 {
        self.start_ns + self.next as u64
    }

    fn advance(&mut self) {
        self.sent += 1;
        self.next += match self.arrivals {
            Arrivals::Steady => self.period_ns,
            Arrivals::Poisson => -(1.0 - self.dice.unit()).ln() * self.period_ns,
        };
    }
}

/// How far a thread has got; for progress alone.
pub trait Watch {
    /// This many requests and rows more have ended.
    fn ended(&self, requests: u64, rows: u64);
    /// Whether to stop before the end.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// One thread's run.
pub struct Driver<'a, C: Clock> {
    /// Its clock.
    pub clock: &'a C,
    /// When requests leave.
    pub pace: Pace,
    /// From when to when.
    pub window: Window,
    /// Seed of arrivals.
    pub seed: u64,
    /// Who is told how far it has got.
    pub watch: &'a dyn Watch,
}

struct State {
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    in_flight: usize,
    recorded: Recorded,
}

impl<C: Clock> Driver<'_, C> {
    /// Drives a session until the window's end, and a little longer for the last answers.
    ///
    /// # Errors
    /// The way in broke, or an answer was wrong.
    pub fn run(
        &self,
        session: &mut dyn Session,
        maker: &mut Maker,
        operations: usize,
    ) -> Result<Recorded, Error> {
        let recorded = Recorded::new(operations)?;
        let mut state = State { flights: Vec::new(), free: Vec::new(), in_flight: 0, recorded };
        let mut schedule = self.schedule();
        let mut done = Vec::new();
        let Window { start_ns, end_ns, .. } = self.window;
        while self.clock.now_ns() < start_ns {
            self.clock.idle(start_ns, false);
        }
        loop {
            session.poll(&mut done)?;
            let now = self.clock.now_ns();
            let ended = !done.is_empty();
            self.take(&mut state, &mut done, now);
            let is_stopped = self.watch.is_stopped();
            let sent = match &mut schedule {
                _ if is_stopped => false,
                Some(schedule) => self.send_due(session, maker, schedule, &mut state)?,
                None => now < end_ns && self.fill(session, maker, &mut state)?,
            };
            let next_due = schedule.as_ref().map_or(end_ns, Schedule::due_ns);
            let is_over = is_stopped
                || match &schedule {
                    Some(_) => next_due >= end_ns || now.saturating_sub(next_due) > BEHIND_NS_MAX,
                    None => now >= end_ns,
                };
            let is_drained = state.in_flight == 0 || now > end_ns + DRAIN_NS;
            if is_over && is_drained {
                self.give_up(&mut state, schedule.as_mut(), if is_stopped { 0 } else { end_ns });
                return Ok(state.recorded);
            }
            if !sent && !ended {
                let due_ns = if is_over || session.room() == 0 { u64::MAX } else { next_due };
                self.clock.idle(due_ns, state.in_flight > 0);
            }
        }
    }

    fn schedule(&self) -> Option<Schedule> {
        let Pace::Open { per_s, arrivals, phase } = self.pace else { return None };
        let period_ns = SECOND_NS as f64 / per_s.max(1e-6);
        let (start_ns, dice) = (self.window.start_ns, Dice::new(mix(self.seed)));
        Some(Schedule { start_ns, period_ns, arrivals, sent: 0, next: period_ns * phase, dice })
    }

    /// Sends what is due, as far as there is room.
    fn send_due(
        &self,
        session: &mut dyn Session,
        maker: &mut Maker,
        schedule: &mut Schedule,
        state: &mut State,
    ) -> Result<bool, Error> {
        let mut any = false;
        loop {
            let (due, now) = (schedule.due_ns(), self.clock.now_ns());
            if due > now || due >= self.window.end_ns || session.room() == 0 {
                return Ok(any);
            }
            if now - due > BEHIND_NS_MAX {
                return Ok(any);
            }
            self.send(session, maker, state, due, now)?;
            schedule.advance();
            any = true;
            // What is answered on this thread is answered before the next one is sent.
            if session.room() == 0 {
                return Ok(true);
            }
        }
    }

    /// Sends one request, if there is room, without a schedule.
    fn fill(
        &self,
        session: &mut dyn Session,
        maker: &mut Maker,
        state: &mut State,
    ) -> Result<bool, Error> {
        let mut any = false;
        while session.room() > 0 {
            let now = self.clock.now_ns();
            self.send(session, maker, state, now, now)?;
            any = true;
        }
        Ok(any)
    }

    fn send(
        &self,
        session: &mut dyn Session,
        maker: &mut Maker,
        state: &mut State,
        due_ns: u64,
        sent_ns: u64,
    ) -> Result<(), Error> {
        let request = maker.next_request();
        let flight = Flight { due_ns, sent_ns, operation: request.operation };
        let token = match state.free.pop() {
            Some(token) => {
                state.flights[token] = Some(flight);
                token
            }
            None => {
                state.flights.push(Some(flight));
                state.flights.len() - 1
            }
        };
        state.in_flight += 1;
        session.send(request, token as u64)
    }

    /// Records what has ended.
    fn take(&self, state: &mut State, done: &mut Vec<Done>, now: u64) {
        let (mut requests, mut rows_ended) = (0, 0);
        for Done { token, end } in done.drain(..) {
            let slot = state.flights.get_mut(token as usize);
            let Some(flight) = slot.and_then(Option::take) else { continue };
            state.free.push(token as usize);
            state.in_flight -= 1;
            requests += 1;
            let recorded = &mut state.recorded;
            let counts = flight.due_ns >= self.window.measured_ns;
            let (rows, found) = match end {
                End::Answered { rows, found } => (u64::from(rows), u64::from(found)),
                End::Refused => {
                    recorded.refused += u64::from(counts);
                    continue;
                }
                End::Failed(why) => {
                    recorded.failed += 1;
                    recorded.first_failure.get_or_insert(why);
                    continue;
                }
            };
            rows_ended += rows;
            if now >= self.window.measured_ns && now < self.window.end_ns {
                recorded.answered += 1;
                recorded.rows += rows;
                let at = ((now - self.window.measured_ns) / SECOND_NS) as usize;
                recorded.second(at + 1);
                let second = &mut recorded.seconds[at];
                second.requests += 1;
                second.rows += rows;
                second.latency.saturating_record(now.saturating_sub(flight.due_ns).max(1));
            }
            if !counts {
                continue;
            }
            let Some(tally) = recorded.operations.get_mut(flight.operation) else { continue };
            tally.latency.saturating_record(now.saturating_sub(flight.due_ns).max(1));
            tally.service.saturating_record(now.saturating_sub(flight.sent_ns).max(1));
            tally.rows += rows;
            tally.found += found;
        }
        if requests > 0 {
            self.watch.ended(requests, rows_ended);
        }
    }

    /// What never left, or never came back, waited at least until now: it is not left out.
    fn give_up(&self, state: &mut State, schedule: Option<&mut Schedule>, end_ns: u64) {
        let now = self.clock.now_ns();
        let mut due: Vec<u64> =
            state.flights.iter().flatten().map(|flight| flight.due_ns).collect();
        if let Some(schedule) = schedule {
            while schedule.due_ns() < end_ns {
                due.push(schedule.due_ns());
                schedule.advance();
            }
        }
        for due in due.into_iter().filter(|due| *due >= self.window.measured_ns) {
            state.recorded.unfinished += 1;
            if let Some(tally) = state.recorded.operations.first_mut() {
                tally.latency.saturating_record(now.saturating_sub(due).max(1));
            }
        }
    }
}
