//! Bytes that somebody hands over piece by piece and reads again from the start.

use std::io;

use thermae_env::{Env, File};

use super::dir::SpillFile;
use super::{SpillDir, SpillError};

/// A file of bytes as they came; it goes with its last holder. It is not checked on reading: whoever reads it
/// trusts its bytes no more than those who handed them over.
pub struct SpillBytes<E: Env> {
    file: SpillFile<E>,
    len_bytes: u64,
}

impl<E: Env> SpillBytes<E> {
    /// An empty one.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(dir: &SpillDir<E>) -> Result<Self, SpillError> {
        Ok(Self { file: dir.create()?, len_bytes: 0 })
    }

    /// Puts bytes behind those that are there.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SpillError> {
        let SpillFile { path, file, .. } = &self.file;
        file.write_all_at(bytes, self.len_bytes)
            .map_err(|source| SpillError::io("write", path, bytes.len() as u64, source))?;
        self.len_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Its length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Reads it from the start.
    pub fn read(&self) -> SpillBytesReader<'_, E> {
        SpillBytesReader { bytes: self, at: 0 }
    }
}

/// Reads from the start to the end.
pub struct SpillBytesReader<'b, E: Env> {
    bytes: &'b SpillBytes<E>,
    at: u64,
}

impl<E: Env> io::Read for SpillBytesReader<'_, E> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.file.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
