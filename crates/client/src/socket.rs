//! One stream socket, TCP or unix: connect, send, receive. The client's door to the network.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags};

use crate::address::Address;
use crate::error::Error;

/// Longest single wait inside the kernel; deadlines are looked at in between.
const TICK: Duration = Duration::from_millis(50);
/// Most bytes of one send: where the kernel lets nobody in during a call, a thread on the same core waits for its end.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub fn connect(address: &Address, timeout: Duration) -> Result<Self, Error> {
        let failed = |why: String| Error::Connect { address: address.to_string(), why };
        match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|e| failed(e.to_string()))?;
                stream.set_read_timeout(Some(TICK)).map_err(|e| failed(e.to_string()))?;
                Ok(Self::Unix(stream))
            }
            Address::Tcp(host) => {
                let candidates = host.to_socket_addrs().map_err(|e| failed(e.to_string()))?;
                let mut why = "the host has no address".to_owned();
                for candidate in candidates {
                    match TcpStream::connect_timeout(&candidate, timeout) {
                        Ok(stream) => {
                            let set = stream
                                .set_nodelay(true)
                                .and_then(|()| stream.set_read_timeout(Some(TICK)));
                            set.map_err(|e| failed(e.to_string()))?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => why = error.to_string(),
                    }
                }
                Err(failed(why))
            }
        }
    }

    /// Receives what is there: `None` when nothing came. Without `wait` it returns at once, with it
    /// after 50 ms at most. `Some(0)` is the end of the stream.
    pub fn receive(&self, into: &mut [u8], wait: bool) -> io::Result<Option<usize>> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match rustix::net::recv(self, into, flags) {
            Ok((len, _)) => Ok(Some(len)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends all of `bytes`. While the kernel takes none, `meanwhile` is called, so that a peer that
    /// waits for us to receive is not waited for in turn.
    pub fn send_all(
        &self,
        mut bytes: &[u8],
        deadline: Instant,
        mut meanwhile: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
            match rustix::net::send(self, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if Instant::now() >= deadline {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    meanwhile()?;
                    let mut fds = [PollFd::new(self, PollFlags::IN | PollFlags::OUT)];
                    let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                    match poll(&mut fds, Some(&tick)) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends what the kernel takes now; how many bytes that is.
    pub fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the connection in both directions, waking whoever waits on it.
    pub fn shut_down(&self) {
        // A socket that is gone already cannot be shut down any further.
        let _ = rustix::net::shutdown(self, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
