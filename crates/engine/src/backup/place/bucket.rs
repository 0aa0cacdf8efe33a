//! A place for backups in an object store: files are objects, under the same names.
//!
//! Nobody can be kept out of a bucket by a lock that ends with its holder. Instead whoever is about to write *claims*
//! the place by an object of the next number, and looks, before and after it names a backup and before it removes
//! anything, whether a later claim is there: then it ends. A claim is never given back, so that a process that died
//! keeps nobody out. Two processes write to one place only if one store was made two, by a restore.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use thermae_env::{Env, File};
use thermae_tiering::cold::{ObjectError, Objects, PutNew};

use super::super::disk::{failed, open_direct};
use super::super::meter::Meter;
use super::super::pieces::Reading;
use super::FILES;
use crate::error::Error;

const CLAIMS: &str = "claims";
/// Bytes that are read ahead: tables are read through from their beginning to their end.
const AHEAD_BYTES: u64 = 4 << 20;
/// Times that a call is made which fails and may succeed later.
const ATTEMPTS: usize = 5;

/// The bucket, from the place's root on.
pub struct BucketPlace<E> {
    env: E,
    objects: Arc<dyn Objects>,
    root: PathBuf,
    scratch: PathBuf,
    /// The claim of this process; 0: none yet.
    claim: AtomicU64,
}

impl<E: Env> BucketPlace<E> {
    pub fn new(env: E, objects: Arc<dyn Objects>, name: &str, scratch: &Path) -> Self {
        let root = PathBuf::from(name.trim_end_matches('/'));
        Self { env, objects, root, scratch: scratch.to_owned(), claim: AtomicU64::new(0) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn making(&self) -> PathBuf {
        self.scratch.clone()
    }

    /// How a file is called where it is told.
    pub fn path(&self, sub: &str, name: &str) -> PathBuf {
        self.root.join(sub).join(name)
    }

    /// Claims the place, and clears the directory of files being made.
    pub fn claim(&self) -> Result<(), Error> {
        let last = self.last_claim()?;
        let number = last + 1;
        let path = claim_path(number);
        let put = again(|| self.objects.put_new(&path, Bytes::from_static(b"thermae backup\n")));
        if put.map_err(|e| self.told("claiming", &path, e))? == PutNew::Exists {
            return Err(self.taken());
        }
        self.claim.store(number, Ordering::Release);
        // The last one says how many there were.
        for number in (1..=last).rev().take(8) {
            let _ = self.objects.delete(&claim_path(number));
        }
        self.clear_scratch().map_err(|e| failed("clearing", &self.scratch, e))
    }

    fn last_claim(&self) -> Result<u64, Error> {
        let claims = self.entries(CLAIMS)?;
        Ok(claims.iter().filter_map(|(name, _)| name.parse().ok()).max().unwrap_or(0))
    }

    /// Whether nobody has come since this one claimed the place.
    fn check_claim(&self) -> Result<(), Error> {
        if self.last_claim()? == self.claim.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.taken())
    }

    fn taken(&self) -> Error {
        let root = self.root.display();
        Error::Invalid(format!(
            "another backup to {root} has begun since; give each store a place of its own, and serve one copy of it"
        ))
    }

    fn clear_scratch(&self) -> io::Result<()> {
        self.env.create_dir_all(&self.scratch)?;
        let left = self.env.list(&self.scratch)?;
        for entry in left.into_iter().filter(|entry| entry.name.ends_with(".tbl")) {
            self.env.remove(&self.scratch.join(entry.name))?;
        }
        Ok(())
    }

    /// Opens an object.
    pub fn open(&self, sub: &str, name: &str) -> io::Result<ObjectFile> {
        let path = format!("{sub}/{name}");
        let bytes = again(|| self.objects.length(&path)).map_err(io_error)?;
        let ahead = Arc::new(Mutex::new((0, Bytes::new())));
        Ok(ObjectFile { objects: Arc::clone(&self.objects), path, bytes, ahead })
    }

    /// Uploads a file.
    pub fn put_copy<F: File>(
        &self,
        sub: &str,
        name: &str,
        reading: &Reading<'_, F>,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        let path = format!("{sub}/{name}");
        let mut failure = None;
        let put =
            reading.upload(&mut failure, meter, |pieces| self.objects.put_pieces(&path, pieces));
        match failure {
            Some(error) => Err(error),
            None => put.map_err(|e| self.told("writing", &path, e)),
        }
    }

    /// Writes a small object. One that is there is what an interrupted backup left.
    pub fn put_bytes(&self, sub: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = format!("{sub}/{name}");
        let put = again(|| self.objects.replace(&path, Bytes::copy_from_slice(bytes)));
        put.map_err(|e| self.told("writing", &path, e))
    }

    /// Writes the object that makes the others count.
    pub fn put_last(&self, sub: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.check_claim()?;
        let path = format!("{sub}/{name}");
        let put = again(|| self.objects.put_new(&path, Bytes::copy_from_slice(bytes)));
        if put.map_err(|e| self.told("writing", &path, e))? == PutNew::Exists {
            // By an attempt of this one whose answer was lost, or by another backup.
            let found = again(|| self.objects.get(&path));
            if found.map_err(|e| self.told("reading", &path, e))? != bytes {
                return Err(self.taken());
            }
        }
        self.check_claim().inspect_err(|_| {
            // Files of it may be gone: whoever came later did not know of it.
            let _ = again(|| self.objects.delete(&path));
        })
    }

    /// Uploads a file of the directory of files being made, and removes it there.
    pub fn adopt(
        &self,
        made: &str,
        sub: &str,
        name: &str,
        meter: &mut Meter<'_, '_, E>,
    ) -> Result<(), Error> {
        let path = self.scratch.join(made);
        let file = open_direct(&self.env, &path, thermae_env::OpenHow::READ);
        let file = file.map_err(|e| failed("opening", &path, e))?;
        let bytes = file.len_bytes().map_err(|e| failed("measuring", &path, e))?;
        self.put_copy(sub, name, &Reading { file: &file, path: &path, bytes }, meter)?;
        self.env.remove(&path).map_err(|e| failed("removing", &path, e))
    }

    /// Removes objects.
    pub fn remove(&self, sub: &str, names: &[String]) -> Result<(), Error> {
        self.check_claim()?;
        for name in names {
            let path = format!("{sub}/{name}");
            again(|| self.objects.delete(&path)).map_err(|e| self.told("removing", &path, e))?;
        }
        Ok(())
    }

    /// Names and lengths of the objects below a part of the place.
    pub fn entries(&self, sub: &str) -> Result<Vec<(String, u64)>, Error> {
        let prefix = format!("{sub}/");
        let listed = again(|| self.objects.list(&prefix, ""));
        let listed = listed.map_err(|e| self.told("listing", &prefix, e))?;
        if listed.is_empty() && sub != CLAIMS && sub != FILES && self.last_claim()? == 0 {
            let what = format!("{} is no place for backups", self.root.display());
            return Err(Error::NotFound(what));
        }
        let name = |path: &str| path.strip_prefix(&prefix).unwrap_or(path).to_owned();
        Ok(listed.iter().map(|object| (name(&object.path), object.bytes)).collect())
    }

    fn told(&self, doing: &str, path: &str, error: ObjectError) -> Error {
        failed(doing, &self.root.join(path), io_error(error))
    }
}

fn claim_path(number: u64) -> String {
    format!("{CLAIMS}/{number:020}")
}

/// The place that an object is a claim of, by its name below the object store's root, which is `.` itself.
pub fn is_claim(path: &str) -> Option<&str> {
    let (dir, number) = path.rsplit_once('/')?;
    let is_number = number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit());
    let place = match dir.strip_suffix(CLAIMS)? {
        "" => ".",
        below => below.strip_suffix('/')?,
    };
    is_number.then_some(place)
}

