//! Submission and completion queue: nothing is lost when full, one system call a turn at most.

use std::collections::VecDeque;
use std::io;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring};

// User data: the kind of an operation in the top byte, an index in the low half.
pub(crate) const DISK: u64 = 1 << 56;
pub(crate) const ACCEPT: u64 = 2 << 56;
pub(crate) const RECV: u64 = 3 << 56;
pub(crate) const SEND: u64 = 4 << 56;
pub(crate) const CANCEL: u64 = 5 << 56;
pub(crate) const WAKE: u64 = 6 << 56;
pub(crate) const KINDS: u64 = 0xff << 56;

/// How long a ring that is dropped waits for the kernel to finish what it has begun.
pub(crate) const DRAIN_NS: u64 = 10_000_000_000;
const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 8192;

/// A completion, copied out of the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    /// Bytes or a descriptor, or a negated errno.
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Completion {
    /// Whether the operation goes on and will complete again.
    pub(crate) fn more(&self) -> bool {
        io_uring::cqueue::more(self.flags)
    }
}

/// How long [`Queue::enter`] may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    No,
    AtMostNs(u64),
    /// Until so many operations have completed.
    For(u32),
}

/// The two queues of one io_uring.
pub(crate) struct Queue {
    ring: IoUring,
    /// Submissions that found the queue full, in order.
    backlog: VecDeque<Entry>,
    /// Operations submitted or about to be whose last completion was not reaped yet.
    in_flight: usize,
    /// The kernel binds the ring to the thread that enables it: the one that first enters.
    enabled: bool,
    /// The kernel completes operations only inside our own enters.
    deferred: bool,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Self> {
        let (ring, deferred) = build()?;
        Ok(Self { ring, backlog: VecDeque::new(), in_flight: 0, enabled: false, deferred })
    }

    /// Of a few operations at a time, for whichever thread has it: not bound to the first.
    pub(crate) fn unbound(entries: u32) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_r_disabled().setup_submit_all().dontfork();
        let ring = build_unbound(&builder, entries)?;
        let (backlog, enabled) = (VecDeque::new(), false);
        Ok(Self { ring, backlog, in_flight: 0, enabled, deferred: false })
    }

    pub(crate) const fn ring(&self) -> &IoUring {
        &self.ring
    }

    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether every completion so far has been reaped, and none can come before the next enter.
    pub(crate) fn is_between_enters(&mut self) -> bool {
        let (_, sq, cq) = self.ring.split();
        self.deferred && cq.is_empty() && !sq.cq_overflow()
    }

    /// Whether an enter would submit something.
    pub(crate) fn has_submissions(&mut self) -> bool {
        !self.backlog.is_empty() || !self.ring.submission().is_empty()
    }

    /// Queues one operation.
    ///
    /// # Safety
    ///
    /// All memory that `entry` points to must stay valid and (for the kernel's use) untouched
    /// until the operation's last completion is reaped. `Drop` of the ring's owner keeps that
    /// promise by draining or leaking.
    pub(crate) unsafe fn push(&mut self, entry: Entry) {
        self.in_flight += 1;
        if self.backlog.is_empty() {
            // SAFETY: passed on to the caller by this function's own contract.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    /// Submits what was pushed and lets completions in: no system call when there is neither
    /// something to submit, nor deferred work, nor leave to sleep.
    pub(crate) fn enter(&mut self, sleep: Sleep) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        let (submitter, mut sq, cq) = self.ring.split();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed the entry promised what `Queue::push` asks.
            if unsafe { sq.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
        sq.sync();
        let to_submit = sq.len() as u32;
        let work = sq.taskrun() || sq.cq_overflow();
        let sleep = if cq.is_empty() && self.backlog.is_empty() { sleep } else { Sleep::No };
        let outcome = match sleep {
            Sleep::No if to_submit == 0 && !work => return Ok(()),
            Sleep::No | Sleep::For(_) => {
                let least = if let Sleep::For(least) = sleep { least } else { 0 };
                let flags = EnterFlags::GETEVENTS.bits();
                // SAFETY: no argument is passed, so no memory is shared beyond the queues.
                unsafe { submitter.enter::<libc::sigset_t>(to_submit, least, flags, None) }
            }
            Sleep::AtMostNs(ns) => {
                let timeout =
                    Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Timeout, signal, or a completion queue to be emptied first: the next turn goes on.
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Moves all completions to `out`.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        for cqe in self.ring.completion() {
            let completion =
                Completion { user_data: cqe.user_data(), result: cqe.result(), flags: cqe.flags() };
            if !completion.more() {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            out.push(completion);
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (in_flight, backlog) = (self.in_flight, self.backlog.len());
        write!(f, "Queue({in_flight} in flight, {backlog} behind a full queue)")
    }
}

/// Asks for the fastest set-up that the kernel knows, completions deferred to our own enters; says
/// whether it got that.
fn build() -> io::Result<(IoUring, bool)> {
    let mut builder = IoUring::builder();
    builder.setup_r_disabled().setup_submit_all().setup_cqsize(COMPLETIONS).dontfork();
    let mut deferred = builder.clone();
    deferred.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    if let Ok(ring) = deferred.build(SUBMISSIONS) {
        return Ok((ring, true));
    }
    Ok((build_unbound(&builder, SUBMISSIONS)?, false))
}

/// Asks for a ring that any thread may use, by the fastest set-up for that.
fn build_unbound(builder: &Builder, entries: u32) -> io::Result<IoUring> {
    let mut cooperative = builder.clone();
    cooperative.setup_coop_taskrun().setup_taskrun_flag();
    cooperative.build(entries).or_else(|_| builder.build(entries))
}
