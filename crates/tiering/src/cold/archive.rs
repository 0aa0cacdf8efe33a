//! Does what a plan says: files are uploaded, verified, and only then named by a commit.

mod erasing;

use std::sync::Arc;

use bytes::Bytes;
use thermae_formats::{FeatureView, SchemaId};
use xxhash_rust::xxh3::xxh3_64;

use super::batch::Batch;
use super::log::{Changes, Committed, Definition, Snapshot, checkpoint, commit};
use super::objects::{ObjectError, Objects};
use super::plan::LogPolicy;
use super::{ColdError, ColdFile, ColdScan, Columns, FileRef, FileWriter, OpenFiles, event_day};
use crate::merge::{Entry, Merge, Together};

/// Path of the table of a view, for the run of schemas that begins with `first_schema`.
pub fn table_path(view: &FeatureView, first_schema: SchemaId) -> String {
    format!("tables/{}/{}/v{}/s{first_schema}", view.project, view.name, view.version)
}

/// A table and the way to it. A clone is the table as it was then. Calls wait for the object store: helper threads make them, shard threads never.
///
/// Any number may read a table. Several that write neither lose nor double rows, but one at a time may sweep
/// and write: an old object that an attempt finds in place of its upload could be swept before the commit.
#[derive(Clone)]
pub struct Archive {
    objects: Arc<dyn Objects>,
    snapshot: Snapshot,
    open_files: Arc<OpenFiles>,
}

impl Archive {
    /// The table at `snapshot`; what is opened is kept in `open_files`, which many tables share.
    pub fn new(objects: Arc<dyn Objects>, snapshot: Snapshot, open_files: Arc<OpenFiles>) -> Self {
        Self { objects, snapshot, open_files }
    }

    /// The table as it was read or changed last.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Reads what others have committed.
    ///
    /// # Errors
    /// The object store fails, or the log is damaged.
    pub fn update(&mut self) -> Result<(), ColdError> {
        self.snapshot.update(&*self.objects).map(|_| ())
    }

    /// Archives a batch. After [`Committed::Done`] its rows are in the table once, durable and verified.
    ///
    /// # Errors
    /// The object store fails, or a row does not read. Repeating it, with the same or other rows of the same
    /// sequences on, neither loses nor doubles any.
    pub fn archive(
        &mut self,
        batch: &Batch,
        definition: Definition<'_>,
        now_us: i64,
    ) -> Result<Committed, ColdError> {
        let mut changes = Changes { advances: batch.advances().clone(), ..Changes::default() };
        batch.write(|file, bytes| {
            self.put(&file, bytes)?;
            changes.adds.push(file);
            Ok(())
        })?;
        commit(&*self.objects, &mut self.snapshot, definition, &changes, now_us)
    }

    /// Carries over how far the partitions of a view are archived, from the table of its former schemas to this
    /// one, which is new. Do this before the first batch.
    ///
    /// # Errors
    /// As [`Archive::archive`].
    pub fn begin_after(
        &mut self,
        former: &Snapshot,
        definition: Definition<'_>,
        now_us: i64,
    ) -> Result<Committed, ColdError> {
        let archived = former.archived_partitions().iter();
        let advances = archived.map(|(partition, to)| (*partition, (0, *to))).collect();
        let changes = Changes { advances, ..Changes::default() };
        commit(&*self.objects, &mut self.snapshot, definition, &changes, now_us)
    }

