//! How pages of scans come from the helper thread to the shard whose connection waits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use thermae_env::{Ring, Wake};

use super::failure::Failure;

/// A whole SCANNED frame, or why there is none.
pub type Page = Result<Vec<u8>, Failure>;

/// Pages that a shard's connections wait for, as they come from the helper.
pub struct Arrivals {
    sender: Sender<(u64, Page)>,
    receiver: Receiver<(u64, Page)>,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// Where the helper puts a page.
pub struct Destination {
    sender: Sender<(u64, Page)>,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
    ticket: u64,
}

impl Default for Arrivals {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, wake: None }
    }
}

impl Arrivals {
    /// Has this shard's ring woken when a page comes.
    pub fn wake_by<R: Ring>(&mut self, ring: &R) {
        let waker = ring.waker();
        self.wake = Some(Arc::new(move || waker.wake()));
    }

    /// The next page that has come, with the ticket of its request.
    pub fn next(&self) -> Option<(u64, Page)> {
        self.receiver.try_recv().ok()
    }

    /// Where the page of a request goes.
    pub fn destination(&self, ticket: u64) -> Destination {
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        Destination { sender, wake, ticket }
    }
}

impl Destination {
    /// Hands a page over.
    pub fn put(self, page: Page) {
        // A shard that is gone has nobody left to answer.
        if self.sender.send((self.ticket, page)).is_ok()
            && let Some(wake) = &self.wake
        {
            wake();
        }
    }
}
