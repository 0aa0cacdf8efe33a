//! Why we lose what we lose: `docs/benchmarks/causes.toml`, written by hand, shown where figures say that we lose.

use anyhow::Context;
use serde::Deserialize;
use std::path::Path;

/// A cause, and what it explains.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    part: String,
    /// How groups begin that it explains.
    group: String,
    /// Of which peers; all if there is none.
    #[serde(default)]
    peers: Vec<String>,
    /// The text.
    why: String,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Causes {
    #[serde(default)]
    cause: Vec<Cause>,
}

impl Causes {
    /// Reads them.
    ///
    /// # Errors
    /// The file cannot be read, or is not as it should be.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        toml::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Why a figure is lost to a peer, if anybody knows: of several causes the first.
    pub fn why(&self, part: &str, group: &str, peer: &str) -> Option<&str> {
        let fits = |cause: &&Cause| {
            cause.part == part
                && group.starts_with(&cause.group)
                && (cause.peers.is_empty() || cause.peers.iter().any(|of| of == peer))
        };
        Some(self.cause.iter().find(fits)?.why.as_str())
    }
}
