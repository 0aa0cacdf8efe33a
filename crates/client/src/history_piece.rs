//! An answer to a step of a training read.

use thermae_formats::wire::{ErrorReply, HistoryReply, HistorySteps, HistoryTally, Kind};

use crate::buffer::FrameBuf;
use crate::error::Error;

/// A piece of an answer. It owns the received frame.
#[derive(Debug)]
pub struct HistoryPiece {
    frame: FrameBuf,
    over: bool,
    steps: HistorySteps,
    tallies: Vec<HistoryTally>,
}

impl HistoryPiece {
    /// Checks an answer.
    pub(crate) fn check(frame: FrameBuf) -> Result<Self, Error> {
        let received = frame.frame();
        if received.kind_code == Kind::Error as u8 {
            return Err(Error::from_reply(&ErrorReply::decode(&received)?));
        }
        let HistoryReply { over, steps, tallies, .. } = HistoryReply::decode(&received)?;
        Ok(Self { over, steps, tallies, frame })
    }

    /// Whether it is the last.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How far the read is.
    pub fn steps(&self) -> HistorySteps {
        self.steps
    }

    /// What the rows found, view by view, once all is joined.
    pub fn tallies(&self) -> &[HistoryTally] {
        &self.tallies
    }

    /// The next bytes of the answer's stream.
    pub fn bytes(&self) -> &[u8] {
        // It decoded before.
        HistoryReply::decode(&self.frame.frame()).map_or(&[], |reply| reply.bytes)
    }
}
