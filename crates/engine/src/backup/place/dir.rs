//! Where backups lie: four verbs over named files. A local directory; an object store would do each of them
//! with one call.
//!
//! * **put** if there is none of that name, whole or not at all ([`Place::put`]);
//! * **get** a part ([`Place::open`]);
//! * **list** ([`Place::names`], [`Place::files`]);
//! * **remove** ([`Place::remove`], [`Place::remove_files`]).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{DirEntry, Env, File, Mode, OpenHow};
use thermae_formats::backup::{Backup, BackupName, FileName};

use crate::error::Error;

const FILES: &str = "files";
const BACKUPS: &str = "backups";
const MAKING: &str = "making";
/// Longest `.backup` file that is read, in bytes: one of some hundred terabytes of tables.
const BACKUP_BYTES_MAX: u64 = 1 << 30;

/// A place for the backups of one store.
pub struct Place<E> {
    env: E,
    dir: PathBuf,
}

impl<E: Env> Place<E> {
    /// The place `dir`; nothing is looked at yet.
    pub fn new(env: E, dir: &Path) -> Self {
        Self { env, dir: dir.to_owned() }
    }

    /// The door to the disk.
    pub(super) fn env(&self) -> &E {
        &self.env
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the place if there is none, keeps other writers out of it, and removes what one of them left
    /// half made.
    pub(super) fn claim(&self) -> Result<E::Lock, Error> {
        for sub in [FILES, BACKUPS, MAKING] {
            let dir = self.dir.join(sub);
            self.env.create_dir_all(&dir).map_err(|e| failed("creating", &dir, e))?;
        }
        let lock = self.lock()?;
        let making = self.making();
        for entry in self.entries(MAKING)? {
            let path = making.join(entry.name);
            self.env.remove(&path).map_err(|e| failed("removing", &path, e))?;
        }
        Ok(lock)
    }

    /// Keeps other writers out of a place that is there.
    pub(super) fn lock(&self) -> Result<E::Lock, Error> {
        let path = self.dir.join("LOCK");
        self.env.lock(&path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Invalid(format!(
                "{} is written to by another backup; wait for its end",
                self.dir.display()
            )),
            _ => failed("locking", &path, error),
        })
    }

    /// The backups, oldest first.
    pub(super) fn names(&self) -> Result<Vec<BackupName>, Error> {
        let entries = self.entries(BACKUPS)?;
        let mut names: Vec<_> =
            entries.iter().filter_map(|entry| BackupName::of_file(&entry.name)).collect();
        names.sort();
        Ok(names)
    }

