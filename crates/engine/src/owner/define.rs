//! The owner of definitions, shard 0: they go through its log like rows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thermae_env::Env;
use thermae_formats::NO_TIME;
use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::catalogue::CatalogueEntry;
use thermae_formats::schema::FeatureView;

use crate::catalogue::{Applied, Catalogue};
use crate::error::Error;
use crate::message::Origin;
use crate::outside::Outside;

use super::Owner;

/// The partition number of catalogue records, which belong to no partition.
const CATALOGUE_PARTITION: u16 = u16::MAX;

/// Who waits for definitions to be applied.
pub(super) type ApplyOrigin = Origin<Result<Vec<Applied>, Error>>;

/// Definitions on their way through the log.
pub(super) struct PendingApply {
    /// Log batches of its first entry and of its last.
    pub(super) first_batch: u64,
    pub(super) batch: u64,
    next: Arc<Catalogue>,
    applied: Vec<Applied>,
    origin: ApplyOrigin,
}

impl<E: Env> Owner<E> {
    /// Takes definitions to apply.
    pub(crate) fn take_apply(&mut self, definitions: Vec<FeatureView>, origin: ApplyOrigin) {
        self.apply_queue.push_back((definitions, origin));
    }

    pub(super) fn admit_applies(&mut self, catalogue: &Arc<Catalogue>, outside: &mut Outside<E>) {
        // One at a time: a plan is made against the catalogue that the one before it left.
        if !self.applies.is_empty() {
            return;
        }
        while let Some((definitions, origin)) = self.apply_queue.pop_front() {
            match self.log_definitions(&definitions, catalogue) {
                Ok(None) => {
                    self.apply_queue.push_front((definitions, origin));
                    return;
                }
                Ok(Some((applied, Some(((first_batch, batch), next))))) => {
                    let apply = PendingApply { first_batch, batch, next, applied, origin };
                    self.applies.push_back(apply);
                    return;
                }
                Ok(Some((applied, None))) => outside.answer_apply(origin, Ok(applied)),
                Err(error) => outside.answer_apply(origin, Err(error)),
            }
        }
    }

    /// Logs what the definitions change; `None` means that the log wants time. The entries of one
    /// call may be cut apart by a crash: each is a whole definition, and applying is idempotent.
    #[allow(clippy::type_complexity)]
    fn log_definitions(
        &mut self,
        definitions: &[FeatureView],
        catalogue: &Arc<Catalogue>,
    ) -> Result<Option<(Vec<Applied>, Option<((u64, u64), Arc<Catalogue>)>)>, Error> {
        let (entries, applied) = catalogue.plan(definitions)?;
        if entries.is_empty() {
            return Ok(Some((applied, None)));
        }
        let mut next = Catalogue::clone(catalogue);
        let (mut first, mut last) = (None, 0);
        for entry in &entries {
            next.add(entry)?;
            let payload = entry.to_json().map_err(|e| Error::Invalid(e.to_string()))?;
            match self.log.append(&catalogue_record(entry, next.generation(), &payload)) {
                Ok(batch) => (first, last) = (first.or(Some(batch)), batch),
                // Entries logged before this one are repeated with equal ids: no harm.
                Err(refused) if refused.is_backpressure() => return Ok(None),
                Err(refused) => return Err(Error::ReadOnly(refused.to_string())),
            }
        }
        self.open_is_durable = true;
        Ok(Some((applied, Some(((first.unwrap_or(last), last), Arc::new(next))))))
    }

    pub(super) fn complete_applies(
        &mut self,
        durable: u64,
        failed: bool,
        published: &ArcSwap<Catalogue>,
        outside: &mut Outside<E>,
    ) {
        while let Some(apply) = self.applies.pop_front_if(|apply| apply.batch <= durable || failed)
        {
            if apply.batch <= durable {
                published.store(apply.next);
                outside.answer_apply(apply.origin, Ok(apply.applied));
            } else {
                let what = "the log failed while the definitions were written".to_owned();
                outside.answer_apply(apply.origin, Err(Error::InDoubt(what)));
            }
        }
    }
}

fn catalogue_record<'a>(entry: &CatalogueEntry, generation: u64, payload: &'a [u8]) -> Record<'a> {
    Record {
        kind: RecordKind::Catalogue,
        flags: 0,
        schema_id: entry.schema_id,
        partition: CATALOGUE_PARTITION,
        sequence: generation,
        event_time: 0,
        created_time: NO_TIME,
        producer_id: 0,
        producer_sequence: 0,
        expire_at: NO_TIME,
        key: &[],
        value: payload,
    }
}
