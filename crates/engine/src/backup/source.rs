//! What a backup is made of.

use std::path::Path;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::manifest::Manifest;

use crate::error::Error;
use crate::handle::Handle;
use crate::log::shards_of;
use crate::options::Options;
use crate::runtime::Engine;
use crate::service::NoService;
use crate::snapshot::Snapshot;

/// Memory with which a directory is opened to be backed up, bytes.
const MEMORY_BYTES: u64 = 256 << 20;

/// Opens a directory that no server has open, with the shards that it had last, for a backup: what the log
/// holds goes to tables first.
///
/// # Errors
/// There is no store in it, or as [`Engine::start`].
pub fn open_to_back_up<E: Env>(env: E, data: &Path) -> Result<Engine<E>, Error> {
    let cores = shards_of(&env, data).map_err(Error::from_log)?;
    let memory_bytes = MEMORY_BYTES;
    let options = Options { cores, memory_bytes, preload_bytes: 0, ..Options::default() };
    Engine::start(env, data, options, |_| NoService)
}

/// A store as it was at one time, with everything that a directory needs beside rows.
pub struct Source<E: Env> {
    /// What every shard handed over.
    pub(super) snapshot: Snapshot<E>,
    /// Which store it is.
    pub(super) about: Arc<Manifest>,
    /// When the shards were asked, microseconds UTC.
    pub(super) taken_us: i64,
}

impl<E: Env> Source<E> {
    /// The store as it is now: it includes every write that was acknowledged before the call.
    ///
    /// # Errors
    /// As [`Handle::snapshot`].
    pub fn of(handle: &Handle<E>, now_us: i64) -> Result<Self, Error> {
        let snapshot = handle.submit_backup()?.wait()?;
        Self::new(handle, snapshot, now_us)
    }

    /// Of a snapshot that [`Handle::submit_backup`] gave, asked for at `taken_us`, microseconds UTC.
    ///
    /// # Errors
    /// It is another's.
    pub fn new(handle: &Handle<E>, snapshot: Snapshot<E>, taken_us: i64) -> Result<Self, Error> {
        if snapshot.checkpoints().len() != snapshot.parts().len() {
            return Err(Error::Invalid("the snapshot was not taken for a backup".to_owned()));
        }
        if handle.needs_archive() {
            let what = "rows have left the tables for the archive, and a backup holds only tables: copy \
                        the data directory and the archive while no server runs";
            return Err(Error::Invalid(what.to_owned()));
        }
        Ok(Self { snapshot, about: handle.manifest(), taken_us })
    }
}
