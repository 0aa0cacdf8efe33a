//! The archive's tables of one view: one for each run of schemas that share their columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use thermae_formats::{CatalogueEntry, FeatureView, SchemaId, ViewId};
use thermae_tiering::cold::plan::{ArchivePolicy, expired, may_sweep, next_merge};
use thermae_tiering::cold::{
    Archive, Batch, ColdError, ColdFile, Columns, Committed, Definition, FileRef, Objects,
    OpenFiles, Snapshot, Store, table_path,
};
use thermae_tiering::erase::PendingErases;
use thermae_tiering::merge::Entry;

use crate::catalogue::View;

/// The door to an archive.
#[derive(Clone)]
pub struct Door {
    /// The object store.
    pub objects: Arc<dyn Objects>,
    /// Files that are open.
    pub open_files: Arc<OpenFiles>,
    /// The store that it is of.
    pub store: Store,
}

/// The tables of a view, the newest last.
#[derive(Clone)]
pub struct ViewTables {
    runs: Vec<Run>,
    /// Columns of each schema, which its files are read by.
    columns: Arc<BTreeMap<SchemaId, Arc<Columns>>>,
    entry: CatalogueEntry,
}

#[derive(Clone)]
struct Run {
    first: SchemaId,
    archive: Archive,
}

/// A file that may hold what was erased.
#[derive(Clone, Debug)]
pub struct Suspect {
    run_at: usize,
    path: String,
}

/// What tending a view's tables came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tended {
    /// There is nothing to do.
    Nothing,
    /// Small files were merged.
    Merged,
    /// So many files were past `keep_for`.
    Expired(usize),
    /// A checkpoint of a table log was written.
    Checkpointed,
}

impl ViewTables {
    /// Reads the tables of a view; `known` are those of it that were read before.
    ///
    /// # Errors
    /// The object store fails, or a table is damaged or of another store.
    pub fn load(door: &Door, view: &View, known: Option<&Self>) -> Result<Self, ColdError> {
        let schemas: Vec<(SchemaId, &FeatureView)> =
            view.schemas.iter().map(|schema| (schema.id, &schema.definition)).collect();
        let mut columns = BTreeMap::new();
        let mut runs: Vec<Run> = Vec::new();
        let mut former: Option<Arc<Columns>> = None;
        for (at, (id, definition)) in schemas.iter().enumerate() {
            let these = Columns::new(view.id, schemas.get(..=at).unwrap_or_default())?;
            let these = Arc::new(these);
            if former.is_none_or(|former| !these.continues(&former)) {
                let before = known.and_then(|known| known.runs.iter().find(|run| run.first == *id));
                runs.push(match before {
                    Some(run) => run.clone(),
                    None => Run { first: *id, archive: open(door, definition, *id)? },
                });
            }
            columns.insert(*id, Arc::clone(&these));
            former = Some(these);
        }
        let (schema_id, view_id) = (view.latest.id, view.id);
        let entry = CatalogueEntry { schema_id, view_id, view: view.latest.definition.clone() };
        Ok(Self { runs, columns: Arc::new(columns), entry })
    }

    /// First sequence of each partition that is not archived, of those of which anything is. The newest table
    /// goes on where the one before it ended, so the greatest is the word of all.
    pub fn archived(&self) -> BTreeMap<u16, u64> {
        let mut all = BTreeMap::new();
        for (partition, to) in
            self.runs.iter().flat_map(|run| run.archive.snapshot().archived_partitions())
        {
            let most: &mut u64 = all.entry(*partition).or_default();
            *most = (*most).max(*to);
        }
        all
    }

    /// The columns that new files have.
    pub fn newest_columns(&self) -> Option<&Arc<Columns>> {
        self.columns.get(&self.entry.schema_id)
    }

    /// Archives a batch; see [`Archive::archive`].
    ///
    /// # Errors
    /// As there.
    pub fn archive(&mut self, batch: &Batch, now_us: i64) -> Result<Committed, ColdError> {
        let columns = Arc::clone(batch.columns());
        let definition = Definition { columns: &columns, entry: &self.entry };
        let Some((newest, formers)) = self.runs.split_last_mut() else {
            return Ok(Committed::Superseded);
        };
        // A new table first takes over how far the one before it came.
        let former = formers.last().map(|run| run.archive.snapshot());
        if newest.archive.snapshot().commits() == 0
            && let Some(former) = former.filter(|former| !former.archived_partitions().is_empty())
            && newest.archive.begin_after(former, definition, now_us)? == Committed::Superseded
        {
            return Ok(Committed::Superseded);
        }
        newest.archive.archive(batch, definition, now_us)
    }

    /// Merges small files, takes out those past `keep_for`, or writes a checkpoint of a table log, once. Files whose
    /// objects `rests` names are not merged.
    ///
    /// # Errors
    /// The object store fails, or a file is damaged; the table is as it was, or as it is to be.
    pub fn tend(
        &mut self,
        policy: &ArchivePolicy,
        slowest_watermark: Option<i64>,
        rests: &dyn Fn(&str) -> bool,
        now_us: i64,
    ) -> Result<Tended, ColdError> {
        let keep_for_us = self.entry.view.tiers.keep_for_us;
        let columns = Arc::clone(&self.columns);
        let columns_of = |schema: SchemaId| columns.get(&schema).cloned();
        for run in &mut self.runs {
            // A former table keeps its own columns: it is written by the newest schema that it knows.
            let schema = run.archive.snapshot().schema_id();
            let Some(columns) = schema.and_then(columns_of) else { continue };
            let definition = Definition { columns: &columns, entry: &self.entry };
            let past = expired(run.archive.snapshot().files(), keep_for_us, slowest_watermark);
            if !past.is_empty() {
                run.archive.remove(&past, definition, now_us)?;
                return Ok(Tended::Expired(past.len()));
            }
            let snapshot = run.archive.snapshot();
            let files = snapshot.files().filter(|file| !rests(&snapshot.object(&file.path)));
            if let Some(paths) = next_merge(files, policy) {
                run.archive.rewrite(&paths, &columns_of, definition, &|_| true, false, now_us)?;
                return Ok(Tended::Merged);
            }
            if run.archive.checkpoint(&policy.log, now_us)? {
                return Ok(Tended::Checkpointed);
            }
        }
        Ok(Tended::Nothing)
    }

