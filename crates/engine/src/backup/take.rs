//! Taking a backup: what the place does not have is copied, everything that is new there is read back and
//! checked, and the file that names all of it comes last.

use std::collections::BTreeMap;
use std::sync::Arc;

use thermae_env::{Env, File};
use thermae_formats::backup::{Backup, BackupFile, BackupName, FileKind, FileName};
use thermae_formats::checkpoint::Checkpoint;
use thermae_formats::manifest::{Manifest, Tree};
use thermae_formats::table::{TableKind, TableRef};
use thermae_tiering::buffers::Buffers;
use thermae_tiering::files::WarmFiles;
use thermae_tiering::flush::write_tables;
use thermae_tiering::table::{Table, TableCheck};
use thermae_tiering::tree::Run;

use super::disk::corrupt;
use super::keep::remove_unnamed;
use super::meter::{Meter, Work};
use super::pieces::Reading;
use super::place::Place;
use super::source::Source;
use crate::checkpoint;
use crate::error::Error;

/// Memory for writing the rows of memtables, bytes.
const BUFFER_BYTES: u64 = 8 << 20;

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub name: BackupName,
    /// When the shards were asked for what is in it, microseconds UTC.
    pub taken_us: i64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions in it: superseded ones and tombstones too.
    pub rows: u64,
    /// Files that earlier backups had not.
    pub new_files: u64,
    /// Their bytes.
    pub new_bytes: u64,
}

/// Takes a backup of `source`. It reads every table that the place does not have once, and what it writes
/// twice.
///
/// # Errors
/// The place holds another store's backups, is full, or is written to by others; a table is damaged. No
/// backup is there then but those from before.
pub fn take<E: Env>(
    place: &Place<E>,
    source: &Source<E>,
    work: &mut Work<'_>,
) -> Result<Taken, Error> {
    let _claim = place.claim()?;
    let names = place.names()?;
    // One that cannot be read names nothing that could be used; whoever verifies hears of it.
    let newest = names.last().and_then(|name| place.read(name).ok());
    if newest.as_ref().is_some_and(|is| is.manifest.store_id != source.about.store_id) {
        let dir = place.dir().display();
        return Err(Error::Invalid(format!(
            "{dir} holds the backups of another store; give each store a place of its own"
        )));
    }
    let number = names.last().map_or(0, |name| name.number).checked_add(1);
    let number = number.ok_or_else(|| Error::Invalid("no backup has a later number".to_owned()))?;
    let known = newest.iter().flat_map(|is| is.names().into_iter().zip(is.files.iter().cloned()));
    let mut taking = Taking {
        place,
        source,
        known: known.collect(),
        there: place.files()?,
        next_file_id: first_free_id(source),
        tables: BTreeMap::new(),
        files: BTreeMap::new(),
        new_files: 0,
        new_bytes: 0,
    };
    let missing = taking.missing_bytes();
    taking.check_room(missing)?;
    // Everything that is copied is read back, and then checked as a table.
    let mut meter = Meter::begin(place.env(), work, 3 * missing);
    let trees = taking.trees(&mut meter)?;
    let backup = taking.backup(trees);
    let name = BackupName::new(number, source.taken_us);
    place.put_backup(&name, &backup)?;
    let taken = Taken {
        name,
        taken_us: backup.taken_us,
        files: backup.files.len() as u64,
        bytes: backup.bytes(),
        rows: backup.rows(),
        new_files: taking.new_files,
        new_bytes: taking.new_bytes,
    };
    // The backup is there, whatever becomes of what others left.
    let _ = remove_unnamed(place);
    Ok(taken)
}

/// A number above all that the store has given.
fn first_free_id<E: Env>(source: &Source<E>) -> u64 {
    let runs = source.snapshot.parts().iter().flat_map(|part| part.tree.runs());
    let greatest = runs.map(|run| run.table_ref.file_id).max().unwrap_or(0);
    source.about.next_file_id.max(greatest + 1)
}

struct Taking<'a, E: Env> {
    place: &'a Place<E>,
    source: &'a Source<E>,
    /// Files of the newest backup.
    known: BTreeMap<FileName, BackupFile>,
    /// Files in the place, and their lengths.
    there: BTreeMap<FileName, u64>,
    next_file_id: u64,
    tables: BTreeMap<u64, TableRef>,
    files: BTreeMap<u64, BackupFile>,
    new_files: u64,
    new_bytes: u64,
}

