//! What threads say to each other, and how the pieces of a write come back together.
//!
//! A batch may hold rows of several owners. Its origin, a shard or a calling thread, keeps a
//! [`Gather`]; each owner gets a [`Part`] and answers with the outcomes of its rows.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;
use thermae_env::Wake;
use thermae_formats::schema::FeatureView;

use crate::catalogue::Applied;
use crate::error::Error;
use crate::write::{Outcome, WriteBatch};

/// Messages that wait in one mailbox; a full one pushes back on the sender.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// The rows of a batch that one shard owns.
#[derive(Debug)]
pub struct Part {
    /// The whole batch, shared among its owners.
    pub batch: Arc<WriteBatch>,
    /// Indices into `batch.rows`, ascending.
    pub rows: Vec<u32>,
    /// Who waits for the outcomes.
    pub origin: Origin<Gathered>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub enum Origin<T> {
    /// A shard's service, under its ticket.
    Shard {
        /// The shard.
        shard: usize,
        /// The service's ticket.
        ticket: u64,
    },
    /// A thread outside the shards.
    Caller(Arc<Waiter<T>>),
}

impl<T> Clone for Origin<T> {
    fn clone(&self) -> Self {
        match self {
            Origin::Shard { shard, ticket } => Origin::Shard { shard: *shard, ticket: *ticket },
            Origin::Caller(waiter) => Origin::Caller(Arc::clone(waiter)),
        }
    }
}

/// Outcomes of some rows of a batch, by row index.
pub type Gathered = Vec<(u32, Outcome)>;

/// What a mailbox carries.
#[derive(Debug)]
pub enum Message {
    /// Rows for the receiving shard to write.
    Write(Part),
    /// Outcomes of rows that the receiving shard sent out.
    Written {
        /// The ticket of the batch.
        ticket: u64,
        /// Its rows that are decided now.
        outcomes: Gathered,
    },
    /// Definitions to apply; only shard 0 gets them.
    Apply {
        /// The definitions.
        definitions: Vec<FeatureView>,
        /// Who waits.
        origin: Origin<Result<Vec<Applied>, Error>>,
    },
    /// The answer to an `Apply` that the receiving shard sent.
    Applied {
        /// The service's ticket.
        ticket: u64,
        /// What changed.
        result: Result<Vec<Applied>, Error>,
    },
    /// Asks for (partition, digest) of every partition that the shard owns.
    Digests(Arc<Waiter<Vec<(u16, u64)>>>),
    /// Stop after what is under way.
    Stop,
}

/// A bounded queue into a shard, and the means to wake it.
#[derive(Debug)]
pub struct Mailbox<W> {
    queue: ArrayQueue<Message>,
    waker: W,
}

impl<W: Wake> Mailbox<W> {
    /// An empty mailbox for the shard that `waker` wakes.
    pub fn new(waker: W) -> Self {
        Mailbox { queue: ArrayQueue::new(MAILBOX_MESSAGES_MAX), waker }
    }

    /// Posts a message; gives it back when the mailbox is full.
    #[allow(clippy::result_large_err)] // The message itself: it goes in again, nothing is copied twice.
    pub fn post(&self, message: Message) -> Result<(), Message> {
        self.queue.push(message)?;
        self.waker.wake();
        Ok(())
    }

    /// Takes the oldest message.
    pub fn take(&self) -> Option<Message> {
        self.queue.pop()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// A place where a calling thread waits for pieces of an answer.
#[derive(Debug)]
pub struct Waiter<T> {
    pieces: Mutex<Vec<T>>,
    arrived: Condvar,
}

impl<T> Default for Waiter<T> {
    fn default() -> Self {
        Waiter { pieces: Mutex::new(Vec::new()), arrived: Condvar::new() }
    }
}

impl<T> Waiter<T> {
    /// Hands a piece over.
    pub fn put(&self, piece: T) {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
        self.arrived.notify_one();
    }

    /// Waits for at least one piece and takes what is there.
    pub fn take(&self) -> Vec<T> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        while pieces.is_empty() {
            pieces = self.arrived.wait(pieces).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut *pieces)
    }

    /// Takes what is there without waiting.
    pub fn poll(&self) -> Vec<T> {
        std::mem::take(&mut *self.pieces.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The outcomes of one batch as they come in.
#[derive(Debug)]
pub struct Gather {
    outcomes: Vec<Outcome>,
    missing: usize,
}

impl Gather {
    /// Waits for `rows` outcomes.
    pub fn new(rows: usize) -> Self {
        Gather { outcomes: vec![Outcome::InDoubt; rows], missing: rows }
    }

    /// Notes some outcomes; each row is told once.
    pub fn note(&mut self, outcomes: &[(u32, Outcome)]) {
        for (row, outcome) in outcomes {
            if let Some(place) = self.outcomes.get_mut(*row as usize) {
                *place = *outcome;
                self.missing = self.missing.saturating_sub(1);
            }
        }
    }

    /// Every row is decided.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The outcomes in row order.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }
}
