//! Newest rows whose values lie in the archive: the owner asks for them and goes on; what waits is the read of
//! that key, or the partial write that is to be merged onto the row.

use std::sync::Arc;

use thermae_env::Env;
use thermae_formats::hash::partition_of;
use thermae_tiering::merge::is_past;

use super::Owner;
use crate::archived::UnderWay;
use crate::catalogue::{Catalogue, View};
use crate::fetch::{Fetched, OwnedVersion};
use crate::merge::Base;
use crate::outside::Outside;
use crate::warm::{Asker, Wanted};
use crate::write::Refusal;

impl<E: Env> Owner<E> {
    /// Asks the archive for the row that `stub` stands for; whoever asked is answered now where that cannot be.
    pub(super) fn ask_archive(
        &mut self,
        asker: Asker,
        wanted: Wanted,
        stub: OwnedVersion,
        outside: &mut Outside<E>,
    ) {
        let (changes, now_ns) = (self.warm.changes(), self.env.monotonic_ns());
        if let Err((refused, why)) = self.archived.start(asker, wanted, stub, changes, now_ns) {
            self.end_archived(refused, Fetched::Unavailable(why.into()), None, outside);
        }
    }

    /// Takes an answer of the archive.
    pub(crate) fn take_archived(
        &mut self,
        token: u64,
        found: Fetched,
        catalogue: &Catalogue,
        outside: &mut Outside<E>,
    ) {
        if let Some(under_way) = self.archived.take(token, &found) {
            self.end_archived(under_way, found, Some(catalogue), outside);
        }
    }

    /// Answers those whose deadline has passed.
    pub(crate) fn end_late_archived(&mut self, outside: &mut Outside<E>) {
        if self.archived.is_empty() {
            return;
        }
        let now_ns = self.env.monotonic_ns();
        while let Some(late) = self.archived.take_late(now_ns) {
            let found = Fetched::Unavailable("the archive did not answer in time".into());
            self.end_archived(late, found, None, outside);
        }
    }

    fn end_archived(
        &mut self,
        ended: UnderWay,
        found: Fetched,
        catalogue: Option<&Catalogue>,
        outside: &mut Outside<E>,
    ) {
        let view = catalogue.and_then(|catalogue| catalogue.view_by_id(ended.wanted.view));
        let found = match found {
            Fetched::Absent => self.missing(&ended, view.map(|view| &**view)),
            found => self.state.unless_erased(ended.wanted.view, ended.wanted.entity_hash, found),
        };
        self.archived.count(&ended, &found, self.env.monotonic_ns());
        let UnderWay { asker, wanted, stub, changes, .. } = ended;
        let (origin, index) = match asker {
            Asker::Write { .. } => {
                let order = stub.get().map_or((0, 0, 0), |stub| stub.order());
                self.archived.remember(&wanted, order, Some(found));
                return;
            }
            Asker::Read(origin, index) => (origin, index),
        };
        // What was written meanwhile is newer.
        let newer = view.and_then(|view| self.in_memory(view, wanted.row_hash, &wanted.key));
        if let Some(newer) = newer.filter(|newer| !newer.is_stub()) {
            outside.answer_fetch(&origin, [(index, newer)]);
            return;
        }
        if let (Some(catalogue), Some(view), Fetched::Row(row)) = (catalogue, view, &found)
            && changes == self.warm.changes()
            && is_bit_for_bit(row, &stub)
        {
            self.promote(catalogue, view, wanted.row_hash, row);
        }
        outside.answer_fetch(&origin, [(index, found)]);
    }

    /// What it means that the archive lacks a row: it is past `keep_for`, which ends it in both tiers, or lost.
    fn missing(&self, ended: &UnderWay, view: Option<&View>) -> Fetched {
        let Some(stub) = ended.stub.get() else { return Fetched::Absent };
        let partition = partition_of(ended.wanted.entity_hash, self.state.partitions());
        let watermark = self.state.watermark_of(partition);
        let keep_for_us = view.map_or(0, |view| view.latest.definition.tiers.keep_for_us);
        if is_past(stub.event_time, keep_for_us, watermark) {
            return Fetched::Absent;
        }
        let (view, entity_hash) = (ended.wanted.view, ended.wanted.entity_hash);
        let stub_now =
            self.state.unless_erased(view, entity_hash, Fetched::Row(ended.stub.clone()));
        if matches!(stub_now, Fetched::Absent) {
            return Fetched::Absent;
        }
        if ended.changes != self.warm.changes() {
            // It may have been erased, and that be over: the tables as they are now would tell.
            return Fetched::Unavailable("the tables have changed meanwhile: ask again".into());
        }
        let what = format!("the archive lacks the row of sequence {}", stub.sequence);
        Fetched::Failed(Arc::from(what))
    }

    /// The whole row in the place of a stub that a partial write would be laid over.
    ///
    /// # Errors
    /// `None`: it is on its way.
    pub(super) fn whole_base(
        &mut self,
        base: &Base,
        view: &View,
        entity_hash: u64,
        key: &[u8],
    ) -> Result<Base, Option<Refusal>> {
        let row_hash = self.state.row_hash(entity_hash, view.id);
        match self.archived.for_write(view.id, row_hash, key, base.order()) {
            Some(Some(Fetched::Row(row))) => {
                row.get().map(|row| Base::of(&row)).ok_or(Some(Refusal::CorruptBase))
            }
            Some(Some(Fetched::Unavailable(_))) => Err(Some(Refusal::ArchiveUnavailable)),
            Some(Some(Fetched::Absent | Fetched::Failed(_))) => Err(Some(Refusal::CorruptBase)),
            Some(None) => Err(None),
            None => {
                self.ask_for_write(view, entity_hash, key);
                // Refused at once where it cannot be asked for.
                match self.archived.for_write(view.id, row_hash, key, base.order()) {
                    Some(Some(Fetched::Unavailable(_))) => Err(Some(Refusal::ArchiveUnavailable)),
                    _ => Err(None),
                }
            }
        }
    }

    /// Asks for the row that a partial write needs, if memory knows that it is a stub and nobody has asked.
    pub(super) fn ask_for_write(&mut self, view: &View, entity_hash: u64, key: &[u8]) {
        let wanted = self.wanted(view.id, entity_hash, key);
        let Some(Fetched::Row(stub)) = self.in_memory(view, wanted.row_hash, key) else { return };
        let Some(version) = stub.get().filter(|version| version.is_stub()) else { return };
        let order = version.order();
        if self.archived.for_write(view.id, wanted.row_hash, key, order).is_some() {
            return;
        }
        let (changes, now_ns) = (self.warm.changes(), self.env.monotonic_ns());
        let asker = Asker::Write { needs_value: true };
        if let Err((refused, why)) = self.archived.start(asker, wanted, stub, changes, now_ns) {
            let found = Fetched::Unavailable(why.into());
            self.archived.count(&refused, &found, now_ns);
            self.archived.remember(&refused.wanted, order, Some(found));
        }
    }
}

/// Whether a row of the archive is what left, down to its encoding: a file that was rewritten under a later schema
/// has the same values in other bytes, which the digest of the partition must not meet.
fn is_bit_for_bit(row: &OwnedVersion, stub: &OwnedVersion) -> bool {
    matches!((row.get(), stub.get()), (Some(row), Some(stub)) if row.digest() == stub.digest())
}
