//! From received bytes to whole frames: pure, bounded, and without a copy when a frame arrives in
//! one piece.
//!
//! Nothing here believes a length: a frame's buffer grows with what really arrived, never with
//! what its header promises.

use thermae_formats::wire::HEADER_BYTES;

/// Growth step of a buffer that collects a frame, in bytes.
const GROW_BYTES: usize = 64 << 10;
/// An empty buffer larger than this is given back rather than kept for the next frame.
const KEEP_BYTES: usize = 16 << 10;

/// What the front of the received bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A whole frame of this many bytes.
    Frame(usize),
    /// The beginning of a frame; `None` while its length has not arrived yet.
    Incomplete(Option<usize>),
    /// A frame larger than allowed: its stated length and request id.
    Oversize {
        /// The length it states, in bytes.
        frame_bytes: u32,
        /// Its request id, for the refusal.
        request_id: u64,
    },
    /// A stated length smaller than a header: the stream cannot be followed any more.
    Malformed {
        /// The length it states, in bytes.
        frame_bytes: u32,
    },
}

/// Looks at the front of `bytes`, of which frames may be at most `max_frame_bytes` long.
#[inline]
pub fn front(bytes: &[u8], max_frame_bytes: u32) -> Front {
    let Some(length) = bytes.first_chunk::<4>() else { return Front::Incomplete(None) };
    let frame_bytes = u32::from_le_bytes(*length);
    if (frame_bytes as usize) < HEADER_BYTES {
        return Front::Malformed { frame_bytes };
    }
    if frame_bytes > max_frame_bytes {
        // The request id is worth waiting for: the refusal should name its request.
        return match bytes.get(8..16).and_then(|id| id.first_chunk::<8>()) {
            Some(id) => Front::Oversize { frame_bytes, request_id: u64::from_le_bytes(*id) },
            None => Front::Incomplete(None),
        };
    }
    if bytes.len() >= frame_bytes as usize {
        Front::Frame(frame_bytes as usize)
    } else {
        Front::Incomplete(Some(frame_bytes as usize))
    }
}

/// Bytes received and not yet consumed: the beginning of a frame, or frames that wait because
/// their connection may not go on yet.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    skip_bytes: u64,
    started_ns: Option<u64>,
}

