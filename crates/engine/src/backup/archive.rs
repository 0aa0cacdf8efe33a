//! The archive of a store that is backed up: what the backup says of it, and how a restore comes by it again.
//!
//! A backup names the objects of the archive and does not hold them. A restore reads each and compares it with its
//! name, which is its content's hash. Then the directory goes on with that archive, if that has not gone on
//! itself; or with a copy of what the backup names, which is an archive of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::backup::{ArchiveTable, Backup, BackupArchive, BackupName};
use thermae_formats::manifest::Manifest;
use thermae_tiering::cold::{
    ColdError, Objects, Snapshot as TableSnapshot, Store, begin_with, check_object, copy_object,
};

use super::below::Below;
use super::meter::Work;
use super::place::Place;
use super::restore::{Restored, restore_over};
use crate::anchor::Anchor;
use crate::archive::{ArchiveError, marker, put_marker};
use crate::error::Error;
use crate::snapshot::Snapshot;

/// Where the archive of a restored store is, and where it is to be.
pub struct ArchiveRoots {
    /// The archive that the store wrote to.
    pub from: Arc<dyn Objects>,
    /// An empty root to which what the backup names is copied; none: the directory goes on with the archive itself.
    pub to: Option<Arc<dyn Objects>>,
}

/// [`restore`](super::restore) of a backup that needs the store's archive.
///
/// # Errors
/// As there; the archive is another, an object that the backup names is not there any more, or not what its
/// name says. The root that is copied to has no archive then, whatever objects lie in it.
pub fn restore_with_archive<E: Env>(
    place: &Place<E>,
    name: Option<&BackupName>,
    data: &Path,
    roots: &ArchiveRoots,
    work: &mut Work<'_>,
) -> Result<Restored, Error> {
    let mut below = WithArchive::new(roots, place.env());
    restore_over(place, name, data, &mut below, work)
}

/// What a backup of `snapshot` says of the archive; none where no row has left the tables for it.
///
/// # Errors
/// The archive is not there to be looked at; or it has rows already that came after the snapshot.
pub(super) fn of_snapshot<E: Env>(
    snapshot: &Snapshot<E>,
    taken_us: i64,
) -> Result<Option<BackupArchive>, Error> {
    let (needed, part) = snapshot.below();
    if needed.is_empty() {
        return Ok(None);
    }
    let attached = part.attached().map_err(Error::Archive)?;
    if let Some(why) = attached.unread.values().next() {
        return Err(Error::Archive(why.clone()));
    }
    let mut tables = BTreeMap::new();
    for view in attached.views.values() {
        let is_ahead = |(partition, to): (u16, u64)| {
            let applied = snapshot.applied().get(usize::from(partition));
            applied.is_none_or(|applied| to > applied.saturating_add(1))
        };
        if view.archived().into_iter().any(is_ahead) {
            let what = "the archive has gone on while the shards were asked".to_owned();
            return Err(Error::Overloaded(what, 1));
        }
        for table in view.snapshots().filter(|table| table.commits() > 0) {
            let state = table.to_state(taken_us).map_err(told)?;
            let table_of = ArchiveTable { commits: table.commits(), state };
            tables.insert(table.table().to_owned(), table_of);
        }
    }
    Ok(Some(BackupArchive { id: attached.id, views: needed.clone(), tables }))
}

/// A restore with an archive.
struct WithArchive<'a> {
    roots: &'a ArchiveRoots,
    store: Store,
    tables: Vec<TableSnapshot>,
    taken_us: i64,
    /// The id that the directory will name.
    id: u128,
}

impl<'a> WithArchive<'a> {
    fn new<E: Env>(roots: &'a ArchiveRoots, env: &E) -> Self {
        let store = Store { id: [0; 16], hash_seed: 0, partitions: 0 };
        let id = (u128::from(env.random_u64()) << 64) | u128::from(env.random_u64());
        Self { roots, store, tables: Vec::new(), taken_us: 0, id }
    }

    fn named(&self, root: &dyn Objects, what: &str) -> Result<Option<u128>, Error> {
        let found = marker(root).map_err(|error| match error {
            ArchiveError::Cold(error) => told(error),
            error => Error::Archive(error.to_string()),
        })?;
        let Some((store, id)) = found else { return Ok(None) };
        if store != self.store.id_text() {
            return Err(Error::Invalid(format!("{what} is the root of another store's archive")));
        }
        Ok(Some(id))
    }

