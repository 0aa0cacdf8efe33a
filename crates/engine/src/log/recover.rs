//! Opening a directory: find where every log ends, replay them all, begin a new epoch.
//!
//! Up to the new MANIFEST nothing that the old one names is changed, so that a crash anywhere in
//! here, or an error, leaves a directory that opens to the same rows.

mod close;
mod epoch;

use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{Env, File, OpenHow};
use thermae_formats::batch::{BatchView, Record};
use thermae_formats::manifest::{Manifest, Tree};
use thermae_formats::segment::SegmentName;
use thermae_formats::table::TableRef;

use super::examine::{self, CutReport, End, Sink};
use super::files::{self, LogPlan, Plan};
use super::scan::{Segments, follow};
use super::{Damage, LOCK, LogError, LogOptions, LogWriter, OnDamage, RESTORING, manifest_store};

pub use close::close_directory;
pub(super) use close::closed;

/// Receives the records of a directory in order.
pub trait Replay {
    /// Called once, before any record. `manifest` has the store's partitions and hash seed.
    ///
    /// # Errors
    /// A text ends the open as [`LogError::Refused`].
    fn begin(&mut self, manifest: &Manifest) -> Result<(), String>;

    /// One record: epoch by epoch, inside an epoch shard by shard, inside a log as appended.
    ///
    /// # Errors
    /// A text ends the open as [`LogError::Refused`].
    fn record(&mut self, record: &Record<'_>) -> Result<(), String>;

    /// Called once after the last record, before the new epoch's manifest is written: says what
    /// trees it has. `manifest` is the old one, as in [`Replay::begin`]; without an implementation
    /// its trees stay. Not called when the open ends as a salvage that found damage.
    ///
    /// # Errors
    /// A text ends the open as [`LogError::Refused`].
    fn finish(&mut self, manifest: &Manifest) -> Result<Trees, String> {
        Ok(Trees::kept(manifest))
    }
}

/// The warm trees with which a new epoch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trees {
    /// Every table, ascending by file id; durable, under its final name.
    pub tables: Vec<TableRef>,
    /// One a shard of the new epoch, in shard order; or none.
    pub trees: Vec<Tree>,
    /// Every file id at or above this one is free.
    pub next_file_id: u64,
    /// The tables hold every record that was replayed, and every partition's checkpoint says so: the
    /// old logs are not needed any more, and their segments are free.
    pub covers_replayed: bool,
}

impl Trees {
    /// The trees of `manifest`, with what was replayed still in its logs only.
    pub fn kept(manifest: &Manifest) -> Self {
        Self {
            tables: manifest.tables.clone(),
            trees: manifest.trees.clone(),
            next_file_id: manifest.next_file_id,
            covers_replayed: false,
        }
    }
}

/// What an open did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The directory held no store before.
    pub created: bool,
    /// Logs replayed.
    pub logs: u64,
    /// Batches replayed.
    pub batches: u64,
    /// Records replayed.
    pub records: u64,
    /// Bytes of those batches.
    pub bytes: u64,
    /// The last run was closed ([`close_directory`]): every end was known exactly.
    pub was_closed: bool,
    /// Where the logs of the last run ended: one entry each, unless it was closed.
    pub cuts: Vec<CutReport>,
    /// What is damaged (only after a salvage).
    pub damages: Vec<Damage>,
    /// Files in the log directory that are not ours; they were left alone.
    pub unknown_files: Vec<String>,
}

/// An open directory.
pub struct Recovered<E: Env> {
    /// The manifest of the new epoch (of the old one after a salvage).
    pub manifest: Manifest,
    /// What was found and done.
    pub report: RecoveryReport,
    /// One a shard, in shard order; none after a salvage that found damage.
    pub writers: Vec<LogWriter<E>>,
    /// Keeps others out of the directory; hold it as long as the writers.
    pub lock: E::Lock,
}

/// Opens `dir` for `shards` shards, creating the store if there is none, and gives every record to
/// `apply` in order. See [`open_directory_with`].
///
/// # Errors
/// As [`open_directory_with`].
pub fn open_directory<E: Env>(
    env: &E,
    dir: &Path,
    shards: u16,
    options: &LogOptions,
    apply: &mut dyn FnMut(&Record<'_>) -> Result<(), String>,
) -> Result<Recovered<E>, LogError> {
    struct Apply<'a>(&'a mut dyn FnMut(&Record<'_>) -> Result<(), String>);
    impl Replay for Apply<'_> {
        fn begin(&mut self, _: &Manifest) -> Result<(), String> {
            Ok(())
        }
        fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
            (self.0)(record)
        }
    }
    open_directory_with(env, dir, shards, options, &mut Apply(apply))
}

