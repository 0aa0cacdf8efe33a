//! One connection's state: what it may do next, and when it must be closed. Pure: bytes and the
//! time come in, frames go to a handler, answers collect in `out`.

use thermae_env::ConnId;
use thermae_formats::wire::{
    ErrorCode, ErrorReply, Frame, HEADER_BYTES, HELLO_MAX_FRAME_BYTES, Kind, WireError, split_frame,
};

use super::counters::Cut;
use super::inbox::{Front, Inbox, front};
use crate::serve::limits::{Limits, ns};

/// Where a frame says its kind (docs/protocol.md, frames).
const KIND_AT: usize = 4;
/// Frames up to this size are taken even when buffer memory is spent, in bytes.
const SMALL_FRAME_BYTES: usize = 64 << 10;
/// How long a connection that was told why it ends may take to read that, in nanoseconds.
/// Closing at once would reset it, and the reason would be lost with the unread bytes.
const LINGER_NS: u64 = 1_000_000_000;
/// What a client waits before it tries again when memory was short, in milliseconds.
const RETRY_MEMORY_MS: u32 = 100;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its HELLO is due.
    Greeting,
    /// Serving.
    Open,
    /// It has been told why it ends; what is queued still goes out, nothing is read.
    Ending {
        /// When it is closed whatever is left, monotonic nanoseconds.
        until_ns: u64,
    },
}

/// Memory that the connections of one shard hold together.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The most that they may hold, in bytes.
    pub limit_bytes: u64,
    /// What they hold, in bytes.
    pub held_bytes: u64,
}

impl Budget {
    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.held_bytes >= self.limit_bytes
    }

    fn fits(&self, bytes: usize) -> bool {
        self.held_bytes.saturating_add(bytes as u64) <= self.limit_bytes
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// The ring's name for it.
    pub id: ConnId,
    /// Whether it is a unix socket.
    pub local: bool,
    /// Where it is in its life.
    pub phase: Phase,
    /// Answers not yet given to the ring.
    pub out: Vec<u8>,
    /// Bytes given to the ring whose `Sent` has not come.
    pub sending_bytes: usize,
    /// Requests taken and not yet answered.
    pub in_flight: u32,
    /// Largest frame that the peer takes, in bytes.
    pub peer_frame_bytes: u32,
    /// Whether the ring was told to stop receiving.
    pub paused: bool,
    /// Bytes that this connection accounts for in its shard's [`Budget`].
    pub charged_bytes: usize,
    inbox: Inbox,
    opened_ns: u64,
    given_bytes: u64,
    watch: WriteWatch,
}

/// Notices a peer that takes nothing.
#[derive(Clone, Copy, Debug, Default)]
struct WriteWatch {
    taken_bytes: u64,
    since_ns: u64,
}

/// What one pass over received bytes came to.
#[derive(Default)]
struct Pass {
    used_bytes: usize,
    refused_frame_bytes: Option<usize>,
    lacks_bytes: bool,
}

impl Connection {
    /// A connection accepted at `now_ns`.
    pub fn new(id: ConnId, local: bool, limits: &Limits, now_ns: u64) -> Self {
        Self {
            id,
            local,
            phase: Phase::Greeting,
            out: Vec::new(),
            sending_bytes: 0,
            in_flight: 0,
            peer_frame_bytes: limits.frame_bytes,
            paused: false,
            charged_bytes: 0,
            inbox: Inbox::default(),
            opened_ns: now_ns,
            given_bytes: 0,
            watch: WriteWatch { taken_bytes: 0, since_ns: now_ns },
        }
    }

