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

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use thermae_engine::Handle;
use thermae_engine::training::Request;
use thermae_env::Env;
use thermae_formats::wire::{ErrorCode, HistoryReply};

use super::failure::Failure;
use super::scan_arrivals::Destination;
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
    pub request: Request,
    /// Helper threads and bytes of memory that the client wants at most; 0: whatever there is.
    pub threads: usize,
    /// The same of memory.
    pub budget_bytes: usize,
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

/// Who waits for the answer to a step.
pub struct AnswerTo {
    /// Id of the request.
    pub request_id: u64,
    /// Largest frame that may be sent, in bytes.
    pub max_frame_bytes: u32,
    /// Where it goes.
    pub destination: Destination,
}

impl AnswerTo {
    /// Answers.
    pub fn reply(self, reply: &HistoryReply<'_>) {
        let mut frame = Vec::new();
        let encoded = reply.encode(&mut frame, self.request_id, self.max_frame_bytes);
        self.destination.put(encoded.map(|()| frame).map_err(Failure::from));
    }

    /// Answers that it failed.
    pub fn fail(self, failure: Failure) {
        self.destination.put(Err(failure));
    }
}

/// The starter.
pub struct HistoryReads {
    begins: SyncSender<Option<Begin>>,
    thread: Option<JoinHandle<()>>,
}

impl HistoryReads {
    /// Starts it over a store.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(handle: Handle<E>, limits: Limits) -> std::io::Result<Self> {
        let (begins, receiver) = sync_channel(WAITING_MAX);
        let starter = Starter { handle, limits, reads: Vec::new() };
        let thread = Builder::new().name("histories".to_owned());
        let thread = thread.spawn(move || starter.run(&receiver))?;
        Ok(Self { begins, thread: Some(thread) })
    }

    /// Where begins go.
    pub fn begins(&self) -> SyncSender<Option<Begin>> {
        self.begins.clone()
    }
}

impl Drop for HistoryReads {
    fn drop(&mut self) {
        let _ = self.begins.send(None);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

struct Starter<E: Env> {
    handle: Handle<E>,
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
        let (handle, limits) = (self.handle.clone(), self.limits);
        let thread = Builder::new().name("history".to_owned()).spawn(move || {
            if let Ok(Begin { request, threads, budget_bytes, steps, answer }) = taken.recv() {
                answer.reply(&HistoryReply::default());
                let mut means = handle.training_means();
                let lower = |of: usize, wanted| if wanted == 0 { of } else { of.min(wanted) };
                means.threads = lower(means.threads, threads);
                means.budget_bytes = lower(means.budget_bytes, budget_bytes);
                Read { work: Work { handle, means, request }, steps, limits }.run();
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
    match steps.recv_timeout(Duration::from_millis(idle_ms.into())) {
        Ok(step) => Some(step),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
    }
}
