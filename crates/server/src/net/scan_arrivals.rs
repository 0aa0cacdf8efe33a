//! How pages of scans, steps of training reads, computed features and answers about erases come from helper threads to the shard
//! whose connection waits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use thermae_env::{Ring, Wake};
use thermae_formats::wire::ErrorCode;

use super::failure::Failure;

/// A whole SCANNED, HISTORY_REPLY, COLUMNS or JSON frame, or why there is none.
pub type Page = Result<Vec<u8>, Failure>;

/// Pages that a shard's connections wait for, as they come from the helper.
pub struct Arrivals {
    sender: Sender<(u64, Page)>,
    receiver: Receiver<(u64, Page)>,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// Where the helper puts a page. Dropped without one, it says that there is none: whoever waits is answered
/// whatever becomes of the helper.
pub struct Destination {
    sender: Option<Sender<(u64, Page)>>,
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
        let (sender, wake) = (Some(self.sender.clone()), self.wake.clone());
        Destination { sender, wake, ticket }
    }
}

impl Destination {
    /// Hands a page over.
    pub fn put(mut self, page: Page) {
        self.send(page);
    }

    /// Nobody waits there any more.
    pub fn forget(mut self) {
        self.sender = None;
    }

    fn send(&mut self, page: Page) {
        // A shard that is gone has nobody left to answer.
        if let Some(sender) = self.sender.take()
            && sender.send((self.ticket, page)).is_ok()
            && let Some(wake) = &self.wake
        {
            wake();
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        let text = "the work on this request has ended without an answer: ask again";
        self.send(Err(Failure::new(ErrorCode::Internal, text)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn whoever_waits_is_answered_once_whatever_happens() {
        let arrivals = Arrivals::default();
        arrivals.destination(1).put(Ok(vec![7]));
        drop(arrivals.destination(2));
        arrivals.destination(3).forget();
        assert_eq!(arrivals.next().unwrap(), (1, Ok(vec![7])));
        let (ticket, page) = arrivals.next().unwrap();
        assert_eq!((ticket, page.unwrap_err().code), (2, ErrorCode::Internal));
        assert!(arrivals.next().is_none());
    }
}
