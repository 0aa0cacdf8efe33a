//! A file of a place, to be read.

use std::io;

use thermae_env::File;

/// A file of a directory, or an object.
#[derive(Clone)]
pub enum PlaceFile<F> {
    /// Of a directory.
    OfDir(F),
    /// Of a bucket.
    #[cfg(feature = "cold")]
    OfBucket(super::bucket::ObjectFile),
}

impl<F: File> File for PlaceFile<F> {
    fn read_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        match self {
            Self::OfDir(file) => file.read_at(buf, offset_bytes),
            #[cfg(feature = "cold")]
            Self::OfBucket(file) => file.read_at(buf, offset_bytes),
        }
    }

    fn through_cache(&self) -> io::Result<Self> {
        match self {
            Self::OfDir(file) => file.through_cache().map(Self::OfDir),
            #[cfg(feature = "cold")]
            Self::OfBucket(_) => Ok(self.clone()),
        }
    }

    fn len_bytes(&self) -> io::Result<u64> {
        match self {
            Self::OfDir(file) => file.len_bytes(),
            #[cfg(feature = "cold")]
            Self::OfBucket(file) => Ok(file.len_bytes()),
        }
    }

    fn write_all_at(&self, _buf: &[u8], _offset_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _len_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&self, _len_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
