//! The registry on disk: one file, one transaction a change.
//!
//! All of it is in memory while the registry is open; the database is read once and then only written. At each
//! open, and after a write that failed, the file is made anew from memory, under another name first: pages
//! that a failed sync left behind are not trusted, however right they look.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};
use thermae_env::{Env, File, OpenHow};

use super::door::{Door, Memory};
use super::records::{FORMAT, Intent, LogEntry, decode, encode, object_key};
use crate::error::Error;
use crate::model::Object;
use crate::state::{State, Switch};

/// The file, in the data directory.
pub const FILE: &str = "registry.redb";
const NEW: &str = "registry.redb.new";
/// The database's own cache, bytes: it is read once.
const CACHE_BYTES: usize = 1 << 20;
/// No file of a registry is longer, bytes: [`MAX_OBJECTS`](super::MAX_OBJECTS) of them are far from it.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Entries that the log keeps.
pub(super) const LOG_ENTRIES_MAX: usize = 10_000;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const SWITCHES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("switches");
const WATERMARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("watermarks");
const INTENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("intents");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const INTENT: &str = "apply";

/// What a registry's file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub state: State,
    pub intent: Option<Intent>,
    /// By key: how far something has been loaded.
    pub watermarks: std::collections::BTreeMap<String, u64>,
    /// Newest last.
    pub log: std::collections::BTreeMap<u64, LogEntry>,
}

