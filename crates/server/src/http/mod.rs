//! The listener for people's tools: `/metrics` and health checks, and features by HTTP and JSON as Feast's feature
//! server gives them. It has threads of its own, away from the shards, so that neither a scrape nor a request costs
//! them anything but what they are asked for.

mod connections;
mod feast;
mod grpc;
mod health;
mod metrics;
mod monitor;
mod reply;
mod routes;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use connections::{Listening, Speaks};
use routes::Shared;

pub use feast::Features;
pub use grpc::GrpcServer;
pub use health::{Health, Stage};
pub use metrics::{EngineFamily, Source};

/// The running listener.
#[derive(Debug)]
pub struct HttpServer {
    listening: Listening,
}

impl HttpServer {
    /// Listens on `address` (port 0 picks one) and serves until stopped.
    ///
    /// # Errors
    /// The system's reason why it cannot listen or start a thread.
    pub fn start(
        address: SocketAddr,
        health: Arc<Health>,
        source: Source,
        features: Arc<Features>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(health, source, features));
        let listening = Listening::start("thermae-http", address, Speaks::Http1, move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok(shared.answer(request).await) }
        })?;
        Ok(Self { listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Stops listening. Answers under way get some seconds.
    pub fn stop(&mut self) {
        self.listening.stop();
    }
}
