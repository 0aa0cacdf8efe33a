//! A server in this process, and a client of a few lines that speaks the protocol's own encoders.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;
use thermae_formats::NO_TIME;
use thermae_formats::row::RowLayout;
use thermae_formats::schema::FeatureView;
use thermae_formats::value::Value;
use thermae_formats::wire::{
    Ack, ErrorCode, ErrorReply, Frame, HelloReply, HelloRequest, Kind, PackedKeys, PlanReply,
    PrepareRequest, ReadFlags, ReadHead, ReadReply, RowOutcome, Token, VERSION_MAX, ViewFeatures,
    WriteEncoder, WriteHead, WriteReply, WriteRow, decode_json, decode_plan, encode_json,
    encode_ping, encode_read, split_frame,
};
use thermae_server::serve::{self, Limits, Running, ServeOptions};

/// Larger than any answer here.
pub const MAX: u32 = 64 << 20;
/// A patience that only a hanging server exhausts.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server in a directory of its own.
pub struct Server {
    pub running: Running,
    pub directory: TempDir,
}

pub fn options(directory: &Path, cores: usize) -> ServeOptions {
    ServeOptions {
        data: directory.join("data"),
        listen: Some("127.0.0.1:0".to_owned()),
        unix: Some(directory.join("socket")),
        http: Some("127.0.0.1:0".to_owned()),
        cores,
        memory_bytes: cores as u64 * (64 << 20),
        spin_us: 0,
        pin: false,
        ..ServeOptions::default()
    }
}

impl Server {
    pub fn start(cores: usize) -> Self {
        Self::start_with(cores, Limits::default())
    }

    pub fn start_with(cores: usize, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = ServeOptions { limits, ..options(directory.path(), cores) };
        Self { running: serve::start(options).unwrap(), directory }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.tcp_addr().unwrap()
    }

    pub fn tcp(&self) -> Peer {
        Peer::greeted(Stream::Tcp(TcpStream::connect(self.address()).unwrap()))
    }

    pub fn unix(&self) -> Peer {
        let path = self.running.unix_path().unwrap();
        Peer::greeted(Stream::Unix(UnixStream::connect(path).unwrap()))
    }

    /// A peer that has said nothing yet.
    pub fn silent(&self) -> Peer {
        Peer::new(Stream::Tcp(TcpStream::connect(self.address()).unwrap()))
    }

    pub fn http(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.running.http_addr().unwrap()).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
pub struct Peer {
    pub stream: Stream,
    received: Vec<u8>,
    next_id: u64,
}

/// An ERROR, owned.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    pub code: ErrorCode,
    pub retry_after_ms: u32,
    pub text: String,
}

impl Peer {
    pub fn new(stream: Stream) -> Self {
        match &stream {
            Stream::Tcp(tcp) => {
                tcp.set_nodelay(true).unwrap();
                tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            }
            Stream::Unix(unix) => unix.set_read_timeout(Some(PATIENCE)).unwrap(),
        }
        Self { stream, received: Vec::new(), next_id: 1 }
    }

    fn greeted(stream: Stream) -> Self {
        let mut peer = Self::new(stream);
        peer.hello();
        peer
    }

