//! One connection from its handshake to its end: frames out, frames in.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use thermae_formats::wire::{
    ErrorReply, Frame, HELLO_MAX_FRAME_BYTES, HelloReply, HelloRequest, Kind, Limits, VERSION_MAX,
    VERSION_MIN, split_frame,
};

use crate::address::Address;
use crate::buffer::{AlignedBuf, FrameBuf, Pool};
use crate::config::Config;
use crate::error::Error;
use crate::slots::Slots;
use crate::socket::Socket;

/// Largest answer taken, in bytes.
const MAX_REPLY_BYTES: u32 = 256 << 20;
const LEAST_FREE_BYTES: usize = 16 << 10;
/// Requests that gather leave at the latest when there are so many bytes of them.
const GATHERED_BYTES_MAX: usize = 256 << 10;

/// What the server said of itself at the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Identity of the store.
    pub store_id: [u8; 16],
    /// Grows with each opening of the store.
    pub epoch: u64,
    /// Seed of the entity hash.
    pub hash_seed: u64,
    /// Partitions of the store.
    pub partitions: u16,
    /// Its limits.
    pub limits: Limits,
    /// Its clock at the handshake, microseconds UTC.
    pub server_time_us: i64,
    /// Name and version of the program.
    pub server_name: String,
}

/// Received bytes that are not frames yet.
pub(crate) struct Incoming {
    buffer: AlignedBuf,
    start: usize,
    end: usize,
}

/// A connection whose handshake is done.
pub(crate) struct Link {
    pub number: u64,
    pub server: ServerInfo,
    socket: Socket,
    dead: AtomicBool,
    incoming: Mutex<Incoming>,
    /// Scratch memory of the frame that is being sent; with `gathers`, all that have not left.
    outgoing: Mutex<Vec<u8>>,
    gathers: bool,
    plan_ids: Mutex<Vec<Option<u32>>>,
    pool: Arc<Pool>,
}

