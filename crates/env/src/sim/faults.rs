//! Which simulated operations fail, and when the machine stops.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::rng::Rng;

/// Kinds of disk operations, for counting and for planting faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimOp {
    /// A read, blocking or on a ring. Not counted as a crash point.
    Read,
    /// A write, blocking or on a ring (counted when it completes).
    Write,
    /// A sync of a file, blocking or on a ring (counted when it completes).
    Sync,
    /// A sync of a directory.
    SyncDir,
    /// The creation of a file or of directories.
    Create,
    /// A rename.
    Rename,
    /// A removal.
    Remove,
    /// A preallocation.
    Allocate,
}

/// What becomes of one operation.
pub(super) enum Verdict {
    /// It happens.
    Go,
    /// It fails, perhaps after a part of it happened.
    Fail(io::Error),
    /// The machine stops in the middle of it.
    Crash,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Per kind: how many more operations pass before one fails with this errno.
    planted: BTreeMap<SimOp, Vec<(u64, i32)>>,
    per_million: BTreeMap<SimOp, u64>,
    /// Bytes of a file, by its inode, that no read gets past.
    unreadable: Vec<(u64, Range<u64>)>,
    pub(super) crash_after: Option<u64>,
    pub(super) frozen: bool,
    pub(super) lie_sync: bool,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) log: Vec<SimOp>,
    pub(super) injected: u64,
}

impl Faults {
    pub(super) fn plant(&mut self, op: SimOp, after: u64, errno: i32) {
        self.planted.entry(op).or_default().push((after, errno));
    }

    pub(super) fn set_probability(&mut self, op: SimOp, per_million: u32) {
        self.per_million.insert(op, u64::from(per_million));
    }

    pub(super) fn set_unreadable(&mut self, inode: u64, bytes: Range<u64>) {
        self.unreadable.retain(|(other, _)| *other != inode);
        self.unreadable.push((inode, bytes));
    }

    /// Fails a read that touches unreadable bytes.
    pub(super) fn check_readable(&mut self, inode: u64, bytes: Range<u64>) -> io::Result<()> {
        let is_hit = |bad: &Range<u64>| bad.start < bytes.end && bytes.start < bad.end;
        if self.unreadable.iter().any(|(other, bad)| *other == inode && is_hit(bad)) {
            self.injected += 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    /// Counts `op` and decides its fate.
    pub(super) fn judge(&mut self, op: SimOp, rng: &mut Rng) -> Verdict {
        if self.frozen {
            return Verdict::Crash;
        }
        if op != SimOp::Read {
            if self.crash_after.is_some_and(|limit| self.log.len() as u64 >= limit) {
                self.frozen = true;
                return Verdict::Crash;
            }
            self.log.push(op);
        }
        match self.errno(op, rng) {
            Some(errno) => {
                self.injected += 1;
                Verdict::Fail(io::Error::from_raw_os_error(errno))
            }
            None => Verdict::Go,
        }
    }

    fn errno(&mut self, op: SimOp, rng: &mut Rng) -> Option<i32> {
        let mut hit = None;
        if let Some(planted) = self.planted.get_mut(&op) {
            planted.retain_mut(|(after, errno)| {
                if *after == 0 && hit.is_none() {
                    hit = Some(*errno);
                    return false;
                }
                *after = after.saturating_sub(1);
                true
            });
        }
        let per_million = self.per_million.get(&op).copied().unwrap_or(0);
        if hit.is_none() && per_million > 0 && rng.below(1_000_000) < per_million {
            hit = Some(EIO);
        }
        hit
    }
}

/// errno of an input/output error.
pub(super) const EIO: i32 = 5;

/// The error of every operation after the simulated machine stopped.
pub(super) fn crashed() -> io::Error {
    io::Error::other("simulated crash: this environment is frozen; reopen the one it left")
}