/// Opens `dir` for `shards` shards, creating the store if there is none, and gives the manifest and
/// every record to `replay` in order.
///
/// # Errors
/// Whatever is damaged, missing, foreign or too new is refused by name ([`LogError`]), unless the
/// options ask for a salvage. After an error the directory can be opened as before.
pub fn open_directory_with<E: Env>(
    env: &E,
    dir: &Path,
    shards: u16,
    options: &LogOptions,
    replay: &mut dyn Replay,
) -> Result<Recovered<E>, LogError> {
    options.check()?;
    if shards == 0 {
        return Err(LogError::Options("shards: 0, at least 1 is needed".to_owned()));
    }
    env.create_dir_all(dir).map_err(|e| LogError::io("create", dir, e))?;
    let lock = lock(env, dir)?;
    let restoring = dir.join(RESTORING);
    if env.exists(&restoring).map_err(|e| LogError::io("look for", &restoring, e))? {
        return Err(LogError::Restoring { path: restoring });
    }
    let log_dir = files::log_dir(dir);
    let listing = files::list(env, &log_dir)?;
    let mut report =
        RecoveryReport { unknown_files: listing.unknown.clone(), ..RecoveryReport::default() };
    let manifest = match manifest_store::read(env, dir)? {
        Some(manifest) => manifest,
        None if !listing.segments.is_empty() => {
            return Err(LogError::NoManifest { path: manifest_store::manifest_path(dir) });
        }
        None => {
            report.created = true;
            create(env, dir, options)?
        }
    };
    report.was_closed = manifest.epoch > 0 && manifest.current.is_empty();
    replay.begin(&manifest).map_err(LogError::Refused)?;
    let plan = files::plan(&manifest, &listing);
    let mut recovery = Recovery {
        env,
        dir,
        log_dir: &log_dir,
        manifest: &manifest,
        plan: &plan,
        sink: Sink::new(options.damage),
        report,
    };
    let mut free = recovery.free_segments()?;
    if options.damage == OnDamage::Refuse {
        recovery.settle()?;
    }
    let ends = recovery.find_ends()?;
    recovery.replay(&ends, replay)?;
    let Recovery { sink, mut report, .. } = recovery;
    report.cuts = ends.iter().flatten().map(|end| end.cut.clone()).collect();
    report.damages = sink.found.into_iter().map(LogError::into_damage).collect();
    if !report.damages.is_empty() {
        return Ok(Recovered { manifest, report, writers: Vec::new(), lock });
    }
    let trees = replay.finish(&manifest).map_err(LogError::Refused)?;
    free.extend(plan.before.iter().chain(&plan.beyond).copied());
    let ends: Vec<End> = ends.into_iter().flatten().collect();
    let next = epoch::NextEpoch { env, dir, log_dir: &log_dir, options, listing: &listing };
    let ended = epoch::Ended { old: &manifest, plan: &plan, ends: &ends };
    let (manifest, writers) = next.begin(&ended, trees, free, shards)?;
    Ok(Recovered { manifest, report, writers, lock })
}

/// Takes the lock of a data directory.
pub(super) fn lock<E: Env>(env: &E, dir: &Path) -> Result<E::Lock, LogError> {
    let path = dir.join(LOCK);
    env.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => LogError::Locked { path },
        _ => LogError::io("lock", &path, error),
    })
}

/// Begins a store: its directory of logs, then a manifest of epoch 0, which names no log.
fn create<E: Env>(env: &E, dir: &Path, options: &LogOptions) -> Result<Manifest, LogError> {
    let log_dir = files::log_dir(dir);
    env.create_dir_all(&log_dir).map_err(|e| LogError::io("create", &log_dir, e))?;
    let mut store_id = [0; 16];
    store_id[..8].copy_from_slice(&env.random_u64().to_le_bytes());
    store_id[8..].copy_from_slice(&env.random_u64().to_le_bytes());
    let manifest = Manifest {
        store_id,
        hash_seed: env.random_u64(),
        partitions: options.partitions,
        segment_bytes: options.segment_bytes,
        epoch: 0,
        covered_epoch: 0,
        current: Vec::new(),
        sealed: Vec::new(),
        next_file_id: 1,
        tables: Vec::new(),
        trees: Vec::new(),
    };
    manifest_store::commit(env, dir, &manifest)?;
    Ok(manifest)
}

