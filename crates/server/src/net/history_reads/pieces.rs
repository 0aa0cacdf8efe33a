//! The answer as a stream of bytes, cut into pieces that are handed over one by one.

use std::io;
use std::sync::mpsc::SyncSender;

use thermae_env::give_way;

use crate::net::failure::Failure;

/// What taking a KiB takes, nanoseconds, about.
const KIB_NS: u32 = 100;

/// A piece of the answer's stream, and whether it is the last; or why there are no more.
pub type Piece = Result<(Vec<u8>, bool), Failure>;

/// Collects what is written and sends it in pieces; waits while nobody takes them.
pub struct PieceWriter {
    pieces: SyncSender<Piece>,
    piece_bytes: usize,
    pending: Vec<u8>,
}

impl PieceWriter {
    /// Sends pieces of so many bytes.
    pub fn new(pieces: SyncSender<Piece>, piece_bytes: usize) -> Self {
        Self { pieces, piece_bytes, pending: Vec::new() }
    }

    /// Sends what is left, as the last piece.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn finish(mut self) -> io::Result<()> {
        self.send(true)
    }

    fn send(&mut self, is_last: bool) -> io::Result<()> {
        let piece = std::mem::take(&mut self.pending);
        self.pieces.send(Ok((piece, is_last))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        give_way(KIB_NS.saturating_mul(bytes.len().div_ceil(1 << 10) as u32));
        let taken = bytes.len().min(self.piece_bytes - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() >= self.piece_bytes {
            self.send(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
