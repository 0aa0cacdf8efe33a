//! A connection over a non-blocking socket, for the loops that call `recv` and `send` themselves.

use super::service::{Service, Session};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// A connected client.
pub struct Peer {
    /// Its socket.
    pub stream: TcpStream,
    session: Session,
    sent_bytes: usize,
}

impl Peer {
    /// A client that just connected.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, session: Session::default(), sent_bytes: 0 })
    }

    /// Receives what is there, answers it, sends once. Says whether the client is still there.
    ///
    /// # Errors
    /// A broken connection, or a client that sent nonsense.
    pub fn turn(&mut self, service: &mut Service, buffer: &mut [u8]) -> anyhow::Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.session.receive(service, &buffer[..read])?;
                    // A short read has emptied a stream socket: asking again for EAGAIN is spared,
                    // as epoll(7) advises.
                    if read < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.send()?;
        Ok(true)
    }

    /// Sends what the socket takes; the rest waits for the next turn.
    fn send(&mut self) -> anyhow::Result<()> {
        let out = &mut self.session.out;
        if out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&out[self.sent_bytes..]) {
            Ok(sent) => self.sent_bytes += sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if self.sent_bytes == out.len() {
            out.clear();
            self.sent_bytes = 0;
        }
        Ok(())
    }
}
