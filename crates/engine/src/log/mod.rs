//! The write-ahead log, and the manifest that says where each log begins and what tables hold what was
//! before.
//!
//! One [`LogWriter`] a shard, driven by the shard's turn: records are appended to the open batch,
//! batches go out by direct writes through the ring, and completions move the `written` and
//! `durable` watermarks. [`open_directory`] finds where the logs of the last run end, replays them,
//! and begins a new epoch. The bytes, and the rules by which an end is found, are in
//! `docs/formats/log.md`.
//!
//! In the order of a record's life: `writer` -> `flight` (watermarks) -> `segments` (files made
//! ahead) ~ crash ~ `files` (what is there) -> `scan` (what verifies) -> `decide` (where it ends) ->
//! `recover` (replay, new epoch), with `manifest_store` and `verify` beside them.

mod decide;
mod error;
mod examine;
mod files;
mod flight;
mod manifest_store;
mod options;
mod recover;
mod scan;
mod segments;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{AppendError, Damage, LogError, LogFailure};
pub use examine::CutReport;
pub use manifest_store::{DurableStart, ManifestStore, WARM, file_id, first_file_id, shards_of};
pub use options::{LogOptions, OnDamage};
pub use recover::{
    Recovered, RecoveryReport, Replay, Trees, close_directory, open_directory, open_directory_with,
};
pub use thermae_formats::manifest::LogStart;
pub use verify::{Finding, Severity, Verification, VerifyReport};
pub use writer::{LogEvent, LogStats, LogWriter, Progress};

/// The file that is locked while a data directory is open.
pub const LOCK: &str = "LOCK";
/// The file that says what a data directory holds.
pub const MANIFEST: &str = "MANIFEST";
/// The name of a manifest in a directory that a backup is being restored to.
pub const RESTORING: &str = "MANIFEST.restoring";

/// Ring tokens with this value under [`TOKEN_MASK`] belong to the shard's [`LogWriter`].
pub const TOKEN_SPACE: u64 = 0x4C << 56;
/// The part of a ring token that says whose it is.
pub const TOKEN_MASK: u64 = 0xFF << 56;
