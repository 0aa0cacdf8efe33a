//! Requests in flight as values: wait for them in the calling thread, or await them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use thermae_formats::wire::{ErrorReply, Kind, ReadFlags, WriteReply};

use crate::answer::Answer;
use crate::batch::Written;
use crate::buffer::FrameBuf;
use crate::error::Error;
use crate::history_piece::HistoryPiece;
use crate::lane::Lane;
use crate::plan::Plan;
use crate::scan::ScanPage;

/// A request on its way. Dropping it forgets the answer, not the request.
pub(crate) struct Ticket {
    lane: Arc<Lane>,
    id: u64,
    deadline: Instant,
    taken: bool,
}

impl Ticket {
    pub fn new(lane: &Arc<Lane>, id: u64, deadline: Instant) -> Self {
        Self { lane: Arc::clone(lane), id, deadline, taken: false }
    }

    pub fn wait(mut self) -> Result<FrameBuf, Error> {
        self.taken = true;
        self.lane.wait(self.id, self.deadline)
    }

    fn take(&mut self) -> Option<Result<FrameBuf, Error>> {
        let answer = self.lane.take(self.id, self.deadline);
        self.taken |= answer.is_some();
        answer
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<FrameBuf, Error>> {
        match self.lane.poll(self.id, cx.waker(), self.deadline) {
            Some(answer) => {
                self.taken = true;
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.taken {
            self.lane.abandon(self.id);
        }
    }
}

/// A read on its way: `wait()` for it, or `.await` it under any executor.
#[must_use = "wait for it or await it"]
pub struct PendingRead {
    pub(crate) ticket: Ticket,
    pub(crate) plan: Plan,
    pub(crate) flags: ReadFlags,
    pub(crate) rows: usize,
}

impl PendingRead {
    /// Waits for the answer; the calling thread itself receives it unless another already does.
    ///
    /// # Errors
    /// The server's refusal, a lost connection, a timeout.
    pub fn wait(self) -> Result<Answer, Error> {
        let frame = self.ticket.wait()?;
        Answer::check(frame, &self.plan, self.flags, self.rows)
    }

    /// Its number, by which [`crate::Client::receive`] tells that the answer has come; no other request of the same
    /// connection of the pool has it.
    pub fn number(&self) -> u64 {
        self.ticket.id
    }

    /// The answer if [`crate::Client::receive`] has taken it in; `None` while it has not come. It comes once.
    pub fn take(&mut self) -> Option<Result<Answer, Error>> {
        let frame = self.ticket.take()?;
        Some(frame.and_then(|frame| Answer::check(frame, &self.plan, self.flags, self.rows)))
    }
}

impl Future for PendingRead {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.ticket.poll(cx).map(|frame| Answer::check(frame?, &this.plan, this.flags, this.rows))
    }
}

/// A page of a scan on its way: `wait()` for it, or `.await` it under any executor.
#[must_use = "wait for it or await it"]
pub struct PendingScan {
    pub(crate) ticket: Ticket,
    pub(crate) plan: Plan,
}

impl PendingScan {
    /// Waits for the page.
    ///
    /// # Errors
    /// The server's refusal, a lost connection, a timeout.
    pub fn wait(self) -> Result<ScanPage, Error> {
        ScanPage::check(self.ticket.wait()?, &self.plan)
    }
}

impl Future for PendingScan {
    type Output = Result<ScanPage, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.ticket.poll(cx).map(|frame| ScanPage::check(frame?, &this.plan))
    }
}

/// A step of a training read on its way: `wait()` for it, or `.await` it under any executor.
#[must_use = "wait for it or await it"]
pub struct PendingHistory {
    pub(crate) ticket: Ticket,
}

impl PendingHistory {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The server's refusal, which ends the read; a lost connection, a timeout.
    pub fn wait(self) -> Result<HistoryPiece, Error> {
        HistoryPiece::check(self.ticket.wait()?)
    }
}

impl Future for PendingHistory {
    type Output = Result<HistoryPiece, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ticket.poll(cx).map(|frame| HistoryPiece::check(frame?))
    }
}

/// A write on its way: `wait()` for it, or `.await` it under any executor.
#[must_use = "wait for it or await it"]
pub struct PendingWrite {
    pub(crate) ticket: Ticket,
    pub(crate) rows: usize,
}

impl PendingWrite {
    /// Waits for the outcomes. A write whose answer is lost for good comes back as InDoubt.
    ///
    /// # Errors
    /// The server's refusal of the whole write: none of its rows was applied.
    pub fn wait(self) -> Result<Written, Error> {
        let (lane, id, rows) = (Arc::clone(&self.ticket.lane), self.ticket.id, self.rows);
        let answer = self.ticket.wait();
        written(answer, &lane, id, rows)
    }

    /// As [`PendingRead::number`].
    pub fn number(&self) -> u64 {
        self.ticket.id
    }

    /// The outcomes if [`crate::Client::receive`] has taken them in; `None` while they have not come. They come
    /// once.
    pub fn take(&mut self) -> Option<Result<Written, Error>> {
        let answer = self.ticket.take()?;
        Some(written(answer, &self.ticket.lane, self.ticket.id, self.rows))
    }
}

impl Future for PendingWrite {
    type Output = Result<Written, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.ticket.poll(cx));
        Poll::Ready(written(answer, &self.ticket.lane, self.ticket.id, self.rows))
    }
}

fn written(
    answer: Result<FrameBuf, Error>,
    lane: &Lane,
    id: u64,
    rows: usize,
) -> Result<Written, Error> {
    let frame = match answer {
        Ok(frame) => frame,
        Err(Error::Disconnected | Error::TimedOut) => return Ok(Written::in_doubt(rows)),
        Err(error) => return Err(error),
    };
    lane.acknowledge(id);
    let frame = frame.frame();
    if frame.kind_code == Kind::Error as u8 {
        return Err(Error::from_reply(&ErrorReply::decode(&frame)?));
    }
    let written = Written::from_reply(&WriteReply::decode(&frame)?);
    if written.outcomes.len() == rows { Ok(written) } else { Ok(Written::in_doubt(rows)) }
}