/// The reading half of an open.
struct Recovery<'a, E: Env> {
    env: &'a E,
    dir: &'a Path,
    log_dir: &'a Path,
    manifest: &'a Manifest,
    plan: &'a Plan,
    sink: Sink,
    report: RecoveryReport,
}

impl<E: Env> Recovery<'_, E> {
    /// Segments of no known log: free, or refused.
    fn free_segments(&mut self) -> Result<Vec<SegmentName>, LogError> {
        let mut free = Vec::new();
        for &name in &self.plan.unnamed {
            if examine::is_free(self.env, self.log_dir, self.manifest, name, &mut self.sink)? {
                free.push(name);
            }
        }
        Ok(free)
    }

    /// Makes the last run's files durable as they are: what this open will have seen and served must
    /// not vanish at the next power cut. The manifest first: by the one before it, files are needed that
    /// this one lets go.
    fn settle(&self) -> Result<(), LogError> {
        self.env.sync_dir(self.dir).map_err(|e| LogError::io("sync", self.dir, e))?;
        for log in self.plan.logs.iter().filter(|log| log.sealed.is_none()) {
            for name in &log.segments {
                let path = self.log_dir.join(name.to_string());
                self.env
                    .open(&path, OpenHow::WRITE.direct())
                    .and_then(|file| file.sync_data())
                    .map_err(|e| LogError::io("sync", &path, e))?;
            }
        }
        Ok(())
    }

    fn open(&mut self, plan: &LogPlan) -> Result<Segments<E::File>, LogError> {
        examine::open_log(self.env, self.log_dir, self.manifest, plan, &mut self.sink)
    }

    /// Where each log of the last run ends, in shard order; `None` for a damaged one. Decided for
    /// all of them before anything is replayed.
    fn find_ends(&mut self) -> Result<Vec<Option<End>>, LogError> {
        let mut ends = Vec::new();
        for plan in self.plan.logs.iter().filter(|plan| plan.sealed.is_none()) {
            let segments = self.open(plan)?;
            let start = examine::start(plan);
            let sink = &mut self.sink;
            let end =
                examine::find_end(self.log_dir, plan, &segments, start, sink, &mut |_| Ok(()))?;
            ends.push(end);
        }
        Ok(ends)
    }

    /// Replays every log in order.
    fn replay(&mut self, ends: &[Option<End>], replay: &mut dyn Replay) -> Result<(), LogError> {
        let mut ends = ends.iter();
        for plan in &self.plan.logs {
            let end = if plan.sealed.is_none() { ends.next() } else { None };
            // Opened again, which reports again what is wrong: once is enough.
            let known = self.sink.found.len();
            let segments = self.open(plan)?;
            if plan.sealed.is_none() {
                self.sink.found.truncate(known);
            }
            self.replay_log(plan, &segments, end.and_then(Option::as_ref), replay)?;
            self.report.logs += 1;
        }
        Ok(())
    }

    fn replay_log(
        &mut self,
        plan: &LogPlan,
        segments: &Segments<E::File>,
        end: Option<&End>,
        replay: &mut dyn Replay,
    ) -> Result<(), LogError> {
        let start = examine::start(plan);
        let Self { report, sink, log_dir, .. } = self;
        let mut visit = |view: &BatchView<'_>| play(view, report, replay);
        match (plan.sealed, end) {
            (Some(log), _) => {
                let known = sink.found.len();
                let chain =
                    examine::check_sealed(log_dir, plan, &log, segments, start, sink, &mut visit)?;
                if sink.found.len() > known {
                    examine::salvage(segments, chain, &mut visit)?;
                }
            }
            (None, Some(end)) => {
                let (chain, found) = follow(segments, start, end.chain.last, &mut visit)?;
                if let Some(found) = found {
                    let path = segments.get(&chain.place.segment).map(|s| s.path.clone());
                    let path = path.unwrap_or_else(PathBuf::new);
                    let what = format!("changed while it was read: {}", found.describe());
                    return Err(LogError::damaged(&path, chain.place.offset, what));
                }
            }
            (None, None) => {
                let (chain, _) = follow(segments, start, u64::MAX, &mut visit)?;
                examine::salvage(segments, chain, &mut visit)?;
            }
        }
        Ok(())
    }
}

fn play(
    view: &BatchView<'_>,
    report: &mut RecoveryReport,
    replay: &mut dyn Replay,
) -> Result<(), LogError> {
    report.batches += 1;
    report.records += u64::from(view.header().records);
    report.bytes += u64::from(view.header().batch_bytes);
    for record in view.records() {
        replay.record(&record).map_err(LogError::Refused)?;
    }
    Ok(())
}
