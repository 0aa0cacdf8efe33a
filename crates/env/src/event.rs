//! What a ring reports: completions, connections, wake-ups.

use std::io;
use std::ops::Deref;

use crate::AlignedBuf;

/// One connection of one ring: a slot and the slot's generation.
///
/// A slot is reused only after `Event::Closed`, under the next generation, so a stale `ConnId`
/// never reaches another peer: operations on it are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The connection in `slot` under `generation`.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Index of the slot: small and dense, fit to index a table of connections.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// How many times the slot was used before (wrapping).
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both halves in one word, slot in the low half.
    pub const fn as_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The inverse of [`ConnId::as_u64`].
    pub const fn from_u64(word: u64) -> Self {
        Self { slot: word as u32, generation: (word >> 32) as u32 }
    }
}

/// Received bytes; give it back with `Ring::recycle` to spare an allocation, or just drop it.
///
/// It may own a buffer much larger than the bytes in it: copy what has to be kept for long.
#[derive(Debug, Default)]
pub struct Received {
    buf: Vec<u8>,
}

impl Received {
    /// Wraps received bytes.
    pub const fn new(buf: Vec<u8>) -> Self {
        Self { buf }
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.buf
    }
}

impl Deref for Received {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buf
    }
}

/// Something that a ring finished or noticed. Tokens are the caller's and come back unchanged.
#[derive(Debug)]
pub enum Event {
    /// A write: all of `buf` was written (and is durable, when it was asked with `sync`), or it
    /// failed and an unknown part of it may or may not be on the disk.
    Written {
        /// As given to `Ring::write`.
        token: u64,
        /// The written buffer, unchanged.
        buf: AlignedBuf,
        /// Whole or failed; never short.
        result: io::Result<()>,
    },
    /// A `Ring::sync` ended.
    Synced {
        /// As given to `Ring::sync`.
        token: u64,
        /// A failure is final for the file: never sync again over the same data.
        result: io::Result<()>,
    },
    /// A `Ring::rename`, `Ring::remove` or `Ring::sync_dir` ended.
    Named {
        /// As given to the ring.
        token: u64,
        /// After a failure the names may be either way.
        result: io::Result<()>,
    },
    /// A read: the first `n` bytes of `buf` were filled; `n < buf.len()` only at the end of file.
    Read {
        /// As given to `Ring::read`.
        token: u64,
        /// The buffer, its length as given.
        buf: AlignedBuf,
        /// Bytes filled.
        result: io::Result<usize>,
    },
    /// A peer connected.
    Accepted {
        /// The new connection; it receives from now on.
        conn: ConnId,
        /// Which listener, counted in the order of the `Ring::listen` calls of this ring.
        listener: usize,
        /// Whether it is a unix socket (so that descriptors may be passed).
        local: bool,
    },
    /// Bytes from a peer, in order. Never empty.
    Received {
        /// From which connection.
        conn: ConnId,
        /// The bytes.
        data: Received,
    },
    /// One `Ring::send` ended: the kernel took all bytes, or the connection failed (`Closed`
    /// follows). Comes exactly once for every send on a connection that was not stale.
    Sent {
        /// On which connection.
        conn: ConnId,
        /// The buffer, for reuse.
        buf: Vec<u8>,
        /// Whole or failed; never short.
        result: io::Result<()>,
    },
    /// The connection is gone, by `Ring::close` or by the peer (its half-close counts). Exactly once for each connection
    /// and the last event of it.
    Closed {
        /// Which connection; its slot may be reused from now on.
        conn: ConnId,
    },
    /// Another thread called `Wake::wake`. Several calls may give one event.
    Woken,
}

/// How long `Ring::turn` may wait when nothing has completed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Poll,
    /// Until something completes or the monotonic clock reaches this time.
    Until {
        /// On the clock of `Env::monotonic_ns`.
        monotonic_ns: u64,
    },
    /// Until something completes.
    Forever,
}
