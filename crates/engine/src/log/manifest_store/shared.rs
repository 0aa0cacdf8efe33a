//! The manifest of an open directory, as the workers of all shards replace it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use thermae_env::Env;
use thermae_formats::checkpoint::checkpoint_name;
use thermae_formats::manifest::{LogStart, Manifest, SealedLog};
use thermae_formats::table::table_name;

use super::super::LogError;
use super::super::recover::closed;
use super::commit;

/// The directory of tables and checkpoints in a data directory.
pub const WARM: &str = "warm";
/// Hexadecimal digits of a file id in a file name.
const ID_DIGITS: usize = 16;

/// No store comes to ids like these: such a file is a stranger's, and not to be counted on from.
const FOREIGN_IDS: u64 = 1 << 63;

/// Where a log begins by a manifest that is durable: what is before may be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableStart {
    epoch: u32,
    shard: u16,
    start: LogStart,
}

impl DurableStart {
    /// Epoch of the log.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Shard of the log.
    pub const fn shard(&self) -> u16 {
        self.shard
    }

    /// Where it begins.
    pub const fn start(&self) -> &LogStart {
        &self.start
    }
}

/// The manifest of an open directory: one for all shards, whose commits it puts one after the other.
/// It may be used from any thread. A commit blocks its caller for a few writes of the disk and for the
/// commits before it; nothing else here ever waits.
pub struct ManifestStore<E: Env> {
    env: E,
    dir: PathBuf,
    /// What the disk is known to hold.
    durable: ArcSwap<Manifest>,
    committing: Mutex<()>,
    next_file_id: AtomicU64,
}

impl<E: Env> ManifestStore<E> {
    /// Holds `manifest`, which is that of `dir` ([`super::super::Recovered::manifest`]).
    ///
    /// # Errors
    /// The directory of tables cannot be listed.
    pub fn new(env: E, dir: &Path, manifest: Manifest) -> Result<Self, LogError> {
        let next_file_id = AtomicU64::new(first_file_id(&env, dir, &manifest)?);
        let (durable, committing) = (ArcSwap::from_pointee(manifest), Mutex::new(()));
        Ok(Self { env, dir: dir.to_owned(), durable, committing, next_file_id })
    }

    /// The manifest as the last successful commit left it.
    pub fn current(&self) -> Arc<Manifest> {
        self.durable.load_full()
    }

    /// The directory of tables and checkpoints.
    pub fn warm_dir(&self) -> PathBuf {
        self.dir.join(WARM)
    }

