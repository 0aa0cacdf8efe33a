//! The real machine: system calls through rustix, one io_uring per thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, Mode as Permissions, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::time::ClockId;

use crate::{AlignedBuf, BLOCK_BYTES, DirEntry, Env, File, Mode, OpenHow, UringRing};

/// Zeroes are written in pieces of this size.
const ZERO_BYTES: usize = 1 << 20;

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealEnv;

impl RealEnv {
    /// The operating system.
    pub const fn new() -> Self {
        Self
    }
}

/// An open file of the operating system.
#[derive(Clone, Debug)]
pub struct RealFile {
    fd: Arc<OwnedFd>,
    direct: bool,
}

impl RealFile {
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

/// An exclusive lock of the operating system, released on drop or when the process dies.
#[derive(Debug)]
pub struct RealLock {
    _fd: OwnedFd,
}

impl Env for RealEnv {
    type File = RealFile;
    type Ring = UringRing;
    type Lock = RealLock;

    fn now_us(&self) -> i64 {
        let now = rustix::time::clock_gettime(ClockId::Realtime);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    }

    fn monotonic_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        let mut filled = 0;
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            // getrandom fails only by interruption once the kernel's pool is seeded.
            filled += rustix::rand::getrandom(&mut bytes[filled..], flags).unwrap_or(0);
        }
        u64::from_le_bytes(bytes)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            if dir.is_dir() {
                break;
            }
            missing.push(dir);
        }
        for dir in missing.into_iter().rev() {
            match rustix::fs::mkdir(dir, Permissions::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            self.sync_dir(parent_of(dir))?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                len_bytes: if metadata.is_file() { metadata.len() } else { 0 },
                is_dir: metadata.is_dir(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<RealFile> {
        let mut flags = OFlags::CLOEXEC
            | match how.mode {
                Mode::Read => OFlags::RDONLY,
                Mode::Write => OFlags::RDWR,
                Mode::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        flags.set(OFlags::DIRECT, how.direct);
        flags.set(OFlags::DSYNC, how.dsync);
        let permissions = Permissions::RUSR | Permissions::WUSR;
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, permissions))?;
        Ok(RealFile { fd: Arc::new(fd), direct: how.direct })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry_on_intr(|| rustix::fs::open(path, flags, Permissions::empty()))?;
        Ok(rustix::fs::fsync(dir)?)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn lock(&self, path: &Path) -> io::Result<RealLock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let permissions = Permissions::RUSR | Permissions::WUSR;
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, permissions))?;
        retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive))?;
        Ok(RealLock { _fd: fd })
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn ring(&self) -> io::Result<UringRing> {
        UringRing::new()
    }
}

/// The monotonic clock, nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes + done as u64;
            let read = retry_on_intr(|| rustix::io::pread(&self.fd, &mut buf[done..], at))?;
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
}