    /// Whether the archive is as the backup has it: then the directory may go on with it.
    fn check_age(&self) -> Result<(), Error> {
        for table in &self.tables {
            let now = TableSnapshot::load(&*self.roots.from, table.table(), self.store);
            let (now, then) = (now.map_err(told)?.commits(), table.commits());
            if now != then {
                return Err(Error::Invalid(format!(
                    "the archive has gone on since: {} has {now} commits, the backup knows {then}; copy what the \
                     backup names to an empty root (--with-archive ROOT)",
                    table.table()
                )));
            }
        }
        Ok(())
    }
}

impl Below for WithArchive<'_> {
    fn bytes(&self) -> u64 {
        self.tables.iter().flat_map(TableSnapshot::files).map(|file| file.bytes).sum()
    }

    fn find(&mut self, backup: &Backup, earlier: Option<Anchor>) -> Result<Option<Anchor>, Error> {
        let Some(archive) = &backup.archive else {
            let what = "this backup needs no archive: no row had left for one; leave --archive out";
            return Err(Error::Invalid(what.to_owned()));
        };
        let Manifest { store_id, hash_seed, partitions, .. } = &backup.manifest;
        self.store = Store { id: *store_id, hash_seed: *hash_seed, partitions: *partitions };
        self.taken_us = backup.taken_us;
        if self.named(&*self.roots.from, "--archive")? != Some(archive.id) {
            let what =
                "--archive is not the root of the archive that the store of this backup wrote to";
            return Err(Error::Invalid(what.to_owned()));
        }
        let table = |(path, table): (&String, &ArchiveTable)| {
            TableSnapshot::of_state(path, self.store, table.commits, &table.state)
        };
        let tables: Result<Vec<_>, _> = archive.tables.iter().map(table).collect();
        self.tables = tables.map_err(told)?;
        let commits =
            |table: &TableSnapshot| if self.roots.to.is_some() { 1 } else { table.commits() };
        let commits = self.tables.iter().map(|table| (table.table().to_owned(), commits(table)));
        let mut anchor =
            Anchor { id: archive.id, tables: commits.collect(), views: archive.views.clone() };
        let Some(to) = &self.roots.to else {
            self.check_age()?;
            return Ok(Some(anchor));
        };
        let found = self.named(&**to, "--with-archive")?;
        // A restore that did not come to its end goes on where it was.
        if let Some(earlier) = earlier.filter(|earlier| earlier.id != archive.id) {
            self.id = earlier.id;
        }
        if found.is_some_and(|found| found != self.id) {
            let what = "--with-archive is the root of an archive already: give an empty one";
            return Err(Error::Invalid(what.to_owned()));
        }
        anchor.id = self.id;
        Ok(Some(anchor))
    }

    fn bring(&self, advance: &mut dyn FnMut(u64) -> Result<(), Error>) -> Result<(), Error> {
        for table in &self.tables {
            for file in table.files() {
                match &self.roots.to {
                    Some(to) => copy_object(&*self.roots.from, &**to, table, file),
                    None => check_object(&*self.roots.from, table, file).map(|_| ()),
                }
                .map_err(told)?;
                advance(file.bytes)?;
            }
            if let Some(to) = &self.roots.to {
                begin_with(&**to, table, self.taken_us).map_err(told)?;
            }
        }
        Ok(())
    }

    fn name(&self) -> Result<(), Error> {
        let Some(to) = &self.roots.to else { return Ok(()) };
        let put = put_marker(&**to, &self.store, self.id);
        put.map_err(|error| Error::Archive(error.to_string()))?;
        if self.named(&**to, "--with-archive")? == Some(self.id) {
            return Ok(());
        }
        let what = "another restore to the same --with-archive root came first: give an empty one";
        Err(Error::Invalid(what.to_owned()))
    }
}

fn told(error: ColdError) -> Error {
    match error {
        ColdError::Damaged { object, offset_bytes, what } => {
            Error::Corrupt { file: object, offset: offset_bytes, what }
        }
        error => Error::io("the archive".to_owned(), std::io::Error::other(error)),
    }
}
