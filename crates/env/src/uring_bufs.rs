//! The provided-buffer ring: memory that the kernel receives into.
//!
//! A filled buffer leaves with its event and a fresh one takes its place at once, so a slow
//! consumer starves nobody and no buffer outlives its proof of ownership.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::uring_queue::Queue;
use crate::{AlignedBuf, Received};

/// The one buffer group.
pub(crate) const GROUP: u16 = 0;
/// Power of two, at most 32,768.
const BUFFERS: u16 = 256;
/// Most bytes of one `Received`.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers kept for reuse.
const SPARES: usize = 64;

#[derive(Debug)]
pub(crate) struct RecvBufs {
    /// Points into `_memory`.
    entries: NonNull<BufRingEntry>,
    _memory: AlignedBuf,
    /// By buffer id; the kernel may write to any of them at any time.
    buffers: Vec<Vec<u8>>,
    spares: Vec<Vec<u8>>,
    tail: u16,
}

impl RecvBufs {
    pub(crate) fn register(queue: &Queue) -> io::Result<Self> {
        let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let mut memory = AlignedBuf::zeroed(bytes);
        let start = memory.as_mut_slice().as_mut_ptr().cast::<BufRingEntry>();
        let Some(entries) = NonNull::new(start) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let submitter = queue.ring().submitter();
        // SAFETY: the memory is page aligned, holds BUFFERS entries and lives as long as `Self`,
        // which is dropped after the ring was drained (or never).
        unsafe { submitter.register_buf_ring_with_flags(start as u64, BUFFERS, GROUP, 0)? };
        let buffers = (0..BUFFERS).map(|_| Vec::with_capacity(BUFFER_BYTES)).collect();
        let mut bufs =
            Self { entries, _memory: memory, buffers, spares: Vec::with_capacity(SPARES), tail: 0 };
        (0..BUFFERS).for_each(|id| bufs.offer(id));
        bufs.publish();
        Ok(bufs)
    }

    /// Takes the `len` bytes that the kernel put into buffer `id` and offers a fresh buffer.
    pub(crate) fn take(&mut self, id: u16, len: usize) -> Received {
        let fresh = self.spare();
        let Some(slot) = self.buffers.get_mut(usize::from(id)) else { return Received::default() };
        let mut buf = std::mem::replace(slot, fresh);
        // SAFETY: the kernel initialised the first `len` bytes of this buffer, whose capacity it
        // was told, and does not touch it again: its entry was consumed.
        unsafe { buf.set_len(len.min(buf.capacity())) };
        self.offer(id);
        self.publish();
        Received::new(buf)
    }

    /// An empty buffer that the kernel does not know.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Keeps the memory for a later receive.
    pub(crate) fn recycle(&mut self, data: Received) {
        let mut buf = data.into_vec();
        if buf.capacity() == BUFFER_BYTES && self.spares.len() < SPARES {
            buf.clear();
            self.spares.push(buf);
        }
    }

    /// Writes the entry of buffer `id` behind the tail; visible to the kernel after `publish`.
    fn offer(&mut self, id: u16) {
        let buf = &mut self.buffers[usize::from(id)];
        let at = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `at < BUFFERS`, so the entry lies inside `_memory`; the kernel reads only
        // entries before the published tail, and there are never more than BUFFERS buffers.
        let entry = unsafe { &mut *self.entries.as_ptr().add(at) };
        entry.set_addr(buf.as_mut_ptr() as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: `entries` is the valid, aligned base of the ring; its tail field is a u16 that
        // only this thread writes and the kernel reads.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
