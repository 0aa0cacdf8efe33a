//! Feast's `ServingService` by gRPC, on a port of its own: the answers of `/get-online-features`, as Protocol Buffers.

mod messages;
mod online;
mod service;
mod values;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::connections::{Listening, Speaks};
use super::feast::Features;
use super::health::Health;
use service::Service;

/// The running gRPC listener.
#[derive(Debug)]
pub struct GrpcServer {
    listening: Listening,
}

impl GrpcServer {
    /// Listens on `address` (port 0 picks one) and serves until dropped.
    ///
    /// # Errors
    /// The system's reason why it cannot listen or start a thread.
    pub fn start(
        address: SocketAddr,
        health: Arc<Health>,
        features: Arc<Features>,
    ) -> io::Result<Self> {
        let service = Service::new(health, features);
        let listening = Listening::start("thermae-grpc", address, Speaks::Http2, move |request| {
            let service = service.clone();
            async move { Ok(service.answer(request).await) }
        })?;
        Ok(Self { listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }
}
