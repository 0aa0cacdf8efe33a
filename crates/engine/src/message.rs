//! What threads say to each other, and how the pieces of a write come back together.
//!
//! A batch may hold rows of several owners. Its origin, a shard or a calling thread, keeps a
//! [`Gather`]; each owner gets a [`Part`] and answers with the outcomes of its rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;
use thermae_env::{Env, Ring, Wake};
use thermae_formats::schema::FeatureView;
use thermae_tiering::departures::Departures;

use crate::asked::Asked;
use crate::catalogue::Applied;
use crate::cut::ShardCut;
use crate::error::Error;
use crate::fetch::{FetchBatch, Fetched, FetchedKeys};
use crate::flushed::TablesCut;
use crate::room::Taken;
use crate::waiter::Answerer;
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
    pub origin: Origin<Outcome>,
    /// The room that the rows take in the owner; none: they are refused for want of it.
    pub room: Option<Arc<Taken>>,
    /// What was found out when all its rows were looked for; none before, and where that came to no end.
    pub asked: Option<Arc<Asked>>,
}

/// The keys of a batch that one shard owns.
#[derive(Debug)]
pub struct FetchPart {
    /// The whole batch, shared among its owners.
    pub batch: Arc<FetchBatch>,
    /// Indices into `batch.keys()`, ascending.
    pub indices: Vec<u32>,
    /// Who waits.
    pub origin: Origin<Fetched>,
}

/// Who waits for the answers to the rows or keys of a batch, each under its index there.
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
    Caller(Answerer<(u32, T)>),
}

impl<T> Clone for Origin<T> {
    fn clone(&self) -> Self {
        match self {
            Origin::Shard { shard, ticket } => Origin::Shard { shard: *shard, ticket: *ticket },
            Origin::Caller(answerer) => Origin::Caller(answerer.clone()),
        }
    }
}

/// Outcomes of some rows of a batch, by row index.
pub type Gathered = Vec<(u32, Outcome)>;

/// (Partition, digest) of every partition of a shard.
pub type Digests = Vec<(u16, u64)>;

/// What became of definitions.
pub type ApplyAnswer = Result<Vec<Applied>, Error>;

/// A shard's part of a snapshot.
pub type CutAnswer<E> = Result<ShardCut<E>, Error>;

/// A request for a shard's part of a snapshot.
pub struct CutRequest<E: Env> {
    /// Who waits.
    pub answerer: Answerer<CutAnswer<E>>,
    /// The part is to say what a checkpoint would: that takes longer, by the shard's producers.
    pub is_backup: bool,
}

/// What was done for erases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EraseWork {
    /// Versions that rewrites of tables left out.
    pub rows: u64,
    /// Tables rewritten.
    pub tables: u64,
    /// Tables still to be rewritten.
    pub tables_left: u64,
    /// Log files removed.
    pub segments: u64,
    /// Of it, in the archive.
    pub archive: ArchiveWork,
}

/// What was done in the archive for erases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveWork {
    /// Versions that rewrites of its files left out.
    pub rows: u64,
    /// Files that were rewritten, or removed because nothing was left.
    pub files: u64,
}

/// How far the erases are that a shard was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EraseStatus {
    /// Those of them that are not complete.
    pub pending: u64,
    /// What the round did, or has done so far, that they are or were in.
    pub work: EraseWork,
}

/// A question about erases.
#[derive(Clone, Debug)]
pub struct EraseQuery {
    /// Partition and sequence of each, as its outcome told.
    pub tokens: Vec<(u16, u64)>,
    /// Answer when all are complete, and not before.
    pub waits: bool,
    /// Who asks.
    pub answerer: Answerer<EraseStatus>,
}

