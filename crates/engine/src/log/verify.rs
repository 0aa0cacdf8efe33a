//! Checking every byte of a data directory's logs and manifest, without changing any.

use std::path::{Path, PathBuf};

use thermae_env::Env;
use thermae_formats::manifest::Manifest;

use super::examine::{self, Sink};
use super::files::{self, Listing, LogPlan, Plan};
use super::recover::lock;
use super::{LogError, OnDamage, manifest_store};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something that was written is not there any more.
    Damage,
    /// Worth knowing; nothing is lost.
    Note,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How serious it is.
    pub severity: Severity,
    /// What it is.
    pub what: String,
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// What was found, in the order of the files.
    pub findings: Vec<Finding>,
    /// Files checked.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Tables on disk that verify.
    pub tables: u64,
    /// Rows in them, superseded versions and tombstones included.
    pub rows: u64,
    /// Batches that verify.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

/// A directory that is being verified: locked, its manifest read.
pub struct Verification<'a, E: Env> {
    env: &'a E,
    log_dir: PathBuf,
    manifest: Manifest,
    listing: Listing,
    _lock: E::Lock,
}

impl<'a, E: Env> Verification<'a, E> {
    /// Begins with `dir`, which must not be open elsewhere.
    ///
    /// # Errors
    /// Only what makes verifying impossible: the directory is locked, cannot be listed, or has no
    /// readable manifest.
    pub fn begin(env: &'a E, dir: &Path) -> Result<Self, LogError> {
        let path = manifest_store::manifest_path(dir);
        if !env.exists(dir).map_err(|e| LogError::io("look for", dir, e))? {
            return Err(LogError::NoManifest { path });
        }
        let lock = lock(env, dir)?;
        let manifest = manifest_store::read(env, dir)?.ok_or(LogError::NoManifest { path })?;
        let log_dir = files::log_dir(dir);
        let listing = files::list(env, &log_dir)?;
        Ok(Self { env, log_dir, manifest, listing, _lock: lock })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the files of the logs.
    pub fn log_bytes(&self) -> u64 {
        self.listing.segments.values().sum()
    }

    /// Verifies the logs. `progress` is told the bytes of each log when it is done.
    ///
    /// # Errors
    /// A file cannot be read; what is wrong with what is in it is a finding.
    pub fn logs(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, LogError> {
        let Self { env, log_dir, manifest, listing, .. } = self;
        let mut report = VerifyReport { files: 1, ..VerifyReport::default() };
        report.bytes = manifest.to_bytes().len() as u64;
        let mut sink = Sink::new(OnDamage::Salvage);
        let plan = files::plan(manifest, listing);
        for log in &plan.logs {
            self.log(log, &mut report, &mut sink)?;
            progress(log.segments.iter().filter_map(|name| listing.segments.get(name)).sum());
        }
        for &name in &plan.unnamed {
            if examine::is_free(*env, log_dir, manifest, name, &mut sink)? {
                let what = "unused; the next open takes it";
                report.findings.push(note(log_dir, &name.to_string(), what));
            }
        }
        report.findings.extend(notes(log_dir, &plan, listing));
        report.findings.extend(sink.found.into_iter().map(damage));
        Ok(report)
    }

    fn log(
        &self,
        log: &LogPlan,
        report: &mut VerifyReport,
        sink: &mut Sink,
    ) -> Result<(), LogError> {
        let segments = examine::open_log(self.env, &self.log_dir, &self.manifest, log, sink)?;
        let start = examine::start(log);
        let (batches, records) = (&mut report.batches, &mut report.records);
        let mut count = |view: &thermae_formats::batch::BatchView<'_>| {
            *batches += 1;
            *records += u64::from(view.header().records);
            Ok(())
        };
        let log_dir = &self.log_dir;
        match &log.sealed {
            Some(sealed) => {
                examine::check_sealed(log_dir, log, sealed, &segments, start, sink, &mut count)?;
            }
            None => {
                let end = examine::find_end(log_dir, log, &segments, start, sink, &mut count)?;
                report.findings.extend(end.filter(|end| end.cut.is_torn).map(torn));
            }
        }
        report.files += segments.len() as u64;
        report.bytes += segments.values().map(|segment| segment.len).sum::<u64>();
        Ok(())
    }
}

/// Files that no log needs.
fn notes(log_dir: &Path, plan: &Plan, listing: &Listing) -> Vec<Finding> {
    let before =
        plan.before.iter().map(|name| (name.to_string(), "before the start of its log; unused"));
    let beyond =
        plan.beyond.iter().map(|name| (name.to_string(), "behind the end of its log; unused"));
    let temporary =
        listing.temporary.iter().map(|name| (name.clone(), "half-made; the next open removes it"));
    let unknown =
        listing.unknown.iter().map(|name| (name.clone(), "not a file of the log; left alone"));
    let all = before.chain(beyond).chain(temporary).chain(unknown);
    all.map(|(name, what)| note(log_dir, &name, what)).collect()
}

fn damage(error: LogError) -> Finding {
    let damage = error.into_damage();
    Finding {
        file: damage.file,
        offset: damage.offset,
        severity: Severity::Damage,
        what: damage.what,
    }
}

fn torn(end: examine::End) -> Finding {
    let what = format!(
        "torn tail after batch {} ({}); it was never durable, the next open cuts it",
        end.cut.batch, end.cut.why
    );
    Finding { file: end.cut.file, offset: end.cut.offset, severity: Severity::Note, what }
}

fn note(log_dir: &Path, name: &str, what: &str) -> Finding {
    Finding { file: log_dir.join(name), offset: 0, severity: Severity::Note, what: what.to_owned() }
}
