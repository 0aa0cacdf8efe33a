//! What a table is after all commits so far.

use std::collections::BTreeMap;

use thermae_formats::SchemaId;
use thermae_formats::hash::SLOTS;

use super::action::{Action, MetaData, decode};
use crate::cold::objects::{ObjectError, Objects};
use crate::cold::{ARCHIVE_VERSION, ColdError, FileRef, Store};

/// Times that a commit is read which does not verify, before it counts as damaged, or whose read fails: an answer
/// may come cut, or not at all, and a table has thousands of commits to be read one after the other.
const READ_ATTEMPTS: usize = 8;

/// A table's files, and how far each partition is archived in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    table: String,
    store: Store,
    /// Version that the next commit would have: the number of commits so far.
    pub(super) next_version: u64,
    /// Schema of the table's newest definition; `None` before the first commit.
    pub(super) schema_id: Option<SchemaId>,
    /// The newest definition, whole.
    pub(super) metadata: Option<MetaData>,
    pub(super) files: BTreeMap<String, FileRef>,
    /// When each of them came in, in milliseconds UTC.
    pub(super) added: BTreeMap<String, i64>,
    /// Files that are no longer of the table, and when they left it, in milliseconds UTC.
    pub(super) removed: BTreeMap<String, i64>,
    pub(super) archived: BTreeMap<u16, u64>,
    /// Version of the newest checkpoint that this one knows.
    pub(super) checkpoint: Option<u64>,
}

impl Snapshot {
    /// Reads the table at the path `table`, which may have no commit yet: its newest checkpoint, and the commits
    /// after that.
    ///
    /// # Errors
    /// The object store fails; a commit is missing or not what was written; the table is of another store, or
    /// another writer changed it.
    pub fn load(objects: &dyn Objects, table: &str, store: Store) -> Result<Self, ColdError> {
        let mut attempt = 1;
        loop {
            let (mut snapshot, damage) = Self::from_checkpoint(objects, table, store)?;
            while snapshot.read_next(objects)? {}
            if !snapshot.is_behind(objects)? {
                return Ok(snapshot);
            }
            // Another one may have cleaned the log, or committed, while this one read it.
            if attempt == READ_ATTEMPTS {
                let what = "it is missing, and later commits are there";
                let missing = || ColdError::damaged(&snapshot.commit_path(), 0, what);
                return Err(damage.unwrap_or_else(missing));
            }
            attempt += 1;
        }
    }

    /// The newest checkpoint that reads, or a table without commits; and what was wrong with newer ones. A damaged one
    /// costs reading more commits, as long as those are there.
    fn from_checkpoint(
        objects: &dyn Objects,
        table: &str,
        store: Store,
    ) -> Result<(Self, Option<ColdError>), ColdError> {
        let mut damage = None;
        for version in checkpoints(objects, table)?.into_iter().rev() {
            let mut snapshot = Self::empty(table, store);
            let path = checkpoint_path(table, version);
            match snapshot.read(objects, &path, version) {
                Ok(Some(actions)) => {
                    snapshot.apply_all(&path, &actions)?;
                    (snapshot.next_version, snapshot.checkpoint) = (version + 1, Some(version));
                    return Ok((snapshot, damage));
                }
                // Another one cleaned it away: then there is a newer one.
                Ok(None) => {}
                Err(error) if error.is_damage() => damage = damage.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Ok((Self::empty(table, store), damage))
    }

    /// Whether commits are listed that this one does not know: those before them were cleaned away, or came since.
    fn is_behind(&self, objects: &dyn Objects) -> Result<bool, ColdError> {
        let prefix = format!("{}/_delta_log/", self.table);
        let known = match self.next_version.checked_sub(1) {
            Some(last) => format!("{prefix}{last:020}.json"),
            None => String::new(),
        };
        let listed = objects.list(&prefix, &known);
        let listed = listed.map_err(|error| ColdError::objects("list", &prefix, error))?;
        let last = listed.iter().filter_map(|object| commit_version(&object.path)).max();
        Ok(last.is_some_and(|last| last >= self.next_version))
    }

    pub(super) fn empty(table: &str, store: Store) -> Self {
        Self {
            table: table.to_owned(),
            store,
            next_version: 0,
            schema_id: None,
            metadata: None,
            files: BTreeMap::new(),
            added: BTreeMap::new(),
            removed: BTreeMap::new(),
            archived: BTreeMap::new(),
            checkpoint: None,
        }
    }

    /// Reads what was committed since; whether there was something.
    ///
    /// # Errors
    /// As [`Snapshot::load`]; the snapshot is as far as it read.
    pub fn update(&mut self, objects: &dyn Objects) -> Result<bool, ColdError> {
        let before = self.next_version;
        while self.read_next(objects)? {}
        // The next commit may be missing because it was cleaned away: only the later ones tell.
        if self.is_behind(objects)? {
            *self = Self::load(objects, &self.table, self.store)?;
        }
        Ok(self.next_version > before)
    }

    /// The table's path.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The store that it is of.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.next_version
    }

    /// Schema of the newest definition; `None` before the first commit.
    pub fn schema_id(&self) -> Option<SchemaId> {
        self.schema_id
    }

    /// Its files, in the order of their paths, which is that of their days.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.files.values()
    }

