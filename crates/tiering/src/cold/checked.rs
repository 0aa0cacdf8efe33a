//! Checksums of a file's bytes: made as they go by, and verified as they come back.

use std::io::{self, Write};
use std::ops::Range;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// Bytes that one checksum of the data covers: what a reader fetches at least.
pub(super) const CHUNK_BYTES: u64 = 1 << 16;

/// Checksum of the data's chunk of that number.
pub(super) fn chunk_checksum(number: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, number)
}

/// Where a chunk of a file with so many bytes of data lies in it; empty behind the data.
pub(super) fn chunk_range(number: u64, data_bytes: u64) -> Range<u64> {
    let begin = number.saturating_mul(CHUNK_BYTES).min(data_bytes);
    begin..begin.saturating_add(CHUNK_BYTES).min(data_bytes)
}

/// Passes bytes on, and makes the checksums of the data, of the tail, and of the whole.
pub(super) struct Checked<W> {
    inner: W,
    whole: Xxh3,
    whole_bytes: u64,
    chunk: Vec<u8>,
    chunks: Vec<u64>,
    /// The tail's checksum and where it begins, once the data have ended.
    tail: Option<(Xxh3, u64)>,
}

/// What went by.
pub(super) struct Checksums {
    pub bytes: u64,
    pub whole: u64,
    pub tail_bytes: u64,
    pub tail: u64,
}

impl<W: Write> Checked<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            whole: Xxh3::new(),
            whole_bytes: 0,
            chunk: Vec::new(),
            chunks: Vec::new(),
            tail: None,
        }
    }

    /// Ends the data, and returns the checksums of its chunks.
    pub fn end_data(&mut self) -> Vec<u64> {
        if !self.chunk.is_empty() {
            self.end_chunk();
        }
        self.tail = Some((Xxh3::new(), self.whole_bytes));
        std::mem::take(&mut self.chunks)
    }

    /// The sink, and the checksums of what went into it.
    pub fn finish(self) -> (W, Checksums) {
        let (tail, begin) = self.tail.unwrap_or_else(|| (Xxh3::new(), self.whole_bytes));
        let checksums = Checksums {
            bytes: self.whole_bytes,
            whole: self.whole.digest(),
            tail_bytes: self.whole_bytes - begin,
            tail: tail.digest(),
        };
        (self.inner, checksums)
    }

    fn end_chunk(&mut self) {
        self.chunks.push(chunk_checksum(self.chunks.len() as u64, &self.chunk));
        self.chunk.clear();
    }

    fn add_data(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = CHUNK_BYTES as usize - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            if self.chunk.len() as u64 == CHUNK_BYTES {
                self.end_chunk();
            }
            bytes = later;
        }
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let bytes = &bytes[..written];
        self.whole.update(bytes);
        self.whole_bytes += written as u64;
        match &mut self.tail {
            Some((tail, _)) => tail.update(bytes),
            None => self.add_data(bytes),
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
