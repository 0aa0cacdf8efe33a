//! The threads that the archiver and the readers of the archive run on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use thermae_env::{Env, lower_priority};

use super::archiver::{Archiver, Step};
use super::reader::ArchiveReader;
use crate::outside::Shared;

/// Threads that read newest rows of the archive: what they do most is to wait for the object store.
const READERS: usize = 4;
/// Below shards and connections, above the idle work of merges.
const PRIORITY_STEPS: i32 = 10;

/// An archiver at work.
pub(crate) struct ArchiverThread {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ArchiverThread {
    /// Sets it to work.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(mut archiver: Archiver<E>, env: E) -> std::io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let is_told = Arc::clone(&is_stopping);
        let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
            // At the usual priority the work is done, too.
            let _ = lower_priority(PRIORITY_STEPS);
            while !is_told.load(Ordering::Acquire) {
                if let Step::Wait { until_ns } = archiver.step() {
                    let ns = until_ns.saturating_sub(env.monotonic_ns());
                    std::thread::park_timeout(Duration::from_nanos(ns));
                }
            }
        })?;
        Ok(Self { is_stopping, thread: Some(thread) })
    }
}

impl Drop for ArchiverThread {
    /// Stops it after its present step: what is half done is begun again by the next.
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// Readers of the archive at work. Dropped, they are waited for: each ends after its present look-up.
pub(crate) struct ReaderThreads {
    is_stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl ReaderThreads {
    /// Sets them to work.
    ///
    /// # Errors
    /// A thread could not be made.
    pub fn start<E: Env>(env: &E, shared: &Arc<Shared<E>>) -> std::io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let mut readers = Self { is_stopping, threads: Vec::new() };
        for number in 0..READERS {
            let mut reader = ArchiveReader::new(env.clone(), Arc::clone(shared));
            let (is_told, env) = (Arc::clone(&readers.is_stopping), env.clone());
            let name = format!("archive-read-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                while !is_told.load(Ordering::Acquire) {
                    if let Step::Wait { until_ns } = reader.step() {
                        let ns = until_ns.saturating_sub(env.monotonic_ns());
                        std::thread::park_timeout(Duration::from_nanos(ns));
                    }
                }
            })?;
            readers.threads.push(thread);
        }
        let threads = readers.threads.iter().map(|thread| thread.thread().clone());
        shared.archive_asks.set_readers(threads.collect());
        Ok(readers)
    }
}

impl Drop for ReaderThreads {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
