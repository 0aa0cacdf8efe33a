//! What an erase does to a table: files that may hold an entity are rewritten without its rows, and then every
//! object that the table does not name goes, whatever its age.
//!
//! Commits stay as they are: of a file that is gone they say its name, which is a hash of all of its bytes, its
//! least and greatest entity hash, event time and sequence, and no key and no value.

use std::sync::Arc;

use thermae_formats::{SchemaId, ViewId};

use super::Archive;
use crate::cold::log::{Committed, Definition};
use crate::cold::{ColdError, Columns};
use crate::erase::PendingErases;
use crate::merge::Entry;

impl Archive {
    /// Files of the table of `view` that may hold what was erased, by their fences and bloom filters, after all
    /// that was committed by now.
    ///
    /// # Errors
    /// The object store fails, or a file is damaged.
    pub fn suspects(
        &mut self,
        view: ViewId,
        erases: &PendingErases,
        columns_of: &dyn Fn(SchemaId) -> Option<Arc<Columns>>,
    ) -> Result<Vec<String>, ColdError> {
        self.snapshot.update(&*self.objects)?;
        let erases = erases.iter().filter(|erase| erase.view == view);
        let mut keys: Vec<(u64, &[u8])> =
            erases.map(|erase| (erase.entity_hash, &*erase.key)).collect();
        keys.sort_unstable();
        let mut suspects = Vec::new();
        for file in self.snapshot.files() {
            let begin = keys.partition_point(|(hash, _)| *hash < file.hashes.0);
            let end = keys.partition_point(|(hash, _)| *hash <= file.hashes.1);
            let keys = keys.get(begin..end).unwrap_or_default();
            if !keys.is_empty() && self.open(file, columns_of)?.may_hold_any(keys)? {
                suspects.push(file.path.clone());
            }
        }
        Ok(suspects)
    }

    /// Rewrites a file without what was erased; `dropped` is told of each row that is left out.
    ///
    /// # Errors
    /// As [`Archive::rewrite`].
    pub fn rewrite_without(
        &mut self,
        path: &str,
        erases: &PendingErases,
        columns_of: &dyn Fn(SchemaId) -> Option<Arc<Columns>>,
        definition: Definition<'_>,
        dropped: &dyn Fn(&Entry<'_>),
        now_us: i64,
    ) -> Result<Committed, ColdError> {
        let keeps = |entry: Entry<'_>| {
            let is_erased = erases.hides(entry.0, entry.1, &entry.2);
            if is_erased {
                dropped(&entry);
            }
            !is_erased
        };
        self.rewrite(&[path.to_owned()], columns_of, definition, &keeps, true, now_us)
    }

    /// Objects that the table does not name, now that what may have held an entity is rewritten. What uploads that
    /// did not end have left is removed at once: nobody reads that.
    ///
    /// # Errors
    /// The object store fails.
    pub fn doomed(&mut self) -> Result<Vec<String>, ColdError> {
        let prefix = format!("{}/", self.snapshot.table());
        let removed = self.objects.remove_unfinished(&prefix);
        removed.map_err(|error| ColdError::objects("clear", &prefix, error))?;
        Ok(self.unnamed()?.into_iter().map(|(path, _)| path).collect())
    }

    /// Removes those of `paths` that the table still does not name.
    ///
    /// # Errors
    /// The object store fails; what was removed stays removed.
    pub fn remove_doomed(&mut self, paths: &[String]) -> Result<(), ColdError> {
        self.snapshot.update(&*self.objects)?;
        self.remove_unnamed(paths)
    }
}
