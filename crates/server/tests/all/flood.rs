//! Thousands of connections to a real server process, many of them hostile: what they cost it, and
//! whether an honest client among them is served.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thermae_formats::wire::{ErrorCode, Kind, PlanReply, ReadReply, begin_frame, finish_frame};

use crate::peer::{Peer, Put, Read1, Stream, answer, check, row, weather};
use crate::process::Server;

/// Connections of the crowd, where the machine allows as many descriptors.
const CROWD: usize = 5_000;
/// Descriptors that test or server need beside those of the crowd.
const OTHER_DESCRIPTORS: u64 = 1_024;
/// Connections past the limit.
const TOO_MANY: usize = 20;
/// What an open connection that has prepared a plan and read may cost the server, in bytes.
const IDLE_BYTES_MAX: u64 = 8 << 10;
/// What it may cost while it is hostile: half a frame of a large one sent, or no answer taken.
const HOSTILE_BYTES_MAX: u64 = 12 << 10;
/// Bytes of the half frame that a slow writer sends.
const HALF_FRAME_BYTES: usize = 4 << 10;

/// How many connections this process and a server of the same limits can open, at most [`CROWD`].
fn crowd_size() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let most = limit.maximum.map_or(CROWD as u64, |most| most.saturating_sub(OTHER_DESCRIPTORS));
    let size = CROWD.min(most as usize);
    if size < CROWD {
        eprintln!("only {size} connections instead of {CROWD}: the hard limit of open files");
    }
    assert!(size >= 1_000, "the hard limit of open files leaves {size} connections");
    size
}

/// A server whose limit is the crowd and the honest client, and the way to each of its sockets.
struct Flooded {
    server: Server,
    directory: tempfile::TempDir,
    limit: usize,
}

impl Flooded {
    fn start(crowd: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let limit = crowd + 1;
        std::fs::write(path("config"), format!("[limits]\nconnections = {limit}\n")).unwrap();
        let options = ["--cores", "2", "--unix", &path("socket"), "--config", &path("config")];
        let server = Server::start_with(&directory.path().join("data"), &options);
        Self { server, directory, limit }
    }

    fn connect(&self, unix: bool) -> Peer {
        Peer::new(if unix {
            Stream::Unix(UnixStream::connect(self.directory.path().join("socket")).unwrap())
        } else {
            Stream::Tcp(TcpStream::connect(&self.server.address).unwrap())
        })
    }

    /// Waits, by asking, until the server has `open` connections.
    fn until_open(&self, open: u64) {
        // Bounded by what it asks: a leak would never end.
        let settled = (0..10_000).any(|_| self.server.metric("thermae_connections") == open);
        assert!(settled, "{} connections are left", self.server.metric("thermae_connections"));
    }
}

/// The one that must be served whatever the others do.
struct Honest {
    peer: Peer,
    plan: PlanReply,
}

impl Honest {
    fn new(mut peer: Peer) -> Self {
        peer.hello();
        peer.apply(&weather(0)).unwrap();
        let plan = peer.prepare(&[("weather", &[])]).unwrap();
        peer.put(&plan, &[Put { key: "JFK", event_time: 1, values: row(1.0, None, "") }]);
        Self { peer, plan }
    }

    fn is_served(&mut self) {
        assert_temp(self.peer.read(&Read1::new(&self.plan, &["JFK"])).unwrap());
    }
}

fn assert_temp(reply: Vec<u8>) {
    let frame = check(&reply);
    let view = ReadReply::decode(&frame).unwrap().view(0).unwrap();
    assert_eq!(view.column(0).unwrap().as_f32().unwrap(), [1.0]);
}

/// Opens the whole crowd, each of which greets, prepares and reads; one over TCP, one over the unix
/// socket.
fn open_crowd(flooded: &Flooded, honest: &mut Honest) -> Vec<Peer> {
    let mut crowd = Vec::with_capacity(flooded.limit);
    for index in 1..flooded.limit {
        let mut peer = flooded.connect(index % 2 == 0);
        peer.hello();
        let plan = peer.prepare(&[("weather", &["temp"])]).unwrap();
        assert_temp(peer.read(&Read1::new(&plan, &["JFK"])).unwrap());
        crowd.push(peer);
        if index % 100 == 0 {
            honest.is_served();
        }
    }
    crowd
}

