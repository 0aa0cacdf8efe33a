//! A run: the views loaded, threads driving, samples taken meanwhile, one step after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, RealClock, pause, wall_us};
use crate::drive::{Driver, Pace, Recorded, SECOND_NS, Watch, Window};
use crate::error::Error;
use crate::figures::{Figures, Sample};
use crate::machine::{Machine, Process};
use crate::maker::{Maker, Shared};
use crate::null::NullServer;
use crate::outcome::{FORMAT, Outcome, Step};
use crate::search::{Promise, Search};
use crate::session::{Done, End, Session};
use crate::target::{Target, Way};
use crate::wire::WireSession;
use crate::workload::Workload;

/// Between two looks at how far the threads have got.
const TICK: Duration = Duration::from_millis(100);
/// Before the threads begin: they connect, and read the clock.
const LEAD_NS: u64 = 50_000_000;
/// Steps of a search, at most.
const SEARCH_STEPS: u32 = 12;
/// Steps of which the best is the peak.
const PEAK_STEPS: u32 = 3;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// The peak of a closed loop.
    Peak,
    /// These rates, one after the other, requests a second.
    Rates(Vec<f64>),
    /// The highest rate that keeps a promise.
    Search(Promise),
}

/// How far a run has got, for whoever shows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Tick {
    /// Rows loaded, of all.
    Loading {
        /// Done.
        done: u64,
        /// Of.
        all: u64,
    },
    /// A step begins.
    Step {
        /// What it is.
        name: String,
        /// Milliseconds that it takes.
        all_ms: u64,
    },
    /// It goes on.
    Driving {
        /// Milliseconds since it began.
        at_ms: u64,
        /// Requests a second of late.
        per_s: f64,
    },
}

/// Counts of all threads; whether they are to stop.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    rows: AtomicU64,
    stop: AtomicBool,
}

impl Watch for Counts {
    fn ended(&self, requests: u64, rows: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A workload at a target.
pub struct Run<'a> {
    target: Target,
    shared: Arc<Shared>,
    clock: RealClock,
    told: &'a mut dyn FnMut(Tick),
}

impl<'a> Run<'a> {
    /// Opens the target, defines the views and reads traces.
    ///
    /// # Errors
    /// Nobody there, a workload that is wrong, views that are in the way.
    pub fn open(
        way: Way,
        workload: Workload,
        told: &'a mut dyn FnMut(Tick),
    ) -> Result<Self, Error> {
        let shared = Shared::new(workload)?;
        let target = Target::open(way)?;
        target.define(&shared)?;
        Ok(Self { target, shared, clock: RealClock::start(), told })
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Loads and measures everything.
    ///
    /// # Errors
    /// The way in broke, or an answer was wrong.
    pub fn measure(&mut self, goal: &Goal) -> Result<Outcome, Error> {
        let machine = Machine::here();
        let (rows_loaded, load_s) = self.load()?;
        let mut outcome = Outcome {
            format: FORMAT,
            program: concat!("thermae ", env!("CARGO_PKG_VERSION")).to_owned(),
            at_us: wall_us(),
            machine,
            way: self.target.way().clone(),
            workload: self.shared.workload.clone(),
            rows_loaded,
            load_rows_per_s: if rows_loaded > 0 { rows_loaded as f64 / load_s } else { 0.0 },
            client_per_s: None,
            promise: None,
            held_per_s: None,
            steps: Vec::new(),
            notes: Vec::new(),
        };
        match goal {
            Goal::Peak => outcome.steps.push(self.step(None)?),
            Goal::Rates(rates) => {
                for rate in rates {
                    outcome.steps.push(self.step(Some(*rate))?);
                }
            }
            Goal::Search(promise) => self.search(*promise, &mut outcome)?,
        }
        outcome.client_per_s = Some(self.client_alone()?);
        outcome.finish();
        Ok(outcome)
    }

    /// Writes the rows that are not there yet: how many, and in how many seconds.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn load(&mut self) -> Result<(u64, f64), Error> {
        let begun = self.clock.now_ns();
        let told = &mut *self.told;
        let report = |done, all| told(Tick::Loading { done, all });
        let rows = self.target.load(&self.shared, report)?;
        Ok((rows, (self.clock.now_ns() - begun) as f64 / SECOND_NS as f64))
    }

    fn search(&mut self, promise: Promise, outcome: &mut Outcome) -> Result<(), Error> {
        let peak = self.step(None)?;
        let mut search = Search::new(peak.answered_per_s, SEARCH_STEPS);
        outcome.steps.push(peak);
        while let Some(rate) = search.next() {
            let step = self.step(Some(rate))?;
            search.tried(step.keeps(promise));
            outcome.steps.push(step);
        }
        outcome.promise = Some(promise);
        outcome.held_per_s = Some(search.held());
        Ok(())
    }

