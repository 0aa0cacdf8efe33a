//! A server that does nothing: it answers every read with the same rows and every write with success. What the
//! client reaches against it is what the client can do; a result near that is the client's, not the server's.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_setaffinity};
use thermae_client::Address;
use thermae_formats::ValueType;
use thermae_formats::wire::{
    Ack, ColumnShape, DEFAULT_MAX_FRAME_BYTES, ErrorCode, ErrorReply, Frame, HelloReply,
    HelloRequest, Kind, Limits, PlanColumn, PlanKey, PlanReply, PlanView, PrepareRequest,
    ReadFlags, ReadRequest, ReplyBuilder, RowOutcome, RowStatus, Token, ViewShape, WireError,
    WriteRequest, begin_frame, encode_write_reply, finish_frame, split_frame,
};

use crate::clock::{Clock, RealClock};
use crate::error::Error;
use crate::workload::{View, Workload};

/// Room for what arrives in one turn, in bytes.
const ROOM_BYTES: usize = 1 << 16;

/// Times in which a server does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalls {
    /// From the begin of one to the begin of the next, nanoseconds.
    pub every_ns: u64,
    /// How long each takes, nanoseconds.
    pub for_ns: u64,
}

impl Stalls {
    /// Whether a moment lies in one.
    pub fn is_in_one(&self, at_ns: u64) -> bool {
        at_ns % self.every_ns.max(1) < self.for_ns
    }
}

