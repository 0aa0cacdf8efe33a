//! A data directory out of a backup: the whole store, or nothing that opens.

use std::path::{Path, PathBuf};

use thermae_env::Env;
use thermae_formats::backup::{Backup, BackupName, is_attachment_name};

use super::below::{Below, NoArchive};
use super::check::check_length;
use super::disk::{failed, write_whole};
use super::meter::{Meter, Work};
use super::pieces::Reading;
use super::place::Place;
use crate::anchor::Anchor;
use crate::error::Error;
use crate::log::{LOCK, MANIFEST, RESTORING, WARM};

/// What the directory knows of its archive ([`Anchor`]).
const ARCHIVE: &str = "ARCHIVE";

/// A directory that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The backup that it was made of.
    pub name: BackupName,
    /// The time that it goes back to, microseconds UTC: what was acknowledged later is not in it.
    pub taken_us: i64,
    /// Files copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions in it: superseded ones and tombstones too.
    pub rows: u64,
}

/// Makes the directory `data` of a backup, or, without a name, of the newest one. Each piece is compared with
/// its checksum before it is written; the name that makes the directory open comes last.
///
/// # Errors
/// `data` holds anything already, the backup or any of its files is not what was written (it is named, with
/// the place in it), or the disk is full. Then `data` is as it was, or, where not even that could be done,
/// does not open until a restore into it has come to its end. A backup of a store whose rows have left for its
/// archive needs `restore_with_archive`.
pub fn restore<E: Env>(
    place: &Place<E>,
    name: Option<&BackupName>,
    data: &Path,
    work: &mut Work<'_>,
) -> Result<Restored, Error> {
    restore_over(place, name, data, &mut NoArchive, work)
}

/// Makes a directory of a backup over what lies below its tables.
pub(super) fn restore_over<E: Env>(
    place: &Place<E>,
    name: Option<&BackupName>,
    data: &Path,
    below: &mut dyn Below,
    work: &mut Work<'_>,
) -> Result<Restored, Error> {
    let (name, backup) = place.find(name)?;
    let target = Target { env: place.env().clone(), data: data.to_owned() };
    target.check_vacant()?;
    let anchor = below.find(&backup, Anchor::read(&target.env, data)?)?;
    target.env.create_dir_all(data).map_err(|e| failed("creating", data, e))?;
    let _lock = target.lock()?;
    // Another one may have been quicker.
    target.check_vacant()?;
    target.check_room(backup.bytes())?;
    let mut meter = Meter::begin(place.env(), work, backup.bytes() + below.bytes());
    let made = target.make(place, &backup, anchor.as_ref(), below, &mut meter);
    made.inspect_err(|_| {
        // What is left where this fails is known by its marker, and does not open.
        let _ = target.clear();
    })?;
    Ok(Restored {
        name,
        taken_us: backup.taken_us,
        files: backup.files.len() as u64,
        bytes: backup.bytes(),
        rows: backup.rows(),
    })
}

struct Target<E> {
    env: E,
    data: PathBuf,
}

