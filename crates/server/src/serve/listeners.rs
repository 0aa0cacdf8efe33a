//! Binding the sockets, before anything slow: an address in use is told at once.

use std::io;
use std::net::{SocketAddr, TcpListener};

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thermae_env::Listener;

use super::ServeError;
use super::address::listen_address;
use super::options::ServeOptions;

/// Descriptors needed beside those of connections: log segments, rings, maps, listeners.
const OTHER_DESCRIPTORS: u64 = 512;

/// The bound sockets of one server.
#[derive(Debug)]
pub struct Listeners {
    /// The TCP listener and where it listens.
    pub tcp: Option<(TcpListener, SocketAddr)>,
    /// The unix listener and its path.
    pub unix: Option<(UnixListener, PathBuf)>,
    /// Where HTTP will listen.
    pub http: Option<SocketAddr>,
    /// Where gRPC will listen.
    pub grpc: Option<SocketAddr>,
}

impl Listeners {
    /// Applies the loopback rule to every address, then binds.
    ///
    /// # Errors
    /// A refused or unreadable address, or one that is in use.
    pub fn bind(options: &ServeOptions) -> Result<Self, ServeError> {
        let insecure = options.insecure_development;
        let address = |option, text: &Option<String>| {
            text.as_deref().map(|text| listen_address(option, text, insecure)).transpose()
        };
        let listen = address("--listen", &options.listen)?;
        let http = address("--http", &options.http)?;
        let grpc = address("--grpc", &options.grpc)?;
        let tcp = listen.map(bind_tcp).transpose()?;
        let unix = options.unix.as_deref().map(bind_unix).transpose()?;
        Ok(Self { tcp, unix, http, grpc })
    }

    /// One set of listeners for each shard. All shards accept from the same sockets: a connection
    /// goes to a shard that has time for it.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn for_shards(&self, shards: usize) -> Result<Vec<Vec<Listener>>, ServeError> {
        let clone_all = || -> io::Result<Vec<Listener>> {
            let mut all = Vec::new();
            if let Some((tcp, _)) = &self.tcp {
                all.push(Listener::Tcp(tcp.try_clone()?));
            }
            if let Some((unix, _)) = &self.unix {
                all.push(Listener::Unix(unix.try_clone()?));
            }
            Ok(all)
        };
        (0..shards)
            .map(|_| clone_all())
            .collect::<io::Result<_>>()
            .map_err(|source| ServeError::system("sharing the listeners among the shards", source))
    }
}

fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let cannot = |source| ServeError::Listen { what: address.to_string(), source };
    let listener = thermae_env::bind_tcp(address).map_err(cannot)?;
    // The standard library asks for a backlog of 128 connections; a burst of clients is larger.
    rustix::net::listen(&listener, 4096).map_err(|errno| cannot(errno.into()))?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

fn bind_unix(path: &Path) -> Result<(UnixListener, PathBuf), ServeError> {
    let cannot = |source| ServeError::Listen { what: path.display().to_string(), source };
    let listener = thermae_env::bind_unix(path).map_err(cannot)?;
    rustix::net::listen(&listener, 4096).map_err(|errno| cannot(errno.into()))?;
    Ok((listener, path.to_owned()))
}

/// Raises the soft limit of open descriptors as far as `connections` need and the system allows.
/// Returns how many connections fit.
pub fn allow_connections(connections: u32) -> u32 {
    let wanted = u64::from(connections) + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return connections;
    }
    let most = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let raised = Rlimit { current: Some(most), maximum: limit.maximum };
    let have = if setrlimit(Resource::Nofile, raised).is_ok() { most } else { now };
    let fit = have.saturating_sub(OTHER_DESCRIPTORS).max(16);
    connections.min(u32::try_from(fit).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_dead_socket_is_taken_over_a_live_one_and_a_file_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = bind_unix(&path).unwrap();
        let error = bind_unix(&path).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        drop(first);
        bind_unix(&path).unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(bind_unix(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn the_loopback_rule_holds_for_every_listener() {
        for (listen, http) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")] {
            let options = ServeOptions {
                listen: Some(listen.to_owned()),
                http: Some(http.to_owned()),
                ..ServeOptions::default()
            };
            assert!(matches!(Listeners::bind(&options), Err(ServeError::Address(_))));
            let options = ServeOptions { insecure_development: true, ..options };
            assert!(Listeners::bind(&options).is_ok());
        }
    }

    #[test]
    fn an_address_in_use_is_named() {
        let options =
            ServeOptions { listen: Some("127.0.0.1:0".to_owned()), ..ServeOptions::default() };
        let first = Listeners::bind(&options).unwrap();
        let address = first.tcp.as_ref().unwrap().1.to_string();
        let options = ServeOptions { listen: Some(address.clone()), ..options };
        let error = Listeners::bind(&options).unwrap_err().to_string();
        assert!(error.contains(&address), "{error}");
    }
}
