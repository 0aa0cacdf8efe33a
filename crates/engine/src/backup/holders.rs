//! Which backups still hold an entity: by the filters of their tables, and exactly where a filter does not say no.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::ViewId;
use thermae_formats::backup::{Backup, BackupName, FileKind, FileName};
use thermae_formats::hash::entity_hash;
use thermae_tiering::table::{Scratch, Table};

use super::place::Place;
use crate::checkpoint;
use crate::error::Error;
use crate::handle::Handle;

/// Bytes of a table that are read at once.
const SCAN_BYTES: usize = 64 << 10;

/// A backup that holds entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The backup.
    pub name: BackupName,
    /// When it was taken, microseconds UTC.
    pub taken_us: i64,
    /// How many of the keys it holds anything of.
    pub keys: u64,
}

/// What of a place holds entities.
#[derive(Debug, Default)]
pub struct Holders {
    /// Its backups that do, oldest first.
    pub backups: Vec<Holder>,
    /// Backups that cannot be looked through, and why.
    pub unread: Vec<(BackupName, Error)>,
    /// It has files that no backup names, of one that was interrupted: they may hold anything, and the next backup
    /// there removes them.
    pub has_unfinished: bool,
}

/// What of the backups in a place holds any of these keys of a view. Backups of another store than that of
/// `handle` hold none.
///
/// # Errors
/// The place cannot be listed.
pub fn holders<E: Env>(
    place: &Place<E>,
    handle: &Handle<E>,
    view: ViewId,
    keys: &[Vec<u8>],
) -> Result<Holders, Error> {
    let store_id = handle.manifest().store_id;
    let mut looker = Looker { place, view, keys, known: BTreeMap::new() };
    let mut found = Holders::default();
    let mut named = BTreeSet::new();
    for name in place.names()? {
        let looked = place.read(&name).and_then(|backup| {
            named.extend(backup.names());
            let keys = match backup.manifest.store_id == store_id {
                true => looker.look(&backup)?,
                false => BTreeSet::new(),
            };
            Ok((backup.taken_us, keys.len() as u64))
        });
        match looked {
            Ok((_, 0)) => {}
            Ok((taken_us, keys)) => found.backups.push(Holder { name, taken_us, keys }),
            Err(error) => found.unread.push((name, error)),
        }
    }
    let is_named = |name: &FileName| named.contains(name);
    found.has_unfinished = !place.files()?.keys().all(is_named) || place.has_half_made()?;
    Ok(found)
}

/// Looks through the files of a place, each once.
struct Looker<'a, E: Env> {
    place: &'a Place<E>,
    view: ViewId,
    keys: &'a [Vec<u8>],
    /// Positions of the keys that each file holds.
    known: BTreeMap<FileName, BTreeSet<usize>>,
}

impl<E: Env> Looker<'_, E> {
    /// Positions of the keys that a backup holds anything of.
    fn look(&mut self, backup: &Backup) -> Result<BTreeSet<usize>, Error> {
        let mut found = BTreeSet::new();
        for name in backup.names() {
            if !self.known.contains_key(&name) {
                let held = match name.kind {
                    FileKind::Table => self.in_table(&name, backup)?,
                    FileKind::Checkpoint => self.in_checkpoint(&name, backup)?,
                };
                self.known.insert(name, held);
            }
            found.extend(self.known.get(&name).into_iter().flatten());
        }
        Ok(found)
    }

    fn in_table(&self, name: &FileName, backup: &Backup) -> Result<BTreeSet<usize>, Error> {
        let manifest = &backup.manifest;
        let table_ref = manifest.tables.iter().find(|table| table.file_id == name.file_id);
        let Some(table_ref) = table_ref else { return Ok(BTreeSet::new()) };
        let (file, path) = (self.place.open(name)?, self.place.file_path(name));
        let table = Table::of_file(file, path, &manifest.store_id, table_ref);
        let table = Arc::new(table.map_err(Error::from_warm)?);
        let (mut held, mut scratch) = (BTreeSet::new(), Scratch::new());
        for (at, key) in self.keys.iter().enumerate() {
            let hash = entity_hash(key, manifest.hash_seed);
            if !table.may_hold(self.view, hash) {
                continue;
            }
            let Some(mut rows) = table.view_rows(self.view, &(hash..=hash), SCAN_BYTES) else {
                continue;
            };
            rows.seek(hash, key, &mut scratch).map_err(Error::from_warm)?;
            if rows.peek().is_some_and(|(_, version)| version.key == &key[..]) {
                held.insert(at);
            }
        }
        Ok(held)
    }

    /// An erase that was under way when the backup was taken is in its checkpoint, with the key.
    fn in_checkpoint(&self, name: &FileName, backup: &Backup) -> Result<BTreeSet<usize>, Error> {
        let manifest = &backup.manifest;
        let tree = manifest.trees.iter().find(|tree| tree.checkpoint == name.file_id);
        let Some(tree) = tree else { return Ok(BTreeSet::new()) };
        let (file, path) = (self.place.open(name)?, self.place.file_path(name));
        let checkpoint = checkpoint::read_opened(&file, &path, &manifest.store_id, tree)?;
        let erases = checkpoint.partitions.iter().flat_map(|partition| &partition.erases);
        let erases = erases.filter(|erase| erase.view_id == self.view);
        let keys: BTreeSet<&[u8]> = erases.map(|erase| &*erase.key).collect();
        let named = self.keys.iter().enumerate().filter(|(_, key)| keys.contains(&key[..]));
        Ok(named.map(|(at, _)| at).collect())
    }
}
