//! Taking fields off the front of bytes; never beyond what is there.

use crate::bytes_at::{u16_at, u32_at, u64_at};

/// Bytes that are being read from front to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes not taken yet.
    pub(crate) const fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes, if they are there.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.bytes(2).map(|bytes| u16_at(bytes, 0))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4).map(|bytes| u32_at(bytes, 0))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8).map(|bytes| u64_at(bytes, 0))
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.u64().map(|bits| bits as i64)
    }

    /// The next 16 bytes.
    pub(crate) fn id(&mut self) -> Option<[u8; 16]> {
        self.bytes(16)?.try_into().ok()
    }
}
