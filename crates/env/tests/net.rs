//! The real network on the ring: everything in one or two threads, nothing waits on a clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use thermae_env::{ConnId, Env, Event, Listener, RealEnv, Ring, Stream, UringRing, Wait, Wake};

struct Server {
    ring: UringRing,
    address: std::net::SocketAddr,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Listener 0 is TCP, 1 is a unix socket.
    fn new() -> Self {
        let mut ring = RealEnv::new().ring().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert_eq!(ring.listen(Listener::Tcp(tcp)), 0);
        assert_eq!(ring.listen(Listener::Unix(UnixListener::bind(&path).unwrap())), 1);
        // The listeners are armed by the first turn.
        ring.turn(Wait::Poll, &mut Vec::new()).unwrap();
        Self { ring, address, path, _dir: dir }
    }

    fn turn(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.ring.turn(Wait::Forever, &mut events).unwrap();
        events
    }

    /// Turns until `stop` says so of an event; returns that event and drops the others.
    fn until(&mut self, mut stop: impl FnMut(&Event) -> bool) -> Event {
        loop {
            if let Some(event) = self.turn().into_iter().find(&mut stop) {
                return event;
            }
        }
    }

    /// The next connection. What others say meanwhile would be lost here, so nobody may.
    fn accepted(&mut self) -> Event {
        self.until(|event| {
            assert!(!matches!(event, Event::Received { .. }), "lost: {event:?}");
            matches!(event, Event::Accepted { .. })
        })
    }

    fn connect_tcp(&mut self) -> (TcpStream, ConnId) {
        let client = TcpStream::connect(self.address).unwrap();
        let Event::Accepted { conn, listener: 0, local: false } = self.accepted() else { panic!() };
        (client, conn)
    }

    fn connect_unix(&mut self) -> (UnixStream, ConnId) {
        let client = UnixStream::connect(&self.path).unwrap();
        let Event::Accepted { conn, listener: 1, local: true } = self.accepted() else { panic!() };
        (client, conn)
    }
}

fn closed(conn: ConnId) -> impl FnMut(&Event) -> bool {
    move |event| matches!(event, Event::Closed { conn: c } if *c == conn)
}

fn pattern(len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251_usize).map(|i| (i * 31 % 251) as u8).collect();
    let mut bytes = period.repeat(len.div_ceil(period.len()));
    bytes.truncate(len);
    bytes
}