    /// The file of that path.
    pub fn file(&self, path: &str) -> Option<&FileRef> {
        self.files.get(path)
    }

    /// Files that may hold rows whose event time and entity hash lie in these ranges, ends included.
    pub fn files_between(
        &self,
        event_times: (i64, i64),
        hashes: (u64, u64),
    ) -> impl Iterator<Item = &FileRef> {
        self.files.values().filter(move |file| {
            file.event_times.0 <= event_times.1
                && event_times.0 <= file.event_times.1
                && file.hashes.0 <= hashes.1
                && hashes.0 <= file.hashes.1
        })
    }

    /// First sequence of a partition that is not archived: all before it are.
    pub fn archived(&self, partition: u16) -> u64 {
        self.archived.get(&partition).copied().unwrap_or(0)
    }

    /// [`Snapshot::archived`] of every partition of which anything is.
    pub fn archived_partitions(&self) -> &BTreeMap<u16, u64> {
        &self.archived
    }

    /// Where an object of the table lies.
    pub fn object(&self, path: &str) -> String {
        format!("{}/{path}", self.table)
    }

    /// When a file left the table, in microseconds UTC; `None` if it never was in it, or is.
    pub fn removed_at_us(&self, path: &str) -> Option<i64> {
        self.removed.get(path).map(|at_ms| at_ms.saturating_mul(1_000))
    }

    /// The next commit's object.
    pub(super) fn commit_path(&self) -> String {
        format!("{}/_delta_log/{:020}.json", self.table, self.next_version)
    }

    pub(super) fn app_id(&self, partition: u16) -> String {
        format!("thermae/{}/{partition}", self.store.id_text())
    }

    fn read_next(&mut self, objects: &dyn Objects) -> Result<bool, ColdError> {
        let path = self.commit_path();
        let Some(actions) = self.read(objects, &path, self.next_version)? else {
            return Ok(false);
        };
        self.apply_all(&path, &actions)?;
        self.next_version += 1;
        Ok(true)
    }

