//! Waking a ring's thread: a doorbell while it spins, an eventfd when it sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

use crate::Wake;
use crate::doorbell::Doorbell;

#[derive(Debug)]
struct Shared {
    bell: Doorbell,
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
        Ok(Self { shared: Arc::new(Shared { bell: Doorbell::new(), eventfd }) })
    }

    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }

    /// Announces sleep; false: somebody called, do not sleep.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.shared.bell.fall_asleep()
    }

    /// Ends sleep and takes the call, if there was one.
    pub(crate) fn take_call(&self) -> bool {
        self.shared.bell.take_call()
    }
}

impl Wake for RingWaker {
    fn wake(&self) {
        if self.shared.bell.ring() {
            // It can fail only when the counter is full, and then the sleeper wakes anyway.
            let _ = rustix::io::write(&self.shared.eventfd, &1_u64.to_ne_bytes());
        }
    }
}
