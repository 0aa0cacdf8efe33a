//! What is in a place, and whether its bytes are those that were written.

use std::collections::BTreeMap;
use std::path::Path;

use thermae_env::{Env, File};
use thermae_formats::backup::{Backup, BackupFile, BackupName, FileKind, FileName};

use super::disk::{corrupt, failed};
use super::meter::{Meter, Work};
use super::pieces::Reading;
use super::place::Place;
use crate::error::Error;
use crate::log::{Finding, Severity, VerifyReport};

/// A backup in a place.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: BackupName,
    /// What it holds; or why that cannot be told.
    pub backup: Result<Backup, Error>,
}

/// The backups of a place, oldest first.
///
/// # Errors
/// There is no such place, or it cannot be listed.
pub fn list<E: Env>(place: &Place<E>) -> Result<Vec<Listed>, Error> {
    let listed = |name: BackupName| Listed { backup: place.read(&name), name };
    Ok(place.names()?.into_iter().map(listed).collect())
}

/// Reads every byte of a backup, or, without a name, of all that there are. Nothing is written.
///
/// # Errors
/// Only what makes that impossible: there is no such backup, or the work is to end. Everything else is a
/// finding.
pub fn verify<E: Env>(
    place: &Place<E>,
    name: Option<&BackupName>,
    work: &mut Work<'_>,
) -> Result<VerifyReport, Error> {
    let names = match name {
        Some(name) => vec![name.clone()],
        None => place.names()?,
    };
    if names.is_empty() {
        return Err(Error::NotFound(format!("there is no backup in {}", place.dir().display())));
    }
    let mut report = VerifyReport::default();
    let mut files = BTreeMap::new();
    for name in &names {
        report.files += 1;
        match place.read(name) {
            Ok(backup) => {
                report.bytes += backup.to_bytes().len() as u64;
                note(&mut files, backup);
            }
            Err(error @ Error::NotFound(_)) => return Err(error),
            Err(error) => report.findings.push(finding(error, &place.backup_path(name))),
        }
    }
    let of = files.keys().map(|(_, file)| file.bytes).sum();
    let mut meter = Meter::begin(place.env(), work, of);
    for ((name, file), rows) in &files {
        report.files += 1;
        report.bytes += file.bytes;
        match compare(place, name, file, &mut meter) {
            Ok(()) if name.kind == FileKind::Table => {
                report.tables += 1;
                report.rows += rows;
            }
            Ok(()) => {}
            // The work is to end: nothing else is said so.
            Err(error @ Error::Invalid(_)) => return Err(error),
            Err(error) => report.findings.push(finding(error, &place.file_path(name))),
        }
    }
    Ok(report)
}

/// Notes the files of a backup, and the rows of those that are tables. Backups that say other things of one
/// file are each held to what they say.
fn note(files: &mut BTreeMap<(FileName, BackupFile), u64>, backup: Backup) {
    let tables = backup.manifest.tables.iter().map(|table| (table.file_id, table.rows));
    let rows: BTreeMap<u64, u64> = tables.collect();
    for (name, file) in backup.names().into_iter().zip(backup.files) {
        let rows = rows.get(&file.file_id).copied().unwrap_or(0);
        files.insert((name, file), rows);
    }
}

fn compare<E: Env>(
    place: &Place<E>,
    name: &FileName,
    wanted: &BackupFile,
    meter: &mut Meter<'_, '_, E>,
) -> Result<(), Error> {
    let path = place.file_path(name);
    let file = place.open(name)?;
    check_length(&file, &path, wanted)?;
    Reading { file: &file, path: &path, bytes: wanted.bytes }.compare(wanted, meter)
}

/// Whether a file is as long as its backup has it; a shorter one is told with its end when it is read.
pub(super) fn check_length<F: File>(
    file: &F,
    path: &Path,
    wanted: &BackupFile,
) -> Result<(), Error> {
    let bytes = file.len_bytes().map_err(|e| failed("measuring", path, e))?;
    if bytes <= wanted.bytes {
        return Ok(());
    }
    let what = format!("the file is {} bytes too long", bytes - wanted.bytes);
    Err(corrupt(path, wanted.bytes, what))
}

fn finding(error: Error, path: &Path) -> Finding {
    let (offset, what) = match error {
        Error::Corrupt { offset, what, .. } => (offset, what),
        error => (0, error.to_string()),
    };
    Finding { file: path.to_owned(), offset, severity: Severity::Damage, what }
}
