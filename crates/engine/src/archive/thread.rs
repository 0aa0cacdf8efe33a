//! The threads of the archive: one that feeds it, and some that read newest rows of it for the shards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use thermae_env::{Env, give_way, lower_priority};

use super::archiver::{Archiver, Step};
use super::reader::ArchiveReader;
use crate::outside::Shared;

/// Threads that read newest rows: what they do most is to wait for the object store.
const READERS: usize = 4;
/// Of the archiver: below shards and connections, above the idle work of merges.
const PRIORITY_STEPS: i32 = 10;
/// What a step takes, nanoseconds, about.
const STEP_NS: u32 = 100_000;

/// The archive at work. The readers go on until this is dropped: shards that stop wait for their answers.
pub(crate) struct ArchiveThreads {
    archiver: Option<Stepping>,
    _readers: Vec<Stepping>,
}

impl ArchiveThreads {
    /// Sets all of them to work.
    ///
    /// # Errors
    /// A thread could not be made.
    pub fn start<E: Env>(
        mut archiver: Archiver<E>,
        env: &E,
        shared: &Arc<Shared<E>>,
    ) -> io::Result<Self> {
        let readers: Vec<Stepping> = (0..READERS)
            .map(|number| {
                let mut reader = ArchiveReader::new(env.clone(), Arc::clone(shared));
                Stepping::start(format!("archive-read-{number}"), env, 0, move || reader.step())
            })
            .collect::<io::Result<_>>()?;
        let threads = readers.iter().filter_map(|reader| reader.thread.as_ref());
        shared.archive_asks.set_readers(threads.map(|thread| thread.thread().clone()).collect());
        let step = move || archiver.step();
        let archiver = Stepping::start("archive".to_owned(), env, PRIORITY_STEPS, step)?;
        Ok(Self { archiver: Some(archiver), _readers: readers })
    }

    /// Stops the archiver after its present step: what is half done is begun again by the next.
    pub fn stop_archiving(&mut self) {
        self.archiver = None;
    }
}

/// A thread that does one step after the other. Dropped, it is waited for.
struct Stepping {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stepping {
    fn start<E: Env>(
        name: String,
        env: &E,
        priority_steps: i32,
        mut step: impl FnMut() -> Step + Send + 'static,
    ) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (is_told, env) = (Arc::clone(&is_stopping), env.clone());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            if priority_steps > 0 {
                // At the usual priority the work is done, too.
                let _ = lower_priority(priority_steps);
            }
            while !is_told.load(Ordering::Acquire) {
                give_way(STEP_NS);
                if let Step::Wait { until_ns } = step() {
                    let ns = until_ns.saturating_sub(env.monotonic_ns());
                    std::thread::park_timeout(Duration::from_nanos(ns));
                }
            }
        })?;
        Ok(Self { is_stopping, thread: Some(thread) })
    }
}

impl Drop for Stepping {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