    /// The actions of a commit or checkpoint of that version; none: there is no such object.
    fn read(
        &self,
        objects: &dyn Objects,
        path: &str,
        version: u64,
    ) -> Result<Option<Vec<Action>>, ColdError> {
        let mut attempt = 1;
        loop {
            let bytes = match objects.get(path) {
                Ok(bytes) => bytes,
                Err(ObjectError::NotFound) => return Ok(None),
                Err(error) if error.is_transient() && attempt < READ_ATTEMPTS => {
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(ColdError::objects("read", path, error)),
            };
            match decode(version, &bytes) {
                Ok(actions) => return Ok(Some(actions)),
                Err(_) if attempt < READ_ATTEMPTS => attempt += 1,
                Err(what) => return Err(ColdError::damaged(path, 0, what)),
            }
        }
    }

    /// Applies the actions of a commit or checkpoint, all or none.
    pub(super) fn apply_all(&mut self, path: &str, actions: &[Action]) -> Result<(), ColdError> {
        let steps = actions.iter().map(|action| self.step(path, action));
        for step in steps.collect::<Result<Vec<_>, _>>()? {
            match step {
                Step::Nothing => {}
                Step::Schema(schema_id, metadata) => {
                    (self.schema_id, self.metadata) = (Some(schema_id), Some(metadata));
                }
                Step::Add(file, at_ms) => {
                    self.removed.remove(&file.path);
                    self.added.insert(file.path.clone(), at_ms);
                    self.files.insert(file.path.clone(), file);
                }
                Step::Remove(path, at_ms) => {
                    self.files.remove(&path);
                    self.added.remove(&path);
                    self.removed.insert(path, at_ms);
                }
                Step::Archived(partition, to) => {
                    self.archived.insert(partition, to);
                }
            }
        }
        Ok(())
    }

    /// What an action of the commit at `path` means for the table.
    fn step(&self, path: &str, action: &Action) -> Result<Step, ColdError> {
        let damaged = |what: &str| ColdError::damaged(path, 0, what);
        match action {
            Action::CommitInfo(_) => Ok(Step::Nothing),
            Action::Protocol(protocol)
                if protocol.min_reader_version > 1 || protocol.min_writer_version > 2 =>
            {
                Err(damaged("it asks for a protocol that another writer chose"))
            }
            Action::Protocol(_) => Ok(Step::Nothing),
            Action::MetaData(metadata) => {
                let schema_id = self.schema_of(path, metadata)?;
                Ok(Step::Schema(schema_id, metadata.clone()))
            }
            Action::Add(add) => {
                let file = add.to_file().map_err(|what| damaged(&what))?;
                Ok(Step::Add(file, add.modification_time))
            }
            Action::Remove(remove) => {
                Ok(Step::Remove(remove.path.clone(), remove.deletion_timestamp))
            }
            Action::Txn(txn) => {
                let partition = txn.app_id.rsplit('/').next().and_then(|text| text.parse().ok());
                let partition = partition.filter(|partition| *partition < SLOTS);
                let partition = partition.ok_or_else(|| damaged("a txn of no partition"))?;
                Ok(Step::Archived(partition, txn.version))
            }
        }
    }

    /// Schema of a definition, which is to be of this store and format.
    fn schema_of(&self, path: &str, metadata: &MetaData) -> Result<SchemaId, ColdError> {
        let get = |key: &str| metadata.configuration.get(key).map_or("", String::as_str);
        let version = get("thermae.format");
        if version != ARCHIVE_VERSION.to_string() {
            let (object, version) = (path.to_owned(), version.to_owned());
            return Err(ColdError::Version { object, version });
        }
        let (found, expected) = (get("thermae.store").to_owned(), self.store.id_text());
        if found != expected {
            let (object, what) = (path.to_owned(), "store");
            return Err(ColdError::Foreign { object, what, found, expected });
        }
        let schema = get("thermae.schema").parse();
        schema.map(SchemaId).map_err(|_| ColdError::damaged(path, 0, "no schema id"))
    }
}

/// What one action changes.
enum Step {
    Nothing,
    Schema(SchemaId, MetaData),
    /// A file that comes in, and when, in milliseconds UTC.
    Add(FileRef, i64),
    /// The path of a file that goes, and when, in milliseconds UTC.
    Remove(String, i64),
    /// A partition, and the first of its sequences that is not archived.
    Archived(u16, u64),
}

/// The version of a commit's object; other objects of a log, such as checkpoints, have none.
pub(super) fn commit_version(path: &str) -> Option<u64> {
    let stem = path.rsplit('/').next()?.strip_suffix(".json")?;
    let is_version = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    is_version.then(|| stem.parse().ok()).flatten()
}

/// Where the checkpoint of a version lies that this store reads.
pub(super) fn checkpoint_path(table: &str, version: u64) -> String {
    format!("{table}/_thermae/{version:020}.json")
}

/// Versions of the checkpoints of a table that this store reads, the oldest first.
fn checkpoints(objects: &dyn Objects, table: &str) -> Result<Vec<u64>, ColdError> {
    let prefix = format!("{table}/_thermae/");
    let listed = objects.list(&prefix, "");
    let listed = listed.map_err(|error| ColdError::objects("list", &prefix, error))?;
    Ok(listed.iter().filter_map(|object| commit_version(&object.path)).collect())
}
