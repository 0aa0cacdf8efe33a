//! Peers that lie, flood, dawdle or do not read, beside an honest one that is served.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;

use thermae_formats::wire::{
    ErrorCode, HelloRequest, Kind, begin_frame, encode_ping, finish_frame,
};
use thermae_server::serve::Limits;

use crate::peer::{
    Peer, Put, Read1, Server, Stream, answer, check, row, statuses, weather, weather_server,
};

fn ends_with(peer: &mut Peer, bytes: &[u8], code: ErrorCode) {
    peer.send(bytes);
    assert_eq!(answer(peer.frame()).unwrap_err().code, code);
    assert!(peer.try_frame().is_none(), "the connection is ended");
}

#[test]
fn an_oversize_frame_is_refused_from_its_header() {
    let server = Server::start(1);
    let mut peer = server.tcp();
    let mut header = Vec::new();
    let start = begin_frame(&mut header, Kind::Ping, 5);
    finish_frame(&mut header, start, 1024).unwrap();
    header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    ends_with(&mut peer, &header, ErrorCode::TooLarge);
}

#[test]
fn garbage_and_damaged_frames_end_their_connection_alone() {
    let server = Server::start(1);
    let mut honest = server.tcp();
    ends_with(&mut server.silent(), &[0_u8; 64], ErrorCode::Malformed);
    ends_with(&mut server.silent(), b"GET / HTTP/1.1\r\n\r\n", ErrorCode::TooLarge);
    let mut damaged = Vec::new();
    encode_ping(&mut damaged, 7);
    damaged[17] ^= 1;
    ends_with(&mut server.tcp(), &damaged, ErrorCode::Malformed);
    let (id, ping) = honest.ping_frame();
    honest.send(&ping);
    assert_eq!(check(&honest.frame()).request_id, id);
}

#[test]
fn hello_comes_first_and_only_once_and_its_version_must_fit() {
    let server = Server::start(1);
    let mut ping = Vec::new();
    encode_ping(&mut ping, 1);
    ends_with(&mut server.silent(), &ping, ErrorCode::UnknownKind);
    let hello = |version_min, version_max, max_frame_bytes| {
        let mut out = Vec::new();
        let (credentials, client_name) = (&b""[..], "old");
        HelloRequest { version_min, version_max, max_frame_bytes, credentials, client_name }
            .encode(&mut out, 1)
            .unwrap();
        out
    };
    let newer = hello(900, 901, 1 << 20);
    ends_with(&mut server.silent(), &newer, ErrorCode::UnsupportedVersion);
    ends_with(&mut server.silent(), &hello(1, 1, 10), ErrorCode::Malformed);
    let mut peer = server.tcp();
    assert_eq!(peer.ask(&hello(1, 1, 1 << 20)).unwrap_err().code, ErrorCode::UnknownKind);
    peer.send(&ping);
    assert_eq!(check(&peer.frame()).kind().unwrap(), Kind::Pong);
}

#[test]
fn unknown_kinds_and_replies_as_requests_are_errors_of_one_request() {
    let server = Server::start(1);
    let mut peer = server.tcp();
    for kind in [Kind::Pong, Kind::Error, Kind::Columns] {
        let mut out = Vec::new();
        let start = begin_frame(&mut out, kind, 9);
        finish_frame(&mut out, start, 1024).unwrap();
        assert_eq!(peer.ask(&out).unwrap_err().code, ErrorCode::UnknownKind);
    }
    for payload in [&b"{"[..], b"[]", b"\xff", br#"{"proyect": "x"}"#] {
        let mut out = Vec::new();
        let start = begin_frame(&mut out, Kind::Describe, 9);
        out.extend_from_slice(payload);
        finish_frame(&mut out, start, 1024).unwrap();
        assert_eq!(peer.ask(&out).unwrap_err().code, ErrorCode::Malformed, "{payload:?}");
    }
}

#[test]
fn slow_and_silent_peers_are_cut_and_idle_ones_are_not() {
    let limits = Limits { hello_deadline_ms: 100, frame_deadline_ms: 100, ..Limits::default() };
    let server = Server::start_with(1, limits);
    let mut idle = server.tcp();
    let mut silent = server.silent();
    let mut slow = server.tcp();
    let mut ping = Vec::new();
    encode_ping(&mut ping, 1);
    slow.send(&ping[..10]);
    assert!(silent.try_frame().is_none(), "no HELLO came in time");
    assert!(slow.try_frame().is_none(), "half a frame and no more");
    idle.send(&ping);
    assert_eq!(check(&idle.frame()).kind().unwrap(), Kind::Pong);
    let stats = idle.json(Kind::Stats, "").unwrap();
    assert_eq!(stats["server"]["limit_hits"]["hello_deadline"], 1);
    assert_eq!(stats["server"]["limit_hits"]["frame_deadline"], 1);
}

#[test]
fn a_peer_that_never_reads_costs_bounded_memory_and_is_cut() {
    let limits = Limits {
        queued_output_bytes: 256 << 10,
        frame_bytes: 256 << 10,
        buffer_bytes: 1 << 20,
        write_deadline_ms: 2_000,
        ..Limits::default()
    };
    let server = Server::start_with(1, limits);
    let mut honest = server.tcp();
    honest.apply(&weather(0)).unwrap();
    let plan = honest.prepare(&[("weather", &[])]).unwrap();
    let keys: Vec<String> = (0..1_000).map(|index| format!("k{index}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

    let mut deaf = server.tcp();
    let deaf_plan = deaf.prepare(&[("weather", &[])]).unwrap();
    let (_, request) = deaf.read_frame(&Read1::new(&deaf_plan, &keys));
    let Stream::Tcp(mut stream) = deaf.stream else { panic!("tcp") };
    stream.set_nonblocking(true).unwrap();
    let requests = request.repeat(32);
    let mut sent_bytes = 0;
    let mut most = 0;
    loop {
        // Sends on until the server stops reading, then tries until it has had enough.
        match stream.write(&requests[sent_bytes..]) {
            Ok(bytes) => sent_bytes = (sent_bytes + bytes) % requests.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        let read = Read1::new(&plan, &["JFK"]);
        assert_eq!(statuses(&honest.read(&read).unwrap()), [0], "the honest one is served");
        let stats = honest.json(Kind::Stats, "{}").unwrap();
        most = most.max(stats["server"]["buffered_bytes"].as_u64().unwrap());
    }
    assert!(most <= 3 << 20, "{most} bytes were held");
    let stats = honest.json(Kind::Stats, "{}").unwrap();
    assert!(stats["server"]["limit_hits"]["queued_output"].as_u64().unwrap() >= 1);
    assert_eq!(stats["server"]["limit_hits"]["write_deadline"], 1);
}

#[test]
fn a_peer_that_vanishes_with_requests_under_way_leaves_nothing_behind() {
    let (server, mut honest, plan) = weather_server(1, 0);
    for round in 0..20 {
        let mut peer = server.tcp();
        let put = Put { key: "JFK", event_time: round, values: row(1.0, None, "") };
        let request = crate::peer::put_frame(peer.id(), &plan, &[put]);
        peer.send(&request);
        let Stream::Tcp(stream) = &peer.stream else { panic!("tcp") };
        stream.shutdown(Shutdown::Both).unwrap();
    }
    // Each round trip gives the server turns; the bound is generous, a leak would never end.
    for _ in 0..100_000 {
        let stats = honest.json(Kind::Stats, "{}").unwrap();
        if stats["server"]["connections"] == 1 && stats["server"]["waiting"] == 0 {
            return;
        }
    }
    panic!("connections or requests were left behind");
}