    /// Removes objects that no table names, past the grace; how many went.
    ///
    /// # Errors
    /// The object store fails.
    pub fn sweep(&mut self, policy: &ArchivePolicy, now_us: i64) -> Result<usize, ColdError> {
        let mut swept = 0;
        for run in &mut self.runs {
            let may_go = |modified, removed| may_sweep(modified, removed, policy, now_us);
            swept += run.archive.sweep(&may_go)?.len();
        }
        Ok(swept)
    }

    /// Files that may hold what was erased; see [`Archive::suspects`].
    ///
    /// # Errors
    /// As there.
    pub fn suspects(
        &mut self,
        view: ViewId,
        erases: &PendingErases,
    ) -> Result<Vec<Suspect>, ColdError> {
        let columns = Arc::clone(&self.columns);
        let columns_of = |schema: SchemaId| columns.get(&schema).cloned();
        let mut suspects = Vec::new();
        for (run_at, run) in self.runs.iter_mut().enumerate() {
            let paths = run.archive.suspects(view, erases, &columns_of)?;
            suspects.extend(paths.into_iter().map(|path| Suspect { run_at, path }));
        }
        Ok(suspects)
    }

    /// Rewrites one of them without what was erased; `dropped` is told the entity hash of each row that is left
    /// out.
    ///
    /// # Errors
    /// The object store fails, or the file is damaged; the table is as it was, or as it is to be.
    pub fn rewrite_without(
        &mut self,
        suspect: &Suspect,
        erases: &PendingErases,
        dropped: &dyn Fn(u64),
        now_us: i64,
    ) -> Result<Committed, ColdError> {
        let columns = Arc::clone(&self.columns);
        let columns_of = |schema: SchemaId| columns.get(&schema).cloned();
        let Some(run) = self.runs.get_mut(suspect.run_at) else {
            return Ok(Committed::Superseded);
        };
        let Some(columns) = run.archive.snapshot().schema_id().and_then(columns_of) else {
            return Err(ColdError::Order("the schema of its table is not known"));
        };
        let definition = Definition { columns: &columns, entry: &self.entry };
        let dropped = |entry: &Entry<'_>| dropped(entry.1);
        run.archive.rewrite_without(
            &suspect.path,
            erases,
            &columns_of,
            definition,
            &dropped,
            now_us,
        )
    }

    /// Objects that no table names, by table; see [`Archive::doomed`].
    ///
    /// # Errors
    /// As there.
    pub fn doomed(&mut self) -> Result<Vec<Vec<String>>, ColdError> {
        self.runs.iter_mut().map(|run| run.archive.doomed()).collect()
    }

    /// Removes those of `objects`, which are by table, that are still not named.
    ///
    /// # Errors
    /// The object store fails; what was removed stays removed.
    pub fn remove_doomed(&mut self, objects: &[Vec<String>]) -> Result<(), ColdError> {
        let mut runs = self.runs.iter_mut().zip(objects);
        runs.try_for_each(|(run, paths)| run.archive.remove_doomed(paths))
    }

    /// Each table as it is now.
    pub fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.runs.iter().map(|run| run.archive.snapshot())
    }

    /// Commits of each table, by its path.
    pub fn commits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.snapshots().map(|snapshot| (snapshot.table(), snapshot.commits()))
    }

    /// All files of all tables.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.runs.iter().flat_map(|run| run.archive.snapshot().files())
    }

    /// Whether an object is one of the files.
    pub fn names(&self, object: &str) -> bool {
        self.snapshots().any(|of| of.files().any(|file| of.object(&file.path) == object))
    }

    /// Files that may hold rows within these bounds, ends included: where each lies, and how it is opened.
    pub fn files_between(
        self: &Arc<Self>,
        event_times: (i64, i64),
        hashes: (u64, u64),
    ) -> Vec<(String, FileOpener)> {
        let mut found = Vec::new();
        for (run_at, run) in self.runs.iter().enumerate() {
            let snapshot = run.archive.snapshot();
            for file in snapshot.files_between(event_times, hashes) {
                let opener = FileOpener { tables: Arc::clone(self), run_at, file: file.clone() };
                found.push((snapshot.object(&file.path), opener));
            }
        }
        found
    }
}

/// A file of a view's tables that can be opened, now or later.
#[derive(Clone)]
pub struct FileOpener {
    tables: Arc<ViewTables>,
    run_at: usize,
    file: FileRef,
}

impl FileOpener {
    /// Opens it.
    ///
    /// # Errors
    /// The object store fails, or the file is damaged.
    pub fn open(&self) -> Result<Arc<ColdFile>, ColdError> {
        let tables = &self.tables;
        let run = tables.runs.get(self.run_at).ok_or(ColdError::Order("its table is not known"))?;
        run.archive.open(&self.file, &|schema| tables.columns.get(&schema).cloned())
    }
}

fn open(door: &Door, definition: &FeatureView, first: SchemaId) -> Result<Archive, ColdError> {
    let table = table_path(definition, first);
    let snapshot = Snapshot::load(&*door.objects, &table, door.store)?;
    Ok(Archive::new(Arc::clone(&door.objects), snapshot, Arc::clone(&door.open_files)))
}
