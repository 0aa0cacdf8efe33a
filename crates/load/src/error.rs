//! What can go wrong in a run.

use std::path::PathBuf;

use thiserror::Error;

/// Why a workload could not be read or driven.
#[derive(Debug, Error)]
pub enum Error {
    /// A workload, a plan or a price list that is wrong, and what to write instead.
    #[error("{0}")]
    Given(String),
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server, or the way to it.
    #[error(transparent)]
    Client(#[from] thermae_client::Error),
    /// The embedded store.
    #[error(transparent)]
    Engine(#[from] thermae_engine::Error),
    /// An answer that is not what was written: nothing measured beside it means anything.
    #[error("a wrong answer: {0}")]
    Wrong(String),
    /// Something that the run needs of the system.
    #[error("{what}: {source}")]
    System {
        /// What was done.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// A file's error with its path.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// A system's error with what was done.
    pub fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
