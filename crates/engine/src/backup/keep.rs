//! What goes: older backups, and files that none names.

use std::collections::BTreeSet;

use thermae_env::Env;
use thermae_formats::backup::{BackupName, FileName};

use super::place::Place;
use crate::error::Error;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Backups, oldest first.
    pub backups: Vec<BackupName>,
    /// Files that no other backup named.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Keeps the newest `count` backups of a place, at least 1, and removes the others and what only they named.
///
/// # Errors
/// A backup that stays cannot be read: then nothing is removed.
pub fn keep<E: Env>(place: &Place<E>, count: usize) -> Result<Removed, Error> {
    place.names()?;
    let _lock = place.lock()?;
    let mut backups = place.names()?;
    let kept = backups.split_off(backups.len().saturating_sub(count.max(1)));
    remove_but(place, backups, &kept)
}

/// Removes these backups of a place, what only they named, and what an interrupted backup left there.
///
/// # Errors
/// There is none of such a name, or a backup that stays cannot be read: then nothing is removed.
pub fn remove<E: Env>(place: &Place<E>, gone: &[BackupName]) -> Result<Removed, Error> {
    place.names()?;
    let _lock = place.claim()?;
    let (backups, kept): (Vec<BackupName>, Vec<BackupName>) =
        place.names()?.into_iter().partition(|name| gone.contains(name));
    if let Some(name) = gone.iter().find(|name| !backups.contains(name)) {
        return Err(Error::NotFound(format!(
            "there is no backup {name} in {}; --list shows which there are",
            place.dir().display()
        )));
    }
    remove_but(place, backups, &kept)
}

fn remove_but<E: Env>(
    place: &Place<E>,
    backups: Vec<BackupName>,
    kept: &[BackupName],
) -> Result<Removed, Error> {
    // Before anything goes: what those that stay name must be known.
    let named = named(place, kept)?;
    // For good: a backup must not come back after its files went.
    if !backups.is_empty() {
        place.remove(&backups)?;
    }
    let (files, bytes) = remove_others(place, &named)?;
    Ok(Removed { backups, files, bytes })
}

/// Removes files that no backup names.
///
/// # Errors
/// A backup cannot be read: then nothing is removed.
pub(super) fn remove_unnamed<E: Env>(place: &Place<E>) -> Result<(), Error> {
    let named = named(place, &place.names()?)?;
    remove_others(place, &named).map(|_| ())
}

fn named<E: Env>(place: &Place<E>, backups: &[BackupName]) -> Result<BTreeSet<FileName>, Error> {
    let mut named = BTreeSet::new();
    for name in backups {
        named.extend(place.read(name)?.names());
    }
    Ok(named)
}

fn remove_others<E: Env>(
    place: &Place<E>,
    named: &BTreeSet<FileName>,
) -> Result<(u64, u64), Error> {
    let files = place.files()?;
    let others = files.iter().filter(|(name, _)| !named.contains(name));
    let (names, lengths): (Vec<FileName>, Vec<u64>) = others.unzip();
    if !names.is_empty() {
        place.remove_files(&names)?;
    }
    Ok((names.len() as u64, lengths.iter().sum()))
}
