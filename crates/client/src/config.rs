//! The few options of a client.

use std::time::Duration;

/// Options of a client. Every one has a default that suits a service on the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Connections, 1 to 64; reads go over them in turn, writes over the first. Default 1.
    pub pool_size: usize,
    /// Poll for answers without sleeping: lowest latency, one core kept busy while a call waits.
    /// Default off.
    pub spin: bool,
    /// Longest wait for a connection and its handshake. Default 2 s.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, reconnecting included. Default 10 s.
    pub request_timeout: Duration,
    /// Most unanswered requests of one connection; the server's limit holds if it is lower.
    /// Default 256.
    pub in_flight_max: u32,
    /// Repeat a write whose answer was lost with its own producer sequences, which the server
    /// recognises: nothing is applied twice. Off: such a write is reported as InDoubt. Default on.
    pub retry_in_doubt: bool,
    /// Requests gather until [`crate::Client::receive`] or a wait for an answer, and leave together: for one thread that
    /// keeps many in flight, a system call a round instead of one a request. Default off.
    pub gather: bool,
    /// Shown in the server's figures. Default `thermae-client`.
    pub client_name: String,
    /// Who the caller is. Empty by default: servers take nothing else yet.
    pub credentials: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pool_size: 1,
            spin: false,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            in_flight_max: 256,
            retry_in_doubt: true,
            gather: false,
            client_name: concat!("thermae-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            credentials: Vec::new(),
        }
    }
}
