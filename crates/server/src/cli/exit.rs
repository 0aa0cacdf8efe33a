//! How a command ends.

/// Usage: what was typed cannot be.
pub const USAGE: u8 = 2;

/// The exit codes, as `--help` tells them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; nothing is half done unless the message says so
  2  usage: what was typed cannot be
  3  done in part: some rows were rejected (ingest, backfill), some keys were not found (get), backups still hold
     what was erased (erase)
  4  damage found (verify, backup --verify)
  5  the server cannot be reached
`thermae serve` has its own: see `thermae serve --help`.

Environment:
  THERMAE_SERVER  where the server is; the same as --server";

/// A command that ended well, or nearly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All of it.
    All,
    /// Some rows were rejected, some keys not found, or something is left in backups.
    Partly,
    /// The work was done, and it found damage.
    Damage,
}

impl Done {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::All => 0,
            Self::Partly => 3,
            Self::Damage => 4,
        }
    }
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// What was typed cannot be.
    #[error("{0}")]
    Usage(String),
    /// The server cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The server could not start or stop; `serve --help` tells its codes.
    #[error("{text}")]
    Serve {
        /// What is wrong.
        text: String,
        /// The exit code.
        code: u8,
    },
}

impl Failure {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => USAGE,
            Self::Unreachable(_) => 5,
            Self::Serve { code, .. } => *code,
        }
    }

    /// A failure from any error, with its whole chain of causes in the text.
    pub fn of(error: impl std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let more = inner.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = inner.source();
        }
        Self::Failed(text)
    }
}
