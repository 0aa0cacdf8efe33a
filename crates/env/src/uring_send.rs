//! What waits to be sent on one connection, and the memory of the send in flight.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

use crate::{ConnId, Event};

/// Buffers of one vectored send.
const VECTORS: usize = 64;
/// The kernel's limit of descriptors in one message.
pub(crate) const MAX_FDS: usize = 253;
/// No signal at a closed peer; the kernel itself goes on after a partial send.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

#[derive(Debug)]
struct Outgoing {
    buf: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// Memory that a vectored send points to: boxed, so that it never moves.
struct Message {
    header: libc::msghdr,
    vectors: [libc::iovec; VECTORS],
    control: Vec<u64>,
}

/// The ordered output of one connection.
#[derive(Default)]
pub(crate) struct Output {
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    in_flight: bool,
    message: Option<Box<Message>>,
}

impl Output {
    pub(crate) fn push(&mut self, buf: Vec<u8>, fds: Vec<OwnedFd>) {
        self.queued_bytes += buf.len();
        self.queue.push_back(Outgoing { buf, sent: 0, fds });
    }

    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(crate) const fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// The next submission, if something waits and nothing is in flight.
    ///
    /// The entry points into `self` (heap memory that does not move): keep `self`, and call
    /// nothing but `push` and the getters, until [`Output::complete`].
    pub(crate) fn next(&mut self, fd: RawFd) -> Option<Entry> {
        if self.in_flight {
            return None;
        }
        let first = self.queue.front()?;
        self.in_flight = true;
        let fd = types::Fd(fd);
        if self.queue.len() == 1 && first.fds.is_empty() {
            let rest = &first.buf[first.sent..];
            let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            return Some(opcode::Send::new(fd, rest.as_ptr(), len).flags(FLAGS).build());
        }
        let message = self.message.get_or_insert_with(Message::empty);
        let mut count = 0;
        for (i, out) in self.queue.iter().take(VECTORS).enumerate() {
            // Descriptors ride on the first byte of their own buffer.
            if i > 0 && !out.fds.is_empty() {
                break;
            }
            let rest = &out.buf[out.sent..];
            message.vectors[i] =
                libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
            count = i + 1;
        }
        message.header.msg_iov = message.vectors.as_mut_ptr();
        message.header.msg_iovlen = count;
        message.attach(&first.fds);
        Some(opcode::SendMsg::new(fd, &raw const message.header).flags(FLAGS as u32).build())
    }

    /// Accounts for a finished send and reports the buffers that are wholly sent; an error means
    /// that the connection is lost.
    pub(crate) fn complete(
        &mut self,
        conn: ConnId,
        result: i32,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.in_flight = false;
        if result < 0 {
            return match -result {
                libc::EINTR | libc::EAGAIN => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            };
        }
        let mut sent = result as usize;
        self.queued_bytes = self.queued_bytes.saturating_sub(sent);
        if let Some(first) = self.queue.front_mut().filter(|_| sent > 0) {
            // They went with the first byte.
            first.fds.clear();
        }
        while let Some(first) = self.queue.front_mut() {
            let rest = first.buf.len() - first.sent;
            if sent < rest {
                first.sent += sent;
                break;
            }
            sent -= rest;
            if let Some(done) = self.queue.pop_front() {
                events.push(Event::Sent { conn, buf: done.buf, result: Ok(()) });
            }
            if sent == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Fails everything that still waits. Not while a send is in flight.
    pub(crate) fn fail_all(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        for out in self.queue.drain(..) {
            let result = Err(io::ErrorKind::ConnectionAborted.into());
            events.push(Event::Sent { conn, buf: out.buf, result });
        }
        self.queued_bytes = 0;
    }
}

impl Message {
    fn empty() -> Box<Self> {
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: msghdr is a C struct of integers and pointers, for which zero is a valid value.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { header, vectors: [vector; VECTORS], control: Vec::new() })
    }

    /// Writes the control message that carries `fds`, or none.
    fn attach(&mut self, fds: &[OwnedFd]) {
        self.header.msg_control = std::ptr::null_mut();
        self.header.msg_controllen = 0;
        if fds.is_empty() {
            return;
        }
        let bytes = size_of_val(fds) as u32;
        // SAFETY: pure arithmetic on a length of at most 4 * MAX_FDS.
        let (space, len) = unsafe { (libc::CMSG_SPACE(bytes), libc::CMSG_LEN(bytes)) };
        self.control.clear();
        self.control.resize((space as usize).div_ceil(size_of::<u64>()), 0);
        self.header.msg_control = self.control.as_mut_ptr().cast();
        self.header.msg_controllen = space as usize;
        // SAFETY: msg_control points to `space` zeroed bytes aligned for cmsghdr, so the first
        // header and its data of `bytes` bytes lie inside; CMSG_DATA may be unaligned for i32.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const self.header);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = len as usize;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (i, fd) in fds.iter().enumerate() {
                data.add(i).write_unaligned(fd.as_raw_fd());
            }
        }
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({} bytes, {} buffers)", self.queued_bytes, self.queue.len())
    }
}