#[test]
fn hundred_connections_echo_in_one_thread() {
    let mut server = Server::new();
    let mut tcp: Vec<_> = (0..50).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut unix: Vec<_> = (0..50).map(|_| UnixStream::connect(&server.path).unwrap()).collect();
    let mut conns = BTreeSet::new();
    while conns.len() < 100 {
        for event in server.turn() {
            let Event::Accepted { conn, .. } = event else { panic!("{event:?}") };
            assert!(conns.insert(conn), "an id twice");
        }
    }
    for round in 0..5_u8 {
        let message = |i: usize| vec![i as u8 ^ round; 1 + i * 7];
        for i in 0..50 {
            tcp[i].write_all(&message(i)).unwrap();
            unix[i].write_all(&message(i + 50)).unwrap();
        }
        let total: usize = (0..100).map(|i| message(i).len()).sum();
        let (mut received, mut sent) = (0, 0);
        while sent < total {
            for event in server.turn() {
                match event {
                    Event::Received { conn, data } => {
                        received += data.len();
                        server.ring.send(conn, data.to_vec());
                        server.ring.recycle(data);
                    }
                    Event::Sent { buf, result, .. } => {
                        result.unwrap();
                        sent += buf.len();
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(received, total);
        for i in 0..50 {
            let mut answer = message(i);
            tcp[i].read_exact(&mut answer).unwrap();
            assert_eq!(answer, message(i));
            let mut answer = message(i + 50);
            unix[i].read_exact(&mut answer).unwrap();
            assert_eq!(answer, message(i + 50));
        }
    }
    drop((tcp, unix));
    while !conns.is_empty() {
        for event in server.turn() {
            let Event::Closed { conn } = event else { panic!("{event:?}") };
            assert!(conns.remove(&conn), "closed twice");
        }
    }
}

#[test]
fn accepted_tcp_connections_do_not_delay_small_answers() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let probe = tcp.try_clone().unwrap();
    let mut ring = UringRing::new().unwrap();
    ring.listen(Listener::Tcp(tcp));
    let _client = TcpStream::connect(address).unwrap();
    // The ring has not entered the kernel yet, so this accept wins; the option is inherited.
    let (accepted, _) = probe.accept().unwrap();
    assert!(accepted.nodelay().unwrap());
}

#[test]
fn eight_mebibytes_each_way_with_a_slow_reader() {
    let mut server = Server::new();
    let (mut client, conn) = server.connect_tcp();
    let len = 8 << 20;
    let reader = std::thread::spawn(move || {
        client.write_all(&pattern(len)).unwrap();
        let mut answer = Vec::new();
        let mut piece = vec![0; 5000];
        while answer.len() < len {
            let read = client.read(&mut piece).unwrap();
            assert_ne!(read, 0);
            answer.extend_from_slice(&piece[..read]);
        }
        answer
    });
    let mut received = Vec::new();
    while received.len() < len {
        for event in server.turn() {
            let Event::Received { data, .. } = event else { panic!("{event:?}") };
            received.extend_from_slice(&data);
            server.ring.recycle(data);
        }
    }
    assert!(received == pattern(len));
    // Unequal pieces, so that sends end inside buffers and vectors.
    let mut cut = 0;
    let mut pieces = 0;
    while cut < len {
        let piece = (1 + pieces * 977 % 300_000).min(len - cut);
        server.ring.send(conn, received[cut..cut + piece].to_vec());
        cut += piece;
        pieces += 1;
    }
    assert_eq!(server.ring.queued_bytes(conn), len);
    let mut sent = Vec::new();
    while sent.len() < len {
        for event in server.turn() {
            let Event::Sent { buf, result, .. } = event else { panic!("{event:?}") };
            result.unwrap();
            sent.extend_from_slice(&buf);
        }
    }
    assert!(sent == received, "buffers came back out of order");
    assert_eq!(server.ring.queued_bytes(conn), 0);
    assert!(reader.join().unwrap() == received);
}

#[test]
fn a_reader_that_never_reads_holds_only_its_own_output() {
    let mut server = Server::new();
    let (client, conn) = server.connect_tcp();
    let (mut other, other_conn) = server.connect_unix();
    for _ in 0..64 {
        server.ring.send(conn, vec![1; 1 << 20]);
    }
    // The other connection is served while the first is stuck.
    other.write_all(b"ping").unwrap();
    server.until(|e| matches!(e, Event::Received { conn, .. } if *conn == other_conn));
    server.ring.send(other_conn, b"pong".to_vec());
    server.until(|e| matches!(e, Event::Sent { conn, .. } if *conn == other_conn));
    let mut answer = [0; 4];
    other.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"pong");
    let stuck = server.ring.queued_bytes(conn);
    assert!(stuck > 40 << 20, "{stuck}");
    // Closing while the send is in flight: every buffer comes back, then Closed, once.
    server.ring.close(conn);
    server.ring.close(conn);
    let mut outcomes = BTreeMap::new();
    let mut ended = false;
    while !ended {
        for event in server.turn() {
            match event {
                Event::Sent { conn: c, buf, result } if c == conn => {
                    assert!(!ended);
                    assert_eq!(buf.len(), 1 << 20);
                    *outcomes.entry(result.is_ok()).or_insert(0) += 1;
                }
                Event::Closed { conn: c } if c == conn => {
                    assert!(!ended, "closed twice");
                    ended = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(outcomes[&false] > 40);
    assert!(outcomes.values().sum::<i32>() <= 64);
    drop(client);
    // The slot is reused under another generation; the stale id reaches nobody.
    let (mut client, reused) = server.connect_tcp();
    assert_eq!(reused.slot(), conn.slot());
    assert_ne!(reused, conn);
    server.ring.send(conn, b"stale".to_vec());
    server.ring.pause(conn);
    server.ring.close(conn);
    assert_eq!(server.ring.queued_bytes(conn), 0);
    server.ring.send(reused, b"fresh".to_vec());
    server.until(|e| matches!(e, Event::Sent { .. }));
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"fresh");
}

#[test]
fn descriptors_travel_over_unix_sockets_only() {
    let mut server = Server::new();
    let (client, conn) = server.connect_unix();
    let mut files = Vec::new();
    for i in 0..3_u8 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[i; 10]).unwrap();
        files.push(OwnedFd::from(file));
    }
    server.ring.send(conn, b"before".to_vec());
    server.ring.send_with_fds(conn, b"message".to_vec(), files);
    server.ring.send(conn, b"after".to_vec());
    let mut sent = 0;
    while sent < 3 {
        sent += server
            .turn()
            .iter()
            .filter(|e| matches!(e, Event::Sent { result: Ok(()), .. }))
            .count();
    }
    let (mut text, mut received) = (Vec::new(), Vec::new());
    while text.len() < "beforemessageafter".len() {
        let mut bytes = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut vectors = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(client.as_fd(), &mut vectors, &mut control, RecvFlags::empty()).unwrap();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                assert!(text.len() <= "before".len(), "on the first byte of the message");
                received.extend(fds);
            }
        }
        text.extend_from_slice(&bytes[..got.bytes]);
    }
    assert_eq!(text, b"beforemessageafter");
    assert_eq!(received.len(), 3);
    for (i, fd) in received.into_iter().enumerate() {
        let mut file = std::fs::File::from(fd);
        file.rewind().unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert_eq!(content, vec![i as u8; 10]);
    }
    let (_client, tcp) = server.connect_tcp();
    let fd = OwnedFd::from(tempfile::tempfile().unwrap());
    server.ring.send_with_fds(tcp, b"x".to_vec(), vec![fd]);
    let events = server.turn();
    assert!(matches!(&events[..], [Event::Sent { result: Err(_), .. }]), "{events:?}");
}

#[test]
fn a_paused_connection_receives_nothing_until_resumed() {
    let mut server = Server::new();
    let (mut client, conn) = server.connect_tcp();
    let (mut other, other_conn) = server.connect_tcp();
    server.ring.pause(conn);
    // The cancellation ends before what follows is read.
    server.ring.turn(Wait::Poll, &mut Vec::new()).unwrap();
    for _ in 0..20 {
        client.write_all(&[1; 100]).unwrap();
        other.write_all(b"x").unwrap();
        let event = server.until(|e| matches!(e, Event::Received { .. }));
        let Event::Received { conn: from, .. } = event else { panic!() };
        assert_eq!(from, other_conn, "the paused one is silent");
    }
    server.ring.resume(conn);
    let mut received = 0;
    while received < 2000 {
        for event in server.turn() {
            let Event::Received { conn: from, data } = event else { panic!("{event:?}") };
            assert_eq!(from, conn);
            received += data.len();
        }
    }
    // Pausing and resuming in one turn leaves it receiving.
    for _ in 0..10 {
        server.ring.pause(conn);
        server.ring.resume(conn);
        server.ring.pause(conn);
        server.ring.resume(conn);
        client.write_all(b"y").unwrap();
        server.until(|e| matches!(e, Event::Received { conn: c, .. } if *c == conn));
    }
    server.ring.pause(conn);
    server.ring.close(conn);
    server.until(closed(conn));
}

#[test]
fn more_data_than_provided_buffers_is_all_received() {
    let mut server = Server::new();
    let (mut client, conn) = server.connect_unix();
    let len = 12 << 20;
    let writer = std::thread::spawn(move || client.write_all(&pattern(len)).map(|()| client));
    let mut kept = Vec::new();
    let mut received = 0;
    // Holding on to every buffer must not stop the flow.
    while received < len {
        for event in server.turn() {
            let Event::Received { conn: from, data } = event else { panic!("{event:?}") };
            assert_eq!(from, conn);
            received += data.len();
            kept.push(data);
        }
    }
    let whole: Vec<&[u8]> = kept.iter().map(|data| &data[..]).collect();
    assert!(whole.concat() == pattern(len));
    writer.join().unwrap().unwrap();
}

#[test]
fn a_spinning_ring_receives_in_order_whichever_way_the_bytes_come() {
    let len = 6 << 20;
    let mut server = Server::new();
    let clients: Vec<_> = (0..3).map(|_| server.connect_tcp()).collect();
    let mut streams = BTreeMap::new();
    let mut writers = Vec::new();
    for (seed, (mut client, conn)) in clients.into_iter().enumerate() {
        streams.insert(conn, Vec::new());
        writers.push(std::thread::spawn(move || {
            let (bytes, mut at, mut step) = (pattern(len), 0, seed + 1);
            while at < len {
                // Lone messages and bursts, so that plain receives and the ring's take turns.
                step = step * 7919 % 104_729;
                let end = (at + 1 + step % 5000).min(len);
                client.write_all(&bytes[at..end]).unwrap();
                at = end;
                (0..step % 3).for_each(|_| std::thread::yield_now());
            }
            client
        }));
    }
    let mut events = Vec::new();
    while streams.values().any(|received| received.len() < len) {
        server.ring.turn(Wait::Poll, &mut events).unwrap();
        for event in events.drain(..) {
            let Event::Received { conn, data } = event else { panic!("{event:?}") };
            streams.get_mut(&conn).unwrap().extend_from_slice(&data);
            server.ring.recycle(data);
        }
    }
    let wanted = pattern(len);
    assert!(streams.values().all(|received| *received == wanted));
    // The end of a stream is reported, though no plain receive ever tells it.
    for writer in writers {
        drop(writer.join().unwrap());
    }
    let mut open = streams.len();
    while open > 0 {
        server.ring.turn(Wait::Poll, &mut events).unwrap();
        open -= events.drain(..).filter(|event| matches!(event, Event::Closed { .. })).count();
    }
}

#[test]
fn more_messages_at_once_than_provided_buffers_are_all_received() {
    // One message of each connection waits before the first receive: more than there are buffers.
    let count = 300;
    let mut ring = UringRing::new().unwrap();
    let mut clients = BTreeMap::new();
    for i in 0..count {
        let (mut client, ours) = UnixStream::pair().unwrap();
        client.write_all(&[i as u8; 8]).unwrap();
        clients.insert(ring.adopt(Stream::Unix(ours)), (client, i));
    }
    let mut events = Vec::new();
    while !clients.is_empty() {
        ring.turn(Wait::Forever, &mut events).unwrap();
        for event in events.drain(..) {
            let Event::Received { conn, data } = event else { continue };
            let (_, i) = clients.remove(&conn).expect("one message each");
            assert_eq!(&data[..], [i as u8; 8]);
        }
    }
}

#[test]
fn a_peer_that_resets_is_reported_once_and_after_its_sends() {
    let mut server = Server::new();
    let (client, conn) = server.connect_tcp();
    for _ in 0..30 {
        server.ring.send(conn, vec![1; 1 << 20]);
    }
    server.ring.turn(Wait::Poll, &mut Vec::new()).unwrap();
    drop(client);
    let mut returned = 0;
    let mut ended = false;
    while !ended {
        for event in server.turn() {
            match event {
                Event::Sent { .. } => returned += 1,
                Event::Closed { .. } => ended = true,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((1..=30).contains(&returned));
}

#[test]
fn a_short_last_word_is_delivered_before_the_close() {
    let mut server = Server::new();
    let (mut client, conn) = server.connect_tcp();
    server.ring.send(conn, b"refused: ".to_vec());
    server.ring.send(conn, b"too many connections".to_vec());
    server.ring.close(conn);
    let events = server.turn();
    let kinds: Vec<bool> =
        events.iter().map(|e| matches!(e, Event::Sent { result: Ok(()), .. })).collect();
    assert_eq!(kinds[..2], [true, true]);
    if !events.iter().any(|e| matches!(e, Event::Closed { .. })) {
        server.until(closed(conn));
    }
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "refused: too many connections");
}

#[test]
fn adopted_sockets_work_like_accepted_ones() {
    let mut ring = UringRing::new().unwrap();
    let (mut client, ours) = UnixStream::pair().unwrap();
    let conn = ring.adopt(Stream::Unix(ours));
    client.write_all(b"hello").unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        ring.turn(Wait::Forever, &mut events).unwrap();
    }
    let Event::Received { conn: from, data } = &events[0] else { panic!() };
    assert_eq!((*from, &data[..]), (conn, &b"hello"[..]));
    ring.send(conn, Vec::new());
    ring.send(conn, b"bye".to_vec());
    drop(ring);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest == b"bye", "{rest:?}");
}

#[test]
fn wakes_reach_a_sleeping_and_a_spinning_thread() {
    let mut ring = UringRing::new().unwrap();
    let waker = ring.waker();
    let mut events = Vec::new();
    waker.wake();
    waker.wake();
    ring.turn(Wait::Poll, &mut events).unwrap();
    assert!(matches!(&events[..], [Event::Woken]));
    events.clear();
    ring.turn(Wait::Poll, &mut events).unwrap();
    assert!(events.is_empty());
    for _ in 0..100 {
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        while !events.iter().any(|e| matches!(e, Event::Woken)) {
            ring.turn(Wait::Forever, &mut events).unwrap();
        }
        events.clear();
        thread.join().unwrap();
    }
    let env = RealEnv::new();
    let deadline = env.monotonic_ns() + 2_000_000;
    while env.monotonic_ns() < deadline {
        ring.turn(Wait::Until { monotonic_ns: deadline }, &mut events).unwrap();
    }
    assert!(events.is_empty(), "{events:?}");
}
