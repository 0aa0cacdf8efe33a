//! Waking a ring's thread: an atomic word while it spins, an eventfd when it sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::EventfdFlags;

use crate::Wake;

/// The thread runs and nobody called.
const AWAKE: u8 = 0;
/// Somebody called since the thread last looked.
const CALLED: u8 = 1;
/// The thread sleeps, or is about to: a call must write the eventfd.
const ASLEEP: u8 = 2;

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    eventfd: OwnedFd,
}

/// Wakes a [`crate::UringRing`]; costs a system call only when its thread sleeps.
#[derive(Clone, Debug)]
pub struct RingWaker {
    shared: Arc<Shared>,
}

impl RingWaker {
    pub(crate) fn new() -> io::Result<Self> {
        let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let state = AtomicU8::new(AWAKE);
        Ok(Self { shared: Arc::new(Shared { state, eventfd }) })
    }

    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }

    /// Announces sleep; false: somebody called, do not sleep.
    pub(crate) fn fall_asleep(&self) -> bool {
        let state = &self.shared.state;
        state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Ends sleep and takes the call, if there was one.
    pub(crate) fn take_call(&self) -> bool {
        // Looking first keeps a spinning thread from writing a line that callers share.
        self.shared.state.load(Ordering::Relaxed) != AWAKE
            && self.shared.state.swap(AWAKE, Ordering::SeqCst) == CALLED
    }
}

impl Wake for RingWaker {
    fn wake(&self) {
        if self.shared.state.swap(CALLED, Ordering::SeqCst) == ASLEEP {
            // It can fail only when the counter is full, and then the sleeper wakes anyway.
            let _ = rustix::io::write(&self.shared.eventfd, &1_u64.to_ne_bytes());
        }
    }
}
