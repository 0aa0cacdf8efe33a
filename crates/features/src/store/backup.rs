//! What a backup of a feature store is made of.

use thermae_engine::backup::Source;
use thermae_env::Env;

use super::FeatureStore;
use crate::error::Error;
use crate::registry::FILE;

impl<E: Env> FeatureStore<E> {
    /// The store and its registry as they are now, to be backed up: every write that was acknowledged before, and the
    /// definitions that it was made under.
    ///
    /// # Errors
    /// As [`Source::of`]; or the registry cannot be copied.
    pub fn backup_source(&self) -> Result<Source<E>, Error> {
        let source = || Source::of(&self.handle, self.env.now_us());
        let (registry, source) = self.registry.copy_with(source)?;
        Ok(source?.attach(FILE, registry)?)
    }
}