    pub fn hello(&mut self) -> u32 {
        let request = HelloRequest {
            version_min: 1,
            version_max: VERSION_MAX,
            max_frame_bytes: MAX,
            credentials: b"",
            client_name: "tests",
        };
        let mut out = Vec::new();
        request.encode(&mut out, 0).unwrap();
        self.send(&out);
        let answer = self.frame();
        HelloReply::decode(&check(&answer)).unwrap().limits.max_frame_bytes
    }

    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.stream {
            Stream::Tcp(tcp) => tcp.write_all(bytes).unwrap(),
            Stream::Unix(unix) => unix.write_all(bytes).unwrap(),
        }
    }

    /// The next whole frame; `None` when the server closed the connection.
    pub fn try_frame(&mut self) -> Option<Vec<u8>> {
        let mut chunk = [0_u8; 65_536];
        loop {
            if let Some((frame, rest)) = split_frame(&self.received, MAX).unwrap() {
                let (frame, rest) = (frame.bytes.to_vec(), rest.to_vec());
                self.received = rest;
                return Some(frame);
            }
            let read = match &mut self.stream {
                Stream::Tcp(tcp) => tcp.read(&mut chunk),
                Stream::Unix(unix) => unix.read(&mut chunk),
            };
            match read {
                Ok(0) => return None,
                Ok(bytes) => self.received.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    pub fn frame(&mut self) -> Vec<u8> {
        self.try_frame().expect("the server closed the connection")
    }

    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Failed> {
        self.send(request);
        answer(self.frame())
    }

    pub fn json(&mut self, kind: Kind, text: &str) -> Result<Json, Failed> {
        let mut out = Vec::new();
        encode_json(&mut out, kind, self.id(), text, MAX).unwrap();
        let reply = self.ask(&out)?;
        Ok(serde_json::from_str(decode_json(&check(&reply)).unwrap()).unwrap())
    }

    pub fn apply(&mut self, view: &FeatureView) -> Result<Json, Failed> {
        let definition: Json = serde_json::from_slice(&view.to_json().unwrap()).unwrap();
        self.json(Kind::Apply, &serde_json::json!({ "views": [definition] }).to_string())
    }

    pub fn prepare(&mut self, views: &[(&str, &[&str])]) -> Result<PlanReply, Failed> {
        let views = views
            .iter()
            .map(|(view, features)| ViewFeatures {
                project: "demo",
                view,
                version: 0,
                features: features.to_vec(),
            })
            .collect();
        let mut out = Vec::new();
        PrepareRequest { views }.encode(&mut out, self.id(), MAX).unwrap();
        let reply = self.ask(&out)?;
        Ok(decode_plan(&check(&reply)).unwrap())
    }

    pub fn read_frame(&mut self, read: &Read1<'_>) -> (u64, Vec<u8>) {
        let head = ReadHead {
            plan_id: read.plan,
            flags: read.flags,
            read_time: read.read_time,
            deadline_us: read.deadline_us,
        };
        let views: Vec<PackedKeys<'_>> =
            read.keys.iter().map(|(count, bytes)| PackedKeys { count: *count, bytes }).collect();
        let id = self.id();
        let mut out = Vec::new();
        encode_read(&mut out, id, &head, read.tokens, views.into_iter(), MAX).unwrap();
        (id, out)
    }

    pub fn read(&mut self, read: &Read1<'_>) -> Result<Vec<u8>, Failed> {
        let (_, request) = self.read_frame(read);
        self.ask(&request)
    }

    pub fn write(&mut self, request: &[u8]) -> Result<(Vec<RowOutcome>, String), Failed> {
        let reply = self.ask(request)?;
        let frame = check(&reply);
        let reply = WriteReply::decode(&frame).unwrap();
        Ok((reply.outcomes().collect(), reply.message.to_owned()))
    }

    pub fn put(&mut self, plan: &PlanReply, rows: &[Put<'_>]) -> Vec<RowOutcome> {
        let request = put_frame(self.id(), plan, rows);
        self.write(&request).unwrap().0
    }

    pub fn ping_frame(&mut self) -> (u64, Vec<u8>) {
        let (id, mut out) = (self.id(), Vec::new());
        encode_ping(&mut out, id);
        (id, out)
    }
}

/// A read of one plan; everything but plan and keys has a usual value.
#[derive(Clone)]
pub struct Read1<'a> {
    pub plan: u32,
    pub flags: ReadFlags,
    pub read_time: i64,
    pub deadline_us: u32,
    pub tokens: &'a [Token],
    /// For each view of the plan: count and packed bytes.
    pub keys: Vec<(u32, Vec<u8>)>,
}

impl Read1<'_> {
    pub fn new(plan: &PlanReply, keys: &[&str]) -> Self {
        Self {
            plan: plan.plan_id,
            flags: ReadFlags { matrix: false, event_times: true },
            read_time: NO_TIME,
            deadline_us: 0,
            tokens: &[],
            keys: vec![packed(keys)],
        }
    }
}

pub fn packed(keys: &[&str]) -> (u32, Vec<u8>) {
    (keys.len() as u32, keys.iter().flat_map(|text| key(text)).collect())
}

pub fn key(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A row to be put.
pub struct Put<'a> {
    pub key: &'a str,
    pub event_time: i64,
    pub values: Vec<Value>,
}

pub fn write_head(plan: &PlanReply) -> WriteHead {
    WriteHead {
        view_id: plan.views[0].view_id,
        schema_id: plan.views[0].schema_id,
        ack: Ack::Durable,
        explicit_sequences: false,
        producer_id: 0,
        first_sequence: 0,
    }
}

pub fn put_frame(id: u64, plan: &PlanReply, rows: &[Put<'_>]) -> Vec<u8> {
    let layout = RowLayout::new(&weather(0).features).unwrap();
    let mut out = Vec::new();
    let mut encoder = WriteEncoder::put(&mut out, id, &write_head(plan));
    for row in rows {
        let mut value = Vec::new();
        let dense = layout.encode(&row.values, &mut value).unwrap();
        let key = key(row.key);
        encoder.push(&write_row(row.event_time, &key, dense, &value)).unwrap();
    }
    encoder.finish(MAX).unwrap();
    out
}

pub fn write_row<'a>(event_time: i64, key: &'a [u8], dense: bool, value: &'a [u8]) -> WriteRow<'a> {
    WriteRow {
        event_time,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        producer_sequence: 0,
        key,
        dense,
        value,
    }
}

/// The definition that most tests use: a string key, numbers and a text.
pub fn weather(ttl_us: i64) -> FeatureView {
    let text = format!(
        r#"{{"project": "demo", "name": "weather", "entities": ["origin"],
            "join_keys": [{{"name": "origin", "type": "string"}}],
            "features": [
                {{"name": "temp", "type": "float32"}},
                {{"name": "gusts", "type": "int32"}},
                {{"name": "note", "type": "string"}}],
            "ttl_us": {ttl_us}}}"#
    );
    FeatureView::from_json(text.as_bytes()).unwrap()
}

