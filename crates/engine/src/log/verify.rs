//! Checking every byte of a data directory's logs and manifest, without changing any.

use std::path::{Path, PathBuf};

use thermae_env::Env;

use super::examine::{self, Sink};
use super::files;
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

/// Verifies the logs and the manifest of `dir`, which must not be open elsewhere. `progress` is told
/// the bytes done and the bytes in all, after each log.
///
/// # Errors
/// Only what makes verifying impossible: the directory is locked, cannot be listed, or has no
/// readable manifest. Everything else is a finding.
pub fn verify_directory<E: Env>(
    env: &E,
    dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, LogError> {
    let path = manifest_store::manifest_path(dir);
    if !env.exists(dir).map_err(|e| LogError::io("look for", dir, e))? {
        return Err(LogError::NoManifest { path });
    }
    let _lock = lock(env, dir)?;
    let manifest = manifest_store::read(env, dir)?.ok_or(LogError::NoManifest { path })?;
    let log_dir = files::log_dir(dir);
    let listing = files::list(env, &log_dir)?;
    let total = listing.segments.values().sum();
    let mut report = VerifyReport { files: 1, ..VerifyReport::default() };
    report.bytes = manifest.to_bytes().len() as u64;
    let mut sink = Sink::new(OnDamage::Salvage);
    let plan = files::plan(&manifest, &listing);
    let mut done = 0;
    for log in &plan.logs {
        let segments = examine::open_log(env, &log_dir, &manifest, log, &mut sink)?;
        let start = examine::start(&manifest, log);
        let (batches, records) = (&mut report.batches, &mut report.records);
        let mut count = |view: &thermae_formats::batch::BatchView<'_>| {
            *batches += 1;
            *records += u64::from(view.header().records);
            Ok(())
        };
        let sink = &mut sink;
        match &log.sealed {
            Some(sealed) => {
                examine::check_sealed(&log_dir, log, sealed, &segments, start, sink, &mut count)?;
            }
            None => {
                let end = examine::find_end(&log_dir, log, &segments, start, sink, &mut count)?;
                report.findings.extend(end.filter(|end| end.cut.is_torn).map(torn));
            }
        }
        report.files += segments.len() as u64;
        report.bytes += segments.values().map(|segment| segment.len).sum::<u64>();
        done += log.segments.iter().filter_map(|name| listing.segments.get(name)).sum::<u64>();
        progress(done, total);
    }
    for &name in &plan.unnamed {
        if examine::is_free(env, &log_dir, &manifest, name, &mut sink)? {
            report.findings.push(note(
                &log_dir,
                &name.to_string(),
                "unused; the next open takes it",
            ));
        }
    }
    for name in &plan.beyond {
        report.findings.push(note(
            &log_dir,
            &name.to_string(),
            "behind the end of its log; unused",
        ));
    }
    for name in &listing.temporary {
        report.findings.push(note(&log_dir, name, "half-made; the next open removes it"));
    }
    for name in &listing.unknown {
        report.findings.push(note(&log_dir, name, "not a file of the log; left alone"));
    }
    report.findings.extend(sink.found.into_iter().map(damage));
    progress(total, total);
    Ok(report)
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
