//! What a build without an archive says where the tables have only a stub of a row.

use thermae_env::Env;

use super::Owner;
use crate::catalogue::View;
use crate::fetch::{Fetched, OwnedVersion};
use crate::merge::Base;
use crate::outside::Outside;
use crate::warm::{Asker, Wanted};
use crate::write::Refusal;

impl<E: Env> Owner<E> {
    /// Answers that the row cannot be had.
    pub(super) fn ask_archive(
        &mut self,
        asker: Asker,
        _: Wanted,
        _: OwnedVersion,
        outside: &mut Outside<E>,
    ) {
        if let Asker::Read(origin, index) = asker {
            let found = Fetched::Unavailable("this build reads no archive".into());
            outside.answer_fetch(&origin, vec![(index, found)]);
        }
    }

    /// Refuses the partial write.
    ///
    /// # Errors
    /// Always.
    pub(super) fn whole_base(
        &mut self,
        _: &Base,
        _: &View,
        _: u64,
        _: &[u8],
    ) -> Result<Base, Option<Refusal>> {
        Err(Some(Refusal::ArchiveUnavailable))
    }

    /// Nothing can be asked for ahead.
    pub(super) fn ask_for_write(&mut self, _: &View, _: u64, _: &[u8]) {}
}
