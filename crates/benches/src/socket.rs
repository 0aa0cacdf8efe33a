//! A TCP stream that either spins on the socket or sleeps in it: the two kinds of client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// How a client waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Asks the socket again and again; the core never idles.
    Spin,
    /// Sleeps until the kernel wakes it.
    Block,
}

impl Waiting {
    /// The word in results and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spinning",
            Self::Block => "blocking",
        }
    }
}

/// A connected stream, NODELAY, with a receive buffer.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
    start: usize,
    end: usize,
}

impl Socket {
    /// Connects to `address`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn connect(address: SocketAddr, waiting: Waiting) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?, waiting)
    }

    /// A socket over an accepted stream.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn over(stream: TcpStream, waiting: Waiting) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(waiting == Waiting::Spin)?;
        Ok(Self { stream, received: vec![0; 256 * 1024], start: 0, end: 0 })
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if is_again(&error) => std::hint::spin_loop(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes both directions: the other end sees the end.
    pub fn close(&self) {
        // Closed already is closed.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Bytes received and not yet taken.
    pub fn peek(&self) -> &[u8] {
        &self.received[self.start..self.end]
    }

    /// Drops the first `bytes` of what [`Socket::peek`] shows.
    pub fn take(&mut self, bytes: usize) {
        self.start += bytes.min(self.end - self.start);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits until more bytes are there than before.
    ///
    /// # Errors
    /// The peer closed, or whatever the system says.
    pub fn receive(&mut self) -> io::Result<()> {
        if self.end == self.received.len() {
            self.received.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.received.len() {
                self.received.resize(self.end * 2, 0);
            }
        }
        loop {
            match self.stream.read(&mut self.received[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.end += read;
                    return Ok(());
                }
                Err(error) if is_again(&error) => std::hint::spin_loop(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the call only has to be made again.
pub(crate) fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
