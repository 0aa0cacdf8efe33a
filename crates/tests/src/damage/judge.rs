//! What a store makes of a damage.

use std::path::{Path, PathBuf};

use thermae_engine::Error;
use thermae_engine::log::Severity;
use thermae_engine::verify::verify_directory;
use thermae_env::SimEnv;

use super::cases::{Damage, DamageKind, FileKind};
use super::sample::{DIR, Sample, machine, tiers};
use crate::campaign::{PartitionHistory, World};

/// What became of a damaged store. Every one keeps the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It holds every row; the damage lies where nothing is.
    Same,
    /// It does not open; the error names file and offset.
    Refused,
    /// It serves every other row; these are refused, naming file and offset.
    Unreadable,
    /// It serves every row, and has told of the damage.
    Told,
    /// It lost the last batch before the crash, whose damage looks like a write that never ended.
    LastBatch,
}

/// Opens a damaged copy of the sample. None when the damage changes nothing.
///
/// # Errors
/// Another answer, lost rows, or an error that does not name the file: a broken promise.
pub fn judge(sample: &Sample, damage: &Damage, preload_bytes: u64) -> Result<Option<Seen>, String> {
    let Some(files) = damage.done_to(sample) else { return Ok(None) };
    let env = machine(&files).map_err(|e| e.to_string())?;
    let case = Case { sample, damage, told: told_by_verify(&env) };
    match World::open(env, 1, tiers(preload_bytes), sample.past.clone()) {
        Err(error) => case.refused(&error).map(Some),
        Ok(world) => case.opened(world).map(Some),
    }
}

/// Files and offsets that a check of the directory names as damaged.
fn told_by_verify(env: &SimEnv) -> Vec<(PathBuf, u64)> {
    match verify_directory(env, Path::new(DIR), &mut |_, _| ()) {
        Ok(report) => {
            let damages = report.findings.into_iter().filter(|f| f.severity == Severity::Damage);
            damages.map(|found| (found.file, found.offset)).collect()
        }
        Err(error) => place_of(&error).into_iter().collect(),
    }
}

/// The file and the offset that an error names.
fn place_of(error: &Error) -> Option<(PathBuf, u64)> {
    match error {
        Error::Corrupt { file, offset, .. } => Some((file.into(), *offset)),
        // What cannot be opened at all is named as a whole.
        Error::Io { context, .. } => context.split_whitespace().last().map(|path| (path.into(), 0)),
        _ => None,
    }
}

struct Case<'a> {
    sample: &'a Sample,
    damage: &'a Damage,
    told: Vec<(PathBuf, u64)>,
}

impl Case<'_> {
    fn path(&self) -> &Path {
        &self.sample.files[self.damage.file()].0
    }

    /// Whether the damage must be told of the very file: a page of another place or time may also
    /// show in a file that is whole and no longer fits.
    fn must_name_the_file(&self) -> bool {
        !matches!(self.damage.kind(), DamageKind::Copied | DamageKind::Old)
    }

    fn refused(&self, error: &Error) -> Result<Seen, String> {
        let place = place_of(error).ok_or_else(|| format!("names no file: {error}"))?;
        self.check_place(&place).map_err(|why| format!("{why}: {error}"))?;
        if self.told.is_empty() {
            return Err(format!("a check of the directory misses what an open refuses: {error}"));
        }
        Ok(Seen::Refused)
    }

    fn check_place(&self, (file, offset): &(PathBuf, u64)) -> Result<(), String> {
        if !file.starts_with(DIR) {
            return Err(format!("{} is no file of the store", file.display()));
        }
        if !self.must_name_the_file() {
            return Ok(());
        }
        if file != self.path() {
            return Err(format!("{} is named", file.display()));
        }
        let is_flip = self.damage.kind() == DamageKind::Flipped;
        if is_flip && *offset > self.damage.bytes().start as u64 {
            return Err(format!("offset {offset} is behind the damage"));
        }
        Ok(())
    }

    fn opened(&self, mut world: World) -> Result<Seen, String> {
        let is_cut = self.take_survivors(&mut world)?;
        let mut unreadable = self.unreadable(&mut world)?;
        if !world.rest()? {
            return Err("the machine stopped".to_owned());
        }
        let damaged = world.damaged_tables();
        for table in &damaged {
            self.check_place(&(table.path.clone(), table.offset_bytes))?;
        }
        // What a look-up, a merge or the scrub has met changes no answer.
        unreadable += self.unreadable(&mut world)?;
        if is_cut {
            return Ok(Seen::LastBatch);
        }
        let is_told = self.told.iter().any(|place| self.check_place(place).is_ok());
        let is_log = FileKind::of(self.path()) == FileKind::Log;
        match (unreadable > 0, damaged.is_empty(), is_told) {
            (true, _, true) => Ok(Seen::Unreadable),
            (false, false, true) => Ok(Seen::Told),
            (false, true, is_told) if is_log => Ok(if is_told { Seen::Told } else { Seen::Same }),
            // An older manifest may name what is all there still.
            (false, true, false) if !self.must_name_the_file() => Ok(Seen::Same),
            (false, true, is_told) => {
                Err(format!("not noticed by the store, {is_told} by a check"))
            }
            (_, _, false) => Err("a check of the directory misses it".to_owned()),
        }
    }

    /// Every write must be there. Whether the last batch before a crash is not, where that may be.
    fn take_survivors(&self, world: &mut World) -> Result<bool, String> {
        let applied = world.applied();
        if applied == lengths(&self.sample.past) {
            return Ok(false);
        }
        let last = self.sample.last_batch.as_ref().filter(|last| {
            let bytes = self.damage.bytes();
            let is_in = bytes.start >= last.bytes.start && bytes.end <= last.bytes.end;
            self.damage.file() == last.file && is_in && applied == lengths(&last.past)
        });
        let Some(last) = last else {
            let want = lengths(&self.sample.past);
            return Err(format!("writes up to {applied:?} are there, not up to {want:?}"));
        };
        world.histories.clone_from(&last.past);
        Ok(true)
    }

    /// How many rows are refused; each names the file.
    fn unreadable(&self, world: &mut World) -> Result<usize, String> {
        let rows = world.unreadable_rows()?;
        let name = self.sample.name(self.damage.file());
        let is_named = |why: &String| why.contains(name) && why.contains("offset");
        match rows.iter().find(|why| !is_named(why)) {
            Some(why) => Err(format!("does not name the file: {why}")),
            None => Ok(rows.len()),
        }
    }
}

fn lengths(past: &[PartitionHistory]) -> Vec<u64> {
    past.iter().map(|history| history.accepted.len() as u64).collect()
}
