//! A thread that works on what shards hand over.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// The thread. Dropped, it works on what was sent until then, and is waited for.
pub(super) struct Helper<T> {
    requests: SyncSender<Option<T>>,
    thread: Option<JoinHandle<()>>,
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
        Ok(Self { requests, thread: Some(thread) })
    }

    /// Where requests go.
    pub fn requests(&self) -> SyncSender<Option<T>> {
        self.requests.clone()
    }
}

impl<T> Drop for Helper<T> {
    fn drop(&mut self) {
        let _ = self.requests.send(None);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
