//! The production ring: disk and network of one thread on one io_uring.

use std::ffi::CString;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use io_uring::{opcode, types};

use crate::clock::monotonic_ns;
use crate::real_file::open_dir;
use crate::uring_disk::{DiskOps, Naming};
use crate::uring_net::{Net, owned};
use crate::uring_queue::{
    ACCEPT, CANCEL, Completion, DISK, DRAIN_NS, KINDS, Queue, RECV, SEND, Sleep, WAKE,
};
use crate::wake::RingWaker;
use crate::{AlignedBuf, ConnId, Event, Listener, RealFile, Received, Ring, Stream, Wait};

/// One io_uring with multishot accept and receive, provided buffers and deferred completions.
///
/// It belongs to the thread that first calls [`Ring::turn`]. Dropping it cancels what is in flight,
/// waits for the kernel to let go of every buffer, and only then frees them; should that not
/// succeed, the buffers are leaked.
#[derive(Debug)]
pub struct UringRing {
    queue: Queue,
    // Memory that the kernel may use: freed in `drop`, after draining.
    disk: ManuallyDrop<DiskOps>,
    net: ManuallyDrop<Net>,
    wake_word: ManuallyDrop<Box<u64>>,
    wake_armed: bool,
    waker: RingWaker,
    /// The last turn received without entering the kernel's side of the ring; this one may not.
    skipped_enter: bool,
    /// Events made outside `turn`.
    ready: Vec<Event>,
    completions: Vec<Completion>,
}

// SAFETY: the raw pointers inside (control messages, the provided-buffer ring) point to memory
// that the ring itself owns; the kernel side is bound to a thread only by the first `turn`, and
// refuses (an error, no harm) to serve another.
unsafe impl Send for UringRing {}

impl UringRing {
    /// A ring with its provided buffers (8 MiB of address space, used as needed).
    pub fn new() -> io::Result<Self> {
        let queue = Queue::new()?;
        let net = Net::new(&queue)?;
        Ok(Self {
            queue,
            disk: ManuallyDrop::new(DiskOps::default()),
            net: ManuallyDrop::new(net),
            wake_word: ManuallyDrop::new(Box::new(0)),
            wake_armed: false,
            waker: RingWaker::new()?,
            skipped_enter: false,
            ready: Vec::new(),
            completions: Vec::new(),
        })
    }

    fn dispatch(&mut self, completion: Completion, events: &mut Vec<Event>) {
        let Completion { user_data, result, .. } = completion;
        let index = user_data as u32;
        let queue = &mut self.queue;
        match user_data & KINDS {
            DISK => self.disk.complete(queue, user_data, index, result, events),
            ACCEPT => self.net.accepted(queue, index as usize, completion, events),
            RECV => self.net.received(queue, index, completion, events),
            SEND => self.net.sent(queue, index, completion, events),
            WAKE => self.wake_armed = false,
            _ => {}
        }
    }

    /// Receives without the ring where that is safe; true when the turn should end with that, so that
    /// the answer does not wait for what the kernel has deferred. Never twice in a row.
    fn receive_now(&mut self, events: &mut Vec<Event>) -> bool {
        let before = events.len();
        if self.queue.is_between_enters() {
            self.net.receive_now(events);
        }
        let quick = events.len() > before && !self.queue.has_submissions();
        self.skipped_enter = quick && !self.skipped_enter;
        self.skipped_enter
    }

    /// Starts a change of names; one that cannot even be said ends with the next turn.
    fn name(&mut self, token: u64, naming: io::Result<Naming>) {
        match naming {
            Ok(naming) => self.disk.name(&mut self.queue, token, naming),
            Err(error) => self.ready.push(Event::Named { token, result: Err(error) }),
        }
    }

    /// Lets the eventfd end a sleep.
    fn arm_wake(&mut self) {
        if !std::mem::replace(&mut self.wake_armed, true) {
            let fd = types::Fd(self.waker.eventfd().as_raw_fd());
            let word: *mut u64 = &raw mut **self.wake_word;
            let entry = opcode::Read::new(fd, word.cast(), size_of::<u64>() as u32).build();
            // SAFETY: the word is boxed and touched by nobody else; it outlives the operation
            // (see `drop`), as does the eventfd, which `waker` holds.
            unsafe { self.queue.push(entry.user_data(WAKE)) };
        }
    }

    fn sleep_for(&mut self, wait: Wait) -> Sleep {
        let retry_ns = self.net.retry_accept(&mut self.queue);
        let until = |deadline_ns: u64| match deadline_ns.saturating_sub(monotonic_ns()) {
            0 => Sleep::No,
            ns => Sleep::AtMostNs(ns),
        };
        match (wait, retry_ns) {
            (Wait::Poll, _) => Sleep::No,
            (Wait::Forever, None) => Sleep::For(1),
            (Wait::Forever, Some(retry_ns)) => until(retry_ns),
            (Wait::Until { monotonic_ns }, retry_ns) => {
                until(monotonic_ns.min(retry_ns.unwrap_or(u64::MAX)))
            }
        }
    }

