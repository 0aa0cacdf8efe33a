//! One training read on its threads.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, scope};
use std::time::Duration;

use arrow_ipc::writer::StreamWriter;
use thermae_engine::training::{Progress, SpillBytes, Tally};
use thermae_env::Env;
use thermae_features::FeatureStore;
use thermae_features::store::{Ask, HistoricalOptions};
use thermae_formats::wire::{ErrorCode, HistoryReply, HistorySteps, HistoryTally};

use super::failures;
use super::pieces::{Piece, PieceWriter};
use super::spine::UploadedSpine;
use super::{Step, next_step};
use crate::net::failure::Failure;
use crate::serve::limits::Limits;

/// Most bytes of one piece of the answer: a shard copies and sums it while others wait for the same core, 25 us.
pub const PIECE_MAX_BYTES: usize = 128 << 10;
/// Pieces that are ready before anybody asks.
const PIECES_AHEAD: usize = 16;
/// How long a step is kept waiting for a piece.
const LONGEST: Duration = Duration::from_millis(500);
/// A training read.
pub struct Read<E: Env> {
    pub work: Work<E>,
    pub steps: Receiver<Step>,
    pub limits: Limits,
}

/// What is to be done.
pub struct Work<E: Env> {
    pub features: Arc<FeatureStore<E>>,
    pub ask: Ask,
    pub options: HistoricalOptions,
}

impl<E: Env> Read<E> {
    /// From the first piece of the spine to the last of the answer.
    pub fn run(self) {
        let Some(spine) = self.receive() else { return };
        let (pieces, ready) = sync_channel(PIECES_AHEAD);
        let (progress, tallies) = (Progress::new(), OnceLock::new());
        scope(|scope| {
            let (work, progress, tallies) = (&self.work, &progress, &tallies);
            let run = move || {
                if let Err(failure) = work.run(spine, pieces.clone(), progress, tallies) {
                    // Nobody may be waiting any more.
                    let _ = pieces.send(Err(failure));
                }
            };
            let thread = Builder::new().name("history-work".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, run) {
                self.refuse(failures::system("starting a thread", &error));
                return;
            }
            self.answer(&ready, progress, tallies);
            progress.cancel();
            // The worker waits no longer for somebody to take its pieces.
            drop(ready);
        });
    }

    /// Takes the spine; `None` ends the read.
    fn receive(&self) -> Option<SpillBytes<E>> {
        let mut bytes =
            match SpillBytes::create(&self.work.features.handle().training_means().spill) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.refuse(failures::spill(&error));
                    return None;
                }
            };
        loop {
            match next_step(&self.steps, self.limits.training_idle_ms)? {
                Step::Put { bytes: piece, last, answer } => {
                    if let Err(failure) = self.take(&mut bytes, &piece) {
                        answer.fail(failure);
                        return None;
                    }
                    answer.reply(&HistoryReply::default());
                    if last {
                        return Some(bytes);
                    }
                }
                Step::Next(answer) => {
                    let text = "the spine is not whole yet: its last piece must say so";
                    answer.fail(Failure::new(ErrorCode::Malformed, text));
                    return None;
                }
                Step::End(answer) => {
                    answer.reply(&HistoryReply { over: true, ..HistoryReply::default() });
                    return None;
                }
            }
        }
    }

    fn take(&self, bytes: &mut SpillBytes<E>, piece: &[u8]) -> Result<(), Failure> {
        let most = self.limits.spine_bytes;
        if bytes.len_bytes() + piece.len() as u64 > most {
            let text = format!("the spine has more than {most} bytes: ask for it in parts");
            return Err(Failure::new(ErrorCode::TooLarge, text));
        }
        bytes.append(piece).map_err(|error| failures::spill(&error))
    }

    /// Answers the next step, whatever it is, with a failure.
    fn refuse(&self, failure: Failure) {
        if let Some(step) = next_step(&self.steps, self.limits.training_idle_ms) {
            let (Step::Put { answer, .. } | Step::Next(answer) | Step::End(answer)) = step;
            answer.fail(failure);
        }
    }

    /// Answers steps until the answer is over.
    fn answer(&self, ready: &Receiver<Piece>, progress: &Progress, tallies: &OnceLock<Vec<Tally>>) {
        while let Some(step) = next_step(&self.steps, self.limits.training_idle_ms) {
            let answer = match step {
                Step::Next(answer) => answer,
                Step::End(answer) => {
                    return answer.reply(&HistoryReply { over: true, ..HistoryReply::default() });
                }
                Step::Put { answer, .. } => {
                    let text = "the spine was whole already";
                    return answer.fail(Failure::new(ErrorCode::Malformed, text));
                }
            };
            let (piece, over) = match ready.recv_timeout(LONGEST) {
                Ok(Ok(piece)) => piece,
                Err(RecvTimeoutError::Timeout) => (Vec::new(), false),
                Ok(Err(failure)) => return answer.fail(failure),
                Err(RecvTimeoutError::Disconnected) => {
                    return answer.fail(Failure::new(ErrorCode::Internal, "the work has ended"));
                }
            };
            let steps = steps_of(progress);
            let tallies = tallies.get().map(|tallies| tallies.iter().map(tally_of).collect());
            let tallies = tallies.unwrap_or_default();
            answer.reply(&HistoryReply { over, steps, tallies, bytes: &piece });
            if over {
                return;
            }
        }
    }
}

impl<E: Env> Work<E> {
    /// Joins, computes, and writes the answer, as an embedder reads it.
    fn run(
        &self,
        bytes: SpillBytes<E>,
        pieces: SyncSender<Piece>,
        progress: &Progress,
        tallies: &OnceLock<Vec<Tally>>,
    ) -> Result<(), Failure> {
        let spine = UploadedSpine::new(bytes).map_err(|error| failures::stream(&error))?;
        let Self { features, ask, options } = self;
        let answer = features.get_historical_features(ask, options, &spine, progress);
        let mut answer = answer.map_err(failures::features)?.rows;
        // Nobody else sets it.
        let _ = tallies.set(answer.tallies().to_vec());
        let out = PieceWriter::new(pieces, PIECE_MAX_BYTES);
        let mut writer =
            StreamWriter::try_new(out, &answer.schema()).map_err(|e| failures::arrow(&e))?;
        while let Some(batch) = answer.next_batch().map_err(failures::training)? {
            writer.write(&batch).map_err(|e| failures::arrow(&e))?;
        }
        let out = writer.into_inner().map_err(|e| failures::arrow(&e))?;
        out.finish().map_err(|error| failures::system("handing the answer over", &error))
    }
}

fn steps_of(progress: &Progress) -> HistorySteps {
    let steps = progress.steps();
    HistorySteps {
        rows: steps.rows,
        read: steps.read,
        to_join: steps.to_join,
        joined: steps.joined,
        answered: steps.answered,
    }
}

fn tally_of(tally: &Tally) -> HistoryTally {
    HistoryTally { present: tally.present, outside_max_age: tally.outside_max_age }
}