    /// Removes the tables and checkpoints that the manifest does not name: what a crash left half made,
    /// or what the last manifest named and this one does not. Best effort but for the listing: the ids of
    /// those that will not go, to be tried again.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn remove_unnamed(&self) -> Result<Vec<u64>, LogError> {
        let (warm, manifest) = (self.warm_dir(), self.current());
        let entries = self.env.list(&warm).map_err(|e| LogError::io("list", &warm, e))?;
        let tables = manifest.tables.iter().map(|table| table_name(table.file_id));
        let checkpoints = manifest.trees.iter().map(|tree| checkpoint_name(tree.checkpoint));
        let named: BTreeSet<String> = tables.chain(checkpoints).collect();
        let is_unnamed = |name: &str| file_id(name).is_some() && !named.contains(name);
        let unnamed = entries.iter().filter(|entry| is_unnamed(&entry.name));
        let left = unnamed.filter(|entry| self.env.remove(&warm.join(&entry.name)).is_err());
        Ok(left.filter_map(|entry| file_id(&entry.name)).collect())
    }

    /// A file id that no other file has or had.
    pub fn next_file_id(&self) -> u64 {
        self.next_file_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the log of `shard` begins by the durable manifest, for
    /// [`super::super::LogWriter::free_before`]; none of a shard without a present log.
    pub fn durable_start(&self, shard: u16) -> Option<DurableStart> {
        let manifest = self.current();
        let log = manifest.current.get(usize::from(shard))?;
        Some(DurableStart { epoch: manifest.epoch, shard, start: log.start })
    }

    /// Replaces the manifest by what `edit` makes of it, durably. Every file that it then names must
    /// be durable under its final name. The file ids handed out until now are taken care of.
    ///
    /// # Errors
    /// [`LogError::Manifest`]: the edit is impossible or takes back what only grows; nothing was
    /// written. Otherwise the disk failed: the manifest here is the one before, but a crash may find
    /// either, so that no file which one of them names may be removed before a later commit
    /// succeeds; that one writes all of it again.
    pub fn commit(&self, edit: impl FnOnce(&mut Manifest)) -> Result<(), LogError> {
        let _one_at_a_time = self.lock();
        let durable = self.current();
        let mut next = Manifest::clone(&durable);
        edit(&mut next);
        next.next_file_id = next.next_file_id.max(self.next_file_id.load(Ordering::Relaxed));
        if let Some(what) = taken_back(&durable, &next) {
            return Err(LogError::Manifest(what.to_owned()));
        }
        self.replace(next)
    }

    /// Closes the epoch after a clean stop; see [`super::super::close_directory`].
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn close(&self, ends: &[Option<SealedLog>]) -> Result<bool, LogError> {
        let _one_at_a_time = self.lock();
        let durable = self.current();
        let Some(next) = closed(&durable, ends) else { return Ok(false) };
        self.replace(next).map(|()| true)
    }

    fn replace(&self, next: Manifest) -> Result<(), LogError> {
        next.check().map_err(|error| LogError::Manifest(error.to_string()))?;
        commit(&self.env, &self.dir, &next)?;
        self.durable.store(Arc::new(next));
        Ok(())
    }

    /// A manifest is replaced whole, so that what a panicking holder left is sound.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of `durable` must not become what it is in `next`, if anything: the logs of older epochs are
/// the opener's alone, and beginnings of present ones only move on.
fn taken_back(durable: &Manifest, next: &Manifest) -> Option<&'static str> {
    let name = |m: &Manifest| (m.store_id, m.hash_seed, m.partitions, m.segment_bytes);
    let logs = |m: &Manifest| (m.epoch, m.current.len(), m.covered_epoch);
    let goes_back = durable.current.iter().zip(&next.current).any(|(before, after)| {
        let (before, after) = (&before.start, &after.start);
        after.segment < before.segment
            || after.batches < before.batches
            || after.records < before.records
            || (after.segment == before.segment && after != before)
    });
    let changes = [
        (name(durable) != name(next), "the store's identity would change"),
        (logs(durable) != logs(next), "the logs of the present epoch would be others"),
        (durable.sealed != next.sealed, "the logs of older epochs would be others"),
        (goes_back, "a log would begin earlier again"),
        (next.next_file_id < durable.next_file_id, "file ids would be given twice"),
    ];
    changes.iter().find(|(is_wrong, _)| *is_wrong).map(|(_, what)| *what)
}

/// The least file id that neither `manifest` nor a file in the directory of tables of `dir` has.
///
/// # Errors
/// The directory cannot be listed.
pub fn first_file_id<E: Env>(env: &E, dir: &Path, manifest: &Manifest) -> Result<u64, LogError> {
    let warm = dir.join(WARM);
    let entries = match env.list(&warm) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(LogError::io("list", &warm, error)),
    };
    let greatest = entries.iter().filter_map(|entry| file_id(&entry.name)).max();
    let behind = greatest.map_or(0, |id| id.saturating_add(1));
    Ok(manifest.next_file_id.max(behind))
}

/// The id in the name of a table or checkpoint, also of one that is being made.
pub fn file_id(name: &str) -> Option<u64> {
    let (digits, kind) = name.split_once('.')?;
    let kind = kind.strip_suffix(".tmp").unwrap_or(kind);
    let is_ours = digits.len() == ID_DIGITS && matches!(kind, "tbl" | "ckp");
    let id = is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    id.filter(|id| *id < FOREIGN_IDS)
}