    /// Reads the file of a backup.
    pub(super) fn read(&self, name: &BackupName) -> Result<Backup, Error> {
        let path = self.backup_path(name);
        let file = self.env.open(&path, OpenHow::READ).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound(format!(
                "there is no backup {name} in {}; --list shows which there are",
                self.dir.display()
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
            let none = || Error::NotFound(format!("there is no backup in {}", self.dir.display()));
            self.names()?.pop().ok_or_else(none)
        };
        let name = name.cloned().map_or_else(newest, Ok)?;
        Ok((name.clone(), self.read(&name)?))
    }

    /// The files that backups share, and their lengths.
    pub(super) fn files(&self) -> Result<BTreeMap<FileName, u64>, Error> {
        let entries = self.entries(FILES)?;
        let file = |entry: &DirEntry| Some((entry.name.parse().ok()?, entry.len_bytes));
        Ok(entries.iter().filter_map(file).collect())
    }

    /// The path of a file that backups share.
    pub(super) fn file_path(&self, name: &FileName) -> PathBuf {
        self.dir.join(FILES).join(name.to_string())
    }

    /// The path of a backup.
    pub(super) fn backup_path(&self, name: &BackupName) -> PathBuf {
        self.dir.join(BACKUPS).join(name.file())
    }

    /// The directory of files that are being made.
    pub(super) fn making(&self) -> PathBuf {
        self.dir.join(MAKING)
    }

    /// Opens a shared file, past the page cache: what is read is what the disk has.
    pub(super) fn open(&self, name: &FileName) -> Result<E::File, Error> {
        let path = self.file_path(name);
        open_direct(&self.env, &path, OpenHow::READ).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                corrupt(&path, 0, "missing although a backup names it".to_owned())
            }
            _ => failed("opening", &path, error),
        })
    }

    /// Makes a shared file: `write` makes it, durable, at the path that it is given.
    pub(super) fn put(
        &self,
        name: &FileName,
        write: &mut dyn FnMut(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.put_as(&self.file_path(name), write)
    }

    /// Names a shared file that lies in the directory of files being made already, durable.
    pub(super) fn adopt(&self, made: &str, name: &FileName) -> Result<(), Error> {
        self.name(&self.making().join(made), &self.file_path(name))
    }

    /// Makes the file of a backup: from now on there is one.
    pub(super) fn put_backup(&self, name: &BackupName, backup: &Backup) -> Result<(), Error> {
        backup.check().map_err(|error| Error::Invalid(error.to_string()))?;
        let bytes = backup.to_bytes();
        self.put_as(&self.backup_path(name), &mut |path| write_whole(&self.env, path, &bytes))
    }

    /// Removes a backup; its files stay.
    pub(super) fn remove(&self, name: &BackupName) -> Result<(), Error> {
        let path = self.backup_path(name);
        self.env.remove(&path).map_err(|e| failed("removing", &path, e))
    }

    /// What [`Self::remove`] removed stays removed.
    pub(super) fn settle_removals(&self) -> Result<(), Error> {
        let dir = self.dir.join(BACKUPS);
        self.env.sync_dir(&dir).map_err(|e| failed("syncing", &dir, e))
    }

    /// Removes shared files.
    pub(super) fn remove_files(&self, names: &[FileName]) -> Result<(), Error> {
        for name in names {
            let path = self.file_path(name);
            self.env.remove(&path).map_err(|e| failed("removing", &path, e))?;
        }
        let dir = self.dir.join(FILES);
        self.env.sync_dir(&dir).map_err(|e| failed("syncing", &dir, e))
    }

    fn put_as(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let making = self.making().join(path.file_name().unwrap_or_default());
        write(&making).and_then(|()| self.name(&making, path)).inspect_err(|_| {
            // The next backup removes it if this does not.
            let _ = self.env.remove(&making);
        })
    }

    fn name(&self, made: &Path, path: &Path) -> Result<(), Error> {
        self.env.rename(made, path).map_err(|e| failed("naming", path, e))?;
        // A rename is durable when both directories are.
        for dir in [path.parent().unwrap_or(&self.dir), &self.making()] {
            self.env.sync_dir(dir).map_err(|e| failed("syncing", dir, e))?;
        }
        Ok(())
    }

    fn entries(&self, sub: &str) -> Result<Vec<DirEntry>, Error> {
        let dir = self.dir.join(sub);
        self.env.list(&dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::NotFound(format!("{} is no place for backups", self.dir.display()))
            }
            _ => failed("listing", &dir, error),
        })
    }
}

/// Opens a file past the page cache where its file system can do that.
pub(super) fn open_direct<E: Env>(env: &E, path: &Path, how: OpenHow) -> io::Result<E::File> {
    match env.open(path, how.direct()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            // The system may have made the file before it refused.
            if how.mode == Mode::Create && env.exists(path)? {
                env.remove(path)?;
            }
            env.open(path, how)
        }
        opened => opened,
    }
}

/// Writes a small file, durable but for its name.
pub(super) fn write_whole<E: Env>(env: &E, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let file = env.open(path, OpenHow::CREATE)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|e| failed("writing", path, e))
}

/// What the system refused.
pub(super) fn failed(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format!("{doing} {}", path.display()), source)
}

/// Bytes that are not what was written.
pub(super) fn corrupt(path: &Path, offset: u64, what: impl ToString) -> Error {
    Error::Corrupt { file: path.display().to_string(), offset, what: what.to_string() }
}
