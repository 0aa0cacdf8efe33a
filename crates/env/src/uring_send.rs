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
/// On the ring: no signal at a closed peer; the kernel itself goes on after a partial send.
const RING_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
/// At once: what fits into the socket's buffer.
const NOW_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
/// Most bytes of one send: the system copies them before anything else has its turn.
const PIECE_BYTES: usize = 64 << 10;

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

/// One send, laid out; the pointers are into the output that prepared it.
enum Prepared {
    Nothing,
    Plain(*const u8, usize),
    Message(*const libc::msghdr),
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

    /// Sends a piece at once, as far as the socket's buffer takes it; true when a rest waits, for the peer or for
    /// its turn ([`Output::next`]). An error means that the connection is lost.
    pub(crate) fn send_now(
        &mut self,
        fd: RawFd,
        conn: ConnId,
        events: &mut Vec<Event>,
    ) -> io::Result<bool> {
        if self.in_flight {
            return Ok(false);
        }
        let sent = match self.prepare() {
            Prepared::Nothing => return Ok(false),
            // SAFETY: the bytes lie in the first buffer, which is not touched meanwhile.
            Prepared::Plain(start, len) => unsafe { libc::send(fd, start.cast(), len, NOW_FLAGS) },
            // SAFETY: `prepare` made the header point into `self`, which does not change during
            // the call.
            Prepared::Message(header) => unsafe { libc::sendmsg(fd, header, NOW_FLAGS) },
        };
        let result = match i32::try_from(sent) {
            Ok(sent) if sent >= 0 => sent,
            _ => -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        };
        self.complete(conn, result, events)?;
        Ok(!self.queue.is_empty())
    }

    /// Sends all that fits into the socket's buffer: the last words of a connection.
    pub(crate) fn send_last(&mut self, fd: RawFd, conn: ConnId, events: &mut Vec<Event>) {
        let mut before = usize::MAX;
        while self.queued_bytes < before {
            before = self.queued_bytes;
            if !matches!(self.send_now(fd, conn, events), Ok(true)) {
                return;
            }
        }
    }

    /// The next submission, if something waits and nothing is in flight.
    ///
    /// The entry points into `self` (heap memory that does not move): keep `self`, and call
    /// nothing but `push` and the getters, until [`Output::complete`].
    pub(crate) fn next(&mut self, fd: RawFd) -> Option<Entry> {
        if self.in_flight {
            return None;
        }
        let fd = types::Fd(fd);
        let entry = match self.prepare() {
            Prepared::Nothing => return None,
            Prepared::Plain(start, len) => {
                opcode::Send::new(fd, start, len as u32).flags(RING_FLAGS).build()
            }
            Prepared::Message(header) => {
                opcode::SendMsg::new(fd, header).flags(RING_FLAGS as u32).build()
            }
        };
        self.in_flight = true;
        Some(entry)
    }

    /// Lays out what one send may carry.
    fn prepare(&mut self) -> Prepared {
        let Some(first) = self.queue.front() else { return Prepared::Nothing };
        if self.queue.len() == 1 && first.fds.is_empty() {
            let rest = &first.buf[first.sent..];
            return Prepared::Plain(rest.as_ptr(), rest.len().min(PIECE_BYTES));
        }
        let message = self.message.get_or_insert_with(Message::empty);
        let (mut count, mut room) = (0, PIECE_BYTES);
        for (i, out) in self.queue.iter().take(VECTORS).enumerate() {
            // Descriptors ride on the first byte of their own buffer.
            if room == 0 || (i > 0 && !out.fds.is_empty()) {
                break;
            }
            let rest = &out.buf[out.sent..];
            let piece = rest.len().min(room);
            message.vectors[i] =
                libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: piece };
            room -= piece;
            count = i + 1;
        }
        message.header.msg_iov = message.vectors.as_mut_ptr();
        message.header.msg_iovlen = count;
        message.attach(&first.fds);
        Prepared::Message(&raw const message.header)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId::new(1, 2);

