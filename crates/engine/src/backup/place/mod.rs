//! Where backups lie: four verbs over named files, in a directory or in a bucket.
//!
//! * **put** if there is none of that name, whole or not at all ([`Place::put_copy`], [`Place::put_bytes`]);
//! * **get** a part ([`Place::open`]);
//! * **list** ([`Place::names`], [`Place::files`]);
//! * **remove** ([`Place::remove`], [`Place::remove_files`]).

#[cfg(feature = "cold")]
mod bucket;
mod dir;
mod file;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{Env, File};
use thermae_formats::backup::{Backup, BackupName, FileName};

use super::disk::{corrupt, failed};
use super::meter::Meter;
use super::pieces::Reading;
use crate::error::Error;
#[cfg(feature = "cold")]
pub(super) use bucket::is_claim;
use dir::DirPlace;
pub(super) use file::PlaceFile;

const FILES: &str = "files";
const BACKUPS: &str = "backups";
const MAKING: &str = "making";
const SUBS: [&str; 3] = [FILES, BACKUPS, MAKING];
/// Longest `.backup` file that is read, in bytes: one of some hundred terabytes of tables.
const BACKUP_BYTES_MAX: u64 = 1 << 30;

/// A place for the backups of one store.
pub struct Place<E: Env> {
    env: E,
    lies: Lies<E>,
}

enum Lies<E> {
    Dir(DirPlace<E>),
    #[cfg(feature = "cold")]
    Bucket(bucket::BucketPlace<E>),
}

/// Keeps other writers out of a place as long as it is held. In a bucket nobody can be kept out: whoever came
/// first is told before it names or removes anything.
pub(super) struct Claim<E: Env> {
    _lock: Option<E::Lock>,
}

impl<E: Env> Place<E> {
    /// The place `dir`; nothing is looked at yet.
    pub fn new(env: E, dir: &Path) -> Self {
        Self { lies: Lies::Dir(DirPlace::new(env.clone(), dir)), env }
    }

    /// A place in an object store, from its root on, which is called `name`; nothing is looked at yet. What it takes
    /// rows of memtables to tables in lies in the directory `scratch` meanwhile, which is made and removed.
    #[cfg(feature = "cold")]
    pub fn in_objects(
        env: E,
        objects: std::sync::Arc<dyn thermae_tiering::cold::Objects>,
        name: &str,
        scratch: &Path,
    ) -> Self {
        let place = bucket::BucketPlace::new(env.clone(), objects, name, scratch);
        Self { env, lies: Lies::Bucket(place) }
    }

    /// The place at a path, or at the address of an object store; see [`Self::new`] and [`Self::in_objects`].
    ///
    /// # Errors
    /// The address is none, or of a kind that this build does not know.
    #[cfg(feature = "cold")]
    pub fn at(
        env: E,
        at: &str,
        options: &crate::cold::OpenOptions,
        scratch: &Path,
    ) -> Result<Self, Error> {
        if !crate::cold::is_url(at) {
            return Ok(Self::new(env, Path::new(at)));
        }
        let objects = crate::cold::open_url(at, options);
        let objects = objects.map_err(|error| Error::Invalid(format!("{at}: {error}")))?;
        Ok(Self::in_objects(env, objects, at, scratch))
    }

    /// The door to the disk.
    pub(super) fn env(&self) -> &E {
        &self.env
    }

    /// Where it is: a path, or an address.
    pub fn dir(&self) -> &Path {
        match &self.lies {
            Lies::Dir(place) => place.dir(),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.root(),
        }
    }

    /// Makes the place if there is none, keeps other writers out of it, and removes what one of them left
    /// half made.
    pub(super) fn claim(&self) -> Result<Claim<E>, Error> {
        match &self.lies {
            Lies::Dir(place) => place.claim().map(|lock| Claim { _lock: Some(lock) }),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.claim().map(|()| Claim { _lock: None }),
        }
    }

