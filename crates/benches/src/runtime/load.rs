//! The load generator: spinning clients, one request at a time or a full window on each connection.

use super::pool::Pool;
use crate::socket::is_again;
use crate::stats::{Latency, histogram};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const RECEIVE_BYTES: usize = 256 * 1024;
/// The clock is asked once in so many turns over the connections: it is not what is measured.
const CLOCK_TURNS: u32 = 16;

/// One client connection.
pub struct Client<'p> {
    stream: TcpStream,
    pool: &'p Pool,
    asked: u64,
    received_bytes: u64,
}

impl<'p> Client<'p> {
    /// Connects to `address`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn connect(address: SocketAddr, pool: &'p Pool) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot reach the server")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, pool, asked: 0, received_bytes: 0 })
    }

    /// Sends the next `count` requests, in one system call if the circle does not close in them.
    fn ask(&mut self, count: usize) -> anyhow::Result<()> {
        let mut left = count;
        while left > 0 {
            let (mut bytes, count) = self.pool.requests(self.asked, left);
            while !bytes.is_empty() {
                match self.stream.write(bytes) {
                    Ok(sent) => bytes = &bytes[sent..],
                    Err(error) if is_again(&error) => std::hint::spin_loop(),
                    Err(error) => return Err(error.into()),
                }
            }
            self.asked += count as u64;
            left -= count;
        }
        Ok(())
    }

    /// Receives once, if anything is there, and checks it; says how many answers that completed.
    fn take(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(read) => read,
            Err(error) if is_again(&error) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let right = self.pool.continues(self.received_bytes, &buffer[..read]);
        ensure!(right, "a wrong answer within {read} bytes after {}", self.received_bytes);
        let before = self.answers();
        self.received_bytes += read as u64;
        Ok((self.answers() - before) as usize)
    }

    fn answers(&self) -> u64 {
        self.received_bytes / self.pool.reply_bytes() as u64
    }
}

/// Latencies of requests one after the other, after a warm-up of a fifth of `time`.
///
/// # Errors
/// A broken connection, or a wrong answer.
pub fn latency(client: &mut Client<'_>, time: Duration) -> anyhow::Result<Latency> {
    let (mut buffer, mut recorded) = (vec![0; RECEIVE_BYTES], histogram()?);
    let started = Instant::now();
    loop {
        let sent = Instant::now();
        client.ask(1)?;
        while client.take(&mut buffer)? == 0 {
            std::hint::spin_loop();
        }
        let took = sent.elapsed();
        let since = sent.duration_since(started);
        if since > time / 5 {
            recorded.record(took.as_nanos() as u64)?;
        }
        if since > time + time / 5 {
            return Ok(Latency::of(&recorded));
        }
    }
}

/// What a full load found in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    /// Answers a second.
    pub requests_per_s: f64,
    /// The share of the load generator's receives that completed no answer: near 1 it waits for the server,
    /// near 0 it is the limit itself.
    pub waiting: f64,
}

/// Answers a second with `window` requests in flight on each connection, after a warm-up of a fifth
/// of `time`. What was answered is asked anew at once.
///
/// # Errors
/// A broken connection, or a wrong answer.
pub fn rate(clients: &mut [Client<'_>], window: usize, time: Duration) -> anyhow::Result<Rate> {
    let mut buffer = vec![0; RECEIVE_BYTES];
    for client in clients.iter_mut() {
        client.ask(window)?;
    }
    let (mut started, mut warm, mut answers, mut receives, mut empty) =
        (Instant::now(), false, 0, 0, 0);
    let rate = loop {
        for _ in 0..CLOCK_TURNS {
            for client in clients.iter_mut() {
                let answered = client.take(&mut buffer)?;
                client.ask(answered)?;
                answers += answered;
                empty += u64::from(answered == 0);
            }
        }
        receives += u64::from(CLOCK_TURNS) * clients.len() as u64;
        let elapsed = started.elapsed();
        if !warm && elapsed >= time / 5 {
            (started, warm, answers, receives, empty) = (Instant::now(), true, 0, 0, 0);
        } else if warm && elapsed >= time {
            let waiting = empty as f64 / receives as f64;
            break Rate { requests_per_s: answers as f64 / elapsed.as_secs_f64(), waiting };
        }
    };
    // A connection closed over unread answers would look broken to the server.
    for client in clients {
        while client.answers() < client.asked {
            client.take(&mut buffer)?;
        }
    }
    Ok(rate)
}