impl Inbox {
    /// Whether nothing waits here, so that received bytes may be consumed where they lie.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Memory held, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes that wait.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops what belongs to a refused frame from the front of `data`.
    #[inline]
    pub fn discard<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        if self.skip_bytes == 0 {
            return data;
        }
        let skipped = self.skip_bytes.min(data.len() as u64);
        self.skip_bytes -= skipped;
        &data[skipped as usize..]
    }

    /// Refuses the frame at the front, of which `here` bytes have arrived: they are dropped, as
    /// will be the rest of it.
    pub fn refuse(&mut self, frame_bytes: usize) {
        let here = self.bytes.len().min(frame_bytes);
        self.bytes.drain(..here);
        self.skip_bytes = (frame_bytes - here) as u64;
        self.started_ns = None;
        self.shrink();
    }

    /// Keeps `data` until more arrives.
    pub fn keep(&mut self, data: &[u8], max_frame_bytes: u32) {
        if data.is_empty() {
            return;
        }
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            // Doubling, but never past the end of the frame that is being collected.
            let doubled = (self.bytes.capacity() * 2).max(GROW_BYTES.min(needed * 2));
            let most = match front(&self.bytes, max_frame_bytes) {
                Front::Incomplete(Some(frame_bytes)) => frame_bytes,
                _ => doubled,
            };
            self.bytes.reserve_exact(doubled.min(most).max(needed) - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
    }

    /// Takes what waits, to consume it; [`Inbox::put_back`] what is left.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Gives back taken bytes of which the first `consumed` are done with.
    pub fn put_back(&mut self, mut bytes: Vec<u8>, consumed: usize) {
        bytes.drain(..consumed.min(bytes.len()));
        self.bytes = bytes;
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Starts, keeps or clears the frame clock. `waiting_for_peer` says that the connection is
    /// ready to go on and lacks bytes: a frame held up by us is not the peer's fault.
    pub fn clock(&mut self, waiting_for_peer: bool, consumed_any: bool, now_ns: u64) {
        if !waiting_for_peer || (self.bytes.is_empty() && self.skip_bytes == 0) {
            self.started_ns = None;
        } else if consumed_any || self.started_ns.is_none() {
            self.started_ns = Some(now_ns);
        }
    }

    /// When the frame at the front began to arrive, if one is incomplete.
    pub fn started_ns(&self) -> Option<u64> {
        self.started_ns
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const MAX: u32 = 1 << 20;

    fn frame(bytes: usize, id: u64) -> Vec<u8> {
        let mut frame = vec![7_u8; bytes];
        frame[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
        frame[8..16].copy_from_slice(&id.to_le_bytes());
        frame
    }

    #[test]
    fn a_frame_is_whole_only_with_its_last_byte() {
        let whole = frame(100, 1);
        for cut in 0..100 {
            let expected = if cut < 4 { None } else { Some(100) };
            assert_eq!(front(&whole[..cut], MAX), Front::Incomplete(expected), "{cut}");
        }
        assert_eq!(front(&whole, MAX), Front::Frame(100));
    }

    #[test]
    fn an_oversize_frame_is_known_from_its_header() {
        let mut header = frame(24, 9);
        header[..4].copy_from_slice(&(MAX + 1).to_le_bytes());
        let oversize = Front::Oversize { frame_bytes: MAX + 1, request_id: 9 };
        assert_eq!(front(&header[..16], MAX), oversize);
        assert_eq!(front(&header[..15], MAX), Front::Incomplete(None));
    }

    #[test]
    fn a_length_below_a_header_is_malformed() {
        for length in 0..HEADER_BYTES as u32 {
            let found = front(&length.to_le_bytes(), MAX);
            assert_eq!(found, Front::Malformed { frame_bytes: length });
        }
    }

    #[test]
    fn memory_follows_the_bytes_that_arrived_not_those_promised() {
        let mut inbox = Inbox::default();
        let whole = frame(MAX as usize, 1);
        inbox.keep(&whole[..24], MAX);
        assert!(inbox.held_bytes() <= GROW_BYTES, "{}", inbox.held_bytes());
        for chunk in whole[24..].chunks(10_000) {
            inbox.keep(chunk, MAX);
            assert!(inbox.held_bytes() <= (inbox.bytes().len() * 2).max(GROW_BYTES));
            assert!(inbox.held_bytes() <= MAX as usize);
        }
        assert_eq!(front(inbox.bytes(), MAX), Front::Frame(MAX as usize));
        let taken = inbox.take();
        inbox.put_back(taken, MAX as usize);
        assert_eq!(inbox.held_bytes(), 0);
    }

    #[test]
    fn a_refused_frame_is_dropped_to_its_end_and_the_next_is_read() {
        let mut inbox = Inbox::default();
        inbox.keep(&[1; 50], MAX);
        inbox.refuse(120);
        assert!(inbox.is_empty());
        let data = [2_u8; 100];
        assert_eq!(inbox.discard(&data[..40]).len(), 0);
        assert_eq!(inbox.discard(&data).len(), 70);
        assert_eq!(inbox.discard(&data).len(), 100);
    }

    #[test]
    fn the_frame_clock_runs_only_while_the_peer_owes_bytes() {
        let mut inbox = Inbox::default();
        inbox.clock(true, false, 5);
        assert_eq!(inbox.started_ns(), None);
        inbox.keep(&[1], MAX);
        inbox.clock(true, false, 10);
        inbox.keep(&[1], MAX);
        inbox.clock(true, false, 20);
        assert_eq!(inbox.started_ns(), Some(10));
        inbox.clock(false, false, 30);
        assert_eq!(inbox.started_ns(), None);
        inbox.clock(true, false, 40);
        assert_eq!(inbox.started_ns(), Some(40));
        inbox.clock(true, true, 50);
        assert_eq!(inbox.started_ns(), Some(50));
    }
}
