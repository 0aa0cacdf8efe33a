//! Running out of descriptors; alone in its process, because the limit is the process's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{TcpListener, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thermae_env::{Event, Listener, Ring, UringRing, Wait};

#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    // Before the accept is armed: the kernel remembers the limit of that time.
    let limit = Rlimit { current: Some(64), maximum: getrlimit(Resource::Nofile).maximum };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut ring = UringRing::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    ring.listen(Listener::Tcp(listener));
    let mut events = Vec::new();
    ring.turn(Wait::Poll, &mut events).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let mut hoard = Vec::new();
    while let Ok(fd) = rustix::io::dup(std::io::stdin()) {
        hoard.push(fd);
    }
    for _ in 0..10 {
        ring.turn(Wait::Poll, &mut events).unwrap();
    }
    assert!(events.is_empty(), "{events:?}");
    hoard.clear();
    while events.is_empty() {
        ring.turn(Wait::Forever, &mut events).unwrap();
    }
    assert!(matches!(&events[..], [Event::Accepted { .. }]), "{events:?}");
}