impl<E: Env> Target<E> {
    fn lock(&self) -> Result<E::Lock, Error> {
        let path = self.data.join(LOCK);
        self.env.lock(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::Locked(self.data.clone()),
            _ => failed("locking", &path, error),
        })
    }

    fn restoring(&self) -> PathBuf {
        self.data.join(RESTORING)
    }

    fn names(&self, dir: &Path) -> Result<Vec<String>, Error> {
        match self.env.list(dir) {
            Ok(entries) => Ok(entries.into_iter().map(|entry| entry.name).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed("listing", dir, error)),
        }
    }

    /// Refuses a directory that holds anything but what a restore left that did not come to its end.
    fn check_vacant(&self) -> Result<(), Error> {
        let names = self.names(&self.data)?;
        let is_left = names.iter().any(|name| name == RESTORING);
        for name in names {
            let is_empty_dir = |name: &str| -> Result<bool, Error> {
                Ok([WARM, "log"].contains(&name) && self.names(&self.data.join(name))?.is_empty())
            };
            let bare = name.strip_suffix(".tmp").unwrap_or(&name);
            let may_be_left = name == WARM || bare == ARCHIVE || is_attachment_name(&name);
            let is_ours = name == LOCK
                || bare == RESTORING
                || (is_left && may_be_left)
                || is_empty_dir(&name)?;
            if !is_ours {
                return Err(Error::Invalid(format!(
                    "{} is not empty ({name} is there); restore to a directory of its own",
                    self.data.display()
                )));
            }
        }
        Ok(())
    }

    fn check_room(&self, bytes: u64) -> Result<(), Error> {
        let free = self.env.free_bytes(&self.data);
        let free = free.map_err(|e| failed("measuring", &self.data, e))?;
        if free >= bytes {
            return Ok(());
        }
        let what = format!("{} needs {bytes} bytes, {free} are free", self.data.display());
        Err(Error::io(what, std::io::ErrorKind::StorageFull.into()))
    }

    fn make(
        &self,
        place: &Place<E>,
        backup: &Backup,
        anchor: Option<&Anchor>,
        below: &dyn Below,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        self.mark(backup)?;
        match anchor {
            Some(anchor) => anchor.write(&self.env, &self.data)?,
            // What a restore of another backup left, which did not come to its end.
            None => self.remove(&[ARCHIVE])?,
        }
        self.remove_attachments()?;
        for (name, bytes) in &backup.attachments {
            write_whole(&self.env, &self.data.join(name), bytes)?;
        }
        // Their names last before the one by which the directory opens does.
        self.env.sync_dir(&self.data).map_err(|e| failed("syncing", &self.data, e))?;
        below.bring(&mut |bytes| meter.advance(bytes))?;
        let warm = self.data.join(WARM);
        for dir in [&warm, &self.data.join("log")] {
            self.env.create_dir_all(dir).map_err(|e| failed("creating", dir, e))?;
        }
        self.clear_warm()?;
        for (name, wanted) in backup.names().iter().zip(&backup.files) {
            let (path, file) = (place.file_path(name), place.open(name)?);
            check_length(&file, &path, wanted)?;
            let reading = Reading { file: &file, path: &path, bytes: wanted.bytes };
            reading.copy(&self.env, &warm.join(name.in_store()), Some(wanted), meter)?;
        }
        self.env.sync_dir(&warm).map_err(|e| failed("syncing", &warm, e))?;
        below.name()?;
        let manifest = self.data.join(MANIFEST);
        self.env
            .rename(&self.restoring(), &manifest)
            .and_then(|()| self.env.sync_dir(&self.data))
            .map_err(|e| failed("naming", &manifest, e))
    }

    /// Writes the manifest under the name by which the directory does not open.
    fn mark(&self, backup: &Backup) -> Result<(), Error> {
        let (restoring, making) = (self.restoring(), self.data.join(format!("{RESTORING}.tmp")));
        if self.env.exists(&making).map_err(|e| failed("looking for", &making, e))? {
            self.env.remove(&making).map_err(|e| failed("removing", &making, e))?;
        }
        write_whole(&self.env, &making, &backup.manifest.to_bytes())?;
        self.env
            .rename(&making, &restoring)
            .and_then(|()| self.env.sync_dir(&self.data))
            .map_err(|e| failed("naming", &restoring, e))
    }

    fn clear_warm(&self) -> Result<(), Error> {
        let warm = self.data.join(WARM);
        if !self.env.exists(&warm).map_err(|e| failed("looking for", &warm, e))? {
            return Ok(());
        }
        for name in self.names(&warm)? {
            let path = warm.join(name);
            self.env.remove(&path).map_err(|e| failed("removing", &path, e))?;
        }
        self.env.sync_dir(&warm).map_err(|e| failed("syncing", &warm, e))
    }

    /// Takes everything back; the marker last, once nothing that it stands for can come again.
    fn clear(&self) -> Result<(), Error> {
        let manifest = self.data.join(MANIFEST);
        if self.env.exists(&manifest).map_err(|e| failed("looking for", &manifest, e))? {
            // Named, but perhaps not for good: a crash may find either name, and both are sound.
            return Ok(());
        }
        self.clear_warm()?;
        self.remove_attachments()?;
        self.remove(&[ARCHIVE, &format!("{ARCHIVE}.tmp"), &format!("{RESTORING}.tmp")])?;
        self.remove(&[RESTORING])
    }

    /// Removes what a restore left that did not come to its end.
    fn remove_attachments(&self) -> Result<(), Error> {
        let mut names = self.names(&self.data)?;
        names.retain(|name| is_attachment_name(name));
        self.remove(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Removes files of the directory that may be there, for good.
    fn remove(&self, names: &[&str]) -> Result<(), Error> {
        for path in names.iter().map(|name| self.data.join(name)) {
            if self.env.exists(&path).map_err(|e| failed("looking for", &path, e))? {
                self.env.remove(&path).map_err(|e| failed("removing", &path, e))?;
            }
        }
        self.env.sync_dir(&self.data).map_err(|e| failed("syncing", &self.data, e))
    }
}
