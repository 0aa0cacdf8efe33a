//! A seeded, simulated machine: disk, clock and randomness, for tests that crash and replay.
//!
//! Everything that happens is a function of the seed and of the calls made, so drive it from one
//! thread (it is `Send + Sync` only so that production code fits). The disk forgets what was not
//! synced: see [`SimEnv::crash`].

mod content;
mod disk;
mod faults;
mod file;
mod inode;
mod reader;
mod ring;
mod rng;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk::Disk;
use faults::{Faults, Verdict, crashed};
use ring::InFlight;
use rng::Rng;

pub use faults::SimOp;
pub use file::SimFile;
pub use reader::SimReader;
pub use ring::{SimRing, SimWaker};

use crate::{DirEntry, Env, Mode, OpenHow};

/// 2026-01-01T00:00:00Z, where the simulated wall clock starts.
const WALL_START_US: i64 = 1_767_225_600_000_000;
/// Reported free space when no capacity is set.
const FREE_BYTES: u64 = 1 << 40;

/// A handle of the simulated machine; clones share it.
#[derive(Clone, Debug)]
pub struct SimEnv {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    disk: Disk,
    faults: Faults,
    /// Decides about the disk; apart from `values`, so that a caller's extra draw moves no fault.
    rng: Rng,
    /// Answers `Env::random_u64`.
    values: Rng,
    clock_ns: u64,
    /// What a look at the monotonic clock takes.
    look_ns: u64,
    wall_offset_us: i64,
    in_flight: Vec<InFlight>,
    next_ring: u64,
    next_submission: u64,
    delay_us: (u64, u64),
    locks: BTreeSet<PathBuf>,
}

impl SimEnv {
    /// A machine with an empty disk.
    pub fn new(seed: u64) -> Self {
        Self::with_disk(seed, Disk::default(), 1_000_000_000, WALL_START_US)
    }

    fn with_disk(seed: u64, disk: Disk, clock_ns: u64, wall_offset_us: i64) -> Self {
        let mut rng = Rng::new(seed);
        let values = Rng::new(rng.next());
        let state = State {
            disk,
            faults: Faults::default(),
            rng,
            values,
            clock_ns,
            look_ns: 0,
            wall_offset_us,
            in_flight: Vec::new(),
            next_ring: 0,
            next_submission: 0,
            delay_us: (10, 200),
            locks: BTreeSet::new(),
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power. The machine it returns has what survived: everything synced, and of each
    /// unsynced or in-flight write and each unsynced name change whatever the seed decides (lost,
    /// whole, torn at 512-byte sectors). This environment stays frozen: every later operation on it
    /// fails. Faults, capacity and delays are not inherited.
    pub fn crash(&self) -> Self {
        let mut state = self.state();
        state.faults.frozen = true;
        state.land_in_flight();
        let State { disk, rng, clock_ns, wall_offset_us, .. } = &mut *state;
        let disk = disk.after_power_cut(rng);
        Self::with_disk(rng.next(), disk, *clock_ns + 1_000_000_000, *wall_offset_us)
    }

    /// Kills the process, not the machine: completed writes and name changes are all visible to
    /// the next one (still not durable), in-flight ones happened, partly or not at all.
    pub fn kill(&self) -> Self {
        let mut state = self.state();
        state.faults.frozen = true;
        state.land_in_flight();
        let State { disk, rng, clock_ns, wall_offset_us, .. } = &mut *state;
        Self::with_disk(rng.next(), disk.after_kill(), *clock_ns + 1_000_000, *wall_offset_us)
    }

    /// Freezes the machine in the middle of the disk operation after `operations` more counted
    /// ones (see [`SimOp`]): it and all later ones fail, `turn` returns an error, and
    /// [`SimEnv::crash`] or [`SimEnv::kill`] gives the machine to reopen.
    pub fn crash_after(&self, operations: u64) {
        let mut state = self.state();
        state.faults.crash_after = Some(state.faults.log.len() as u64 + operations);
    }

    /// Whether a planned crash happened (or `crash` / `kill` was called).
    pub fn is_frozen(&self) -> bool {
        self.state().faults.frozen
    }

    /// Counted disk operations so far: the crash points that [`SimEnv::crash_after`] may hit.
    pub fn disk_ops(&self) -> u64 {
        self.state().faults.log.len() as u64
    }

    /// The counted disk operations, oldest first.
    pub fn op_log(&self) -> Vec<SimOp> {
        self.state().faults.log.clone()
    }

    /// Faults that were really injected: a fault test checks that this grew.
    pub fn faults_injected(&self) -> u64 {
        self.state().faults.injected
    }

    /// Lets `after` more operations of this kind pass and fails the next one with EIO. A failed
    /// write may have happened in part; a failed sync drops the dirty data for good while cached
    /// reads still show it.
    pub fn fail(&self, op: SimOp, after: u64) {
        self.state().faults.plant(op, after, faults::EIO);
    }

    /// As [`SimEnv::fail`], with another errno.
    pub fn fail_with(&self, op: SimOp, after: u64, errno: i32) {
        self.state().faults.plant(op, after, errno);
    }

    /// Fails operations of this kind with EIO, `per_million` of a million; 0 stops that.
    pub fn fail_randomly(&self, op: SimOp, per_million: u32) {
        self.state().faults.set_probability(op, per_million);
    }

    /// Makes bytes of a file unreadable, as a bad sector does: a read that touches them fails with EIO,
    /// always. In place of those before; an empty range ends it.
    pub fn set_unreadable(&self, path: &Path, bytes: Range<u64>) -> io::Result<()> {
        let mut state = self.state();
        let id = state.disk.lookup(path)?;
        state.faults.set_unreadable(id, bytes);
        Ok(())
    }

    /// Size of the disk: past it, creating data fails with ENOSPC. `None` lifts the limit.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.state().faults.capacity_bytes = capacity_bytes;
    }

    /// Time that an operation on a ring takes: uniform in this range of microseconds.
    pub fn set_delay_us(&self, at_least: u64, at_most: u64) {
        self.state().delay_us = (at_least, at_most.max(at_least));
    }

    /// Time passes at each look at the monotonic clock, microseconds: work that ends by the clock ends in the midst of
    /// it. Otherwise it stands still between two turns of a ring.
    pub fn set_look_us(&self, look_us: u64) {
        self.state().look_ns = look_us * 1000;
    }

    /// A planted bug, to show that a campaign catches it: syncs and synchronous writes complete
    /// without making anything durable.
    pub fn lie_sync(&self, lie: bool) {
        self.state().faults.lie_sync = lie;
    }

    /// Moves both clocks forward.
    pub fn advance_us(&self, by_us: u64) {
        self.state().clock_ns += by_us * 1000;
    }

    /// Makes the wall clock jump, forward or back; the monotonic clock goes on.
    pub fn jump_wall_us(&self, by_us: i64) {
        let mut state = self.state();
        state.wall_offset_us = state.wall_offset_us.saturating_add(by_us);
    }

    /// What a file holds now, as a cached read would show it. Counts and fails nothing.
    pub fn file_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let id = state.disk.lookup(path)?;
        Ok(state.disk.inode(id)?.bytes())
    }

