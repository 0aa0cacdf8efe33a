//! What can go wrong, grouped by what the caller does next.

use std::fmt;

/// Why one object cannot be as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The object, as in `feature view nyc/weather@1`.
    pub object: String,
    /// What is wrong, and what to do.
    pub reason: String,
    /// It could be so under a new version: readers of this one would not survive it.
    pub is_incompatible: bool,
}

impl Refusal {
    /// Of an object that is wrong by itself, or beside others.
    pub(crate) fn wrong(object: impl ToString, reason: String) -> Self {
        Refusal { object: object.to_string(), reason, is_incompatible: false }
    }

    /// Of a change that readers would not survive.
    pub(crate) fn incompatible(object: impl ToString, reason: String) -> Self {
        Refusal { object: object.to_string(), reason, is_incompatible: true }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

/// A failure of the feature store. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be right: correct it before sending it again.
    #[error("{0}")]
    Invalid(String),
    /// The thing named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The view is there, the feature is not.
    #[error("{0}")]
    UnknownFeature(String),
    /// Definitions that are refused; nothing of them was applied.
    #[error("nothing was applied: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// The registry has changed since the caller looked at it.
    #[error(
        "the registry is at version {found}, not {expected}: look at what has changed, and apply again"
    )]
    Conflict {
        /// The version that the caller expected.
        expected: u64,
        /// The present one.
        found: u64,
    },
    /// The registry's database cannot be read or written.
    #[error("the registry's database {file}: {what}")]
    Database {
        /// The file.
        file: String,
        /// What failed, and what to do.
        what: String,
    },
    /// It is not known whether definitions were applied. Applying them again is safe, and tells.
    #[error("it is in doubt whether the definitions were applied: {0}; apply them again")]
    InDoubt(String),
    /// The engine's answer.
    #[error(transparent)]
    Engine(#[from] thermae_engine::Error),
    /// A training read's.
    #[error(transparent)]
    Training(#[from] thermae_engine::training::TrainingError),
    /// A definitions file.
    #[error(transparent)]
    Definitions(#[from] crate::definitions::DefinitionError),
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}