    /// Rewrites files of one day as one, with the rows that `keeps` keeps. Merges small files where it keeps all,
    /// erases entities where it does not (`is_loss`); no file comes in where no row is left.
    ///
    /// # Errors
    /// The object store fails, or a file is damaged; the table is as it was, or as it is to be.
    pub fn rewrite(
        &mut self,
        paths: &[String],
        columns_of: &dyn Fn(SchemaId) -> Option<Arc<Columns>>,
        definition: Definition<'_>,
        keeps: &dyn Fn(Entry<'_>) -> bool,
        is_loss: bool,
        now_us: i64,
    ) -> Result<Committed, ColdError> {
        let mut scans = Vec::new();
        for path in paths {
            let Some(file) = self.snapshot.file(path) else { return Ok(Committed::Superseded) };
            scans.push(ColdScan::new(Arc::clone(&self.objects), self.open(file, columns_of)?)?);
        }
        let columns = columns_of(definition.columns.schema_id())
            .ok_or(ColdError::Order("its schema is not known"))?;
        let mut merge = Merge::new(scans, Together::Versions);
        let mut writer = None;
        while merge.next_group()? {
            let Some(row) = merge.group().next().filter(|row| keeps(*row)) else { continue };
            let store = *self.snapshot.store();
            let day = event_day(row.2.event_time);
            let writer =
                writer.get_or_insert_with(|| FileWriter::new(store, &columns, day, Vec::new()));
            writer.push(row.0, row.1, &row.2)?;
        }
        let mut changes = Changes { removes: paths.to_vec(), is_loss, ..Changes::default() };
        if let Some(writer) = writer {
            let (bytes, file) = writer.finish()?;
            self.put(&file, bytes.into())?;
            // Nothing to merge and nothing to erase: the file is what it was.
            if paths == [file.path.clone()] {
                return Ok(Committed::Done);
            }
            changes.adds.push(file);
        }
        commit(&*self.objects, &mut self.snapshot, definition, &changes, now_us)
    }

    /// Takes files out of the table, with their rows: `keep_for` has passed for all of them.
    ///
    /// # Errors
    /// The object store fails.
    pub fn remove(
        &mut self,
        paths: &[String],
        definition: Definition<'_>,
        now_us: i64,
    ) -> Result<Committed, ColdError> {
        let changes = Changes { removes: paths.to_vec(), is_loss: true, ..Changes::default() };
        commit(&*self.objects, &mut self.snapshot, definition, &changes, now_us)
    }

    /// Writes a checkpoint of the table if one is due, and lets the log before it go as far as `policy` says; whether
    /// it did.
    ///
    /// # Errors
    /// The object store fails; the table is as it was.
    pub fn checkpoint(&mut self, policy: &LogPolicy, now_us: i64) -> Result<bool, ColdError> {
        checkpoint(&*self.objects, &mut self.snapshot, policy, now_us)
    }

    /// A file of the table, open; `columns_of` gives the columns of a schema.
    ///
    /// # Errors
    /// The object store fails, the file is damaged, or its schema is not known.
    pub fn open(
        &self,
        file: &FileRef,
        columns_of: &dyn Fn(SchemaId) -> Option<Arc<Columns>>,
    ) -> Result<Arc<ColdFile>, ColdError> {
        let columns =
            columns_of(file.schema_id).ok_or(ColdError::Order("its schema is not known"))?;
        let object = self.snapshot.object(&file.path);
        let store = *self.snapshot.store();
        let open = || ColdFile::open(&*self.objects, &object, file, store, &columns);
        self.open_files.get_or_open(&object, open)
    }

    /// Removes objects of the table that no commit names any more, or never did, as far as `may_go` allows it
    /// (see `plan::may_sweep`); returns their paths.
    ///
    /// # Errors
    /// The object store fails; what was removed stays removed.
    pub fn sweep(
        &mut self,
        may_go: &dyn Fn(i64, Option<i64>) -> bool,
    ) -> Result<Vec<String>, ColdError> {
        let mut paths = self.unnamed()?;
        paths.retain(|(path, modified_us)| may_go(*modified_us, self.snapshot.removed_at_us(path)));
        let paths: Vec<String> = paths.into_iter().map(|(path, _)| path).collect();
        self.remove_unnamed(&paths)?;
        Ok(paths.iter().map(|path| self.snapshot.object(path)).collect())
    }

    /// Objects of the table that no commit names any more, or never did: the path of each in the table, and when
    /// it was written, microseconds UTC.
    ///
    /// # Errors
    /// The object store fails.
    fn unnamed(&mut self) -> Result<Vec<(String, i64)>, ColdError> {
        let prefix = format!("{}/", self.snapshot.table());
        let listed = self.objects.list(&prefix, "");
        let listed = listed.map_err(|error| ColdError::objects("list", &prefix, error))?;
        // After the listing: a file of it that a later commit names is seen to be named.
        self.snapshot.update(&*self.objects)?;
        let unnamed = listed.into_iter().filter_map(|object| {
            let path = object.path.strip_prefix(&prefix)?;
            let is_data = path.starts_with("event_date=") && path.ends_with(".parquet");
            let is_unnamed = is_data && self.snapshot.file(path).is_none();
            is_unnamed.then(|| (path.to_owned(), object.modified_us))
        });
        Ok(unnamed.collect())
    }

    /// Removes those of `paths` that no commit names now.
    fn remove_unnamed(&self, paths: &[String]) -> Result<(), ColdError> {
        for path in paths.iter().filter(|path| self.snapshot.file(path).is_none()) {
            let object = self.snapshot.object(path);
            let deleted = self.objects.delete(&object);
            deleted.map_err(|error| ColdError::objects("remove", &object, error))?;
        }
        Ok(())
    }

    /// Uploads a file and reads it back. Its name is its content's hash, so that an object of that name is this
    /// one, or damaged.
    fn put(&self, file: &FileRef, bytes: Bytes) -> Result<(), ColdError> {
        let object = self.snapshot.object(&file.path);
        let checksum = xxh3_64(&bytes);
        let put = self.objects.put_new(&object, bytes);
        put.map_err(|error| ColdError::objects("write", &object, error))?;
        let read = self.objects.get(&object);
        let read = read.map_err(|error| ColdError::objects("read", &object, error))?;
        if read.len() as u64 != file.bytes {
            let what = format!("{} bytes of {} read back", read.len(), file.bytes);
            return Err(ColdError::objects("verify", &object, ObjectError::NoAnswer(what)));
        }
        if xxh3_64(&read) != checksum {
            return Err(ColdError::damaged(&object, 0, "it does not read back as it was written"));
        }
        Ok(())
    }
}