    /// One step: a rate, or a closed loop.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn step(&mut self, rate: Option<f64>) -> Result<Step, Error> {
        let drive = &self.shared.workload.drive;
        let name = match rate {
            Some(rate) => format!("{rate:.0} requests/s"),
            None => "closed loop".to_owned(),
        };
        let seconds = drive.seconds;
        let all_ms = ((drive.warm_up_s + seconds) * 1000.0) as u64;
        (self.told)(Tick::Step { name, all_ms });
        let mut sessions = Vec::new();
        for thread in 0..drive.threads {
            let connections = share(drive.connections, thread, drive.threads);
            sessions.push(self.target.session(&self.shared, connections)?);
        }
        let mut sampler = Sampler::new(Some(&self.target), self.clock);
        let (shared, told) = (&self.shared, &mut *self.told);
        let recorded =
            drive_all(shared, self.clock, sessions, (rate, seconds), &mut sampler, told)?;
        Ok(Step::of(&self.shared.workload, &recorded, rate, seconds, sampler.samples))
    }

    /// The best of some steps in a closed loop: whoever else is at work on the machine only ever makes one slower.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn peak(&mut self) -> Result<Step, Error> {
        let mut best = self.step(None)?;
        for _ in 1..PEAK_STEPS {
            let step = self.step(None)?;
            // What failed is not hidden by a better one.
            if best.first_failure.is_none()
                && (step.first_failure.is_some() || step.answered_per_s > best.answered_per_s)
            {
                best = step;
            }
        }
        Ok(best)
    }

    /// What the client reaches when nobody does anything, requests a second: against a null server over a socket,
    /// against nothing at all in process.
    ///
    /// # Errors
    /// No port for the null server.
    pub fn client_alone(&mut self) -> Result<f64, Error> {
        let drive = &self.shared.workload.drive;
        let seconds = drive.seconds.min(3.0);
        let all_ms = ((drive.warm_up_s + seconds) * 1000.0) as u64;
        (self.told)(Tick::Step { name: "the client alone".to_owned(), all_ms });
        let mut sessions: Vec<Box<dyn Session + Send>> = Vec::new();
        let is_wire = matches!(self.target.way(), Way::Wire { .. });
        let start = || NullServer::start(&self.shared.workload, None);
        let null = is_wire.then(start).transpose()?;
        for thread in 0..drive.threads {
            let connections = share(drive.connections, thread, drive.threads);
            sessions.push(match &null {
                Some(server) => {
                    let address = server.address();
                    Box::new(WireSession::open(address, &self.shared, connections, false)?)
                }
                None => Box::<NullSession>::default(),
            });
        }
        let mut sampler = Sampler::new(None, self.clock);
        let (shared, told) = (&self.shared, &mut *self.told);
        let recorded =
            drive_all(shared, self.clock, sessions, (None, seconds), &mut sampler, told)?;
        Ok(recorded.answered as f64 / seconds)
    }
}

/// Drives all sessions, each on a thread of its own, and looks at them meanwhile. `pace` is the rate over all of them,
/// or none for a closed loop, and the seconds that count.
fn drive_all(
    shared: &Arc<Shared>,
    clock: RealClock,
    sessions: Vec<Box<dyn Session + Send>>,
    pace: (Option<f64>, f64),
    sampler: &mut Sampler<'_>,
    told: &mut dyn FnMut(Tick),
) -> Result<Recorded, Error> {
    let (drive, operations) = (&shared.workload.drive, shared.workload.operations.len());
    let start_ns = clock.now_ns() + LEAD_NS;
    let measured_ns = start_ns + (drive.warm_up_s * SECOND_NS as f64) as u64;
    let end_ns = measured_ns + (pace.1 * SECOND_NS as f64) as u64;
    let window = Window { start_ns, measured_ns, end_ns };
    let (threads, counts) = (sessions.len(), &Counts::default());
    let work = &|thread: usize, mut session: Box<dyn Session + Send>| {
        let share = |rate: f64| Pace::Open {
            per_s: rate / threads as f64,
            arrivals: drive.arrivals,
            phase: thread as f64 / threads as f64,
        };
        let pace = pace.0.map_or(Pace::Closed, share);
        let seed = crate::dice::mix(drive.seed ^ thread as u64);
        let driver = Driver { clock: &clock, pace, window, seed, watch: counts };
        let mut maker = Maker::new(shared, thread, threads);
        let recorded = driver.run(session.as_mut(), &mut maker, operations);
        if recorded.is_err() {
            counts.stop.store(true, Ordering::Relaxed);
        }
        recorded
    };
    thread::scope(|scope| {
        let threads = sessions.into_iter().enumerate();
        let handles: Vec<_> =
            threads.map(|(at, session)| scope.spawn(move || work(at, session))).collect();
        let mut before = 0;
        while handles.iter().any(|handle| !handle.is_finished()) {
            pause(TICK);
            let now = clock.now_ns();
            sampler.look(window, counts);
            let requests = counts.requests.load(Ordering::Relaxed);
            let per_s = (requests - before) as f64 / TICK.as_secs_f64();
            before = requests;
            told(Tick::Driving { at_ms: now.saturating_sub(start_ns) / 1_000_000, per_s });
        }
        let mut all = Recorded::new(operations)?;
        for handle in handles {
            let ended = handle.join();
            all.add(&ended.map_err(|_| Error::Given("a driving thread failed".to_owned()))??);
        }
        Ok(all)
    })
}

