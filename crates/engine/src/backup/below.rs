//! What lies below the tables of a store that is restored: its archive, or nothing.

use thermae_formats::backup::Backup;

use crate::anchor::Anchor;
use crate::error::Error;

/// What lies below the tables of a restored store.
pub(super) trait Below {
    /// Bytes to read there.
    fn bytes(&self) -> u64;
    /// What the directory is to know of its archive. `earlier` is what an interrupted restore wrote there.
    fn find(&mut self, backup: &Backup, earlier: Option<Anchor>) -> Result<Option<Anchor>, Error>;
    /// Sees that everything is there, or brings it there; told the bytes done.
    fn bring(&self, advance: &mut dyn FnMut(u64) -> Result<(), Error>) -> Result<(), Error>;
    /// Makes what was brought an archive.
    fn name(&self) -> Result<(), Error>;
}

/// All of the store is in its tables.
pub(super) struct NoArchive;

impl Below for NoArchive {
    fn bytes(&self) -> u64 {
        0
    }

    fn find(&mut self, backup: &Backup, _earlier: Option<Anchor>) -> Result<Option<Anchor>, Error> {
        if backup.archive.is_none() {
            return Ok(None);
        }
        let what = "rows of this backup lie in the archive of its store: say where that is (--archive ROOT), and, if \
                    it has gone on since, an empty root to copy what the backup names to (--with-archive ROOT)";
        Err(Error::Invalid(what.to_owned()))
    }

    fn bring(&self, _advance: &mut dyn FnMut(u64) -> Result<(), Error>) -> Result<(), Error> {
        Ok(())
    }

    fn name(&self) -> Result<(), Error> {
        Ok(())
    }
}
