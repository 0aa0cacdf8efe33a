//! What a backup is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::backup::{BackupArchive, is_attachment_name};
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
/// Snapshots that are taken where the archive goes on meanwhile.
const ATTEMPTS: usize = 8;

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

/// Where rows of memtables become tables on their way to an object store, below the data directory.
pub fn scratch_dir(data: &Path) -> PathBuf {
    data.join("spill").join("backup")
}

/// A store as it was at one time, with everything that a directory needs beside rows.
pub struct Source<E: Env> {
    /// What every shard handed over.
    pub(super) snapshot: Snapshot<E>,
    /// Which store it is.
    pub(super) about: Arc<Manifest>,
    /// When the shards were asked, microseconds UTC.
    pub(super) taken_us: i64,
    /// What it needs of its archive.
    pub(super) archive: Option<BackupArchive>,
    /// Files of the directory that are not the store's own.
    pub(super) attachments: BTreeMap<String, Vec<u8>>,
}

impl<E: Env> Source<E> {
    /// The store as it is now: it includes every write that was acknowledged before the call.
    ///
    /// # Errors
    /// As [`Handle::snapshot`].
    pub fn of(handle: &Handle<E>, now_us: i64) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let snapshot = handle.submit_backup()?.wait()?;
            match Self::new(handle, snapshot, now_us) {
                // The archive goes on by itself, once a minute or so.
                Err(Error::Overloaded(..)) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    /// Of a snapshot that [`Handle::submit_backup`] gave, asked for at `taken_us`, microseconds UTC.
    ///
    /// # Errors
    /// It is another's. Rows have left the tables for the archive, and that is not there to be looked at, or has gone
    /// on since the snapshot ([`Error::Overloaded`]): take another one.
    pub fn new(handle: &Handle<E>, snapshot: Snapshot<E>, taken_us: i64) -> Result<Self, Error> {
        if snapshot.checkpoints().len() != snapshot.parts().len() {
            return Err(Error::Invalid("the snapshot was not taken for a backup".to_owned()));
        }
        #[cfg(feature = "cold")]
        let archive = super::archive::of_snapshot(&snapshot, taken_us)?;
        #[cfg(not(feature = "cold"))]
        let archive = without_archive(handle)?;
        let attachments = BTreeMap::new();
        Ok(Self { snapshot, about: handle.manifest(), taken_us, archive, attachments })
    }

    /// The same with a file of the directory that is not the store's own, whole. It must be as old as the snapshot,
    /// or older.
    ///
    /// # Errors
    /// It has a name that no such file may have ([`is_attachment_name`]).
    pub fn attach(mut self, name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        if !is_attachment_name(name) {
            return Err(Error::Invalid(format!("{name:?} cannot be attached to a backup")));
        }
        self.attachments.insert(name.to_owned(), bytes);
        Ok(self)
    }
}

/// A build that knows no archive can say nothing of one.
#[cfg(not(feature = "cold"))]
fn without_archive<E: Env>(handle: &Handle<E>) -> Result<Option<BackupArchive>, Error> {
    if handle.needs_archive() {
        let what =
            "rows have left the tables for the archive: take the backup with a build that knows it";
        return Err(Error::Invalid(what.to_owned()));
    }
    Ok(None)
}
