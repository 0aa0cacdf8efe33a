//! Sockets on the ring: accept, receive, send, pause, close.
//!
//! A connection's descriptor and buffers are kept until the kernel has finished every operation
//! on it; only then is `Closed` reported and the slot free for another peer.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{opcode, types};
use rustix::buffer::spare_capacity;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, recv};

use crate::clock::monotonic_ns;
use crate::uring_bufs::{GROUP, RecvBufs};
use crate::uring_queue::{ACCEPT, CANCEL, Completion, Queue, RECV, SEND};
use crate::uring_send::{MAX_FDS, Output};
use crate::{ConnId, Event, Listener, Received, Stream};

/// After a failed accept (no descriptors left, usually) the next try waits this long.
const ACCEPT_RETRY_NS: u64 = 10_000_000;

#[derive(Debug)]
struct Conn {
    fd: OwnedFd,
    local: bool,
    output: Output,
    /// Listed in `Net::unsent`.
    listed: bool,
    /// A receive is in the kernel, or queued for it.
    receiving: bool,
    /// A cancellation of that receive is queued.
    cancelling: bool,
    paused: bool,
    closing: bool,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

#[derive(Debug)]
struct Acceptor {
    socket: OwnedFd,
    local: bool,
    armed: bool,
}

/// All sockets of one ring.
#[derive(Debug)]
pub(crate) struct Net {
    slots: Vec<Slot>,
    free: Vec<u32>,
    acceptors: Vec<Acceptor>,
    accept_retry_ns: Option<u64>,
    /// Connections with output that was not tried yet.
    unsent: Vec<u32>,
    /// The connection that spoke last.
    last: u32,
    bufs: RecvBufs,
}

impl Net {
    pub(crate) fn new(queue: &Queue) -> io::Result<Self> {
        Ok(Self {
            slots: Vec::new(),
            free: Vec::new(),
            acceptors: Vec::new(),
            accept_retry_ns: None,
            unsent: Vec::new(),
            last: u32::MAX,
            bufs: RecvBufs::register(queue)?,
        })
    }

    pub(crate) fn listen(&mut self, queue: &mut Queue, listener: Listener) -> usize {
        let (socket, local) = match listener {
            Listener::Tcp(tcp) => {
                // Accepted sockets inherit it. Blocking mode, because io_uring answers EAGAIN
                // instead of waiting on a socket in non-blocking mode. Neither can fail on a socket.
                let _ = set_tcp_nodelay(&tcp, true);
                let _ = tcp.set_nonblocking(false);
                (OwnedFd::from(tcp), false)
            }
            Listener::Unix(unix) => {
                let _ = unix.set_nonblocking(false);
                (OwnedFd::from(unix), true)
            }
        };
        self.acceptors.push(Acceptor { socket, local, armed: false });
        self.arm_acceptors(queue);
        self.acceptors.len() - 1
    }

    fn arm_acceptors(&mut self, queue: &mut Queue) {
        for (i, acceptor) in self.acceptors.iter_mut().enumerate().filter(|(_, a)| !a.armed) {
            acceptor.armed = true;
            let fd = types::Fd(acceptor.socket.as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
            // SAFETY: the entry points to no memory; the listener stays open as long as `Net`.
            unsafe { queue.push(entry.user_data(ACCEPT | i as u64)) };
        }
    }

    /// Tries again to accept, when it is time; returns when the next try is due.
    pub(crate) fn retry_accept(&mut self, queue: &mut Queue) -> Option<u64> {
        let due_ns = self.accept_retry_ns?;
        if monotonic_ns() < due_ns {
            return Some(due_ns);
        }
        self.accept_retry_ns = None;
        self.arm_acceptors(queue);
        None
    }

    pub(crate) fn accepted(
        &mut self,
        queue: &mut Queue,
        listener: usize,
        completion: Completion,
        events: &mut Vec<Event>,
    ) {
        let Some(acceptor) = self.acceptors.get_mut(listener) else { return };
        let local = acceptor.local;
        if !completion.more() {
            acceptor.armed = false;
            let passing = completion.result >= 0
                || matches!(-completion.result, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN);
            let delay_ns = if passing { 0 } else { ACCEPT_RETRY_NS };
            self.accept_retry_ns = Some(monotonic_ns() + delay_ns);
        }
        if let Some(fd) = owned(completion.result) {
            let conn = self.insert(queue, fd, local);
            events.push(Event::Accepted { conn, listener, local });
        }
    }

    pub(crate) fn adopt(&mut self, queue: &mut Queue, stream: Stream) -> ConnId {
        let (fd, local) = match stream {
            Stream::Tcp(tcp) => {
                let _ = tcp.set_nodelay(true);
                let _ = tcp.set_nonblocking(false);
                (OwnedFd::from(tcp), false)
            }
            Stream::Unix(unix) => {
                let _ = unix.set_nonblocking(false);
                (OwnedFd::from(unix), true)
            }
        };
        self.insert(queue, fd, local)
    }

    fn insert(&mut self, queue: &mut Queue, fd: OwnedFd, local: bool) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let output = Output::default();
        let conn = Conn {
            fd,
            local,
            output,
            listed: false,
            receiving: false,
            cancelling: false,
            paused: false,
            closing: false,
        };
        let place = &mut self.slots[slot as usize];
        let conn = place.conn.insert(conn);
        receive(queue, slot, conn);
        ConnId::new(slot, place.generation)
    }

