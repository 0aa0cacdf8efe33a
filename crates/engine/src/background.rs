//! The worker of one shard and who moves it: one of two threads, or, in a simulation, the shard's own
//! turns.
//!
//! Merges may take as long as they like while nobody waits for them, so they run on a thread of lowest
//! priority. On a busy machine such a thread hardly runs at all. So when writers wait for the worker
//! ([`Worker::is_behind`]), another thread takes it over, until it has caught up, at a priority that
//! leaves three quarters of a core to a shard that it must share it with.
//! (One thread could not do both: an unprivileged one that has lowered its priority cannot raise it again.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use thermae_env::{Env, Wake, give_way, lower_priority};
use thermae_tiering::departures::Departures;
use thermae_tiering::flush::FlushJob;
use thermae_tiering::worker::{Step, Worker, WorkerStats};

use crate::log::LogStart;
use crate::manifests::Manifests;
use crate::outside::WakerOf;

/// Steps of an inline worker in one turn of its shard.
const STEPS_PER_TURN: usize = 8;
/// What a step of the worker takes, nanoseconds, about.
const STEP_NS: u32 = 100_000;
/// How often an idle worker looks whether what it holds for others can be let go, nanoseconds.
const LET_GO_NS: u64 = 100_000_000;

/// Who works on the tables while the shard serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Background {
    /// Two threads for each shard, of which one works at a time.
    #[default]
    Thread,
    /// The shard itself, a few steps a turn: for simulation.
    Inline,
}

type Job = FlushJob<LogStart>;

/// A worker at work.
pub enum Working<E: Env> {
    /// On threads of its own.
    Threads(WorkerThreads<E>),
    /// In the shard's turns.
    Inline(Box<Worker<E, Manifests<E>>>),
}

/// The shard's end of a worker's threads.
pub struct WorkerThreads<E: Env> {
    exchange: Arc<Exchange<E>>,
    threads: Vec<JoinHandle<()>>,
}

struct Exchange<E: Env> {
    /// Held for one step at a time. The shard never asks for it.
    worker: Mutex<Worker<E, Manifests<E>>>,
    jobs: SegQueue<Job>,
    departures: SegQueue<Arc<Departures>>,
    steps: SegQueue<Step<E>>,
    /// The worker's figures, put here whenever they change: a shard reads them without waiting.
    stats: ArcSwap<WorkerStats>,
    is_stopping: AtomicBool,
    /// By [`Priority`].
    threads: [OnceLock<Thread>; 2],
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    /// Works while nobody waits.
    Idle,
    /// Works while writers wait.
    Behind,
}

impl Priority {
    /// Steps of [`lower_priority`].
    const fn steps(self) -> i32 {
        match self {
            Priority::Idle => 19,
            Priority::Behind => 5,
        }
    }
}

