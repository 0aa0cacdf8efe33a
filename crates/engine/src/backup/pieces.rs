//! Files in pieces, each with a checksum: copying, examining, comparing.

use std::path::Path;

use thermae_env::{AlignedBuf, BLOCK_BYTES, Env, File, OpenHow};
use thermae_formats::backup::{BackupFile, PIECE_BYTES};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::{corrupt, failed, open_direct};
use super::meter::Meter;
use crate::error::Error;

/// What is done with a piece that lies at a place in its file.
type TakePiece<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

/// A file that is read from its beginning to its end.
pub(super) struct Reading<'a, F> {
    pub file: &'a F,
    pub path: &'a Path,
    pub bytes: u64,
}

impl<F: File> Reading<'_, F> {
    /// Gives each piece to `sink`, with its place in the file.
    fn pieces(&self, sink: &mut TakePiece<'_>) -> Result<(), Error> {
        let mut buf = self.buf();
        let mut at = 0;
        while at < self.bytes {
            let piece = self.piece(at, &mut buf)?;
            sink(at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Room for a piece. Direct reads ask for whole blocks, also where the file ends within one.
    fn buf(&self) -> AlignedBuf {
        let longest = self.bytes.min(PIECE_BYTES).next_multiple_of(BLOCK_BYTES as u64);
        AlignedBuf::zeroed(longest as usize)
    }

    /// The piece at a place before the end.
    fn piece<'b>(&self, at: u64, buf: &'b mut AlignedBuf) -> Result<&'b [u8], Error> {
        let piece = PIECE_BYTES.min(self.bytes - at) as usize;
        let read = self.file.read_at(buf, at);
        let read = read.map_err(|e| failed("reading", self.path, e))?;
        if read < piece {
            let what = format!("the file ends {} bytes too early", piece - read);
            return Err(corrupt(self.path, at + read as u64, what));
        }
        Ok(&buf[..piece])
    }

    /// Gives each piece to an upload that asks for one after the other; why one could not be had is left in
    /// `failure`.
    #[cfg(feature = "cold")]
    pub(super) fn upload<E: Env, T>(
        &self,
        failure: &mut Option<Error>,
        meter: &mut Meter<'_, '_, E>,
        put: impl FnOnce(&mut thermae_tiering::cold::Pieces<'_>) -> T,
    ) -> T {
        let mut buf = self.buf();
        let mut at = 0;
        put(&mut || {
            if at >= self.bytes {
                return Ok(None);
            }
            let piece = self.piece(at, &mut buf).map(bytes::Bytes::copy_from_slice);
            let piece = piece.and_then(|piece| meter.advance(piece.len() as u64).map(|()| piece));
            match piece {
                Ok(piece) => {
                    at += piece.len() as u64;
                    Ok(Some(piece))
                }
                Err(error) => {
                    let what = error.to_string();
                    *failure = Some(error);
                    Err(thermae_tiering::cold::ObjectError::Refused(what))
                }
            }
        })
    }

    /// The checksums of its pieces.
    pub(super) fn sums<E: Env>(&self, meter: &mut Meter<'_, '_, E>) -> Result<Vec<u64>, Error> {
        let mut sums = Vec::new();
        self.pieces(&mut |_, piece| {
            sums.push(xxh3_64(piece));
            meter.advance(piece.len() as u64)
        })?;
        Ok(sums)
    }

    /// Whether its pieces are those of `wanted`.
    ///
    /// # Errors
    /// They are not: the first that differs is named.
    pub(super) fn compare<E: Env>(
        &self,
        wanted: &BackupFile,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        self.pieces(&mut |at, piece| {
            self.check(wanted, at, piece)?;
            meter.advance(piece.len() as u64)
        })
    }

    /// Copies it to the new file `to`, durable but for its name; if its pieces are to be those of `wanted`,
    /// nothing else is written.
    pub(super) fn copy<E: Env>(
        &self,
        env: &E,
        to: &Path,
        wanted: Option<&BackupFile>,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        // A copy that is past the page cache leaves that to those who read.
        let target = match self.bytes.is_multiple_of(BLOCK_BYTES as u64) {
            true => open_direct(env, to, OpenHow::CREATE),
            false => env.open(to, OpenHow::CREATE),
        };
        let writing = |e| failed("writing", to, e);
        let target = target.map_err(writing)?;
        self.pieces(&mut |at, piece| {
            wanted.map_or(Ok(()), |wanted| self.check(wanted, at, piece))?;
            target.write_all_at(piece, at).map_err(writing)?;
            meter.advance(piece.len() as u64)
        })?;
        target.sync_data().map_err(writing)
    }

    fn check(&self, wanted: &BackupFile, at: u64, piece: &[u8]) -> Result<(), Error> {
        let number = usize::try_from(at / PIECE_BYTES).unwrap_or(usize::MAX);
        if wanted.pieces.get(number) == Some(&xxh3_64(piece)) {
            return Ok(());
        }
        let len = piece.len();
        Err(corrupt(self.path, at, format!("the {len} bytes from here are not what was written")))
    }
}
