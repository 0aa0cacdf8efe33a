//! Threads that work on what shards hand over.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use thermae_formats::wire::ErrorCode;

use super::failure::Failure;

/// When to ask again while the helper is not there yet, or has as much to do as may wait, milliseconds.
const RETRY_MS: u32 = 100;
/// When to connect again to a server that is stopping, milliseconds.
const STOPPED_MS: u32 = 1_000;

/// The thread, or several. Dropped, it works on what was sent until then, and is waited for.
pub(super) struct Helper<T> {
    requests: SyncSender<Option<T>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Helper<T> {
    /// Starts it; at most `waiting_max` requests wait. `run` takes them until it gets `None`.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start(
        name: &str,
        waiting_max: usize,
        run: impl FnOnce(&Receiver<Option<T>>) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, receiver) = sync_channel(waiting_max);
        let thread = Builder::new().name(name.to_owned()).spawn(move || run(&receiver))?;
        Ok(Self { requests, threads: vec![thread] })
    }

    /// Starts so many threads, which take the requests of one queue in turn.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start_several(
        name: &str,
        threads: usize,
        waiting_max: usize,
        work: impl Fn(T) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (requests, receiver) = sync_channel::<Option<T>>(waiting_max);
        let (receiver, work) = (Arc::new(Mutex::new(receiver)), Arc::new(work));
        let mut helper = Self { requests, threads: Vec::with_capacity(threads) };
        for _ in 0..threads {
            let (receiver, work) = (Arc::clone(&receiver), Arc::clone(&work));
            let next = move || {
                let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
                receiver.recv().ok().flatten()
            };
            let run = move || {
                while let Some(request) = next() {
                    work(request);
                }
            };
            helper.threads.push(Builder::new().name(name.to_owned()).spawn(run)?);
        }
        Ok(helper)
    }

    /// Where requests go.
    pub fn requests(&self) -> SyncSender<Option<T>> {
        self.requests.clone()
    }
}

impl<T> Drop for Helper<T> {
    fn drop(&mut self) {
        for _ in &self.threads {
            let _ = self.requests.send(None);
        }
        for thread in self.threads.drain(..) {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// Hands a request to a helper, if it is there. One that does not get to it is forgotten by `forget`: its failure
/// answers it, which is `busy` where too many wait already.
///
/// # Errors
/// What the ERROR is to say.
pub(super) fn hand_over<T>(
    to: Option<&SyncSender<Option<T>>>,
    request: T,
    busy: &'static str,
    forget: impl Fn(T),
) -> Result<(), Failure> {
    let passing = Failure::passing;
    let sent = match to {
        Some(to) => to.try_send(Some(request)).map_err(|error| match error {
            TrySendError::Full(unsent) => (unsent, passing(ErrorCode::Overloaded, RETRY_MS, busy)),
            TrySendError::Disconnected(unsent) => {
                let text = "the server is stopping";
                (unsent, passing(ErrorCode::ShuttingDown, STOPPED_MS, text))
            }
        }),
        None => {
            let text = "the server is starting";
            Err((Some(request), passing(ErrorCode::NotReady, RETRY_MS, text)))
        }
    };
    sent.map_err(|(unsent, failure)| {
        unsent.into_iter().for_each(forget);
        failure
    })
}
