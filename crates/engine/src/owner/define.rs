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
use crate::message::ApplyAnswer;
use crate::waiter::Answerer;

use super::Owner;

/// The partition number of catalogue records, which belong to no partition.
const CATALOGUE_PARTITION: u16 = u16::MAX;

/// Definitions of which some entries are in the log, and the rest is to follow: one batch of it need not hold
/// them all.
pub(super) struct Logging {
    entries: Vec<CatalogueEntry>,
    /// The first that is not in the log.
    at: usize,
    /// Log batches of the first entry and of the last that is in it.
    batches: Option<(u64, u64)>,
    /// What those make of the catalogue.
    next: Catalogue,
    applied: Vec<Applied>,
    answerer: Answerer<ApplyAnswer>,
}

impl Logging {
    /// The first log batch of them.
    pub(super) fn first_batch(&self) -> Option<u64> {
        self.batches.map(|(first, _)| first)
    }
}

/// Definitions on their way through the log.
pub(super) struct PendingApply {
    /// Log batches of its first entry and of its last.
    pub(super) first_batch: u64,
    pub(super) batch: u64,
    next: Arc<Catalogue>,
    answer: Result<Vec<Applied>, Error>,
    answerer: Answerer<ApplyAnswer>,
}

impl<E: Env> Owner<E> {
    /// Takes definitions to apply.
    pub(crate) fn take_apply(
        &mut self,
        definitions: Vec<FeatureView>,
        answerer: Answerer<ApplyAnswer>,
    ) {
        self.apply_queue.push_back((definitions, answerer));
    }

    pub(super) fn admit_applies(&mut self, catalogue: &Arc<Catalogue>) {
        // One at a time: a plan is made against the catalogue that the one before it left.
        while self.applies.is_empty() {
            let Some(mut logging) = self.logging.take().or_else(|| self.plan_next(catalogue))
            else {
                return;
            };
            match self.log_definitions(&mut logging) {
                Ok(false) => {
                    self.logging = Some(logging);
                    return;
                }
                Ok(true) => self.pend(logging, None),
                Err(error) if logging.batches.is_none() => {
                    logging.answerer.put(Err(error));
                }
                // What is in the log already will be read at the next open: so it is in force from now on.
                Err(error) => {
                    let (done, all) = (logging.at, logging.entries.len());
                    let what = format!("{done} of {all} definitions are applied: {error}");
                    self.pend(logging, Some(Error::InDoubt(what)));
                }
            }
        }
    }

    /// The next definitions that change anything; those that do not are answered.
    fn plan_next(&mut self, catalogue: &Arc<Catalogue>) -> Option<Logging> {
        while let Some((definitions, answerer)) = self.apply_queue.pop_front() {
            match catalogue.plan(&definitions) {
                Ok((entries, applied)) if entries.is_empty() => {
                    answerer.put(Ok(applied));
                }
                Ok((entries, applied)) => {
                    let next = Catalogue::clone(catalogue);
                    return Some(Logging {
                        entries,
                        at: 0,
                        batches: None,
                        next,
                        applied,
                        answerer,
                    });
                }
                Err(error) => answerer.put(Err(error)),
            }
        }
        None
    }

    /// Logs entries until all are logged (true) or the log wants time. A crash may cut the entries of one call
    /// apart: each is a whole definition, and applying is idempotent.
    fn log_definitions(&mut self, logging: &mut Logging) -> Result<bool, Error> {
        while let Some(entry) = logging.entries.get(logging.at) {
            let payload = entry.to_json().map_err(|e| Error::Invalid(e.to_string()))?;
            let generation = logging.next.generation() + 1;
            match self.log.append(&catalogue_record(entry, generation, &payload)) {
                Ok(batch) => {
                    // The plan has added it already, to a copy.
                    logging.next.add(entry)?;
                    logging.batches = Some((logging.first_batch().unwrap_or(batch), batch));
                    logging.at += 1;
                    self.open_is_durable = true;
                }
                Err(refused) if refused.is_backpressure() => return Ok(false),
                Err(refused) => return Err(Error::ReadOnly(refused.to_string())),
            }
        }
        Ok(true)
    }

    fn pend(&mut self, logging: Logging, error: Option<Error>) {
        let Logging { batches, next, applied, answerer, .. } = logging;
        let Some((first_batch, batch)) = batches else { return };
        let answer = error.map_or(Ok(applied), Err);
        let next = Arc::new(next);
        self.applies.push_back(PendingApply { first_batch, batch, next, answer, answerer });
    }

    pub(super) fn complete_applies(
        &mut self,
        durable: u64,
        failed: bool,
        published: &ArcSwap<Catalogue>,
    ) {
        while let Some(apply) = self.applies.pop_front_if(|apply| apply.batch <= durable || failed)
        {
            if apply.batch <= durable {
                published.store(apply.next);
                apply.answerer.put(apply.answer);
            } else {
                let what = "the log failed while the definitions were written".to_owned();
                apply.answerer.put(Err(Error::InDoubt(what)));
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