/// Makes a call again that fails and may succeed later.
fn again<T>(mut call: impl FnMut() -> Result<T, ObjectError>) -> Result<T, ObjectError> {
    let mut attempt = 1;
    loop {
        match call() {
            Err(error) if error.is_transient() && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn io_error(error: ObjectError) -> io::Error {
    match error {
        ObjectError::NotFound => io::ErrorKind::NotFound.into(),
        error => io::Error::other(error),
    }
}

/// An object that is read as a file is.
#[derive(Clone)]
pub struct ObjectFile {
    objects: Arc<dyn Objects>,
    path: String,
    bytes: u64,
    /// What was read last, and where it begins.
    ahead: Arc<Mutex<(u64, Bytes)>>,
}

impl ObjectFile {
    pub fn len_bytes(&self) -> u64 {
        self.bytes
    }

    pub fn read_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes.saturating_add(done as u64);
            let read = self.part(at, (buf.len() - done) as u64)?;
            if read.is_empty() {
                break;
            }
            let count = read.len().min(buf.len() - done);
            buf[done..done + count].copy_from_slice(&read[..count]);
            done += count;
        }
        Ok(done)
    }

    /// Bytes from a place on, of those read ahead if they are among them; none at the end.
    fn part(&self, at: u64, wanted: u64) -> io::Result<Bytes> {
        if at >= self.bytes {
            return Ok(Bytes::new());
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let (begin, known) = &*ahead;
        if let Some(skip) = at.checked_sub(*begin).and_then(|skip| usize::try_from(skip).ok())
            && skip < known.len()
        {
            return Ok(known.slice(skip..));
        }
        let end = at.saturating_add(wanted.max(AHEAD_BYTES)).min(self.bytes);
        let read = again(|| {
            let read = self.objects.get_range(&self.path, at..end)?;
            if read.len() as u64 == end - at {
                return Ok(read);
            }
            Err(ObjectError::NoAnswer(format!("{} bytes of {} came", read.len(), end - at)))
        });
        *ahead = (at, read.map_err(io_error)?);
        Ok(ahead.1.clone())
    }
}