/// What one transaction writes; all or nothing of it.
#[derive(Default)]
pub(super) struct Write<'a> {
    /// The version afterwards, and what the log says of it.
    pub version: Option<(u64, &'a LogEntry)>,
    pub objects: Vec<&'a Object>,
    pub switches: Vec<(&'a (String, String), &'a Switch)>,
    pub watermarks: Vec<(&'a str, u64)>,
    /// `Some(None)` clears it.
    pub intent: Option<Option<&'a Intent>>,
}

/// The open file.
pub(super) struct Database<E: Env> {
    env: E,
    dir: PathBuf,
    /// None after a write failed.
    open: Option<redb::Database>,
}

impl<E: Env> Database<E> {
    /// Opens the registry of a data directory, making it when there is none.
    pub fn open(env: E, dir: &Path) -> Result<(Self, Held), Error> {
        let mut database = Database { env, dir: dir.to_owned(), open: None };
        let path = dir.join(FILE);
        let failed = |e: io::Error| database.failed(&e);
        if !database.env.exists(&path).map_err(failed)? {
            database.make(&Held::default())?;
            return Ok((database, Held::default()));
        }
        let file = database.env.open(&path, OpenHow::READ).map_err(failed)?;
        let bytes = whole(&file).map_err(failed)?;
        if bytes.is_empty() {
            return Err(database.failed(&"it is empty"));
        }
        // A copy: opening repairs, and closing commits, and neither may touch a file of which nobody knows what is
        // durable.
        let held = opened(Memory::of(bytes)).and_then(|open| read(&open));
        let held = held.map_err(|e| database.failed(&e))?;
        database.make(&held)?;
        Ok((database, held))
    }

    /// Writes what is to be written in one transaction; durable when this returns. `held` is what is in
    /// memory, without it.
    pub fn write(&mut self, held: &Held, write: &Write<'_>) -> Result<(), Error> {
        if self.open.is_none() {
            self.make(held)?;
        }
        let Some(open) = self.open.take() else { return Err(self.failed(&"it is not open")) };
        match commit(&open, write) {
            Ok(()) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The bytes of a file that holds this.
    pub fn image(&self, held: &Held) -> Result<Vec<u8>, Error> {
        let memory = Memory::default();
        // Closing it makes the file whole.
        drop(filled(memory.clone(), held).map_err(|e| self.failed(&e))?);
        Ok(memory.take())
    }

    /// Makes the file anew.
    fn make(&mut self, held: &Held) -> Result<(), Error> {
        let (path, new) = (self.dir.join(FILE), self.dir.join(NEW));
        let made = self.make_at(&new, held).and_then(|open| {
            self.env.rename(&new, &path)?;
            self.env.sync_dir(&self.dir)?;
            Ok(open)
        });
        self.open = Some(made.map_err(|e| self.failed(&e))?);
        Ok(())
    }

    fn make_at(&self, path: &Path, held: &Held) -> Result<redb::Database, redb::Error> {
        if self.env.exists(path)? {
            self.env.remove(path)?;
        }
        filled(Door(self.env.open(path, OpenHow::CREATE)?), held)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        let file = self.dir.join(FILE).display().to_string();
        let what = format!(
            "{error}. If it is damaged, restore it from a copy, or move it away: views are then taken from the \
             store, and definitions that are applied again bring the rest"
        );
        Error::Database { file, what }
    }
}

/// A new database that holds this.
fn filled(storage: impl StorageBackend, held: &Held) -> Result<redb::Database, redb::Error> {
    let open = opened(storage)?;
    let txn = open.begin_write()?;
    txn.open_table(META)?.insert("format", FORMAT)?;
    txn.open_table(META)?.insert("version", held.state.version)?;
    let objects: Vec<&Object> = held.state.objects().map(Arc::as_ref).collect();
    let write = Write {
        version: None,
        objects,
        switches: held.state.switches.iter().collect(),
        watermarks: held.watermarks.iter().map(|(key, at)| (key.as_str(), *at)).collect(),
        intent: Some(held.intent.as_ref()),
    };
    fill(&txn, &write)?;
    for (version, entry) in &held.log {
        let bytes = encode(&version.to_string(), entry).map_err(other)?;
        txn.open_table(LOG)?.insert(version, bytes.as_slice())?;
    }
    txn.commit()?;
    Ok(open)
}

fn opened(storage: impl StorageBackend) -> Result<redb::Database, redb::Error> {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(storage)?)
}

fn whole<F: File>(file: &F) -> io::Result<Vec<u8>> {
    let len_bytes = file.len_bytes()?;
    if len_bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is {len_bytes} bytes long, and no registry is")));
    }
    let mut bytes = vec![0; len_bytes as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn commit(open: &redb::Database, write: &Write<'_>) -> Result<(), redb::Error> {
    let txn = open.begin_write()?;
    fill(&txn, write)?;
    Ok(txn.commit()?)
}

fn fill(txn: &WriteTransaction, write: &Write<'_>) -> Result<(), redb::Error> {
    let mut objects = txn.open_table(OBJECTS)?;
    for object in &write.objects {
        let key = object_key(&object.id);
        let bytes = encode(&key, object).map_err(other)?;
        objects.insert(key.as_str(), bytes.as_slice())?;
    }
    let mut switches = txn.open_table(SWITCHES)?;
    for ((project, view), switch) in &write.switches {
        let key = format!("{project}/{view}");
        let bytes = encode(&key, switch).map_err(other)?;
        switches.insert(key.as_str(), bytes.as_slice())?;
    }
    let mut watermarks = txn.open_table(WATERMARKS)?;
    for (key, at) in &write.watermarks {
        watermarks.insert(*key, at)?;
    }
    let mut intents = txn.open_table(INTENTS)?;
    match write.intent {
        None => {}
        Some(None) => drop(intents.remove(INTENT)?),
        Some(Some(intent)) => {
            let bytes = encode(INTENT, intent).map_err(other)?;
            intents.insert(INTENT, bytes.as_slice())?;
        }
    }
    let mut log = txn.open_table(LOG)?;
    if let Some((version, entry)) = write.version {
        txn.open_table(META)?.insert("version", version)?;
        let bytes = encode(&version.to_string(), entry).map_err(other)?;
        log.insert(version, bytes.as_slice())?;
        if let Some(old) = version.checked_sub(LOG_ENTRIES_MAX as u64) {
            log.remove(old)?;
        }
    }
    Ok(())
}

fn read(open: &redb::Database) -> Result<Held, redb::Error> {
    let txn = open.begin_read()?;
    let meta = txn.open_table(META)?;
    let number = |key: &str| -> Result<u64, redb::Error> {
        let found = meta.get(key)?.map(|found| found.value());
        found.ok_or_else(|| other(format!("{key} is missing")))
    };
    let format = number("format")?;
    if format != FORMAT {
        return Err(other(format!("format {format} is not known; this version reads {FORMAT}")));
    }
    let mut held = Held::default();
    held.state.version = number("version")?;
    for entry in txn.open_table(OBJECTS)?.iter()? {
        let (key, bytes) = entry?;
        let object: Object = decode(key.value(), bytes.value()).map_err(other)?;
        if object_key(&object.id) != key.value() {
            return Err(other(format!("{} lies under {}", object.id, key.value())));
        }
        held.state.objects.insert(object.id.clone(), Arc::new(object));
    }
    for entry in txn.open_table(SWITCHES)?.iter()? {
        let (key, bytes) = entry?;
        let switch: Switch = decode(key.value(), bytes.value()).map_err(other)?;
        let (project, view) = key.value().split_once('/').ok_or_else(|| other("a key".into()))?;
        held.state.switches.insert((project.to_owned(), view.to_owned()), switch);
    }
    for entry in txn.open_table(WATERMARKS)?.iter()? {
        let (key, at) = entry?;
        held.watermarks.insert(key.value().to_owned(), at.value());
    }
    if let Some(bytes) = txn.open_table(INTENTS)?.get(INTENT)? {
        held.intent = Some(decode(INTENT, bytes.value()).map_err(other)?);
    }
    for entry in txn.open_table(LOG)?.iter()? {
        let (version, bytes) = entry?;
        let version = version.value();
        held.log.insert(version, decode(&version.to_string(), bytes.value()).map_err(other)?);
    }
    Ok(held)
}

fn other(what: String) -> redb::Error {
    redb::Error::Corrupted(what)
}
