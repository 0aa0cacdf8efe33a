//! The loopback floor: a thread that answers bytes with bytes, both ends as in the other targets.
//! No store can be quicker over TCP on this machine, in this run.

use crate::pin;
use crate::socket::{Socket, Waiting};
use crate::target::Reader;
use crate::workload::VALUE_BYTES;
use anyhow::Context;
use std::net::{Ipv4Addr, TcpListener};
use std::thread::JoinHandle;

/// Bytes beside keys that a READ of ours has, and beside values that its answer has, about.
const REQUEST_BYTES: usize = 64;
const REPLY_BYTES: usize = 192;
const HEAD_BYTES: usize = 8;

/// A client of the echo thread.
#[derive(Debug)]
pub struct Floor {
    socket: Socket,
    out: Vec<u8>,
    server: Option<JoinHandle<()>>,
}

impl Floor {
    /// Starts the echo thread on the servers' core and connects to it.
    ///
    /// # Errors
    /// No port, or no such core.
    pub fn start(waiting: Waiting) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let server = std::thread::Builder::new().name("floor".into()).spawn(move || {
            // It ends when the client closes; what it could report, the client reports.
            let _ = serve(&listener, waiting);
        })?;
        let socket = Socket::connect(address, waiting).context("cannot reach the floor")?;
        Ok(Self { socket, out: Vec::new(), server: Some(server) })
    }
}

/// Answers each request with as many bytes as it asks for.
fn serve(listener: &TcpListener, waiting: Waiting) -> anyhow::Result<()> {
    let (stream, _) = listener.accept()?;
    pin::to_core(pin::SERVER_CORE)?;
    let mut socket = Socket::over(stream, waiting)?;
    let answer = vec![0u8; 1 << 20];
    loop {
        while socket.peek().len() < HEAD_BYTES {
            socket.receive()?;
        }
        let words = socket.peek()[..HEAD_BYTES].as_chunks::<4>().0;
        let [asks, wants] = [0, 1].map(|at| u32::from_le_bytes(words[at]) as usize);
        while socket.peek().len() < asks {
            socket.receive()?;
        }
        socket.take(asks);
        socket.send(&answer[..wants.min(answer.len())])?;
    }
}

impl Reader for Floor {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        let asks = REQUEST_BYTES + ids.len() * 8;
        let wants = REPLY_BYTES + ids.len() * VALUE_BYTES;
        self.out.clear();
        self.out.extend_from_slice(&(asks as u32).to_le_bytes());
        self.out.extend_from_slice(&(wants as u32).to_le_bytes());
        self.out.resize(asks, 0);
        self.socket.send(&self.out)?;
        while self.socket.peek().len() < wants {
            self.socket.receive()?;
        }
        self.socket.take(wants);
        rows.clear();
        Ok(())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.socket.close();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}
