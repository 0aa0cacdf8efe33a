//! Our loop's way into Redis: many connections, one request in flight on each, as redis-benchmark has them.

use super::{Asks, VALUE_BYTES, key};
use crate::socket::is_again;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use thermae_load::Error;
use thermae_load::maker::Request;
use thermae_load::session::{Done, End, Session};

/// "$40\r\n", the value, "\r\n".
const ROW_BYTES: usize = VALUE_BYTES + 7;

/// So long a sleep is only where the server stalls.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// GETs or MGETs over many connections. It sleeps until the kernel has an answer, as redis-benchmark does, where every
/// other session asks again and again: an answer to a sleeper costs the server the waking, so that the server's rate is
/// another.
pub struct Gets {
    asks: Asks,
    connections: Vec<Connection>,
    free: Vec<usize>,
}

struct Connection {
    stream: TcpStream,
    token: Option<u64>,
    /// Bytes of the answer so far, and whether all of it is as it should be.
    received: usize,
    is_right: bool,
}

impl Gets {
    pub fn connect(address: SocketAddr, count: usize, asks: Asks) -> anyhow::Result<Self> {
        let connect = |_| -> std::io::Result<Connection> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(Connection { stream, token: None, received: 0, is_right: true })
        };
        let connections = (0..count).map(connect).collect::<Result<_, _>>()?;
        Ok(Self { asks, connections, free: (0..count).collect() })
    }

    /// Until there is an answer; not while there is room for more requests.
    fn sleep(&self) -> Result<(), Error> {
        if !self.free.is_empty() {
            return Ok(());
        }
        let streams = self.connections.iter().map(|connection| &connection.stream);
        let mut asked: Vec<_> = streams.map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        poll(&mut asked, Some(&SLEEP)).map(drop).map_err(|error| broken(error.into()))
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::System { what: "the connection to redis", source: error }
}

impl Asks {
    /// The request of these rows.
    fn text(self, rows: &[u64]) -> String {
        let mut text = match self {
            Self::Gets(_) => String::new(),
            Self::Mget(keys) => format!("*{}\r\n$4\r\nMGET\r\n", keys + 1),
        };
        for row in rows {
            if matches!(self, Self::Gets(_)) {
                text.push_str("*2\r\n$3\r\nGET\r\n");
            }
            text.push_str(&format!("$16\r\n{}\r\n", key(*row)));
        }
        text
    }

    /// What an answer begins with.
    fn head(self) -> String {
        match self {
            Self::Gets(_) => "$40\r\n".to_owned(),
            Self::Mget(keys) => format!("*{keys}\r\n$40\r\n"),
        }
    }

    /// Bytes of an answer in which every row is there.
    fn answer_bytes(self) -> usize {
        self.head().len() - 5 + self.keys() as usize * ROW_BYTES
    }
}

impl Session for Gets {
    fn room(&self) -> usize {
        self.free.len()
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        let Some(at) = self.free.pop() else { return Ok(()) };
        let rows = request.parts.first().map_or(&[][..], |(_, rows)| rows);
        let connection = &mut self.connections[at];
        connection.token = Some(token);
        // So few bytes always fit into an empty socket.
        connection.stream.write_all(self.asks.text(rows).as_bytes()).map_err(broken)
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.sleep()?;
        let (head, whole, keys) = (self.asks.head(), self.asks.answer_bytes(), self.asks.keys());
        let mut some = [0; 16 * 1024];
        for (at, connection) in self.connections.iter_mut().enumerate() {
            let Some(token) = connection.token else { continue };
            match connection.stream.read(&mut some) {
                Ok(0) => return Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => {
                    if connection.received == 0 {
                        connection.is_right = some[..len].starts_with(head.as_bytes());
                    }
                    connection.received += len;
                }
                Err(error) if is_again(&error) => continue,
                Err(error) => return Err(broken(error)),
            }
            // Every key is there, so that a shorter answer, or a longer one, is a wrong one.
            if !connection.is_right || connection.received > whole {
                return Err(Error::Wrong("redis answered otherwise than with every row".into()));
            }
            if connection.received == whole {
                connection.received = 0;
                connection.token = None;
                self.free.push(at);
                done.push(Done { token, end: End::Answered { rows: keys, found: keys } });
            }
        }
        Ok(())
    }
}