    /// Completes the send in flight with `result`; the lengths of the buffers that were done.
    fn complete(output: &mut Output, result: i32) -> Vec<usize> {
        let mut events = Vec::new();
        output.complete(CONN, result, &mut events).unwrap();
        let done = |event: Event| match event {
            Event::Sent { conn: CONN, buf, result: Ok(()) } => buf.len(),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(done).collect()
    }

    /// What the next vectored send points to.
    fn vectors(output: &Output) -> Vec<Vec<u8>> {
        let message = output.message.as_ref().unwrap();
        let vectors = &message.vectors[..message.header.msg_iovlen];
        let bytes = |v: &libc::iovec| {
            // SAFETY: the vectors point into the buffers that `output` holds.
            unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len) }.to_vec()
        };
        vectors.iter().map(bytes).collect()
    }

    #[test]
    fn a_partial_send_goes_on_inside_the_right_buffer() {
        let mut output = Output::default();
        for (byte, len) in [(1, 10), (2, 5), (3, 0), (4, 7)] {
            output.push(vec![byte; len], Vec::new());
        }
        assert!(output.next(0).is_some());
        assert!(output.next(0).is_none(), "one in flight at a time");
        assert_eq!(vectors(&output), [vec![1; 10], vec![2; 5], vec![], vec![4; 7]]);
        assert_eq!(complete(&mut output, 12), [10]);
        assert_eq!(output.queued_bytes(), 10);
        output.next(0).unwrap();
        assert_eq!(vectors(&output), [vec![2; 3], vec![], vec![4; 7]]);
        assert_eq!(complete(&mut output, -libc::EINTR), [0; 0]);
        output.next(0).unwrap();
        assert_eq!(complete(&mut output, 4), [5, 0]);
        output.next(0).unwrap();
        assert_eq!(complete(&mut output, 6), [7]);
        assert!(output.next(0).is_none());
        assert_eq!(output.queued_bytes(), 0);
    }

    #[test]
    fn more_buffers_than_vectors_leave_in_several_sends() {
        let mut output = Output::default();
        (0..100).for_each(|_| output.push(vec![1; 2], Vec::new()));
        output.next(0).unwrap();
        assert_eq!(vectors(&output).len(), VECTORS);
        assert_eq!(complete(&mut output, 2 * VECTORS as i32).len(), VECTORS);
        output.next(0).unwrap();
        assert_eq!(vectors(&output).len(), 100 - VECTORS);
    }

    #[test]
    fn a_long_output_leaves_piece_by_piece() {
        let mut output = Output::default();
        let long = [PIECE_BYTES - 10, 30, PIECE_BYTES + 1];
        long.iter().for_each(|len| output.push(vec![1; *len], Vec::new()));
        output.next(0).unwrap();
        assert_eq!(vectors(&output).iter().map(Vec::len).collect::<Vec<_>>(), [long[0], 10]);
        assert_eq!(complete(&mut output, PIECE_BYTES as i32), [long[0]]);
        output.next(0).unwrap();
        assert_eq!(
            vectors(&output).iter().map(Vec::len).collect::<Vec<_>>(),
            [20, PIECE_BYTES - 20]
        );
        assert_eq!(complete(&mut output, PIECE_BYTES as i32), [30]);
        assert!(matches!(output.prepare(), Prepared::Plain(_, 21)));
    }

    #[test]
    fn what_fits_into_the_socket_goes_out_before_it_is_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let (mut output, mut events) = (Output::default(), Vec::new());
        let all = 40 << 20;
        (0..40).for_each(|_| output.push(vec![1; 1 << 20], Vec::new()));
        assert!(output.send_now(ours.as_raw_fd(), CONN, &mut events).unwrap());
        let first = all - output.queued_bytes();
        assert!(first > 0 && first <= PIECE_BYTES, "{first}");
        output.send_last(ours.as_raw_fd(), CONN, &mut events);
        let sent = all - output.queued_bytes();
        assert!(sent > 2 * PIECE_BYTES && sent < all, "{sent}");
        drop(ours);
        let mut came = Vec::new();
        std::io::Read::read_to_end(&mut theirs, &mut came).unwrap();
        assert_eq!(came.len(), sent);
    }

    #[test]
    fn descriptors_ride_on_their_own_first_byte_once() {
        let mut output = Output::default();
        let fd = || OwnedFd::from(tempfile::tempfile().unwrap());
        output.push(vec![1; 4], Vec::new());
        output.push(vec![2; 4], vec![fd(), fd()]);
        output.push(vec![3; 4], vec![fd()]);
        output.next(0).unwrap();
        assert_eq!(vectors(&output), [vec![1; 4]]);
        assert_eq!(output.message.as_ref().unwrap().header.msg_controllen, 0);
        complete(&mut output, 4);
        output.next(0).unwrap();
        assert_eq!(vectors(&output), [vec![2; 4]]);
        assert_ne!(output.message.as_ref().unwrap().header.msg_controllen, 0);
        complete(&mut output, 1);
        output.next(0).unwrap();
        assert_eq!(vectors(&output), [vec![2; 3]]);
        assert_eq!(output.message.as_ref().unwrap().header.msg_controllen, 0, "sent already");
        complete(&mut output, 3);
        output.next(0).unwrap();
        assert!(output.complete(CONN, -libc::EPIPE, &mut Vec::new()).is_err());
        let mut events = Vec::new();
        output.fail_all(CONN, &mut events);
        assert!(matches!(&events[..], [Event::Sent { result: Err(_), .. }]));
    }
}
