//! A frozen memtable becomes tables: rows sorted, `latest` written, then `history`, then the checkpoint.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::table::{TableKind, TableRef};

use crate::WarmError;
use crate::files::{Made, WarmFiles};
use crate::memtable::{Memtable, Place};
use crate::rules::Rules;
use crate::table::{TableSpec, TableWriter};
use crate::tree::{Commit, Outputs};

/// Row bytes that one step hands to a table: about what fills one block on disk.
pub(crate) const STEP_BYTES: usize = 16 << 10;

/// Rows whose memory is asked for before a step: as many as it usually takes.
const ASKED_ROWS: usize = 128;

/// Makes a checkpoint's bytes and their checksum for the file number that it gets.
pub type MakeCheckpoint = Box<dyn Fn(u64) -> (Vec<u8>, u64) + Send>;

/// A memtable to flush, with the state that its shard was in when it was frozen.
pub struct FlushJob<L> {
    /// The frozen memtable.
    pub memtable: Arc<Memtable>,
    /// What tables hold beside rows, as of then.
    pub checkpoint: MakeCheckpoint,
    /// Where the log begins when the flush is committed.
    pub log_start: L,
    /// Policies and watermarks as of then; compaction goes by them from the commit on.
    pub rules: Arc<Rules>,
}

/// What a step of writing came to.
pub(crate) enum Progress {
    /// There is more.
    Worked(u64),
    /// Everything is on disk: commit it.
    Ready,
}

/// A flush at work.
pub(crate) struct Flush<E: Env, L> {
    pub job: FlushJob<L>,
    stage: Stage<E>,
    pub outputs: Outputs<E>,
    /// Number and checksum of the checkpoint.
    pub checkpoint: Option<(u64, u64)>,
}

enum Stage<E: Env> {
    Begin(TableKind),
    Rows(TableKind, Box<Rows<E>>),
    Checkpoint,
    Ready,
}

struct Rows<E: Env> {
    places: Vec<Place>,
    next: usize,
    writer: TableWriter<E>,
}

impl<E: Env, L> Flush<E, L> {
    pub fn new(job: FlushJob<L>) -> Self {
        let stage = Stage::Begin(TableKind::Latest);
        Self { job, stage, outputs: Outputs::default(), checkpoint: None }
    }

    /// Does one piece of the work. After an error only [`Self::new`] with the job makes sense.
    pub fn step<C: Commit>(
        &mut self,
        files: &WarmFiles<E>,
        made: &mut Made<'_, C>,
    ) -> Result<Progress, WarmError> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Ready) {
            Stage::Begin(kind) => self.begin(kind, files, made)?,
            Stage::Rows(kind, mut rows) => {
                let worked = rows.step(&self.job.memtable)?;
                if worked > 0 {
                    self.stage = Stage::Rows(kind, rows);
                    return Ok(Progress::Worked(worked));
                }
                let run = files.finish(rows.writer)?;
                match kind {
                    TableKind::Latest => self.outputs.latest = Some(run),
                    TableKind::History => self.outputs.history.push(run),
                }
                after(kind)
            }
            Stage::Checkpoint => {
                let file_id = made.checkpoint();
                let (bytes, checksum) = (self.job.checkpoint)(file_id);
                files.write_checkpoint(file_id, &bytes)?;
                self.checkpoint = Some((file_id, checksum));
                Stage::Ready
            }
            Stage::Ready => return Ok(Progress::Ready),
        };
        Ok(Progress::Worked(0))
    }

    fn begin<C: Commit>(
        &self,
        kind: TableKind,
        files: &WarmFiles<E>,
        made: &mut Made<'_, C>,
    ) -> Result<Stage<E>, WarmError> {
        let memtable = &self.job.memtable;
        let mut places = match kind {
            TableKind::Latest => memtable.latest_sorted(),
            TableKind::History => memtable.history_sorted(),
        };
        let erases = &self.job.rules.erases;
        if !erases.is_empty() {
            places.retain(|place| {
                let (view, entity_hash, version) = memtable.version(*place);
                !erases.hides(view, entity_hash, &version)
            });
        }
        if places.is_empty() {
            return Ok(after(kind));
        }
        let writer = made.table(files, kind, false)?;
        Ok(Stage::Rows(kind, Box::new(Rows { places, next: 0, writer })))
    }
}

/// Writes the rows of a memtable to tables of `files`, at most one of each kind, numbered by
/// `next_file_id`: durable, and named by nothing yet.
///
/// # Errors
/// A table cannot be written. What was finished before is left.
pub fn write_tables<E: Env>(
    files: &WarmFiles<E>,
    memtable: &Memtable,
    next_file_id: &mut dyn FnMut() -> u64,
) -> Result<Vec<TableRef>, WarmError> {
    let (store_id, hash_seed) = (files.store_id, files.hash_seed);
    let mut tables = Vec::new();
    let kinds = [
        (TableKind::Latest, memtable.latest_sorted()),
        (TableKind::History, memtable.history_sorted()),
    ];
    for (kind, places) in kinds.into_iter().filter(|(_, places)| !places.is_empty()) {
        let file_id = next_file_id();
        let spec = TableSpec { store_id, file_id, kind, hash_seed, may_hold_stubs: false };
        let writer = TableWriter::create(&files.env, &files.dir, spec)?;
        let mut rows = Rows { places, next: 0, writer: writer.with_buffers(&files.buffers) };
        while rows.step(memtable)? > 0 {}
        tables.push(rows.writer.finish()?);
    }
    Ok(tables)
}

fn after<E: Env>(kind: TableKind) -> Stage<E> {
    match kind {
        TableKind::Latest => Stage::Begin(TableKind::History),
        TableKind::History => Stage::Checkpoint,
    }
}

impl<E: Env> Rows<E> {
    /// Adds some rows; the bytes that they have, 0 at the end.
    fn step(&mut self, memtable: &Memtable) -> Result<u64, WarmError> {
        let mut bytes = 0;
        let ahead = self.next..self.places.len().min(self.next + ASKED_ROWS);
        memtable.ask_for_versions(self.places.get(ahead).unwrap_or_default());
        while let Some(place) = self.places.get(self.next).filter(|_| bytes < STEP_BYTES) {
            let (view, entity_hash, version) = memtable.version(*place);
            self.writer.add(view, entity_hash, &version)?;
            bytes += version.encoded_bytes();
            self.next += 1;
        }
        Ok(bytes as u64)
    }
}
