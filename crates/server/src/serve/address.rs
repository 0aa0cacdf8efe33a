//! Which addresses may be listened on.
//!
//! Until tokens and TLS exist, whoever reaches the socket may read and write everything. So the
//! server listens on loopback only, and says so when asked for more.

use std::net::{SocketAddr, ToSocketAddrs};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The text names no address.
    #[error(
        "{option} {text:?} is not an address: {reason}; write HOST:PORT, for example 127.0.0.1:7400"
    )]
    Unreadable {
        /// The option that held it.
        option: &'static str,
        /// The text as given.
        text: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// The address can be reached from other machines.
    #[error(
        "{option} {address} can be reached from other machines, and this version has no tokens and \
         no TLS: anyone who reaches it could read and write everything. Listen on 127.0.0.1 (or a \
         unix socket) and let clients come through a tunnel, or, on a network that you trust \
         wholly, add --insecure-development"
    )]
    NotLoopback {
        /// The option that held it.
        option: &'static str,
        /// The address that was refused.
        address: SocketAddr,
    },
}

/// Reads `text` as a socket address and applies the loopback rule.
///
/// `option` names the option in errors. A host name is resolved, and **every** address that it
/// resolves to must be loopback; the first one is used.
///
/// # Errors
/// [`AddressError::Unreadable`] if `text` names no address, [`AddressError::NotLoopback`] if one
/// of them is not loopback and `insecure_development` is false.
pub fn listen_address(
    option: &'static str,
    text: &str,
    insecure_development: bool,
) -> Result<SocketAddr, AddressError> {
    let unreadable =
        |reason: String| AddressError::Unreadable { option, text: text.to_owned(), reason };
    let addresses: Vec<SocketAddr> =
        text.to_socket_addrs().map_err(|error| unreadable(error.to_string()))?.collect();
    if !insecure_development
        && let Some(address) = addresses.iter().find(|address| !is_loopback(address))
    {
        return Err(AddressError::NotLoopback { option, address: *address });
    }
    addresses.first().copied().ok_or_else(|| unreadable("the name has no address".to_owned()))
}

/// Loopback in either family, an IPv4 loopback address mapped into IPv6 included.
fn is_loopback(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => v4.ip().is_loopback(),
        SocketAddr::V6(v6) => {
            v6.ip().is_loopback() || v6.ip().to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn loopback_is_allowed() {
        for text in ["127.0.0.1:7400", "127.9.9.9:0", "[::1]:7400", "[::ffff:127.0.0.1]:1"] {
            assert!(listen_address("--listen", text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn any_other_address_is_refused_with_what_to_do() {
        for text in ["0.0.0.0:7400", "10.0.0.1:7400", "[::]:7400", "[::ffff:10.0.0.1]:1"] {
            let error = listen_address("--http", text, false).unwrap_err().to_string();
            assert!(error.contains("--http"), "{error}");
            assert!(error.contains("--insecure-development"), "{error}");
            assert!(listen_address("--http", text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "7400", "127.0.0.1", "127.0.0.1:99999"] {
            let error = listen_address("--listen", text, true).unwrap_err().to_string();
            assert!(error.contains("is not an address"), "{error}");
        }
    }
}
