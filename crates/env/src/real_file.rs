//! Blocking access to a file of the operating system.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::{AlignedBuf, BLOCK_BYTES, File};

/// Bytes of one copy out of the page cache. Many kernels let nobody else run on the core during one, and a shard that
/// has been woken waits for it: some 15 us.
const COPY_BYTES: usize = 64 << 10;
/// Zeroes are written in pieces of this size.
const ZERO_BYTES: usize = 1 << 20;

/// An open file of the operating system.
#[derive(Clone, Debug)]
pub struct RealFile {
    fd: Arc<OwnedFd>,
    direct: bool,
}

impl RealFile {
    pub(crate) fn new(fd: OwnedFd, direct: bool) -> Self {
        Self { fd: Arc::new(fd), direct }
    }

    /// Whether it bypasses the page cache.
    pub(crate) const fn is_direct(&self) -> bool {
        self.direct
    }
}

impl AsFd for RealFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes + done as u64;
            let end = if self.direct { buf.len() } else { buf.len().min(done + COPY_BYTES) };
            let read = retry_on_intr(|| rustix::io::pread(&self.fd, &mut buf[done..end], at))?;
            done += read;
            // A direct read that stops inside a block has met the end of the file; asking again
            // from there would be misaligned.
            if read == 0 || (self.direct && !read.is_multiple_of(BLOCK_BYTES)) {
                break;
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, buf: &[u8], offset_bytes: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes + done as u64;
            match retry_on_intr(|| rustix::io::pwrite(&self.fd, &buf[done..], at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => done += written,
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn through_cache(&self) -> io::Result<Self> {
        // Whether a read goes past the cache is a property of the open file, and both are wanted.
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let how = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::open(&*path, how, Mode::empty()))?;
        Ok(Self::new(fd, false))
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_size as u64)
    }

    fn allocate(&self, len_bytes: u64) -> io::Result<()> {
        let present = self.len_bytes()?;
        if len_bytes <= present {
            return Ok(());
        }
        let more = len_bytes - present;
        let flags = FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| rustix::fs::fallocate(&self.fd, flags, present, more)) {
            // Zeroes are written below anyway; without fallocate the space is found as they go.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Written zeroes, not unwritten extents: converting those later costs a journal commit in
        // the middle of a synchronous write.
        let zeroes = AlignedBuf::zeroed(ZERO_BYTES.min(more as usize));
        let mut at = present;
        while at < len_bytes {
            let part = (len_bytes - at).min(zeroes.len() as u64);
            self.write_all_at(&zeroes[..part as usize], at)?;
            at += part;
        }
        Ok(())
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        if len_bytes >= self.len_bytes()? {
            return Ok(());
        }
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.fd, len_bytes))?)
    }
}

/// A directory, to be synced.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?)
}