/// A running null server. It ends with this.
pub struct NullServer {
    address: Address,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NullServer {
    /// Starts one on loopback that has a workload's views. With `stalls` it does nothing in the first part of
    /// every period, as a server does that collects garbage or waits for a disk.
    ///
    /// # Errors
    /// No port.
    pub fn start(workload: &Workload, stalls: Option<Stalls>) -> Result<Self, Error> {
        let listen = || -> std::io::Result<(TcpListener, u16)> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (listener, port) = listen().map_err(Error::system("the null server's port"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let views = Arc::new(workload.views.clone());
        let clock = RealClock::start();
        let thread = std::thread::spawn(move || {
            run_anywhere();
            let mut peers: Vec<Peer> = Vec::new();
            while !seen.load(Ordering::Acquire) {
                if stalls.is_some_and(|stalls| stalls.is_in_one(clock.now_ns())) {
                    std::thread::yield_now();
                    continue;
                }
                if let Ok((stream, _)) = listener.accept() {
                    // One that cannot be set up is one that went already.
                    let set = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
                    peers.extend(set.is_ok().then(|| Peer::new(stream, Arc::clone(&views))));
                }
                let before = peers.len();
                let mut any = false;
                // A peer that goes, or sends what is no protocol, is let go.
                peers.retain_mut(|peer| peer.turn().map(|did| any |= did).is_ok());
                if !any && peers.len() == before {
                    std::thread::yield_now();
                }
            }
        });
        let address = Address::Tcp(format!("127.0.0.1:{port}"));
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The client may be bound to a core, and what stands for a server must not share that with it.
fn run_anywhere() {
    let mut cores = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| cores.set(core));
    // Where that is not allowed, the client looks slower than it is: results err on the careful side.
    let _ = sched_setaffinity(None, &cores);
}

/// One connection.
struct Peer {
    stream: TcpStream,
    views: Arc<Vec<View>>,
    received: Vec<u8>,
    start: usize,
    /// Of each plan, of each view: how columns are laid out, and the bytes of their values.
    plans: Vec<Vec<(Vec<ColumnShape>, Vec<usize>)>>,
    /// Payloads of answers, by plan, flags and rows of each view.
    answers: HashMap<(u32, bool, Vec<u32>), Vec<u8>>,
    out: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream, views: Arc<Vec<View>>) -> Self {
        let (received, out, plans) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, views, received, start: 0, plans, answers: HashMap::new(), out }
    }

    /// Answers what has arrived; whether anything had.
    fn turn(&mut self) -> std::io::Result<bool> {
        let held = self.received.len();
        self.received.resize(held + ROOM_BYTES, 0);
        let read = self.stream.read(&mut self.received[held..]);
        self.received.truncate(held + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                self.answer_all().map_err(std::io::Error::other)?;
                self.flush()?;
                Ok(true)
            }
            Err(error) if is_again(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(len) => sent += len,
                Err(error) if is_again(&error) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        Ok(())
    }

    fn answer_all(&mut self) -> Result<(), WireError> {
        let received = std::mem::take(&mut self.received);
        while let Some((frame, _)) = split_frame(&received[self.start..], DEFAULT_MAX_FRAME_BYTES)?
        {
            self.start += frame.bytes.len();
            self.answer(&frame)?;
        }
        self.received = received;
        self.received.drain(..self.start);
        self.start = 0;
        Ok(())
    }

    fn answer(&mut self, frame: &Frame<'_>) -> Result<(), WireError> {
        let id = frame.request_id;
        match frame.kind()? {
            Kind::Hello => {
                HelloRequest::decode(frame)?;
                let reply = HelloReply {
                    version: 1,
                    partitions: 64,
                    limits: Limits::default(),
                    store_id: [0; 16],
                    hash_seed: 0,
                    epoch: 0,
                    server_time_us: 0,
                    server_name: "null",
                };
                reply.encode(&mut self.out, id)
            }
            Kind::Prepare => self.prepare(frame),
            Kind::Read => self.read(frame),
            Kind::Put | Kind::PutPartial | Kind::Delete => {
                let write = WriteRequest::decode(frame, &Limits::default())?;
                let token = Token { partition: 0, sequence: 1 };
                let ok = RowOutcome::Ok { token, duplicate: false };
                let outcomes = vec![ok; write.row_count()];
                let max = DEFAULT_MAX_FRAME_BYTES;
                encode_write_reply(&mut self.out, id, Ack::Durable, &outcomes, "", max)
            }
            _ => {
                let text = "the null server answers reads and writes alone";
                ErrorReply::encode(&mut self.out, id, ErrorCode::Unsupported, 0, text);
                Ok(())
            }
        }
    }

    fn prepare(&mut self, frame: &Frame<'_>) -> Result<(), WireError> {
        let request = PrepareRequest::decode(frame)?;
        let (mut views, mut shapes) = (Vec::new(), Vec::new());
        for wanted in &request.views {
            let found = self.views.iter().position(|view| view.name == wanted.view);
            let Some((view, at)) = found.map(|at| (&self.views[at], at)) else {
                let (id, text) = (frame.request_id, "the null server has no such view");
                ErrorReply::encode(&mut self.out, id, ErrorCode::UnknownView, 0, text);
                return Ok(());
            };
            let all = view.columns();
            // Features are named by their position, and asked for from the first one on.
            let count = if wanted.features.is_empty() { all.len() } else { wanted.features.len() };
            let asked = || all.iter().take(count);
            let shape = asked().map(|(value_type, _)| ColumnShape::of(value_type)).collect();
            shapes.push((shape, asked().map(|(_, bytes)| *bytes).collect()));
            let column = |(at, (value_type, _)): (usize, &(ValueType, usize))| PlanColumn {
                name: format!("f{at}"),
                value_type: value_type.clone(),
            };
            views.push(PlanView {
                view_id: at as u32,
                schema_id: 1,
                version: 1,
                ttl_us: 0,
                join_keys: vec![PlanKey { name: "id".to_owned(), key_type: view.key }],
                columns: asked().enumerate().map(column).collect(),
            });
        }
        self.plans.push(shapes);
        let reply = PlanReply { plan_id: self.plans.len() as u32 - 1, views };
        reply.encode(&mut self.out, frame.request_id, DEFAULT_MAX_FRAME_BYTES)
    }

    fn read(&mut self, frame: &Frame<'_>) -> Result<(), WireError> {
        let request = ReadRequest::decode(frame, &Limits::default())?;
        let (plan_id, flags) = (request.head.plan_id, request.head.flags);
        let rows: Vec<u32> = request.views().map(|keys| keys.count).collect();
        let key = (plan_id, flags.matrix, rows);
        if !self.answers.contains_key(&key) {
            let made = self.make(plan_id, flags, &key.2)?;
            self.answers.insert(key.clone(), made);
        }
        let Some(payload) = self.answers.get(&key) else { return Ok(()) };
        let start = begin_frame(&mut self.out, Kind::Columns, frame.request_id);
        self.out.extend_from_slice(payload);
        finish_frame(&mut self.out, start, DEFAULT_MAX_FRAME_BYTES)
    }

    /// The payload of an answer in which every row is there and every value is zero.
    fn make(&self, plan_id: u32, flags: ReadFlags, rows: &[u32]) -> Result<Vec<u8>, WireError> {
        let shapes = self.plans.get(plan_id as usize).map_or(&[][..], Vec::as_slice);
        let views = shapes.iter().zip(rows);
        let views = views.map(|((columns, _), rows)| ViewShape { rows: *rows, columns });
        let mut builder = ReplyBuilder::new();
        let max = DEFAULT_MAX_FRAME_BYTES;
        builder.begin(Vec::new(), 0, flags, 0, max, views)?;
        for (view, ((columns, bytes), rows)) in shapes.iter().zip(rows).enumerate() {
            for row in 0..*rows as usize {
                builder.set_status(view, row, RowStatus::Present);
                for (column, shape) in columns.iter().enumerate().filter(|_| !flags.matrix) {
                    match shape.width_bytes as usize {
                        0 => builder.set_variable(view, column, row, &vec![0; bytes[column]])?,
                        width => builder.set_fixed(view, column, row, &vec![0; width]),
                    }
                }
            }
        }
        let frame = builder.finish()?;
        Ok(frame[thermae_formats::wire::HEADER_BYTES..].to_vec())
    }
}

fn is_again(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}
