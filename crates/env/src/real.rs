//! The real machine: system calls through rustix, one io_uring per thread.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode as Permissions, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::clock::{monotonic_ns, wall_us};
use crate::real_file::open_dir;
use crate::{DirEntry, Env, Mode, OpenHow, RealFile, UringReader, UringRing};

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealEnv;

impl RealEnv {
    /// The operating system.
    pub const fn new() -> Self {
        Self
    }
}

/// An exclusive lock of the operating system, released on drop or when the process dies.
#[derive(Debug)]
pub struct RealLock {
    fd: OwnedFd,
}

impl Drop for RealLock {
    /// To close it is not enough: a child that another thread has forked holds the descriptor, and with it the lock, until
    /// it runs its own program.
    fn drop(&mut self) {
        // What cannot be unlocked is when the descriptor is closed.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }
}

impl Env for RealEnv {
    type File = RealFile;
    type Ring = UringRing;
    type Reader = UringReader;
    type Lock = RealLock;

    fn now_us(&self) -> i64 {
        wall_us()
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
        Ok(RealFile::new(fd, how.direct))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(open_dir(path)?)?)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn lock(&self, path: &Path) -> io::Result<RealLock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let permissions = Permissions::RUSR | Permissions::WUSR;
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, permissions))?;
        retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive))?;
        Ok(RealLock { fd })
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn ring(&self) -> io::Result<UringRing> {
        UringRing::new()
    }

    fn reader(&self) -> io::Result<UringReader> {
        UringReader::new()
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_free_though_somebody_has_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let lock = RealEnv.lock(&path).unwrap();
        let forked = lock.fd.try_clone().unwrap();
        assert!(RealEnv.lock(&path).is_err());
        drop(lock);
        drop(RealEnv.lock(&path).unwrap());
        drop(forked);
    }
}