pub fn row(temp: f32, gusts: Option<i32>, note: &str) -> Vec<Value> {
    let gusts = gusts.map_or(Value::Null, Value::Int32);
    vec![Value::Float32(temp), gusts, Value::String(note.to_owned())]
}

pub fn check(bytes: &[u8]) -> Frame<'_> {
    Frame::check(bytes, MAX).unwrap()
}

/// Tells an ERROR from an answer.
pub fn answer(frame: Vec<u8>) -> Result<Vec<u8>, Failed> {
    let checked = check(&frame);
    if checked.kind().unwrap() != Kind::Error {
        return Ok(frame);
    }
    let error = ErrorReply::decode(&checked).unwrap();
    Err(Failed {
        code: error.known().unwrap(),
        retry_after_ms: error.retry_after_ms,
        text: error.message.to_owned(),
    })
}

/// The statuses of the first view of an answer, as numbers.
pub fn statuses(reply: &[u8]) -> Vec<u8> {
    let frame = check(reply);
    ReadReply::decode(&frame).unwrap().view(0).unwrap().statuses().to_vec()
}

/// A server, a greeted peer and the weather view with all its features prepared.
pub fn weather_server(cores: usize, ttl_us: i64) -> (Server, Peer, PlanReply) {
    let server = Server::start(cores);
    let mut peer = server.tcp();
    peer.apply(&weather(ttl_us)).unwrap();
    let plan = peer.prepare(&[("weather", &[])]).unwrap();
    (server, peer, plan)
}
