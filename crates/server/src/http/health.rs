//! Where the server is in its life.

use std::sync::atomic::{AtomicU8, Ordering};

/// Where the server is in its life, as `/readyz` tells it.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

/// The stages of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Recovering from its log; not listening yet.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Answering what is under way before it ends.
    Stopping = 2,
}

impl Health {
    /// Moves to `stage`.
    pub fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Release);
    }

    /// The present stage.
    pub fn get(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Stopping,
        }
    }
}