impl<E: Env> Taking<'_, E> {
    /// Bytes of the tables that are not in the place.
    fn missing_bytes(&self) -> u64 {
        let runs = self.source.snapshot.parts().iter().flat_map(|part| part.tree.runs());
        let all: BTreeMap<_, _> = runs.map(|run| (name_of(&run.table_ref), run)).collect();
        let missing = all.iter().filter(|(name, _)| !self.there.contains_key(name));
        missing.map(|(_, run)| run.table_ref.bytes).sum()
    }

    fn check_room(&self, bytes: u64) -> Result<(), Error> {
        let dir = self.place.dir();
        let free = self.place.free_bytes();
        let free = free.map_err(|e| Error::io(format!("measuring {}", dir.display()), e))?;
        let Some(free) = free.filter(|free| *free < bytes) else { return Ok(()) };
        let what = format!("{} needs {bytes} bytes more, {free} are free", dir.display());
        Err(Error::io(what, std::io::ErrorKind::StorageFull.into()))
    }

    /// Puts the files of every shard there; the trees that they make.
    fn trees(&mut self, meter: &mut Meter<'_, '_, E>) -> Result<Vec<Tree>, Error> {
        let snapshot = &self.source.snapshot;
        let schemas = checkpoint::schemas(snapshot.catalogue())?;
        let mut trees = Vec::new();
        for (part, partitions) in snapshot.parts().iter().zip(snapshot.checkpoints()) {
            let (mut latest, mut history) = (Vec::new(), Vec::new());
            for memtable in &part.memtables {
                for table in self.flush(memtable, meter)? {
                    match table.kind {
                        TableKind::Latest => latest.push(table.file_id),
                        TableKind::History => history.push(table.file_id),
                    }
                }
            }
            for run in part.tree.runs() {
                self.table(run, meter)?;
            }
            latest.extend(part.tree.latest.iter().map(|run| run.table_ref.file_id));
            history.extend(part.tree.history.iter().map(|run| run.table_ref.file_id));
            let now = Checkpoint {
                store_id: self.source.about.store_id,
                file_id: self.free_id(),
                generation: snapshot.catalogue().generation(),
                catalogue: schemas.clone(),
                partitions: partitions.to_vec(),
            };
            let (checkpoint, checkpoint_checksum) = (now.file_id, self.checkpoint(&now, meter)?);
            let shard = trees.len() as u16;
            trees.push(Tree { shard, latest, history, checkpoint, checkpoint_checksum });
        }
        Ok(trees)
    }

    fn free_id(&mut self) -> u64 {
        self.next_file_id += 1;
        self.next_file_id - 1
    }

    /// Writes the rows of a memtable to tables.
    fn flush(
        &mut self,
        memtable: &thermae_tiering::memtable::Memtable,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<Vec<TableRef>, Error> {
        let files = WarmFiles {
            env: self.place.env().clone(),
            dir: self.place.making(),
            store_id: self.source.about.store_id,
            hash_seed: self.source.about.hash_seed,
            buffers: Buffers::within(BUFFER_BYTES),
        };
        let tables = write_tables(&files, memtable, &mut || self.free_id());
        let tables = tables.map_err(Error::from_warm)?;
        for table in &tables {
            let name = name_of(table);
            self.place.adopt(&name.in_store(), &name, meter)?;
            self.note_new(table.bytes);
            let file = self.examine(&name, table, None, meter)?;
            self.note(name, file);
            self.tables.insert(table.file_id, *table);
        }
        Ok(tables)
    }

    /// Sees to it that a table is there.
    fn table(&mut self, run: &Run<E>, meter: &mut Meter<'_, '_, E>) -> Result<(), Error> {
        let table = &run.table_ref;
        if self.tables.insert(table.file_id, *table).is_some() {
            return Ok(());
        }
        let name = name_of(table);
        let is_there = self.there.get(&name) == Some(&table.bytes);
        if let Some(known) = self.known.get(&name).filter(|_| is_there) {
            self.files.insert(table.file_id, known.clone());
            return Ok(());
        }
        // One that a backup left which did not come to its end: whole, if its bytes are sound.
        let left = if is_there { self.examine(&name, table, None, meter).ok() } else { None };
        let file = match left {
            Some(file) => file,
            None => self.copy(&name, run, meter)?,
        };
        self.note(name, file);
        Ok(())
    }

    fn copy(
        &mut self,
        name: &FileName,
        run: &Run<E>,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<BackupFile, Error> {
        let (file, path, bytes) = (run.table.file(), run.table.path(), run.table_ref.bytes);
        if self.there.contains_key(name) {
            self.place.remove_files(std::slice::from_ref(name))?;
        }
        let reading = Reading { file, path, bytes };
        self.place.put_copy(name, &reading, meter)?;
        self.note_new(bytes);
        self.examine(name, &run.table_ref, Some(&run.table), meter)
    }

    /// Reads a table that is there: every row of it must be sound.
    ///
    /// # Errors
    /// It is not: then it is removed. Where its `original` is not either, that is named.
    fn examine(
        &self,
        name: &FileName,
        table: &TableRef,
        original: Option<&Arc<Table<E::File>>>,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<BackupFile, Error> {
        let examined = self.read_back(name, table, meter);
        examined.map_err(|error| match error {
            Error::Corrupt { .. } => {
                let original = original.and_then(|table| check(table, &mut |_| Ok(())).err());
                let _ = self.place.remove_files(std::slice::from_ref(name));
                original.unwrap_or(error)
            }
            error => error,
        })
    }

    fn read_back(
        &self,
        name: &FileName,
        table: &TableRef,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<BackupFile, Error> {
        let (path, bytes) = (self.place.file_path(name), table.bytes);
        let file = self.place.open(name)?;
        let pieces = Reading { file: &file, path: &path, bytes }.sums(meter)?;
        // The same file: what was read is what is checked.
        let store_id = &self.source.about.store_id;
        let copy = Table::of_file(file, path, store_id, table);
        check(&Arc::new(copy.map_err(Error::from_warm)?), &mut |bytes| meter.advance(bytes))?;
        Ok(BackupFile { file_id: table.file_id, bytes, pieces })
    }

    /// Writes a checkpoint; its checksum.
    fn checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<u64, Error> {
        let (bytes, checksum) = checkpoint.to_bytes();
        let file_id = checkpoint.file_id;
        let name = FileName { file_id, checksum, kind: FileKind::Checkpoint };
        if self.there.contains_key(&name) {
            self.place.remove_files(&[name])?;
        }
        self.place.put_bytes(&name, &bytes)?;
        self.note_new(bytes.len() as u64);
        let path = self.place.file_path(&name);
        let file = self.place.open(&name)?;
        let len = bytes.len() as u64;
        let pieces = Reading { file: &file, path: &path, bytes: len }.sums(meter)?;
        let written = bytes.chunks(thermae_formats::backup::PIECE_BYTES as usize);
        if !written.map(xxhash_rust::xxh3::xxh3_64).eq(pieces.iter().copied()) {
            return Err(corrupt(&path, 0, "not what was just written".to_owned()));
        }
        self.note(name, BackupFile { file_id, bytes: len, pieces });
        Ok(checksum)
    }

    fn note_new(&mut self, bytes: u64) {
        self.new_files += 1;
        self.new_bytes += bytes;
    }

    fn note(&mut self, name: FileName, file: BackupFile) {
        self.there.insert(name, file.bytes);
        self.files.insert(file.file_id, file);
    }

    /// The backup of all that was put there: no logs, and their epoch is over.
    fn backup(&mut self, trees: Vec<Tree>) -> Backup {
        let about = &self.source.about;
        let manifest = Manifest {
            covered_epoch: about.epoch,
            current: Vec::new(),
            sealed: Vec::new(),
            next_file_id: self.next_file_id,
            tables: std::mem::take(&mut self.tables).into_values().collect(),
            trees,
            ..Manifest::clone(about)
        };
        let files = std::mem::take(&mut self.files).into_values().collect();
        let (archive, attachments) = (self.source.archive.clone(), self.source.attachments.clone());
        Backup { taken_us: self.source.taken_us, manifest, files, archive, attachments }
    }
}

fn name_of(table: &TableRef) -> FileName {
    FileName { file_id: table.file_id, checksum: table.checksum, kind: FileKind::Table }
}

/// Reads every row of a table.
///
/// # Errors
/// The first thing that is wrong with it.
fn check<F: File>(
    table: &Arc<Table<F>>,
    advance: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut check = TableCheck::new(Arc::clone(table));
    let mut told_bytes = 0;
    while check.step() && !check.has_findings() {
        advance(check.checked_bytes() - told_bytes)?;
        told_bytes = check.checked_bytes();
    }
    check.finish().into_iter().next().map_or(Ok(()), |error| Err(Error::from_warm(error)))
}