/// What a mailbox carries.
pub enum Message<E: Env> {
    /// Rows for the receiving shard to write.
    Write(Part),
    /// Outcomes of rows that the receiving shard sent out.
    Written {
        /// The ticket of the batch.
        ticket: u64,
        /// Its rows that are decided now.
        outcomes: Gathered,
    },
    /// Keys that the receiving shard owns, to be looked up below the hot table too.
    Fetch(FetchPart),
    /// Keys that the receiving shard asked for.
    Fetched {
        /// The ticket of the batch.
        ticket: u64,
        /// Those that are known now.
        keys: FetchedKeys,
    },
    /// Definitions to apply; only shard 0 gets them.
    Apply {
        /// The definitions.
        definitions: Vec<FeatureView>,
        /// Who waits.
        answerer: Answerer<ApplyAnswer>,
    },
    /// Asks for (partition, digest) of every partition that the shard owns.
    Digests(Answerer<Digests>),
    /// Asks for the shard's part of a snapshot.
    Snapshot(CutRequest<E>),
    /// Asks for the tables, and has what is not in them flushed if that is wanted.
    Tables {
        /// Who waits.
        answerer: Answerer<TablesCut<E>>,
        /// Whether to flush.
        flush: bool,
    },
    /// Lets merges leave out what the archive has.
    Depart(Arc<Departures>),
    /// What the archive has of a row that the receiving shard asked for.
    #[cfg(feature = "cold")]
    Archived {
        /// The shard's token of the ask.
        token: u64,
        /// The row, or why there is none.
        found: Fetched,
    },
    /// The archive holds nothing any more of a round of erases.
    ArchiveErased {
        /// The round of the shard.
        round: u64,
        /// What was done for it.
        work: ArchiveWork,
    },
    /// Asks about erases of partitions that the shard owns.
    Erases(EraseQuery),
    /// Stop after what is under way.
    Stop,
}

/// A bounded queue into a shard, and the means to wake it. Messages to a shard that has ended are dropped: whoever
/// waits for their answers is told.
pub struct Mailbox<E: Env> {
    queue: ArrayQueue<Message<E>>,
    is_closed: AtomicBool,
    waker: <E::Ring as Ring>::Waker,
}

impl<E: Env> Mailbox<E> {
    /// An empty mailbox for the shard that `waker` wakes.
    pub fn new(waker: <E::Ring as Ring>::Waker) -> Self {
        let queue = ArrayQueue::new(MAILBOX_MESSAGES_MAX);
        Mailbox { queue, is_closed: AtomicBool::new(false), waker }
    }

    /// Posts a message; gives it back when the mailbox is full.
    #[allow(clippy::result_large_err)] // The message itself: it goes in again, nothing is copied twice.
    pub fn post(&self, message: Message<E>) -> Result<(), Message<E>> {
        self.queue.push(message)?;
        // Whoever closes it looks at the queue after that: one of the two sees what the other did.
        fence(Ordering::SeqCst);
        if self.is_closed.load(Ordering::Relaxed) {
            self.drop_all();
        }
        self.waker.wake();
        Ok(())
    }

    /// Wakes the shard.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// The shard takes no message any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.drop_all();
    }

    fn drop_all(&self) {
        while self.queue.pop().is_some() {}
    }

    /// Takes the oldest message.
    pub fn take(&self) -> Option<Message<E>> {
        self.queue.pop()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// The answers of one batch as they come in.
#[derive(Debug)]
pub struct Gather<T> {
    answers: Vec<T>,
    missing: usize,
}

impl<T: Clone> Gather<T> {
    /// Waits for `len` answers; each is `unknown` until it comes.
    pub fn new(len: usize, unknown: T) -> Self {
        Gather { answers: vec![unknown; len], missing: len }
    }

    /// Notes some answers; each is told once.
    pub fn note(&mut self, answers: impl IntoIterator<Item = (u32, T)>) {
        for (index, answer) in answers {
            if let Some(place) = self.answers.get_mut(index as usize) {
                *place = answer;
                self.missing = self.missing.saturating_sub(1);
            }
        }
    }

    /// Every answer is there.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The answers in the order of the batch.
    pub fn into_answers(self) -> Vec<T> {
        self.answers
    }
}
