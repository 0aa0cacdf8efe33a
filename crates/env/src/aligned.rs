//! A growable byte buffer whose address is aligned for direct I/O.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::BLOCK_BYTES;

/// A `Vec<u8>`-like buffer that starts at a multiple of [`BLOCK_BYTES`], as `O_DIRECT` asks.
///
/// Its capacity is always a multiple of [`BLOCK_BYTES`], and every byte up to the capacity is
/// initialised, so that shrinking and growing inside the capacity costs no unsafety elsewhere.
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: the buffer owns its allocation exclusively and holds plain bytes, as `Vec<u8>` does.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads the bytes; every mutation needs `&mut self`.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer; allocates nothing.
    pub const fn new() -> Self {
        Self { start: dangling(), len: 0, capacity: 0 }
    }

    /// An empty buffer with room for `capacity` bytes, rounded up to whole blocks.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buf = Self::new();
        buf.reserve(capacity);
        buf
    }

    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let mut buf = Self::with_capacity(len);
        buf.len = len;
        buf
    }

    /// Bytes in use.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is in use.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit without another allocation.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes room for `additional` more bytes. Growth at least doubles, so appending is amortised.
    pub fn reserve(&mut self, additional: usize) {
        let needed = self.len.saturating_add(additional);
        if needed <= self.capacity {
            return;
        }
        let wanted = needed.max(self.capacity.saturating_mul(2));
        let capacity = wanted.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        let layout = layout_of(capacity);
        // SAFETY: `layout` has a non-zero size, because `needed > self.capacity >= 0`.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        // SAFETY: both ranges are valid for `self.len` bytes (`len <= old capacity < capacity`)
        // and lie in two different allocations.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), self.len) };
        self.release();
        self.start = start;
        self.capacity = capacity;
    }

    /// Appends `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let len = self.len;
        self.len += bytes.len();
        self[len..].copy_from_slice(bytes);
    }

    /// Sets the length; new bytes are `fill`.
    pub fn resize(&mut self, len: usize, fill: u8) {
        let old = self.len;
        if len > old {
            self.reserve(len - old);
            self.len = len;
            self[old..].fill(fill);
        } else {
            self.len = len;
        }
    }

    /// Appends zeroes until the length is a multiple of [`BLOCK_BYTES`].
    pub fn pad_to_block(&mut self) {
        self.resize(self.len.div_ceil(BLOCK_BYTES) * BLOCK_BYTES, 0);
    }

    /// Shortens to `len` bytes; does nothing when the buffer is not longer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The bytes in use.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is valid for `capacity >= len` initialised bytes (allocated zeroed), or
        // `len` is 0 and `start` is dangling but aligned and non-null.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes in use, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    fn release(&mut self) {
        if self.capacity > 0 {
            // SAFETY: `start` came from `alloc_zeroed` with this very layout (capacity > 0 only
            // after `reserve`), and the caller replaces or forgets `start` afterwards.
            unsafe { dealloc(self.start.as_ptr(), layout_of(self.capacity)) };
            self.start = dangling();
            self.capacity = 0;
        }
    }
}

/// A non-null, block-aligned address for buffers that hold no memory.
const fn dangling() -> NonNull<u8> {
    match NonNull::new(std::ptr::without_provenance_mut(BLOCK_BYTES)) {
        Some(start) => start,
        None => NonNull::dangling(),
    }
}

fn layout_of(capacity: usize) -> Layout {
    match Layout::from_size_align(capacity, BLOCK_BYTES) {
        Ok(layout) => layout,
        // A capacity near isize::MAX: the same outcome as running out of memory.
        Err(_) => handle_alloc_error(Layout::new::<u8>()),
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        self.release();
    }
}

impl Default for AlignedBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for AlignedBuf {
    fn clone(&self) -> Self {
        Self::from(self.as_slice())
    }
}

impl From<&[u8]> for AlignedBuf {
    fn from(bytes: &[u8]) -> Self {
        let mut buf = Self::with_capacity(bytes.len());
        buf.extend_from_slice(bytes);
        buf
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} of {} bytes)", self.len, self.capacity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn address_is_block_aligned_and_content_survives_growth() {
        let mut buf = AlignedBuf::new();
        let mut expected = Vec::new();
        for step in 0..40_u32 {
            let piece = vec![step as u8; 1 + (step as usize * 37) % 3000];
            buf.extend_from_slice(&piece);
            expected.extend_from_slice(&piece);
            assert_eq!(buf.as_slice().as_ptr() as usize % BLOCK_BYTES, 0);
            assert_eq!(buf.capacity() % BLOCK_BYTES, 0);
        }
        assert_eq!(buf.as_slice(), &expected[..]);
        assert_eq!(buf.clone().as_slice(), &expected[..]);
    }

    #[test]
    fn resize_fills_new_bytes_even_after_shrinking_over_old_ones() {
        let mut buf = AlignedBuf::from(&[7_u8; 100][..]);
        buf.truncate(10);
        buf.resize(20, 0);
        assert_eq!(&buf[..10], &[7; 10]);
        assert_eq!(&buf[10..], &[0; 10]);
        buf.pad_to_block();
        assert_eq!(buf.len(), BLOCK_BYTES);
        assert!(buf[20..].iter().all(|&b| b == 0));
        buf.pad_to_block();
        assert_eq!(buf.len(), BLOCK_BYTES);
    }

    #[test]
    fn empty_buffers_are_usable() {
        let mut buf = AlignedBuf::new();
        assert!(buf.is_empty() && buf.as_slice().is_empty());
        buf.clear();
        buf.extend_from_slice(&[]);
        assert_eq!(buf.capacity(), 0);
        assert_eq!(AlignedBuf::zeroed(5).as_slice(), &[0; 5]);
    }
}
