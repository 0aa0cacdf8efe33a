//! The registry's file, reached through `Env`: the door that the database has to the disk.

use std::fmt;
use std::io;

use redb::StorageBackend;
use thermae_env::File;

/// A file as redb asks for one.
pub(super) struct Door<F: File>(pub F);

impl<F: File> fmt::Debug for Door<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the registry's file")
    }
}

impl<F: File> StorageBackend for Door<F> {
    fn len(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.read_at(out, offset)? == out.len() {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)?;
        self.0.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
