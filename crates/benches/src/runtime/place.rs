//! What every server is told, and how those over the system's own sockets get their clients.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;

/// The most that a server receives at once, in bytes: what our ring lends the kernel.
pub const RECEIVE_BYTES: usize = 32 * 1024;

/// What a server is told.
pub struct Place {
    /// How many clients it waits for before it serves.
    pub connections: usize,
    /// Where it says at which address they find it.
    pub listening: Sender<SocketAddr>,
}

impl Place {
    /// Listens, says where, and waits for every client.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn accept(&self) -> anyhow::Result<Vec<TcpStream>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        self.listening.send(listener.local_addr()?)?;
        let accept = |_| {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        (0..self.connections).map(accept).collect()
    }
}