    /// Cancels everything and waits until the kernel holds nothing; false when it may still.
    fn drain(&mut self) -> bool {
        let deadline_ns = monotonic_ns() + DRAIN_NS;
        let mut completions = Vec::new();
        while self.queue.in_flight() > 0 {
            if monotonic_ns() > deadline_ns {
                return false;
            }
            let everything = types::CancelBuilder::any().all();
            let entry = opcode::AsyncCancel2::new(everything).build();
            // SAFETY: a cancellation points to no memory.
            unsafe { self.queue.push(entry.user_data(CANCEL)) };
            // Until this cancellation itself has ended, what it cancelled may not have.
            let mut cancelled = false;
            while !cancelled {
                if self.queue.enter(Sleep::AtMostNs(100_000_000)).is_err()
                    || monotonic_ns() > deadline_ns
                {
                    return false;
                }
                self.queue.reap(&mut completions);
                for completion in completions.drain(..) {
                    cancelled |= completion.user_data == CANCEL;
                    if completion.user_data & KINDS == ACCEPT {
                        drop(owned(completion.result));
                    }
                }
            }
        }
        true
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

impl Drop for UringRing {
    fn drop(&mut self) {
        if !self.drain() {
            return;
        }
        // SAFETY: nothing is in flight, so the kernel uses none of this memory any more; each
        // field is dropped once, here, and not used afterwards.
        unsafe {
            ManuallyDrop::drop(&mut self.disk);
            ManuallyDrop::drop(&mut self.net);
            ManuallyDrop::drop(&mut self.wake_word);
        }
    }
}

impl Ring for UringRing {
    type File = RealFile;
    type Waker = RingWaker;

    fn write(&mut self, token: u64, file: &RealFile, offset: u64, buf: AlignedBuf, sync: bool) {
        self.disk.write(&mut self.queue, token, file, offset, buf, sync);
    }

    fn sync(&mut self, token: u64, file: &RealFile) {
        self.disk.sync(&mut self.queue, token, file);
    }

    fn read(&mut self, token: u64, file: &RealFile, offset: u64, buf: AlignedBuf) {
        self.disk.read(&mut self.queue, token, file, offset, buf);
    }

    fn rename(&mut self, token: u64, from: &Path, to: &Path) {
        let both = c_path(from).and_then(|from| Ok((from, c_path(to)?)));
        self.name(token, both.map(|(from, to)| Naming::Rename { from, to }));
    }

    fn remove(&mut self, token: u64, path: &Path) {
        self.name(token, c_path(path).map(|path| Naming::Remove { path }));
    }

    fn sync_dir(&mut self, token: u64, dir: &Path) {
        self.name(token, open_dir(dir).map(|dir| Naming::SyncDir { dir }));
    }

    fn listen(&mut self, listener: Listener) -> usize {
        self.net.listen(&mut self.queue, listener)
    }

    fn adopt(&mut self, stream: Stream) -> ConnId {
        self.net.adopt(&mut self.queue, stream)
    }

    fn send(&mut self, conn: ConnId, buf: Vec<u8>) {
        self.net.send(conn, buf, Vec::new(), &mut self.ready);
    }

    fn send_with_fds(&mut self, conn: ConnId, buf: Vec<u8>, fds: Vec<OwnedFd>) {
        self.net.send(conn, buf, fds, &mut self.ready);
    }

    fn queued_bytes(&self, conn: ConnId) -> usize {
        self.net.queued_bytes(conn)
    }

    fn pause(&mut self, conn: ConnId) {
        self.net.pause(&mut self.queue, conn);
    }

    fn resume(&mut self, conn: ConnId) {
        self.net.resume(&mut self.queue, conn);
    }

    fn close(&mut self, conn: ConnId) {
        self.net.close(&mut self.queue, conn, &mut self.ready);
    }

    fn recycle(&mut self, data: Received) {
        self.net.recycle(data);
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let before = events.len();
        events.append(&mut self.ready);
        if self.waker.take_call() {
            events.push(Event::Woken);
        }
        self.net.send_queued(&mut self.queue, events);
        if wait == Wait::Poll && self.receive_now(events) {
            return Ok(());
        }
        let mut sleep = self.sleep_for(if events.len() > before { Wait::Poll } else { wait });
        if sleep != Sleep::No {
            self.arm_wake();
            if !self.waker.fall_asleep() {
                sleep = Sleep::No;
            }
        }
        let entered = self.queue.enter(sleep);
        if self.waker.take_call() {
            events.push(Event::Woken);
        }
        entered?;
        let mut completions = std::mem::take(&mut self.completions);
        self.queue.reap(&mut completions);
        for completion in completions.drain(..) {
            self.dispatch(completion, events);
        }
        self.completions = completions;
        events.append(&mut self.ready);
        Ok(())
    }

    fn waker(&self) -> RingWaker {
        self.waker.clone()
    }
}
