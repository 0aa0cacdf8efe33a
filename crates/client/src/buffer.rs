//! Receive buffers: 64-byte aligned, reused, so that an answer's arrays are used where they lie.

use std::sync::{Arc, Mutex, PoisonError};

use thermae_formats::wire::{Frame, HEADER_BYTES};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const KEPT_BUFFERS: usize = 64;
const KEPT_BUFFER_BYTES: usize = 4 << 20;
/// What a buffer that is received into has at least: one receive takes in most answers whole.
const LEAST_BYTES: usize = 64 << 10;
/// What holds a small answer that arrived with others; so many of them are kept.
const SMALL_BYTES: usize = 2 << 10;
const KEPT_SMALL: usize = 1024;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Block([u8; 64]);

/// Initialised memory that begins at a multiple of 64.
#[derive(Default)]
pub(crate) struct AlignedBuf {
    blocks: Vec<Block>,
}

impl AlignedBuf {
    pub fn with_bytes(bytes: usize) -> Self {
        Self { blocks: vec![Block([0; 64]); bytes.div_ceil(64)] }
    }

    pub fn bytes(&self) -> &[u8] {
        self.blocks.as_bytes()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.blocks.as_mut_bytes()
    }

    /// Makes room for `bytes`, keeping what is there.
    pub fn grow(&mut self, bytes: usize) {
        if self.bytes().len() < bytes {
            self.blocks.resize(bytes.next_power_of_two().div_ceil(64), Block([0; 64]));
        }
    }
}

/// Buffers that answers have given back.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<Vec<AlignedBuf>>,
    small: Mutex<Vec<AlignedBuf>>,
}

impl Pool {
    /// A buffer to receive into, of at least so many bytes.
    pub fn take(&self, bytes: usize) -> AlignedBuf {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match free {
            Some(mut buffer) => {
                buffer.grow(bytes);
                buffer
            }
            None => AlignedBuf::with_bytes(bytes.max(LEAST_BYTES)),
        }
    }

    /// A buffer for an answer of so many bytes.
    fn take_for(&self, bytes: usize) -> AlignedBuf {
        if bytes > SMALL_BYTES {
            return self.take(bytes);
        }
        let free = self.small.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| AlignedBuf::with_bytes(SMALL_BYTES))
    }

    fn give_back(&self, buffer: AlignedBuf) {
        let len = buffer.bytes().len();
        if len == SMALL_BYTES {
            let mut small = self.small.lock().unwrap_or_else(PoisonError::into_inner);
            if small.len() < KEPT_SMALL {
                small.push(buffer);
            }
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT_BUFFERS && (LEAST_BYTES..=KEPT_BUFFER_BYTES).contains(&len) {
            free.push(buffer);
        }
    }
}

/// One received frame that owns its memory; its checksum was verified on arrival.
pub(crate) struct FrameBuf {
    buffer: AlignedBuf,
    frame_bytes: usize,
    kind_code: u8,
    request_id: u64,
    pool: Arc<Pool>,
}

impl FrameBuf {
    /// Takes the buffer over: the frame begins at its start.
    pub fn whole(buffer: AlignedBuf, frame: (usize, u8, u64), pool: &Arc<Pool>) -> Self {
        let (frame_bytes, kind_code, request_id) = frame;
        Self { buffer, frame_bytes, kind_code, request_id, pool: Arc::clone(pool) }
    }

    /// Copies a frame that lies somewhere in a receive buffer.
    pub fn copy(frame: &Frame<'_>, pool: &Arc<Pool>) -> Self {
        let mut buffer = pool.take_for(frame.bytes.len());
        buffer.bytes_mut()[..frame.bytes.len()].copy_from_slice(frame.bytes);
        Self::whole(buffer, (frame.bytes.len(), frame.kind_code, frame.request_id), pool)
    }

    pub fn frame(&self) -> Frame<'_> {
        let bytes = &self.buffer.bytes()[..self.frame_bytes];
        Frame {
            kind_code: self.kind_code,
            request_id: self.request_id,
            bytes,
            payload: bytes.get(HEADER_BYTES..).unwrap_or_default(),
        }
    }
}

impl Drop for FrameBuf {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

impl std::fmt::Debug for FrameBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameBuf({} bytes of request {})", self.frame_bytes, self.request_id)
    }
}
