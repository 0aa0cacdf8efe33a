//! Why a server does not start, or did not stop well; and the exit code that says so.

use std::io;

use thermae_engine::Error;

use super::address::AddressError;
use super::config::ConfigError;

/// A failure to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The options or the configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address that is refused.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address that cannot be listened on.
    #[error("cannot listen on {what}: {source}; is another server running there?")]
    Listen {
        /// The address or path.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The archive's address, or an option of its object store.
    #[error("{what}: {reason}")]
    ObjectStore {
        /// The address.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The data directory.
    #[error("data directory {data}: {source}")]
    Engine {
        /// The directory.
        data: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The registry in the data directory.
    #[error("data directory {data}: {source}")]
    Registry {
        /// The directory.
        data: String,
        /// What is wrong with it.
        source: Box<thermae_features::Error>,
    },
    /// The system refused something else.
    #[error("{context}: {source}")]
    System {
        /// What was being done.
        context: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl ServeError {
    /// Wraps a refusal of the system with what was being done.
    pub fn system(context: impl Into<String>, source: io::Error) -> Self {
        Self::System { context: context.into(), source }
    }

    /// The process's exit code, as `docs/operations.md` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Address(_) | Self::ObjectStore { .. } => 2,
            Self::Engine { .. } | Self::Registry { .. } => 3,
            Self::Listen { .. } => 4,
            Self::System { .. } => 5,
        }
    }
}