/// Connections of one thread.
fn share(connections: usize, thread: usize, threads: usize) -> usize {
    connections / threads + usize::from(thread < connections % threads)
}

/// Takes a sample a second in the measured time.
struct Sampler<'a> {
    target: Option<&'a Target>,
    clock: RealClock,
    before: Option<(u64, (Figures, Process), u64)>,
    samples: Vec<Sample>,
}

impl<'a> Sampler<'a> {
    fn new(target: Option<&'a Target>, clock: RealClock) -> Self {
        Self { target, clock, before: None, samples: Vec::new() }
    }

    fn look(&mut self, window: Window, counts: &Counts) {
        let Some(target) = self.target else { return };
        let now = self.clock.now_ns();
        let due = self.before.as_ref().is_none_or(|(at, _, _)| now - at >= SECOND_NS * 98 / 100);
        if now < window.measured_ns || now > window.end_ns + SECOND_NS / 2 || !due {
            return;
        }
        // A sample that cannot be taken is one that is missing from the plots.
        let Ok(figures) = target.figures() else { return };
        let (after, rows) = ((figures, Process::here()), counts.rows.load(Ordering::Relaxed));
        if let Some((at, before, rows_before)) = &self.before {
            let seconds = (now - at) as f64 / SECOND_NS as f64;
            // Neither the maps nor the embedded store count reads: what was asked is counted here.
            let is_wire = matches!(target.way(), Way::Wire { .. });
            let keys = (!is_wire).then(|| rows - rows_before);
            let at_s = (now - window.measured_ns) as f64 / SECOND_NS as f64;
            let sample = Sample::between(before, &after, seconds, keys);
            self.samples.push(Sample { at_s, ..sample });
        }
        self.before = Some((now, after, rows));
    }
}

/// Answers at once: what making and counting requests costs.
#[derive(Debug, Default)]
struct NullSession(Vec<Done>);

impl Session for NullSession {
    fn room(&self) -> usize {
        usize::from(self.0.is_empty())
    }

    fn send(&mut self, request: &crate::maker::Request, token: u64) -> Result<(), Error> {
        let rows = request.rows() as u32;
        self.0.push(Done { token, end: End::Answered { rows, found: rows } });
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        done.append(&mut self.0);
        Ok(())
    }
}

impl Outcome {
    /// Sets headroom of every step, and notes what a reader must know.
    fn finish(&mut self) {
        for step in &mut self.steps {
            step.with_client(self.client_per_s);
        }
        let mut note = |is: bool, text: &str| {
            if is {
                self.notes.push(text.to_owned());
            }
        };
        let any = |pick: fn(&Step) -> bool| self.steps.iter().any(pick);
        let bound = any(|step| step.is_client_bound);
        note(
            bound,
            "Steps marked client-bound: the client, not the store, was the limit. Give it more threads or a machine of its own.",
        );
        note(
            any(|step| step.failed > 0),
            "Some requests failed; see the first failure of each step.",
        );
        note(
            any(|step| step.refused > 0),
            "Some requests were refused as overloaded; they are not among the latencies.",
        );
        note(self.held_per_s == Some(0.0), "No rate that was tried kept the promise.");
        let found: u64 = self.steps.iter().flat_map(|step| &step.operations).map(|o| o.found).sum();
        let rows: u64 = self.steps.iter().flat_map(|step| &step.operations).map(|o| o.rows).sum();
        if found < rows {
            let share = found as f64 * 100.0 / rows.max(1) as f64;
            self.notes.push(format!(
                "{share:.2}% of the rows asked for were there (ttl, inserts on their way)."
            ));
        }
    }
}