    /// Replaces or creates a file, durably, behind the program's back: for planting damage.
    pub fn set_file_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.state().disk.plant(path, bytes)
    }
}

impl State {
    fn judge(&mut self, op: SimOp) -> Verdict {
        self.faults.judge(op, &mut self.rng)
    }

    /// For operations that happen whole or not at all; `Ok(true)`: the machine stops, but the
    /// operation may still be found done after the crash.
    fn begin(&mut self, op: SimOp) -> io::Result<bool> {
        let was_frozen = self.faults.frozen;
        match self.judge(op) {
            Verdict::Go => Ok(false),
            Verdict::Fail(error) => Err(error),
            Verdict::Crash if was_frozen => Err(crashed()),
            Verdict::Crash => Ok(true),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.faults.frozen { Err(crashed()) } else { Ok(()) }
    }

    /// Refuses what would grow the file `id` to `len` past the capacity.
    fn check_space(&mut self, id: u64, len: u64) -> io::Result<()> {
        let Some(capacity) = self.faults.capacity_bytes else { return Ok(()) };
        let more = len.saturating_sub(self.disk.inode(id)?.len());
        if more > 0 && self.disk.used_bytes() + more > capacity {
            self.faults.injected += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// Turns the outcome of an operation into an error when the machine stopped in the middle of it.
fn unless_crashed<T>(stopping: bool, outcome: io::Result<T>) -> io::Result<T> {
    if stopping { Err(crashed()) } else { outcome }
}

impl Env for SimEnv {
    type File = SimFile;
    type Ring = SimRing;
    type Reader = SimReader;
    type Lock = SimLock;

    fn now_us(&self) -> i64 {
        let state = self.state();
        state.wall_offset_us + (state.clock_ns / 1000) as i64
    }

    fn monotonic_ns(&self) -> u64 {
        let mut state = self.state();
        state.clock_ns += state.look_ns;
        state.clock_ns
    }

    fn random_u64(&self) -> u64 {
        self.state().values.next()
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let stopping = state.begin(SimOp::Create)?;
        unless_crashed(stopping, state.disk.create_dir_all(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        state.alive()?;
        state.disk.list(path)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<SimFile> {
        let mut state = self.state();
        state.alive()?;
        let id = match how.mode {
            Mode::Read | Mode::Write => state.disk.lookup(path)?,
            Mode::Create => {
                let stopping = state.begin(SimOp::Create)?;
                let created = state.disk.create(path);
                unless_crashed(stopping, created)?
            }
        };
        let opened = state.disk.inode(id)?.open();
        Ok(SimFile::new(self.clone(), id, how, opened))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let stopping = state.begin(SimOp::Rename)?;
        unless_crashed(stopping, state.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let stopping = state.begin(SimOp::Remove)?;
        unless_crashed(stopping, state.disk.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.disk.check_dir(path)?;
        if state.begin(SimOp::SyncDir)? {
            return Err(crashed());
        }
        if !state.faults.lie_sync {
            state.disk.sync_dir(path);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.alive()?;
        Ok(state.disk.exists(path))
    }

    fn lock(&self, path: &Path) -> io::Result<SimLock> {
        let mut state = self.state();
        state.alive()?;
        if !state.locks.insert(path.into()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !state.disk.exists(path)
            && let Err(error) = state.disk.create(path)
        {
            state.locks.remove(path);
            return Err(error);
        }
        Ok(SimLock { env: self.clone(), path: path.into() })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        let Some(capacity) = state.faults.capacity_bytes else { return Ok(FREE_BYTES) };
        Ok(capacity.saturating_sub(state.disk.used_bytes()))
    }

    fn ring(&self) -> io::Result<SimRing> {
        self.state().alive()?;
        Ok(SimRing::new(self.clone()))
    }

    fn reader(&self) -> io::Result<SimReader> {
        self.state().alive()?;
        Ok(SimReader::default())
    }
}

/// An exclusive lock in the simulation, released on drop.
#[derive(Debug)]
pub struct SimLock {
    env: SimEnv,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.env.state().locks.remove(&self.path);
    }
}