    /// Whether a directory with entries of these names is a place.
    #[cfg(feature = "cold")]
    pub(super) fn is_one<'a>(names: impl Iterator<Item = &'a str>) -> bool {
        let names: Vec<&str> = names.collect();
        [FILES, BACKUPS].iter().all(|name| names.contains(name))
    }

    /// Whether files lie there that an interrupted backup has half made.
    pub(super) fn has_half_made(&self) -> Result<bool, Error> {
        match &self.lies {
            Lies::Dir(place) => place.has_half_made(),
            #[cfg(feature = "cold")]
            Lies::Bucket(_) => Ok(false),
        }
    }

    /// Keeps other writers out of a place that is there.
    pub(super) fn lock(&self) -> Result<Claim<E>, Error> {
        match &self.lies {
            Lies::Dir(place) => place.lock().map(|lock| Claim { _lock: Some(lock) }),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.claim().map(|()| Claim { _lock: None }),
        }
    }

    /// Bytes that are free; `None` where nothing says so.
    pub(super) fn free_bytes(&self) -> io::Result<Option<u64>> {
        match &self.lies {
            Lies::Dir(place) => place.free_bytes().map(Some),
            #[cfg(feature = "cold")]
            Lies::Bucket(_) => Ok(None),
        }
    }

    /// The backups, oldest first.
    pub(super) fn names(&self) -> Result<Vec<BackupName>, Error> {
        let entries = self.entries(BACKUPS)?;
        let mut names: Vec<_> =
            entries.iter().filter_map(|(name, _)| BackupName::of_file(name)).collect();
        names.sort();
        Ok(names)
    }

    /// Reads the file of a backup.
    pub(super) fn read(&self, name: &BackupName) -> Result<Backup, Error> {
        let path = self.backup_path(name);
        let file =
            self.open_at(BACKUPS, &name.file(), false).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::NotFound(format!(
                    "there is no backup {name} in {}; --list shows which there are",
                    self.dir().display()
                )),
                _ => failed("opening", &path, error),
            })?;
        let len = file.len_bytes().map_err(|e| failed("measuring", &path, e))?;
        if len > BACKUP_BYTES_MAX {
            return Err(corrupt(&path, 0, format!("{len} bytes are too many for a backup")));
        }
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, 0).map_err(|e| failed("reading", &path, e))?;
        bytes.truncate(read);
        Backup::parse(&bytes).map_err(|error| corrupt(&path, 0, error))
    }

    /// The newest backup, or the one of that name.
    pub(super) fn find(&self, name: Option<&BackupName>) -> Result<(BackupName, Backup), Error> {
        let newest = || {
            let none =
                || Error::NotFound(format!("there is no backup in {}", self.dir().display()));
            self.names()?.pop().ok_or_else(none)
        };
        let name = name.cloned().map_or_else(newest, Ok)?;
        Ok((name.clone(), self.read(&name)?))
    }

    /// The files that backups share, and their lengths.
    pub(super) fn files(&self) -> Result<BTreeMap<FileName, u64>, Error> {
        let entries = self.entries(FILES)?;
        Ok(entries.iter().filter_map(|(name, len)| Some((name.parse().ok()?, *len))).collect())
    }

    /// The path of a file that backups share.
    pub(super) fn file_path(&self, name: &FileName) -> PathBuf {
        self.path(FILES, &name.to_string())
    }

    /// The path of a backup.
    pub(super) fn backup_path(&self, name: &BackupName) -> PathBuf {
        self.path(BACKUPS, &name.file())
    }

    /// The directory of files that are being made.
    pub(super) fn making(&self) -> PathBuf {
        match &self.lies {
            Lies::Dir(place) => place.making(),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.making(),
        }
    }

    /// Opens a shared file, past the page cache: what is read is what the disk has.
    pub(super) fn open(&self, name: &FileName) -> Result<PlaceFile<E::File>, Error> {
        let path = self.file_path(name);
        self.open_at(FILES, &name.to_string(), true).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                corrupt(&path, 0, "missing although a backup names it".to_owned())
            }
            _ => failed("opening", &path, error),
        })
    }

    /// Makes a shared file of another one, durable.
    pub(super) fn put_copy<F: File>(
        &self,
        name: &FileName,
        reading: &Reading<'_, F>,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        match &self.lies {
            Lies::Dir(place) => place.put_copy(&self.file_path(name), reading, meter),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.put_copy(FILES, &name.to_string(), reading, meter),
        }
    }

    /// Makes a small shared file, durable.
    pub(super) fn put_bytes(&self, name: &FileName, bytes: &[u8]) -> Result<(), Error> {
        match &self.lies {
            Lies::Dir(place) => place.put_bytes(&self.file_path(name), bytes),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.put_bytes(FILES, &name.to_string(), bytes),
        }
    }

    /// Makes a shared file of one that lies in the directory of files being made already, durable.
    #[cfg_attr(not(feature = "cold"), allow(unused_variables))]
    pub(super) fn adopt(
        &self,
        made: &str,
        name: &FileName,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        match &self.lies {
            Lies::Dir(place) => place.adopt(made, &self.file_path(name)),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.adopt(made, FILES, &name.to_string(), meter),
        }
    }

    /// Makes the file of a backup: from now on there is one.
    pub(super) fn put_backup(&self, name: &BackupName, backup: &Backup) -> Result<(), Error> {
        backup.check().map_err(|error| Error::Invalid(error.to_string()))?;
        let bytes = backup.to_bytes();
        match &self.lies {
            Lies::Dir(place) => place.put_bytes(&self.backup_path(name), &bytes),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.put_last(BACKUPS, &name.file(), &bytes),
        }
    }

    /// Removes backups, for good; their files stay.
    pub(super) fn remove(&self, names: &[BackupName]) -> Result<(), Error> {
        self.remove_at(BACKUPS, &names.iter().map(BackupName::file).collect::<Vec<_>>())
    }

    /// Removes shared files.
    pub(super) fn remove_files(&self, names: &[FileName]) -> Result<(), Error> {
        self.remove_at(FILES, &names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn remove_at(&self, sub: &str, names: &[String]) -> Result<(), Error> {
        match &self.lies {
            Lies::Dir(place) => place.remove(sub, names),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.remove(sub, names),
        }
    }

    fn path(&self, sub: &str, name: &str) -> PathBuf {
        match &self.lies {
            Lies::Dir(place) => place.path(sub, name),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.path(sub, name),
        }
    }

    fn open_at(&self, sub: &str, name: &str, is_direct: bool) -> io::Result<PlaceFile<E::File>> {
        match &self.lies {
            Lies::Dir(place) => place.open(&place.path(sub, name), is_direct).map(PlaceFile::OfDir),
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.open(sub, name).map(PlaceFile::OfBucket),
        }
    }

    /// Names and lengths below the place.
    fn entries(&self, sub: &str) -> Result<Vec<(String, u64)>, Error> {
        match &self.lies {
            Lies::Dir(place) => {
                let entries = place.entries(sub)?.into_iter();
                Ok(entries.map(|entry| (entry.name, entry.len_bytes)).collect())
            }
            #[cfg(feature = "cold")]
            Lies::Bucket(place) => place.entries(sub),
        }
    }
}
