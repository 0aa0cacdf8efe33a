//! Checking every byte of a data directory without changing any: manifest, logs, checkpoints, tables.

use std::io;
use std::path::{Path, PathBuf};

use thermae_env::Env;
use thermae_formats::manifest::Manifest;
use thermae_tiering::WarmError;
use thermae_tiering::table::{table_path, verify_table};

use crate::checkpoint;
use crate::error::Error;
use crate::log::{Finding, Severity, Verification, VerifyReport, WARM, file_id};

/// Verifies `dir`, which must not be open elsewhere. `progress` is told the bytes done and the bytes in
/// all, now and then.
///
/// # Errors
/// Only what makes verifying impossible: the directory is locked, a directory in it cannot be listed, or
/// it has no readable manifest. Everything else is a finding.
pub fn verify_directory<E: Env>(
    env: &E,
    dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, Error> {
    let verification = Verification::begin(env, dir).map_err(Error::from_log)?;
    let warm = Warm { env, dir: dir.join(WARM), manifest: verification.manifest() };
    let tables: u64 = warm.manifest.tables.iter().map(|table| table.bytes).sum();
    let (mut done, of) = (0, verification.log_bytes() + tables);
    let mut advance = |bytes| {
        done += bytes;
        progress(done, of);
    };
    let mut report = verification.logs(&mut advance).map_err(Error::from_log)?;
    warm.checkpoints(&mut report);
    warm.tables(&mut report, &mut advance);
    warm.unnamed(&mut report)?;
    progress(of, of);
    Ok(report)
}

/// The directory of tables and checkpoints, and what should be in it.
struct Warm<'a, E: Env> {
    env: &'a E,
    dir: PathBuf,
    manifest: &'a Manifest,
}

impl<E: Env> Warm<'_, E> {
    fn checkpoints(&self, report: &mut VerifyReport) {
        for tree in self.manifest.trees.iter().filter(|tree| tree.checkpoint != 0) {
            let path = checkpoint::path(&self.dir, tree.checkpoint);
            match checkpoint::read(self.env, &self.dir, &self.manifest.store_id, tree) {
                Ok(checkpoint) => {
                    report.files += 1;
                    report.bytes += checkpoint.to_bytes().0.len() as u64;
                }
                Err(error) => report.findings.push(damage(path, 0, what_of(error))),
            }
        }
    }

    fn tables(&self, report: &mut VerifyReport, advance: &mut dyn FnMut(u64)) {
        for table in &self.manifest.tables {
            let mut told_bytes = 0;
            let mut tell = |bytes| {
                told_bytes += bytes;
                advance(bytes);
            };
            let store_id = &self.manifest.store_id;
            let found = verify_table(self.env, &self.dir, store_id, table, &mut tell);
            // Index, filter and the two ends are read, too.
            advance(table.bytes.saturating_sub(told_bytes));
            report.files += 1;
            report.bytes += table.bytes;
            if found.is_empty() {
                report.tables += 1;
                report.rows += table.rows;
            }
            let path = table_path(&self.dir, table.file_id);
            report.findings.extend(found.into_iter().map(|error| table_damage(&path, error)));
        }
    }

    /// Notes the files that nothing names.
    fn unnamed(&self, report: &mut VerifyReport) -> Result<(), Error> {
        let entries = match self.env.list(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(format!("listing {}", self.dir.display()), error)),
        };
        let tables = self.manifest.tables.iter().map(|table| table_path(&self.dir, table.file_id));
        let trees = self.manifest.trees.iter().filter(|tree| tree.checkpoint != 0);
        let checkpoints = trees.map(|tree| checkpoint::path(&self.dir, tree.checkpoint));
        let named: Vec<_> = tables.chain(checkpoints).collect();
        for entry in entries {
            let file = self.dir.join(&entry.name);
            if named.contains(&file) {
                continue;
            }
            let what = match file_id(&entry.name) {
                Some(_) => "nothing names it; the next open removes it",
                None => "not a file of the store; left alone",
            };
            let (severity, what) = (Severity::Note, what.to_owned());
            report.findings.push(Finding { file, offset: 0, severity, what });
        }
        Ok(())
    }
}

fn table_damage(path: &Path, error: WarmError) -> Finding {
    match error {
        WarmError::Damaged { path, offset_bytes, what } => damage(path, offset_bytes, what),
        WarmError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            damage(path.to_owned(), 0, "missing although the MANIFEST names it".to_owned())
        }
        error => damage(path.to_owned(), 0, error.to_string()),
    }
}

fn what_of(error: Error) -> String {
    match error {
        Error::Corrupt { what, .. } => what,
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "missing although the MANIFEST names it".to_owned()
        }
        error => error.to_string(),
    }
}

fn damage(file: PathBuf, offset: u64, what: String) -> Finding {
    Finding { file, offset, severity: Severity::Damage, what }
}
