//! Which core a thread, and what it starts, runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of every server.
pub const SERVER_CORE: usize = 0;
/// The core of the load generator.
pub const CLIENT_CORE: usize = 1;

/// Binds the calling thread to `core`; processes and threads that it starts inherit that.
///
/// # Errors
/// The system has no such core, or does not lend it.
pub fn to_core(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)
        .map_err(|error| anyhow::anyhow!("cannot run on core {core}: {error}"))
}

/// Runs `start` bound to `core`, and binds the thread back to where it was.
///
/// # Errors
/// As [`to_core`], and what `start` returns.
pub fn started_on<T>(core: usize, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let before = sched_getaffinity(None)?;
    to_core(core)?;
    let started = start();
    sched_setaffinity(None, &before)?;
    started
}

/// Cores that this process may use.
pub fn cores() -> usize {
    sched_getaffinity(None).map_or(1, |cores| cores.count() as usize)
}