    /// Memory in this connection's buffers, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.inbox.held_bytes() + self.out.capacity() + self.sending_bytes
    }

    /// Why the next frame must wait, if it must.
    pub fn held_up(&self, limits: &Limits, budget: &Budget) -> Option<Cut> {
        let queued = self.out.len() + self.sending_bytes;
        if self.in_flight >= limits.in_flight {
            Some(Cut::InFlight)
        } else if queued >= limits.queued_output_bytes as usize {
            Some(Cut::QueuedOutput)
        } else if (queued > 0 || self.in_flight > 0) && budget.is_spent() {
            Some(Cut::BufferMemory)
        } else {
            None
        }
    }

    /// Takes received bytes, handing each whole frame to `handle` until none is left or the
    /// connection is held up; what remains is kept. Returns what was cut, if anything.
    pub fn receive(
        &mut self,
        data: &[u8],
        limits: &Limits,
        budget: &Budget,
        now_ns: u64,
        handle: &mut impl FnMut(&mut Self, &Frame<'_>),
    ) -> Option<Cut> {
        if matches!(self.phase, Phase::Ending { .. }) {
            return None;
        }
        let max = self.max_frame_bytes(limits);
        let data = self.inbox.discard(data);
        if !self.inbox.is_empty() {
            self.inbox.keep(data, max);
            return self.go_on(limits, budget, now_ns, handle);
        }
        let (pass, cut) = self.pass(data, limits, budget, now_ns, handle);
        if !matches!(self.phase, Phase::Ending { .. }) {
            self.inbox.keep(&data[pass.used_bytes..], self.max_frame_bytes(limits));
        }
        self.settle(&pass, now_ns);
        cut
    }

    /// Goes on with the bytes kept, as after [`Connection::receive`]; for when what held the
    /// connection up is gone.
    pub fn go_on(
        &mut self,
        limits: &Limits,
        budget: &Budget,
        now_ns: u64,
        handle: &mut impl FnMut(&mut Self, &Frame<'_>),
    ) -> Option<Cut> {
        if self.inbox.is_empty() || matches!(self.phase, Phase::Ending { .. }) {
            return None;
        }
        let bytes = self.inbox.take();
        let (pass, cut) = self.pass(&bytes, limits, budget, now_ns, handle);
        if !matches!(self.phase, Phase::Ending { .. }) {
            self.inbox.put_back(bytes, pass.used_bytes);
        }
        self.settle(&pass, now_ns);
        cut
    }

    fn settle(&mut self, pass: &Pass, now_ns: u64) {
        if let Some(frame_bytes) = pass.refused_frame_bytes {
            self.inbox.refuse(frame_bytes);
        }
        let waiting_for_peer = pass.lacks_bytes || pass.refused_frame_bytes.is_some();
        self.inbox.clock(waiting_for_peer, pass.used_bytes > 0, now_ns);
    }

    fn max_frame_bytes(&self, limits: &Limits) -> u32 {
        match self.phase {
            Phase::Greeting => HELLO_MAX_FRAME_BYTES,
            _ => limits.frame_bytes,
        }
    }

    fn pass(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        budget: &Budget,
        now_ns: u64,
        handle: &mut impl FnMut(&mut Self, &Frame<'_>),
    ) -> (Pass, Option<Cut>) {
        let mut pass = Pass::default();
        loop {
            if let Some(cut) = self.held_up(limits, budget) {
                return (pass, Some(cut));
            }
            let rest = &bytes[pass.used_bytes..];
            let max = self.max_frame_bytes(limits);
            match front(rest, max) {
                Front::Frame(frame_bytes) => match split_frame(&rest[..frame_bytes], max) {
                    Ok(Some((frame, _))) => {
                        handle(self, &frame);
                        pass.used_bytes += frame_bytes;
                        if matches!(self.phase, Phase::Ending { .. }) {
                            return (pass, None);
                        }
                    }
                    Ok(None) => return (pass, None),
                    Err(error) => {
                        let id = peek_id(rest);
                        return (pass, Some(self.end_by(id, &error, limits, now_ns)));
                    }
                },
                Front::Incomplete(wanted) => {
                    pass.lacks_bytes = true;
                    let cut = self.refuse_large(rest, wanted, budget, &mut pass, now_ns);
                    return (pass, cut);
                }
                Front::Oversize { frame_bytes, request_id } => {
                    let error = WireError::FrameSize {
                        frame_bytes: frame_bytes.into(),
                        max_bytes: max.into(),
                    };
                    return (pass, Some(self.end_by(request_id, &error, limits, now_ns)));
                }
                Front::Malformed { frame_bytes } => {
                    let error = WireError::FrameSize {
                        frame_bytes: frame_bytes.into(),
                        max_bytes: max.into(),
                    };
                    return (pass, Some(self.end_by(0, &error, limits, now_ns)));
                }
            }
        }
    }

    /// Refuses a large frame that would not fit the buffer memory left. The stream goes on after it,
    /// unless it is a write: those behind it must not overtake it, so the connection ends, and the
    /// client sends what was not answered again, in order.
    fn refuse_large(
        &mut self,
        rest: &[u8],
        wanted: Option<usize>,
        budget: &Budget,
        pass: &mut Pass,
        now_ns: u64,
    ) -> Option<Cut> {
        let frame_bytes = wanted.filter(|bytes| *bytes > SMALL_FRAME_BYTES)?;
        if rest.len() < HEADER_BYTES || budget.fits(frame_bytes - rest.len()) {
            return None;
        }
        let text = "the server's buffer memory is spent; repeat this later, in smaller frames";
        if is_write(rest) {
            self.end(0, ErrorCode::Overloaded, text, now_ns);
            return Some(Cut::BufferMemory);
        }
        self.error(peek_id(rest), ErrorCode::Overloaded, RETRY_MEMORY_MS, text);
        pass.refused_frame_bytes = Some(frame_bytes);
        Some(Cut::BufferMemory)
    }

    /// Appends an ERROR.
    pub fn error(&mut self, request_id: u64, code: ErrorCode, retry_after_ms: u32, text: &str) {
        ErrorReply::encode(&mut self.out, request_id, code, retry_after_ms, text);
    }

    /// Says why, then ends the connection: nothing more is read from it.
    pub fn end(&mut self, request_id: u64, code: ErrorCode, text: &str, now_ns: u64) {
        self.error(request_id, code, 0, text);
        self.inbox = Inbox::default();
        self.phase = Phase::Ending { until_ns: now_ns + LINGER_NS };
    }

    fn end_by(&mut self, id: u64, error: &WireError, limits: &Limits, now_ns: u64) -> Cut {
        let (code, cut) = match error {
            WireError::FrameSize { frame_bytes, .. } if *frame_bytes >= HEADER_BYTES as u64 => {
                (ErrorCode::TooLarge, Cut::OversizeFrame)
            }
            _ => (ErrorCode::Malformed, Cut::Malformed),
        };
        let text = if self.phase == Phase::Greeting && cut == Cut::OversizeFrame {
            format!("{error}; say HELLO before anything else")
        } else if cut == Cut::OversizeFrame {
            format!("{error}; split the request: {} bytes at most", limits.frame_bytes)
        } else {
            format!("{error}; the connection ends, since what follows cannot be trusted")
        };
        self.end(id, code, &text, now_ns);
        cut
    }

    /// Queues a whole answer. It is taken over without a copy when nothing waits before it;
    /// returns the buffer that is free now.
    #[inline]
    pub fn push(&mut self, frame: Vec<u8>) -> Vec<u8> {
        if self.out.is_empty() {
            return std::mem::replace(&mut self.out, frame);
        }
        self.out.extend_from_slice(&frame);
        frame
    }

    /// Takes the answers to give to the ring, if there are any and none are under way: what is
    /// answered meanwhile goes out together once they are sent.
    #[inline]
    pub fn take_output(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        if self.out.is_empty() || self.sending_bytes > 0 {
            return None;
        }
        let output = std::mem::take(&mut self.out);
        self.gave(output.len(), now_ns);
        Some(output)
    }

    /// Notes that `bytes` were given to the ring.
    pub fn gave(&mut self, bytes: usize, now_ns: u64) {
        if self.sending_bytes == 0 {
            // The peer owed nothing until now: its time to read begins.
            self.watch = WriteWatch { taken_bytes: self.given_bytes, since_ns: now_ns };
        }
        self.sending_bytes += bytes;
        self.given_bytes += bytes as u64;
    }

    /// Notes that the ring is done with `bytes`.
    pub fn sent(&mut self, bytes: usize) {
        self.sending_bytes = self.sending_bytes.saturating_sub(bytes);
    }

    /// Whether nothing is owed to the peer: every request taken is answered and sent.
    pub fn is_answered(&self) -> bool {
        self.in_flight == 0 && self.out.is_empty() && self.sending_bytes == 0
    }

    /// Whether any deadline is running.
    pub fn is_timed(&self) -> bool {
        self.phase != Phase::Open || self.inbox.started_ns().is_some() || self.sending_bytes > 0
    }

    /// Which deadline has passed at `now_ns`, if one has; `ring_bytes` is what the ring still has
    /// to hand to the peer. A [`Phase::Ending`] connection is done once all is sent and its time
    /// is up, and then gives [`Overdue::Done`].
    pub fn overdue(&mut self, ring_bytes: usize, limits: &Limits, now_ns: u64) -> Option<Overdue> {
        let taken = self.given_bytes.saturating_sub(ring_bytes as u64);
        if taken != self.watch.taken_bytes || ring_bytes == 0 {
            self.watch = WriteWatch { taken_bytes: taken, since_ns: now_ns };
        } else if now_ns.saturating_sub(self.watch.since_ns) >= ns(limits.write_deadline_ms) {
            return Some(Overdue::Cut(Cut::WriteDeadline));
        }
        match self.phase {
            Phase::Ending { until_ns } => (now_ns >= until_ns).then_some(Overdue::Done),
            Phase::Greeting if now_ns >= self.opened_ns + ns(limits.hello_deadline_ms) => {
                Some(Overdue::Cut(Cut::HelloDeadline))
            }
            _ => {
                let started = self.inbox.started_ns()?;
                (now_ns >= started + ns(limits.frame_deadline_ms))
                    .then_some(Overdue::Cut(Cut::FrameDeadline))
            }
        }
    }
}

/// Why a connection's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// A limit cut it.
    Cut(Cut),
    /// It was ending, and has ended.
    Done,
}

/// The request id where a header has one; 0 if it has not arrived.
fn peek_id(bytes: &[u8]) -> u64 {
    let id = bytes.get(8..16).and_then(|id| id.first_chunk::<8>());
    id.map_or(0, |id| u64::from_le_bytes(*id))
}

/// Whether a frame of which the header has come writes rows.
fn is_write(bytes: &[u8]) -> bool {
    let kind = bytes.get(KIND_AT).map(|code| Kind::from_code(*code));
    matches!(kind, Some(Ok(Kind::Put | Kind::PutPartial | Kind::Delete | Kind::Erase)))
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
