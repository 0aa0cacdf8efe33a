//! Backups of a store that serves, and directories made of them. Bytes: `docs/formats/backup.md`; the
//! reasons: `docs/decisions/0013-backup.md`.
//!
//! `source` (what the shards hand over) -> `take` (copies what the place does not have yet, and names it)
//! -> `restore` (a directory that opens), with `check` (every byte), `holders` (who is in which) and `keep` (what goes) beside them.
//! `place` is the only one that knows where backups lie. All of it reads and writes as long as that takes,
//! on the calling thread: no shard's.

#[cfg(feature = "cold")]
mod archive;
mod below;
mod check;
mod disk;
mod holders;
mod keep;
mod meter;
mod pieces;
mod place;
#[cfg(feature = "cold")]
mod places;
mod restore;
mod source;
mod take;

#[cfg(feature = "cold")]
pub use archive::{ArchiveRoots, restore_with_archive};
pub use check::{Listed, list, verify};
pub use holders::{Holder, Holders, holders};
pub use keep::{Removed, keep, remove};
pub use meter::Work;
pub use place::Place;
#[cfg(feature = "cold")]
pub use places::places;
pub use restore::{Restored, restore};
pub use source::{Source, open_to_back_up, scratch_dir};
pub use take::{Taken, take};
pub use thermae_formats::backup::BackupName;
