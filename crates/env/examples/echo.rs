//! Round trips of a small message between two pinned, spinning threads: the ring beside a plain
//! loop of `recv` and `send`.
//!
//! `cargo run --release -p thermae-env --example echo [requests] [payload bytes]`
//!
//! The client is the same plain loop on the second core in every row, so the rows differ only by
//! the server on the first core. `closed loop`: one request in flight; p50 and p99 of one round
//! trip. `16 x 16`: 16 connections with 16 requests in flight each; requests a second.
#![allow(clippy::print_stdout)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thermae_env::{Event, Ring, Stream, UringRing, Wait, available_cores, pin_thread};

/// Rows alternate this many times; the best of each is printed, with the spread.
const ROUNDS: usize = 5;

/// A connected socket that never blocks.
trait Socket: Read + Write + Send + 'static {
    fn pair() -> io::Result<(Self, Self)>
    where
        Self: Sized;
    fn into_stream(self) -> Stream;
}

impl Socket for TcpStream {
    fn pair() -> io::Result<(Self, Self)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = Self::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
        }
        Ok((client, server))
    }

    fn into_stream(self) -> Stream {
        Stream::Tcp(self)
    }
}

impl Socket for UnixStream {
    fn pair() -> io::Result<(Self, Self)> {
        let (client, server) = Self::pair()?;
        client.set_nonblocking(true)?;
        server.set_nonblocking(true)?;
        Ok((client, server))
    }

    fn into_stream(self) -> Stream {
        Stream::Unix(self)
    }
}

fn serve_plain<S: Socket>(mut sockets: Vec<S>, stop: &AtomicBool) -> io::Result<()> {
    let mut buf = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        for socket in &mut sockets {
            match socket.read(&mut buf) {
                Ok(read) => socket.write_all(&buf[..read])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn serve_ring<S: Socket>(sockets: Vec<S>, stop: &AtomicBool) -> io::Result<()> {
    let mut ring = UringRing::new()?;
    for socket in sockets {
        ring.adopt(socket.into_stream());
    }
    let mut events = Vec::new();
    let mut spare = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        ring.turn(Wait::Poll, &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Received { conn, data } => {
                    let mut answer: Vec<u8> = spare.pop().unwrap_or_default();
                    answer.clear();
                    answer.extend_from_slice(&data);
                    ring.recycle(data);
                    ring.send(conn, answer);
                }
                Event::Sent { buf, .. } => spare.push(buf),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Answers of one request in flight at a time, nanoseconds, sorted.
fn ask_one<S: Socket>(socket: &mut S, requests: usize, payload: &[u8]) -> io::Result<Vec<u64>> {
    let mut buf = vec![0; payload.len()];
    let mut times = Vec::with_capacity(requests);
    for i in 0..requests + requests / 10 {
        let start = Instant::now();
        socket.write_all(payload)?;
        let mut done = 0;
        while done < buf.len() {
            match socket.read(&mut buf[done..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error),
            }
        }
        if i >= requests / 10 {
            times.push(start.elapsed().as_nanos() as u64);
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// Time for `requests` with `depth` in flight on each socket.
fn ask_many<S: Socket>(
    sockets: &mut [S],
    depth: usize,
    requests: usize,
    payload: &[u8],
) -> io::Result<Duration> {
    let burst = payload.repeat(depth);
    let mut buf = vec![0; 64 * 1024];
    let start = Instant::now();
    for socket in sockets.iter_mut() {
        socket.write_all(&burst)?;
    }
    let mut answered = 0;
    while answered < requests * payload.len() {
        for socket in sockets.iter_mut() {
            match socket.read(&mut buf) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    answered += read;
                    // Whole or part of a request, it is replaced byte by byte.
                    socket.write_all(&buf[..read])?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(start.elapsed())
}

struct Figures {
    p50_ns: u64,
    p99_ns: u64,
    per_second: f64,
}

fn measure<S: Socket>(
    serve: fn(Vec<S>, &AtomicBool) -> io::Result<()>,
    cores: &[usize],
    requests: usize,
    payload: &[u8],
) -> io::Result<Figures> {
    let run = |connections: usize| -> io::Result<_> {
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        for _ in 0..connections {
            let (client, server) = S::pair()?;
            clients.push(client);
            servers.push(server);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let core = cores[0];
        let flag = Arc::clone(&stop);
        let server = std::thread::spawn(move || {
            pin_thread(core)?;
            serve(servers, &flag)
        });
        Ok((clients, stop, server))
    };
    let join = |server: std::thread::JoinHandle<io::Result<()>>| {
        server.join().unwrap_or_else(|_| Err(io::Error::other("the server panicked")))
    };
    let (mut clients, stop, server) = run(1)?;
    let times = ask_one(&mut clients[0], requests, payload)?;
    stop.store(true, Ordering::Relaxed);
    join(server)?;
    let (mut clients, stop, server) = run(16)?;
    let took = ask_many(&mut clients, 16, requests * 10, payload)?;
    stop.store(true, Ordering::Relaxed);
    join(server)?;
    Ok(Figures {
        p50_ns: times[times.len() / 2],
        p99_ns: times[times.len() * 99 / 100],
        per_second: (requests * 10) as f64 / took.as_secs_f64(),
    })
}

fn print_row(name: &str, figures: &[Figures]) {
    let p50 = figures.iter().map(|f| f.p50_ns);
    let (best, worst) = (p50.clone().min().unwrap_or(0), p50.max().unwrap_or(0));
    let p99 = figures.iter().map(|f| f.p99_ns).min().unwrap_or(0);
    let rate = figures.iter().map(|f| f.per_second).fold(0.0, f64::max);
    println!(
        "{name:<12} closed loop p50 {:>6.2} us (worst round {:>6.2}), p99 {:>6.2} us; 16 x 16: {:>9.0}/s",
        best as f64 / 1e3,
        worst as f64 / 1e3,
        p99 as f64 / 1e3,
        rate
    );
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (requests, payload) = (number(100_000), vec![7_u8; number(64)]);
    let cores = available_cores()?;
    if cores.len() < 2 {
        return Err(io::Error::other("two cores are needed, one for each side"));
    }
    pin_thread(cores[1])?;
    let mut rows: [Vec<Figures>; 4] = Default::default();
    for _ in 0..ROUNDS {
        rows[0].push(measure(serve_plain::<TcpStream>, &cores, requests, &payload)?);
        rows[1].push(measure(serve_ring::<TcpStream>, &cores, requests, &payload)?);
        rows[2].push(measure(serve_plain::<UnixStream>, &cores, requests, &payload)?);
        rows[3].push(measure(serve_ring::<UnixStream>, &cores, requests, &payload)?);
    }
    for (name, figures) in ["tcp plain", "tcp ring", "unix plain", "unix ring"].iter().zip(&rows) {
        print_row(name, figures);
    }
    Ok(())
}