impl Link {
    pub fn connect(
        address: &Address,
        config: &Config,
        number: u64,
        pool: &Arc<Pool>,
    ) -> Result<Self, Error> {
        let failed = |why: String| Error::Connect { address: address.to_string(), why };
        let deadline = Instant::now() + config.connect_timeout;
        let socket = Socket::connect(address, config.connect_timeout)?;
        let mut hello = Vec::new();
        HelloRequest {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            max_frame_bytes: MAX_REPLY_BYTES,
            credentials: &config.credentials,
            client_name: &config.client_name,
        }
        .encode(&mut hello, 1)?;
        socket.send_all(&hello, deadline, || Ok(())).map_err(|e| failed(e.to_string()))?;
        let frame = receive_one(&socket, HELLO_MAX_FRAME_BYTES, deadline, pool)
            .map_err(|e| failed(e.to_string()))?;
        let server = server_info(&frame.frame())?;
        let incoming = Incoming { buffer: pool.take(0), start: 0, end: 0 };
        Ok(Self {
            number,
            server,
            socket,
            dead: AtomicBool::new(false),
            incoming: Mutex::new(incoming),
            outgoing: Mutex::new(Vec::new()),
            gathers: config.gather,
            plan_ids: Mutex::new(Vec::new()),
            pool: Arc::clone(pool),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Ends this connection and fails what it carried. Once is enough, more does no harm.
    pub fn lose(&self, slots: &Slots) {
        if !self.dead.swap(true, Ordering::AcqRel) {
            self.socket.shut_down();
        }
        slots.link_lost(self.number);
    }

    pub fn plan_id(&self, plan: usize) -> Option<u32> {
        let ids = self.plan_ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(plan).copied().flatten()
    }

    pub fn set_plan_id(&self, plan: usize, id: Option<u32>) {
        let mut ids = self.plan_ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() <= plan {
            ids.resize(plan + 1, None);
        }
        ids[plan] = id;
    }

    /// Encodes one frame into the connection's scratch memory and sends it.
    ///
    /// An error of `encode` leaves the connection as it was; any other loses it.
    pub fn send(
        &self,
        slots: &Slots,
        deadline: Instant,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting_bytes = outgoing.len();
        if let Err(error) = encode(&mut outgoing) {
            outgoing.truncate(waiting_bytes);
            return Err(error);
        }
        self.leave(slots, deadline, &mut outgoing)
    }

    /// Sends a frame that was encoded before.
    pub fn send_again(&self, slots: &Slots, deadline: Instant, frame: &[u8]) -> Result<(), Error> {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.gathers {
            return self.send_bytes(slots, deadline, frame);
        }
        outgoing.extend_from_slice(frame);
        self.leave(slots, deadline, &mut outgoing)
    }

    /// Sends what there is, unless it is to gather.
    fn leave(&self, slots: &Slots, deadline: Instant, outgoing: &mut Vec<u8>) -> Result<(), Error> {
        if self.gathers && !self.is_dead() && outgoing.len() < GATHERED_BYTES_MAX {
            return Ok(());
        }
        let sent = self.send_bytes(slots, deadline, outgoing);
        outgoing.clear();
        sent
    }

    /// Sends of what has gathered as much as the kernel takes. Whoever sends at the moment does it anyway.
    fn send_gathered(&self) -> io::Result<()> {
        let Ok(mut outgoing) = self.outgoing.try_lock() else { return Ok(()) };
        if !outgoing.is_empty() {
            let sent = self.socket.send_some(&outgoing)?;
            outgoing.drain(..sent);
        }
        Ok(())
    }

    fn send_bytes(&self, slots: &Slots, deadline: Instant, bytes: &[u8]) -> Result<(), Error> {
        let receive = || match self.try_lead() {
            Some(mut incoming) => {
                self.receive(&mut incoming, slots, false, &mut |_| ()).map(|_| ())
            }
            None => Ok(()),
        };
        if self.is_dead() || self.socket.send_all(bytes, deadline, receive).is_err() {
            // Part of a frame may be on its way: nothing after it could be understood.
            self.lose(slots);
            return Err(Error::Disconnected);
        }
        Ok(())
    }

    /// The right to receive, if nobody has it.
    pub fn try_lead(&self) -> Option<MutexGuard<'_, Incoming>> {
        match self.incoming.try_lock() {
            Ok(incoming) => Some(incoming),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to receive, once whoever has it lets go.
    pub fn lead(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives once and hands every whole frame to its request, whose number `arrived` is told. Waits 50 ms at most
    /// when `wait`. Whether anything came.
    ///
    /// Any error means that the connection is lost.
    pub fn receive(
        &self,
        incoming: &mut Incoming,
        slots: &Slots,
        wait: bool,
        arrived: &mut dyn FnMut(u64),
    ) -> io::Result<bool> {
        if self.gathers {
            self.send_gathered()?;
        }
        let free = incoming.make_room()?;
        let Some(len) = self.socket.receive(free, wait)? else { return Ok(false) };
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        incoming.end += len;
        self.deliver(incoming, slots, arrived)?;
        Ok(true)
    }

    fn deliver(
        &self,
        incoming: &mut Incoming,
        slots: &Slots,
        arrived: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        loop {
            let received = &incoming.buffer.bytes()[incoming.start..incoming.end];
            let split = split_frame(received, MAX_REPLY_BYTES).map_err(io::Error::other)?;
            let Some((frame, rest)) = split else { return Ok(()) };
            let id = frame.request_id;
            let head = (frame.bytes.len(), frame.kind_code, id);
            let answer = if incoming.start == 0 && rest.is_empty() {
                // The usual case of one answer at a time: its buffer is handed over as it is.
                incoming.end = 0;
                let buffer = std::mem::replace(&mut incoming.buffer, self.pool.take(0));
                FrameBuf::whole(buffer, head, &self.pool)
            } else {
                let copy = FrameBuf::copy(&frame, &self.pool);
                incoming.start += head.0;
                if incoming.start == incoming.end {
                    (incoming.start, incoming.end) = (0, 0);
                }
                copy
            };
            slots.complete(id, Ok(answer));
            arrived(id);
        }
    }
}

impl Incoming {
    /// Free bytes behind what has been received, enough for the frame that has begun.
    fn make_room(&mut self) -> io::Result<&mut [u8]> {
        let begun = &self.buffer.bytes()[self.start..self.end];
        let header = thermae_formats::wire::Header::parse(begun, MAX_REPLY_BYTES);
        let header = header.map_err(io::Error::other)?;
        let frame_bytes = header.map_or(0, |header| header.frame_bytes as usize);
        let begun_bytes = begun.len();
        let needed = frame_bytes.max(begun_bytes + LEAST_FREE_BYTES);
        if self.start > 0 && self.start + needed > self.buffer.bytes().len() {
            let moved = self.start..self.end;
            self.buffer.bytes_mut().copy_within(moved, 0);
            (self.start, self.end) = (0, begun_bytes);
        }
        self.buffer.grow(self.start + needed);
        Ok(&mut self.buffer.bytes_mut()[self.end..])
    }
}

fn server_info(frame: &Frame<'_>) -> Result<ServerInfo, Error> {
    if frame.kind_code == Kind::Error as u8 {
        return Err(Error::from_reply(&ErrorReply::decode(frame)?));
    }
    let reply = HelloReply::decode(frame)?;
    Ok(ServerInfo {
        store_id: reply.store_id,
        epoch: reply.epoch,
        hash_seed: reply.hash_seed,
        partitions: reply.partitions,
        limits: reply.limits,
        server_time_us: reply.server_time_us,
        server_name: reply.server_name.to_owned(),
    })
}

/// Receives exactly one frame, for the handshake.
fn receive_one(
    socket: &Socket,
    max_frame_bytes: u32,
    deadline: Instant,
    pool: &Arc<Pool>,
) -> io::Result<FrameBuf> {
    let mut buffer = pool.take(max_frame_bytes as usize);
    let mut end = 0;
    loop {
        match socket.receive(&mut buffer.bytes_mut()[end..], true)? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(len) => end += len,
            None if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            None => {}
        }
        let received = &buffer.bytes()[..end];
        if let Some((frame, rest)) =
            split_frame(received, max_frame_bytes).map_err(io::Error::other)?
        {
            if !rest.is_empty() {
                return Err(io::Error::other("the server spoke before it was asked"));
            }
            let head = (frame.bytes.len(), frame.kind_code, frame.request_id);
            return Ok(FrameBuf::whole(buffer, head, pool));
        }
    }
}

/// How long to wait before the next attempt to connect, after so many that failed in a row.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(10_u64 << failures.min(7))
}
