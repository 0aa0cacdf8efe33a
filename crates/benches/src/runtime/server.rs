//! A server under test: one pinned thread of this process, which ends when its clients have gone.

use crate::pin;
use crate::runtime::place::Place;
use crate::runtime::{epoll, plain, ring};
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

/// The name of our production ring in results.
pub const OURS: &str = "thermae ring";

/// One way to move the bytes.
#[derive(Clone, Copy)]
pub struct Runtime {
    /// Name in the results.
    pub name: &'static str,
    /// Version, where it is not ours or the kernel's.
    pub version: Option<&'static str>,
    serve: fn(&Place) -> anyhow::Result<()>,
}

/// What is compared, ours first.
pub const RUNTIMES: &[Runtime] = &[
    Runtime { name: OURS, version: None, serve: ring::serve },
    Runtime { name: "epoll", version: None, serve: epoll::serve },
    #[cfg(all(feature = "glommio", target_os = "linux"))]
    Runtime {
        name: "glommio",
        version: Some(super::glommio::VERSION),
        serve: super::glommio::serve,
    },
    Runtime { name: "plain recv", version: None, serve: plain::serve },
];

/// A started server.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts `runtime` on the servers' core, for that many clients.
    ///
    /// # Errors
    /// No such core, or what the server says that cannot start.
    pub fn start(runtime: Runtime, connections: usize) -> anyhow::Result<Self> {
        let (listening, address) = channel();
        let thread = std::thread::Builder::new().name(runtime.name.into()).spawn(move || {
            pin::to_core(pin::SERVER_CORE)?;
            (runtime.serve)(&Place { connections, listening })
        })?;
        match address.recv() {
            Ok(address) => Ok(Self { address, thread }),
            Err(_) => joined(thread).and_then(|()| anyhow::bail!("it ended before it listened")),
        }
    }

    /// Waits for its end, which comes when every client has closed.
    ///
    /// # Errors
    /// What broke it.
    pub fn join(self) -> anyhow::Result<()> {
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().ok().context("the server panicked")?
}
