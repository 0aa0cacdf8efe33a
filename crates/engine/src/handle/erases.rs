//! Whether erases are complete, asked of the shards that own them.

use thermae_env::Env;

use super::Handle;
use crate::error::Error;
use crate::message::{EraseQuery, EraseStatus, EraseWork, Message};
use crate::waiter::{Waiter, waiter};

/// What one shard says of its erases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasedShard {
    /// The shard.
    pub shard: usize,
    /// Erases that are not complete: something may still hold the row on the disk, though nobody reads it.
    pub pending: u64,
    /// What was done for them, and for those that were carried out together with them.
    pub work: EraseWork,
}

/// How an erase stands to the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveState {
    /// The store has none.
    None,
    /// It is open, and what is erased is removed from it.
    Open,
    /// There is one, and the store was opened without it: no erase is complete before it is opened with it.
    Closed,
}

/// A question on its way to the shards.
pub struct EraseTicket {
    waiting: Vec<(usize, Waiter<EraseStatus>)>,
    answers: Vec<ErasedShard>,
}

impl<E: Env> Handle<E> {
    /// How erases stand to the archive.
    pub fn archive_state(&self) -> ArchiveState {
        match (self.shared.has_archive, self.shared.is_archive_open) {
            (false, _) => ArchiveState::None,
            (true, true) => ArchiveState::Open,
            (true, false) => ArchiveState::Closed,
        }
    }

    /// Asks how far erases are: partition and sequence of each, as its outcome told. With `waits` the
    /// answer comes when all are complete. An erase that its partition has applied and that is not pending
    /// is complete.
    ///
    /// # Errors
    /// A partition that the store does not have, or the store is stopped.
    pub fn submit_erases(&self, tokens: &[(u16, u64)], waits: bool) -> Result<EraseTicket, Error> {
        let reads = self.reads();
        let mut by_shard = vec![Vec::new(); self.shared.mailboxes.len()];
        for &(partition, sequence) in tokens {
            if partition >= reads.partitions() {
                return Err(Error::NotFound(format!("there is no partition {partition}")));
            }
            if sequence > reads.applied(partition) {
                let what = format!("partition {partition} has no record {sequence} yet");
                return Err(Error::NotFound(what));
            }
            if let Some(of) = by_shard.get_mut(reads.shard(partition)) {
                of.push((partition, sequence));
            }
        }
        let mut waiting = Vec::new();
        for (shard, tokens) in by_shard.into_iter().enumerate() {
            if !tokens.is_empty() {
                let (answerer, waiter) = waiter();
                let query = EraseQuery { tokens, waits, answerer };
                self.post(shard, Message::Erases(query))?;
                waiting.push((shard, waiter));
            }
        }
        Ok(EraseTicket { waiting, answers: Vec::new() })
    }
}

impl EraseTicket {
    /// Waits until every shard has answered.
    ///
    /// # Errors
    /// The store stops first: the erases go on when it is opened again.
    pub fn wait(mut self) -> Result<Vec<ErasedShard>, Error> {
        while let Some((shard, waiter)) = self.waiting.last() {
            let status = waiter.take().pop().ok_or(Error::Stopped)?;
            self.answers.push(answer(*shard, status));
            self.waiting.pop();
        }
        Ok(self.answers)
    }

    /// The answers if all are there, or the ticket back.
    pub fn poll(mut self) -> Result<Vec<ErasedShard>, Self> {
        self.waiting.retain(|(shard, waiter)| match waiter.poll().pop() {
            Some(status) => {
                self.answers.push(answer(*shard, status));
                false
            }
            None => true,
        });
        if self.waiting.is_empty() { Ok(self.answers) } else { Err(self) }
    }
}

fn answer(shard: usize, EraseStatus { pending, work }: EraseStatus) -> ErasedShard {
    ErasedShard { shard, pending, work }
}
