//! A place for backups in a directory of a file system.

use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{DirEntry, Env, File, OpenHow};

use super::super::disk::{failed, open_direct, write_whole};
use super::super::meter::Meter;
use super::super::pieces::Reading;
use super::{MAKING, SUBS};
use crate::error::Error;

/// The directory.
pub struct DirPlace<E> {
    env: E,
    dir: PathBuf,
}

impl<E: Env> DirPlace<E> {
    pub fn new(env: E, dir: &Path) -> Self {
        Self { env, dir: dir.to_owned() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the place if there is none, keeps other writers out of it, and removes what one of them left
    /// half made.
    pub fn claim(&self) -> Result<E::Lock, Error> {
        for sub in SUBS {
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

    /// Whether files lie there that an interrupted backup has half made.
    pub fn has_half_made(&self) -> Result<bool, Error> {
        match self.entries(MAKING) {
            Err(Error::NotFound(_)) => Ok(false),
            entries => Ok(!entries?.is_empty()),
        }
    }

    /// Keeps other writers out of a place that is there.
    pub fn lock(&self) -> Result<E::Lock, Error> {
        let path = self.dir.join("LOCK");
        self.env.lock(&path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Invalid(format!(
                "{} is written to by another backup; wait for its end",
                self.dir.display()
            )),
            _ => failed("locking", &path, error),
        })
    }

    pub fn making(&self) -> PathBuf {
        self.dir.join(MAKING)
    }

    pub fn path(&self, sub: &str, name: &str) -> PathBuf {
        self.dir.join(sub).join(name)
    }

    /// Bytes that are free.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.env.free_bytes(&self.dir)
    }

    /// Opens a file, past the page cache where `is_direct`.
    pub fn open(&self, path: &Path, is_direct: bool) -> io::Result<E::File> {
        match is_direct {
            true => open_direct(&self.env, path, OpenHow::READ),
            false => self.env.open(path, OpenHow::READ),
        }
    }

    /// Copies a file to the place.
    pub fn put_copy<F: File>(
        &self,
        path: &Path,
        reading: &Reading<'_, F>,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        self.put_as(path, &mut |to| reading.copy(&self.env, to, None, meter))
    }

    /// Makes a small file of the place.
    pub fn put_bytes(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.put_as(path, &mut |to| write_whole(&self.env, to, bytes))
    }

    /// Names a shared file that lies in the directory of files being made already, durable.
    pub fn adopt(&self, made: &str, path: &Path) -> Result<(), Error> {
        self.name(&self.making().join(made), path)
    }

    /// Removes files of a directory below the place, for good.
    pub fn remove(&self, sub: &str, names: &[String]) -> Result<(), Error> {
        for name in names {
            let path = self.path(sub, name);
            self.env.remove(&path).map_err(|e| failed("removing", &path, e))?;
        }
        let dir = self.dir.join(sub);
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

    pub fn entries(&self, sub: &str) -> Result<Vec<DirEntry>, Error> {
        let dir = self.dir.join(sub);
        self.env.list(&dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::NotFound(format!("{} is no place for backups", self.dir.display()))
            }
            _ => failed("listing", &dir, error),
        })
    }
}
