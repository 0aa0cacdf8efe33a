//! Writes in flight over one connection. What the server has no room for is repeated, after as long as it
//! says and in order: a load that is too fast is slowed, as a writer of rows would be.

use anyhow::{Context, bail};
use std::collections::VecDeque;
use std::time::Duration;
use thermae_client::{Client, PendingWrite, WriteBatch, Written};
use thermae_formats::wire::{NotApplied, RowOutcome};

/// Waits before a repetition where the server does not say how long.
const PAUSE: Duration = Duration::from_millis(5);

/// A connection and the batches that were sent over it and not received yet, oldest first.
pub struct Writes {
    client: Client,
    sent: VecDeque<Sent>,
}

struct Sent {
    batch: WriteBatch,
    /// `None` once it is done.
    pending: Option<PendingWrite>,
}

impl Writes {
    /// None in flight yet.
    pub fn new(client: Client) -> Self {
        Self { client, sent: VecDeque::new() }
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, mut batch: WriteBatch) -> anyhow::Result<()> {
        let pending = Some(self.client.send_write(&mut batch)?);
        self.sent.push_back(Sent { batch, pending });
        Ok(())
    }

    /// Batches in flight.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether none is in flight.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Waits until the oldest batch is written, and says how many rows it has.
    ///
    /// # Errors
    /// The connection broke, or a row was refused for another cause than want of room.
    pub fn receive(&mut self) -> anyhow::Result<usize> {
        loop {
            let oldest = self.sent.front_mut().context("nothing was sent")?;
            let rows = oldest.batch.len();
            let Some(pending) = oldest.pending.take() else {
                self.sent.pop_front();
                return Ok(rows);
            };
            if let Some(pause) = refused(&pending.wait()?)? {
                self.repeat(pause)?;
            }
        }
    }

    /// Repeats the oldest batch, which was refused, and those after it, which must not pass it.
    fn repeat(&mut self, pause: Duration) -> anyhow::Result<()> {
        let mut is_refused = vec![true];
        for later in self.sent.iter_mut().skip(1) {
            let pending = later.pending.take();
            let written = pending.map(PendingWrite::wait).transpose()?;
            is_refused.push(written.map_or(Ok(None), |written| refused(&written))?.is_some());
        }
        std::thread::sleep(pause);
        for (sent, is_refused) in self.sent.iter_mut().zip(is_refused) {
            if is_refused {
                sent.pending = Some(self.client.send_write(&mut sent.batch)?);
            }
        }
        Ok(())
    }
}

/// How long to wait before repeating a batch, if it must be repeated.
fn refused(written: &Written) -> anyhow::Result<Option<Duration>> {
    let mut pause = None;
    for outcome in &written.outcomes {
        let longer = match outcome {
            RowOutcome::Ok { .. } => continue,
            RowOutcome::Overloaded { retry_after_ms: 0 }
            | RowOutcome::NotApplied(NotApplied::BlockedBehind) => PAUSE,
            RowOutcome::Overloaded { retry_after_ms } => {
                Duration::from_millis(u64::from(*retry_after_ms))
            }
            _ => bail!("a row was not written: {}", written.message),
        };
        pause = pause.max(Some(longer));
    }
    Ok(pause)
}