/// Every connection past the limit is told so and closed.
fn are_refused(flooded: &Flooded, honest: &mut Honest) {
    // Each is closed a second after it was told, all of them together.
    let mut all: Vec<Peer> = (0..TOO_MANY).map(|index| flooded.connect(index % 2 == 0)).collect();
    for refused in &mut all {
        let failed = answer(refused.frame()).unwrap_err();
        assert_eq!(failed.code, ErrorCode::Overloaded);
        assert!(failed.text.contains(&flooded.limit.to_string()), "{failed:?}");
        assert!(refused.try_frame().is_none(), "and closed");
        honest.is_served();
    }
}

/// A third begins a large frame and stalls, a third asks much and never reads, a third lies about
/// the size of its frame.
fn turn_hostile(crowd: &mut [Peer], honest: &mut Honest) {
    let names: Vec<String> = (0..50).map(|index| format!("k{index}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let frame = |kind, frame_bytes: u32| {
        let mut out = Vec::new();
        let start = begin_frame(&mut out, kind, 9);
        finish_frame(&mut out, start, 1 << 10).unwrap();
        out[..4].copy_from_slice(&frame_bytes.to_le_bytes());
        out
    };
    let mut half = frame(Kind::Put, 15 << 20);
    half.resize(HALF_FRAME_BYTES, 7);
    let oversize = frame(Kind::Ping, u32::MAX);
    for (index, peer) in crowd.iter_mut().enumerate() {
        match index % 3 {
            0 => peer.send(&half),
            1 => {
                // The crowd prepared one plan each, so its id is the first.
                let plan = PlanReply { plan_id: 0, views: Vec::new() };
                let (_, request) = peer.read_frame(&Read1::new(&plan, &keys));
                peer.send(&request);
            }
            // It is cut at once, so what follows the header may find nobody.
            _ => drop(write_some(peer, &oversize)),
        }
        if index % 100 == 0 {
            honest.is_served();
        }
    }
}

fn write_some(peer: &mut Peer, bytes: &[u8]) -> std::io::Result<()> {
    match &mut peer.stream {
        Stream::Tcp(tcp) => tcp.write_all(bytes),
        Stream::Unix(unix) => unix.write_all(bytes),
    }
}

#[test]
fn five_thousand_connections_many_of_them_hostile_cost_bounded_memory_and_are_served() {
    let crowd_size = crowd_size();
    let flooded = Flooded::start(crowd_size);
    let server = &flooded.server;
    let mut honest = Honest::new(flooded.connect(false));
    let before = server.resident_bytes();
    let each = || server.resident_bytes().saturating_sub(before) / crowd_size as u64;

    let mut crowd = open_crowd(&flooded, &mut honest);
    assert_eq!(server.metric("thermae_connections"), flooded.limit as u64);
    let idle = each();
    are_refused(&flooded, &mut honest);
    let hits = server.metric("thermae_limit_hits_total{limit=\"connections\"}");
    assert_eq!(hits, TOO_MANY as u64);
    turn_hostile(&mut crowd, &mut honest);
    let hostile = each();
    eprintln!("{crowd_size} connections: {idle} bytes each when idle, {hostile} when hostile");
    assert!(idle <= IDLE_BYTES_MAX, "{idle} bytes for an idle connection");
    assert!(hostile <= HOSTILE_BYTES_MAX, "{hostile} bytes for a hostile connection");

    drop(crowd);
    flooded.until_open(1);
    honest.is_served();
    assert!(server.metric("thermae_buffered_bytes") < 64 << 10, "buffers were left behind");
    let mut late = Honest::new(flooded.connect(true));
    late.is_served();
    drop((honest, late));
    assert_eq!(flooded.server.stop(), 0);
}