impl<E: Env> Working<E> {
    /// Sets `worker` to work.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start(
        worker: Worker<E, Manifests<E>>,
        background: Background,
        shard: usize,
        env: &E,
        waker: WakerOf<E>,
    ) -> std::io::Result<Self> {
        if background == Background::Inline {
            return Ok(Working::Inline(Box::new(worker)));
        }
        let exchange = Arc::new(Exchange {
            worker: Mutex::new(worker),
            jobs: SegQueue::new(),
            departures: SegQueue::new(),
            steps: SegQueue::new(),
            stats: ArcSwap::default(),
            is_stopping: AtomicBool::new(false),
            threads: [OnceLock::new(), OnceLock::new()],
        });
        let mut working = WorkerThreads { exchange, threads: Vec::new() };
        for (priority, name) in [(Priority::Idle, "idle"), (Priority::Behind, "warm")] {
            let (exchange, env) = (Arc::clone(&working.exchange), env.clone());
            let waker = waker.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{name}-{shard}"))
                .spawn(move || exchange.work(priority, &env, &waker))?;
            let _ = working.exchange.threads[priority as usize].set(thread.thread().clone());
            working.threads.push(thread);
        }
        Ok(Working::Threads(working))
    }

    /// Hands over a frozen memtable.
    pub fn submit(&mut self, job: Job) {
        match self {
            Working::Threads(threads) => {
                threads.exchange.jobs.push(job);
                threads.exchange.unpark_all();
            }
            Working::Inline(worker) => worker.submit(job),
        }
    }

    /// Lets merges leave out what the archive has.
    pub fn depart(&mut self, departures: Arc<Departures>) {
        match self {
            Working::Threads(threads) => {
                threads.exchange.departures.push(departures);
                threads.exchange.unpark_all();
            }
            Working::Inline(worker) => worker.depart(departures),
        }
    }

    /// Work done since the start.
    pub fn stats(&self) -> WorkerStats {
        match self {
            Working::Threads(threads) => **threads.exchange.stats.load(),
            Working::Inline(worker) => worker.stats(),
        }
    }

    /// What the worker has to report, one at a time.
    pub fn poll(&mut self, env: &E) -> Option<Step<E>> {
        match self {
            Working::Threads(threads) => threads.exchange.steps.pop(),
            Working::Inline(worker) => {
                for _ in 0..STEPS_PER_TURN {
                    match worker.step() {
                        Step::Idle => return None,
                        Step::Wait { until_ns } if until_ns > env.monotonic_ns() => return None,
                        Step::Wait { .. } | Step::Worked { .. } => {}
                        report => return Some(report),
                    }
                }
                None
            }
        }
    }
}

impl<E: Env> Drop for WorkerThreads<E> {
    fn drop(&mut self) {
        self.exchange.is_stopping.store(true, Ordering::Release);
        self.exchange.unpark_all();
        for thread in self.threads.drain(..) {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl<E: Env> Exchange<E> {
    fn unpark_all(&self) {
        self.threads.iter().filter_map(OnceLock::get).for_each(Thread::unpark);
    }

    /// Works when it is this thread's turn, until told to stop. What is half done then is garbage for
    /// the next open.
    fn work(&self, priority: Priority, env: &E, waker: &WakerOf<E>) {
        // At the usual priority the work is done, too.
        let _ = lower_priority(priority.steps());
        while !self.is_stopping.load(Ordering::Acquire) {
            match self.step(priority, env) {
                None | Some(Step::Idle) => std::thread::park(),
                Some(Step::Worked { .. }) => give_way(STEP_NS),
                Some(Step::Wait { until_ns }) => {
                    let ns = until_ns.saturating_sub(env.monotonic_ns());
                    std::thread::park_timeout(Duration::from_nanos(ns));
                }
                Some(report) => {
                    self.steps.push(report);
                    waker.wake();
                }
            }
        }
    }

    /// One step, if it is the turn of this priority; the other thread is told when it becomes its turn.
    fn step(&self, priority: Priority, env: &E) -> Option<Step<E>> {
        // A worker is sound between its steps, and a panic in one has been printed.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(job) = self.jobs.pop() {
            worker.submit(job);
        }
        while let Some(departures) = self.departures.pop() {
            worker.depart(departures);
        }
        let before = worker.stats();
        let mut step = (turn_of(&worker) == priority).then(|| worker.step());
        if worker.holds_retired() {
            let look_ns = env.monotonic_ns() + LET_GO_NS;
            step = step.map(|step| match step {
                Step::Idle => Step::Wait { until_ns: look_ns },
                Step::Wait { until_ns } => Step::Wait { until_ns: until_ns.min(look_ns) },
                step => step,
            });
        }
        if worker.stats() != before {
            self.stats.store(Arc::new(worker.stats()));
        }
        let turn = turn_of(&worker);
        drop(worker);
        if turn != priority
            && let Some(other) = self.threads[turn as usize].get()
        {
            other.unpark();
        }
        step
    }
}

fn turn_of<E: Env>(worker: &Worker<E, Manifests<E>>) -> Priority {
    if worker.is_behind() { Priority::Behind } else { Priority::Idle }
}
