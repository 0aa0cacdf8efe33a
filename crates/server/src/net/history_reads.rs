//! The helper threads of training reads: one for each read, and one that starts them.
//!
//! A read's thread takes the pieces of the spine, then lets a thread of lower priority work while it answers
//! whoever asks how far that is. It ends when the answer is over, when its connection goes (the shard drops
//! its end of the channel), when nobody asks for a while, or at the first error.

mod failures;
mod pieces;
mod read;
mod spine;
mod stream;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use thermae_env::{Env, go_last};
use thermae_features::FeatureStore;
use thermae_features::store::{Ask, HistoricalOptions};
use thermae_formats::wire::{ErrorCode, HistoryReply};

use super::failure::Failure;
use super::helper::Helper;
use super::scan_arrivals::{Destination, Page};
use crate::serve::limits::Limits;
pub use read::PIECE_MAX_BYTES;
use read::{Read, Work};

/// Begins that wait for the starter at most.
const WAITING_MAX: usize = 64;
/// When to ask again while there are as many reads as may be, milliseconds.
const RETRY_MS: u32 = 1_000;

/// A training read that somebody wants to begin.
pub struct Begin {
    /// What is asked for.
    pub ask: Ask,
    /// How it is to be read.
    pub options: HistoricalOptions,
    /// Its further steps.
    pub steps: Receiver<Step>,
    /// Who waits for the answer to this one.
    pub answer: AnswerTo,
}

/// A further step.
pub enum Step {
    /// A piece of the spine.
    Put {
        /// The next bytes of its stream.
        bytes: Vec<u8>,
        /// No more follow.
        last: bool,
        /// Who waits.
        answer: AnswerTo,
    },
    /// The next piece of the answer is asked for.
    Next(AnswerTo),
    /// The read is to end.
    End(AnswerTo),
}

/// Who waits for the answer to a step. Dropped without one, it is answered that there is no read: a step that comes
/// while its read ends is in nobody's hands.
pub struct AnswerTo {
    request_id: u64,
    max_frame_bytes: u32,
    destination: Option<Destination>,
}

impl AnswerTo {
    /// The request of this id, whose client takes frames of so many bytes.
    pub fn new(request_id: u64, max_frame_bytes: u32, destination: Destination) -> Self {
        Self { request_id, max_frame_bytes, destination: Some(destination) }
    }

    /// Answers.
    pub fn reply(mut self, reply: &HistoryReply<'_>) {
        let mut frame = Vec::new();
        let encoded = reply.encode(&mut frame, self.request_id, self.max_frame_bytes);
        self.put(encoded.map(|()| frame).map_err(Failure::from));
    }

    /// Answers that it failed.
    pub fn fail(mut self, failure: Failure) {
        self.put(Err(failure));
    }

    /// It is answered elsewhere.
    pub fn forget(mut self) {
        if let Some(destination) = self.destination.take() {
            destination.forget();
        }
    }

    fn put(&mut self, page: Page) {
        if let Some(destination) = self.destination.take() {
            destination.put(page);
        }
    }
}

impl Drop for AnswerTo {
    fn drop(&mut self) {
        if self.destination.is_some() {
            self.put(Err(gone()));
        }
    }
}

/// There is no read that a step could be one of.
pub fn gone() -> Failure {
    let text = "this connection has no training read: it is over, was ended after a failure, or nobody asked about it \
                for too long. Begin again";
    Failure::new(ErrorCode::UnknownPlan, text)
}

/// The starter.
pub struct HistoryReads(Helper<Begin>);

impl HistoryReads {
    /// Starts it over a feature store.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(features: Arc<FeatureStore<E>>, limits: Limits) -> std::io::Result<Self> {
        let starter = Starter { features, limits, reads: Vec::new() };
        Helper::start("histories", WAITING_MAX, |begins| starter.run(begins)).map(Self)
    }

    /// Where begins go.
    pub fn begins(&self) -> SyncSender<Option<Begin>> {
        self.0.requests()
    }
}

struct Starter<E: Env> {
    features: Arc<FeatureStore<E>>,
    limits: Limits,
    reads: Vec<JoinHandle<()>>,
}

impl<E: Env> Starter<E> {
    fn run(mut self, begins: &Receiver<Option<Begin>>) {
        while let Ok(Some(begin)) = begins.recv() {
            self.begin(begin);
        }
        // The connections are gone, and with them what these reads wait for.
        for read in self.reads {
            let _ = read.join();
        }
    }

    fn begin(&mut self, begin: Begin) {
        self.reads.retain(|read| !read.is_finished());
        let most = self.limits.training_reads;
        if self.reads.len() >= most {
            let text = format!("{most} training reads run already: repeat this one later");
            return begin.answer.fail(Failure::passing(ErrorCode::Overloaded, RETRY_MS, text));
        }
        // The thread takes what began from a channel, so that it is answered here if there is no thread.
        let (hand_over, taken) = channel::<Begin>();
        let (features, limits) = (Arc::clone(&self.features), self.limits);
        let thread = Builder::new().name("history".to_owned()).spawn(move || {
            go_last();
            if let Ok(Begin { ask, options, steps, answer }) = taken.recv() {
                answer.reply(&HistoryReply::default());
                Read { work: Work { features, ask, options }, steps, limits }.run();
            }
        });
        match thread {
            Ok(thread) => {
                self.reads.push(thread);
                // A thread that was started takes it.
                let _ = hand_over.send(begin);
            }
            Err(error) => begin.answer.fail(failures::system("starting a thread", &error)),
        }
    }
}

/// The next step within the time that a client may take; `None` ends the read.
fn next_step(steps: &Receiver<Step>, idle_ms: u32) -> Option<Step> {
    steps.recv_timeout(Duration::from_millis(idle_ms.into())).ok()
}
