//! The peers' protocol, as little of it as the benchmarks need: MGET and MSET of packed rows under
//! 8-byte binary keys.

use crate::socket::{Socket, Waiting};
use crate::target::{Pipeline, Reader};
use crate::workload::{VALUE_BYTES, blob};
use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;

/// A connection to Valkey or Redis.
#[derive(Debug)]
pub struct Resp {
    socket: Socket,
    out: Vec<u8>,
}

impl Resp {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr, waiting: Waiting) -> anyhow::Result<Self> {
        let socket = Socket::connect(address, waiting).context("cannot reach the peer")?;
        Ok(Self { socket, out: Vec::new() })
    }

    /// Sends a command of plain words and returns its answer: a status, a number or a bulk string.
    ///
    /// # Errors
    /// The connection broke, or the peer refused.
    pub fn command(&mut self, words: &[&str]) -> anyhow::Result<String> {
        self.begin(words.len());
        words.iter().for_each(|word| put_bulk(&mut self.out, word.as_bytes()));
        self.flush()?;
        let line = self.line()?;
        let Some(length) = line.strip_prefix('$') else { return Ok(line[1..].to_owned()) };
        let length: usize = length.parse().context("a missing answer")?;
        self.need(length + 2)?;
        let text = String::from_utf8_lossy(&self.socket.peek()[..length]).into_owned();
        self.socket.take(length + 2);
        Ok(text)
    }

    fn begin(&mut self, words: usize) {
        self.out.clear();
        put_head(&mut self.out, b'*', words);
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.send(&self.out)?)
    }

    fn need(&mut self, bytes: usize) -> anyhow::Result<()> {
        while self.socket.peek().len() < bytes {
            self.socket.receive()?;
        }
        Ok(())
    }

    /// The next line without its end; an error line is an error.
    fn line(&mut self) -> anyhow::Result<String> {
        loop {
            let found = self.socket.peek().windows(2).position(|pair| pair == b"\r\n");
            let Some(length) = found else {
                self.socket.receive()?;
                continue;
            };
            let line = String::from_utf8_lossy(&self.socket.peek()[..length]).into_owned();
            self.socket.take(length + 2);
            ensure!(!line.starts_with('-') && !line.is_empty(), "the peer refused: {line}");
            return Ok(line);
        }
    }

    /// Sends MGET of `ids`.
    fn send_get(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.begin(ids.len() + 1);
        put_bulk(&mut self.out, b"MGET");
        ids.iter().for_each(|id| put_bulk(&mut self.out, &id.to_le_bytes()));
        self.flush()
    }

    /// Receives an MGET answer, each blob given to `sink`; a missing row is an error.
    fn receive_get(&mut self, mut sink: impl FnMut(&[u8])) -> anyhow::Result<usize> {
        // "$40\r\n", the bytes, "\r\n": the shape of every row, read without searching.
        const HEAD: &[u8; 5] = b"$40\r\n";
        const ROW: usize = HEAD.len() + VALUE_BYTES + 2;
        let line = self.line()?;
        let rows: usize = line.strip_prefix('*').context("not an array")?.parse()?;
        let mut left = rows;
        while left > 0 {
            self.need(ROW)?;
            let received = self.socket.peek();
            let whole = (received.len() / ROW).min(left);
            for row in received.chunks_exact(ROW).take(whole) {
                ensure!(row.starts_with(HEAD), "a row is missing or of another length");
                sink(&row[HEAD.len()..HEAD.len() + VALUE_BYTES]);
            }
            self.socket.take(whole * ROW);
            left -= whole;
        }
        Ok(rows)
    }

    /// Sends MSET of the workload's rows `ids`.
    fn send_set(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.begin(ids.len() * 2 + 1);
        put_bulk(&mut self.out, b"MSET");
        for id in ids {
            put_bulk(&mut self.out, &id.to_le_bytes());
            put_bulk(&mut self.out, &blob(*id));
        }
        self.flush()
    }

    /// Writes rows `0..rows`, a thousand a command.
    ///
    /// # Errors
    /// The connection broke, or the peer refused.
    pub fn load(&mut self, rows: u64) -> anyhow::Result<()> {
        let ids: Vec<u64> = (0..rows).collect();
        for chunk in ids.chunks(1000) {
            self.send_set(chunk)?;
            ensure!(self.line()? == "+OK", "MSET was not acknowledged");
        }
        let held: String = self.command(&["DBSIZE"])?;
        if held.parse() != Ok(rows) {
            bail!("the peer holds {held} rows, not {rows}");
        }
        Ok(())
    }
}

fn put_head(out: &mut Vec<u8>, mark: u8, number: usize) {
    out.push(mark);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

impl Reader for Resp {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        rows.clear();
        self.send_get(ids)?;
        self.receive_get(|blob| {
            let (floats, _) = blob.as_chunks::<4>();
            rows.extend(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        })?;
        Ok(())
    }
}

/// MGETs in flight.
#[derive(Debug)]
pub struct Gets(pub Resp);

impl Pipeline for Gets {
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.0.send_get(ids)
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        self.0.receive_get(|_| ())
    }
}

/// MSETs in flight; each acknowledges as many rows as were sent.
#[derive(Debug)]
pub struct Sets {
    connection: Resp,
    sent: std::collections::VecDeque<usize>,
}

impl Sets {
    /// Writes over `connection`.
    pub fn new(connection: Resp) -> Self {
        Self { connection, sent: std::collections::VecDeque::new() }
    }
}

impl Pipeline for Sets {
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.sent.push_back(ids.len());
        self.connection.send_set(ids)
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        ensure!(self.connection.line()? == "+OK", "MSET was not acknowledged");
        self.sent.pop_front().context("nothing was sent")
    }
}
