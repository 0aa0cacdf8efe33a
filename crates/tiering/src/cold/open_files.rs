//! Files that are open, kept while there is room for their tails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{ColdError, ColdFile};

/// Open files of any number of tables, those used last, up to a budget of memory. An object never changes, so
/// that what is kept is never stale.
pub struct OpenFiles {
    budget_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    files: HashMap<String, (Arc<ColdFile>, u64)>,
    bytes: usize,
    /// Counts uses, to tell which was last.
    uses: u64,
}

impl OpenFiles {
    /// Keeps files of at most `budget_bytes` of memory together.
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, kept: Mutex::default() }
    }

    /// Bytes of memory that the files kept take, about.
    pub fn bytes(&self) -> usize {
        self.kept().bytes
    }

    /// The file of an object, which `open` opens if it is not kept. Two that ask at once may both open it.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn get_or_open(
        &self,
        object: &str,
        open: impl FnOnce() -> Result<ColdFile, ColdError>,
    ) -> Result<Arc<ColdFile>, ColdError> {
        if let Some(file) = self.kept().get(object) {
            return Ok(file);
        }
        // Not under the lock: it waits for the object store.
        let file = Arc::new(open()?);
        self.kept().put(object, &file, self.budget_bytes);
        Ok(file)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, object: &str) -> Option<Arc<ColdFile>> {
        self.uses += 1;
        let (file, used) = self.files.get_mut(object)?;
        *used = self.uses;
        Some(Arc::clone(file))
    }

    fn put(&mut self, object: &str, file: &Arc<ColdFile>, budget_bytes: usize) {
        self.remove(object);
        let bytes = file.memory_bytes();
        while self.bytes.saturating_add(bytes) > budget_bytes {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(object, _)| object.clone()) else { return };
            self.remove(&oldest);
        }
        self.bytes += bytes;
        self.files.insert(object.to_owned(), (Arc::clone(file), self.uses));
    }

    fn remove(&mut self, object: &str) {
        if let Some((file, _)) = self.files.remove(object) {
            self.bytes -= file.memory_bytes();
        }
    }
}