    fn get(&mut self, conn: ConnId) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(conn.slot() as usize)?;
        if slot.generation == conn.generation() { slot.conn.as_mut() } else { None }
    }

    pub(crate) fn received(
        &mut self,
        queue: &mut Queue,
        slot: u32,
        completion: Completion,
        events: &mut Vec<Event>,
    ) {
        let result = completion.result;
        let buffer = io_uring::cqueue::buffer_select(completion.flags);
        let data = buffer.map(|id| self.bufs.take(id, result.max(0) as usize));
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let Some(conn) = place.conn.as_mut() else { return };
        if !completion.more() {
            conn.receiving = false;
            conn.cancelling = false;
        }
        match (result, data) {
            (1.., Some(data)) if !conn.closing => {
                self.last = slot;
                events.push(Event::Received { conn: ConnId::new(slot, place.generation), data });
            }
            (_, Some(data)) => self.bufs.recycle(data),
            _ => {}
        }
        let goes_on = result > 0
            || matches!(-result, libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN);
        if !goes_on {
            start_close(queue, conn);
        } else if !conn.receiving && !conn.paused && !conn.closing {
            receive(queue, slot, conn);
        }
        self.settle(slot, events);
    }

    /// Asks the connection that spoke last, by a plain receive: while a thread spins that is quicker
    /// than the ring, which polls, defers and only then receives. Its ring receive stays armed, finds
    /// nothing, and is the one that reports an end or an error.
    ///
    /// Only between enters: bytes that an unseen completion holds come before these.
    pub(crate) fn receive_now(&mut self, events: &mut Vec<Event>) {
        let Some(place) = self.slots.get(self.last as usize) else { return };
        let Some(conn) = place.conn.as_ref() else { return };
        if !conn.receiving || conn.cancelling || conn.paused || conn.closing {
            return;
        }
        let mut buf = self.bufs.spare();
        match recv(&conn.fd, spare_capacity(&mut buf), RecvFlags::DONTWAIT) {
            Ok((1.., _)) => {
                let conn = ConnId::new(self.last, place.generation);
                events.push(Event::Received { conn, data: Received::new(buf) });
            }
            _ => self.bufs.recycle(Received::new(buf)),
        }
    }

    pub(crate) fn recycle(&mut self, data: Received) {
        self.bufs.recycle(data);
    }

    pub(crate) fn send(
        &mut self,
        id: ConnId,
        buf: Vec<u8>,
        fds: Vec<OwnedFd>,
        events: &mut Vec<Event>,
    ) {
        let Some(conn) = self.get(id) else { return };
        if !fds.is_empty() && (!conn.local || fds.len() > MAX_FDS || buf.is_empty()) {
            let result = Err(io::ErrorKind::InvalidInput.into());
            events.push(Event::Sent { conn: id, buf, result });
            return;
        }
        conn.output.push(buf, fds);
        if !std::mem::replace(&mut conn.listed, true) {
            self.unsent.push(id.slot());
        }
    }

    /// Sends what was queued since the last turn: of each connection all its buffers together, at
    /// once as far as the socket takes them, the rest by the ring.
    pub(crate) fn send_queued(&mut self, queue: &mut Queue, events: &mut Vec<Event>) {
        let mut unsent = std::mem::take(&mut self.unsent);
        for slot in unsent.drain(..) {
            let Some(place) = self.slots.get_mut(slot as usize) else { continue };
            let Some(conn) = place.conn.as_mut() else { continue };
            conn.listed = false;
            flush(queue, ConnId::new(slot, place.generation), conn, events);
            self.settle(slot, events);
        }
        self.unsent = unsent;
    }

