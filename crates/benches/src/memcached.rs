//! memcached's text protocol, as little of it as the benchmarks need: `get` of many keys in one line, `set` without
//! an answer. Keys are row numbers as text, which is short for it and needs no decoding.

use crate::socket::{Socket, Waiting};
use crate::target::{Pipeline, Reader};
use crate::workload::{VALUE_BYTES, blob};
use anyhow::{Context, bail, ensure};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;

/// A connection to memcached.
#[derive(Debug)]
pub struct Memcached {
    socket: Socket,
    out: Vec<u8>,
}

impl Memcached {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr, waiting: Waiting) -> anyhow::Result<Self> {
        let socket = Socket::connect(address, waiting).context("cannot reach memcached")?;
        Ok(Self { socket, out: Vec::new() })
    }

    /// What it calls its version.
    ///
    /// # Errors
    /// The connection broke.
    pub fn version(&mut self) -> anyhow::Result<String> {
        self.socket.send(b"version\r\n")?;
        let end = self.line()?;
        let line = String::from_utf8_lossy(&self.socket.peek()[..end]).into_owned();
        self.socket.take(end + 2);
        Ok(line.strip_prefix("VERSION ").context("no version")?.to_owned())
    }

    /// Its figures of one kind (`""`, `" slabs"`).
    ///
    /// # Errors
    /// The connection broke.
    pub fn stats(&mut self, which: &str) -> anyhow::Result<HashMap<String, String>> {
        self.socket.send(format!("stats{which}\r\n").as_bytes())?;
        let mut found = HashMap::new();
        loop {
            let end = self.line()?;
            let line = String::from_utf8_lossy(&self.socket.peek()[..end]).into_owned();
            self.socket.take(end + 2);
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("STAT"), Some(name), Some(value)) => {
                    found.insert(name.to_owned(), value.to_owned());
                }
                (Some("END"), None, None) => return Ok(found),
                _ => bail!("memcached said {line:?}"),
            }
        }
    }

    /// One of its figures.
    ///
    /// # Errors
    /// It has none of that name.
    pub fn stat(&mut self, which: &str, name: &str) -> anyhow::Result<u64> {
        let found = self.stats(which)?.remove(name);
        found
            .with_context(|| format!("no {name} in memcached's figures"))?
            .parse()
            .context("a figure")
    }

    /// Bytes of memory for what it holds: pages of slabs, and the hash table.
    ///
    /// # Errors
    /// The connection broke.
    pub fn used_bytes(&mut self) -> anyhow::Result<u64> {
        Ok(self.stat(" slabs", "total_malloced")? + self.stat("", "hash_bytes")?)
    }

    /// Writes these rows, and waits until it has taken them.
    ///
    /// # Errors
    /// The connection broke, or it refused.
    pub fn set(&mut self, rows: impl Iterator<Item = (u64, Vec<u8>)>) -> anyhow::Result<()> {
        self.out.clear();
        for (id, value) in rows {
            write!(self.out, "set {id} 0 0 {} noreply\r\n", value.len())?;
            self.out.extend_from_slice(&value);
            self.out.extend_from_slice(b"\r\n");
        }
        // What was refused says so before this is answered.
        self.out.extend_from_slice(b"mn\r\n");
        self.socket.send(&self.out)?;
        let end = self.line()?;
        let line = String::from_utf8_lossy(&self.socket.peek()[..end]).into_owned();
        self.socket.take(end + 2);
        ensure!(line == "MN", "memcached refused: {line}");
        Ok(())
    }

    /// Writes rows `0..rows` of the workload.
    ///
    /// # Errors
    /// The connection broke, or it does not hold all of them.
    pub fn load(&mut self, rows: u64) -> anyhow::Result<()> {
        for first in (0..rows).step_by(1000) {
            let ids = first..rows.min(first + 1000);
            self.set(ids.map(|id| (id, blob(id).to_vec())))?;
        }
        let held = self.stat("", "curr_items")?;
        ensure!(held == rows, "memcached holds {held} rows, not {rows}");
        Ok(())
    }

    /// Asks for these rows.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send_get(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(b"get");
        for id in ids {
            write!(self.out, " {id}")?;
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(self.socket.send(&self.out)?)
    }

    /// Receives what was asked for, each row there given to `sink` with its value; how many are there.
    ///
    /// # Errors
    /// The connection broke, or a row has another length than `value_bytes`.
    pub fn receive_get(
        &mut self,
        value_bytes: usize,
        mut sink: impl FnMut(u64, &[u8]),
    ) -> anyhow::Result<usize> {
        let mut rows = 0;
        loop {
            let end = self.line()?;
            let line = &self.socket.peek()[..end];
            let Some(head) = line.strip_prefix(b"VALUE ") else {
                ensure!(line == b"END", "memcached said {:?}", String::from_utf8_lossy(line));
                self.socket.take(end + 2);
                return Ok(rows);
            };
            // "VALUE 17 0 40": the key, flags, the length.
            let (id, length) = (number(head), head.rsplit(|byte| *byte == b' ').next());
            ensure!(length.map(number) == Some(value_bytes as u64), "a row of another length");
            let whole = end + 2 + value_bytes + 2;
            while self.socket.peek().len() < whole {
                self.socket.receive()?;
            }
            sink(id, &self.socket.peek()[end + 2..whole - 2]);
            self.socket.take(whole);
            rows += 1;
        }
    }

    /// Bytes until the end of the next line.
    fn line(&mut self) -> anyhow::Result<usize> {
        loop {
            if let Some(end) = self.socket.peek().iter().position(|byte| *byte == b'\r') {
                while self.socket.peek().len() < end + 2 {
                    self.socket.receive()?;
                }
                return Ok(end);
            }
            self.socket.receive()?;
        }
    }
}

/// The digits at the beginning.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| number.wrapping_mul(10) + u64::from(digit - b'0'))
}

impl Reader for Memcached {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        rows.clear();
        self.send_get(ids)?;
        let mut asked = ids.iter();
        let mut is_in_order = true;
        let found = self.receive_get(VALUE_BYTES, |id, value| {
            is_in_order &= asked.next() == Some(&id);
            let (floats, _) = value.as_chunks::<4>();
            rows.extend(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        })?;
        ensure!(is_in_order && found == ids.len(), "memcached has {found} of {} rows", ids.len());
        Ok(())
    }
}

impl Pipeline for Memcached {
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        self.send_get(ids)
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        self.receive_get(VALUE_BYTES, |_, _| ())
    }
}