    pub(crate) fn sent(
        &mut self,
        queue: &mut Queue,
        slot: u32,
        completion: Completion,
        events: &mut Vec<Event>,
    ) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let Some(conn) = place.conn.as_mut() else { return };
        let id = ConnId::new(slot, place.generation);
        match conn.output.complete(id, completion.result, events) {
            Ok(()) => flush(queue, id, conn, events),
            Err(_) => start_close(queue, conn),
        }
        self.settle(slot, events);
    }

    pub(crate) fn queued_bytes(&self, conn: ConnId) -> usize {
        let slot = self.slots.get(conn.slot() as usize);
        let slot = slot.filter(|slot| slot.generation == conn.generation());
        slot.and_then(|slot| slot.conn.as_ref()).map_or(0, |conn| conn.output.queued_bytes())
    }

    pub(crate) fn pause(&mut self, queue: &mut Queue, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        conn.paused = true;
        if conn.receiving && !conn.cancelling && !conn.closing {
            conn.cancelling = true;
            let entry = opcode::AsyncCancel::new(RECV | u64::from(id.slot())).build();
            // SAFETY: a cancellation points to no memory.
            unsafe { queue.push(entry.user_data(CANCEL)) };
        }
    }

    pub(crate) fn resume(&mut self, queue: &mut Queue, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        conn.paused = false;
        // A receive that is being cancelled is armed again when it has ended.
        if !conn.receiving && !conn.closing {
            receive(queue, id.slot(), conn);
        }
    }

    pub(crate) fn close(&mut self, queue: &mut Queue, id: ConnId, events: &mut Vec<Event>) {
        let Some(conn) = self.get(id) else { return };
        if !conn.closing {
            conn.output.send_last(conn.fd.as_raw_fd(), id, events);
        }
        start_close(queue, conn);
        self.settle(id.slot(), events);
    }

    /// Ends a closing connection once the kernel holds nothing of it.
    fn settle(&mut self, slot: u32, events: &mut Vec<Event>) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let ended = |conn: &mut Conn| conn.closing && !conn.receiving && !conn.output.in_flight();
        let Some(mut conn) = place.conn.take_if(ended) else { return };
        let id = ConnId::new(slot, place.generation);
        conn.output.fail_all(id, events);
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        events.push(Event::Closed { conn: id });
        if self.accept_retry_ns.is_some() {
            // A descriptor is free again.
            self.accept_retry_ns = Some(0);
        }
    }
}

/// The descriptor of a successful accept.
pub(crate) fn owned(result: i32) -> Option<OwnedFd> {
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

fn receive(queue: &mut Queue, slot: u32, conn: &mut Conn) {
    conn.receiving = true;
    let entry = opcode::RecvMulti::new(types::Fd(conn.fd.as_raw_fd()), GROUP).build();
    // SAFETY: the kernel receives only into buffers of the registered group, which `RecvBufs`
    // keeps alive; the descriptor stays open until this operation has ended (`settle`).
    unsafe { queue.push(entry.user_data(RECV | u64::from(slot))) };
}

fn flush(queue: &mut Queue, id: ConnId, conn: &mut Conn, events: &mut Vec<Event>) {
    if conn.closing {
        return;
    }
    let fd = conn.fd.as_raw_fd();
    match conn.output.send_now(fd, id, events) {
        Ok(false) => {}
        Ok(true) => {
            if let Some(entry) = conn.output.next(fd) {
                // SAFETY: the entry points into heap memory of `conn.output`, which stays unmoved
                // and untouched until `sent` sees the completion: `settle` drops no output in
                // flight.
                unsafe { queue.push(entry.user_data(SEND | u64::from(id.slot()))) };
            }
        }
        Err(_) => start_close(queue, conn),
    }
}

fn start_close(queue: &mut Queue, conn: &mut Conn) {
    if conn.closing {
        return;
    }
    conn.closing = true;
    if conn.receiving || conn.output.in_flight() {
        let everything = types::CancelBuilder::fd(types::Fd(conn.fd.as_raw_fd())).all();
        let entry = opcode::AsyncCancel2::new(everything).build();
        // SAFETY: a cancellation points to no memory. Submissions keep their order, so it reaches
        // the kernel after the operations that it cancels and before any on a later descriptor of
        // the same number.
        unsafe { queue.push(entry.user_data(CANCEL)) };
    }
}
