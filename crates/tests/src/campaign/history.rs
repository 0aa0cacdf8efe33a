//! What was asked of the store and what it answered, kept outside of it.

use thermae_engine::Outcome;
use thermae_formats::schema::TierPolicy;

use crate::model::{Model, Operation, VIEWS, Verdict};

/// A write that the store must have accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What it was.
    pub operation: Operation,
    /// Its producer's sequence.
    pub producer_sequence: u64,
    /// A durable acknowledgement was seen.
    pub acknowledged: bool,
    /// It was refused after all: the log had failed.
    pub refused: bool,
}

/// Everything accepted in one partition, in order; the model of it all.
#[derive(Clone, Debug, Default)]
pub struct PartitionHistory {
    /// Accepted writes; the sequence number is the index plus one.
    pub accepted: Vec<Accepted>,
    model: Model,
    mark: u64,
}

/// What the store must answer to a write that was just recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// OK under this sequence number.
    Sequence(u64),
    /// OK, nothing changes.
    Duplicate,
    /// Not applied: late.
    Late,
}

impl PartitionHistory {
    /// Of a partition whose views have these policies.
    pub fn with_policies(policies: [TierPolicy; VIEWS.len()]) -> PartitionHistory {
        PartitionHistory { model: Model::with_policies(policies), ..PartitionHistory::default() }
    }

    /// The model after the first `count` of the accepted writes.
    pub fn model_after(&self, count: usize) -> Model {
        let mut model = Model::with_policies(self.model.policies());
        self.accepted.iter().take(count).for_each(|write| {
            model.write(&write.operation);
        });
        model
    }

    /// Records a write that is about to be sent.
    pub fn record(&mut self, operation: &Operation, producer_sequence: u64) -> Expected {
        if producer_sequence <= self.mark {
            return Expected::Duplicate;
        }
        if self.model.write(operation) == Verdict::Late {
            return Expected::Late;
        }
        self.mark = producer_sequence;
        self.accepted.push(Accepted {
            operation: operation.clone(),
            producer_sequence,
            acknowledged: false,
            refused: false,
        });
        Expected::Sequence(self.accepted.len() as u64)
    }

    /// Checks an answer and takes note of it.
    pub fn answered(&mut self, expected: Expected, outcome: Outcome) -> Result<(), String> {
        match (expected, outcome) {
            (Expected::Sequence(want), Outcome::Ok { sequence, duplicate: false, .. })
                if want == sequence =>
            {
                self.accepted[want as usize - 1].acknowledged = true;
                Ok(())
            }
            // The log failed or the machine is going down.
            (_, Outcome::InDoubt) => Ok(()),
            (Expected::Sequence(want), Outcome::NotApplied(refusal)) if refusal.is_passing() => {
                self.accepted[want as usize - 1].refused = true;
                Ok(())
            }
            (_, Outcome::NotApplied(refusal)) if refusal.is_passing() => Ok(()),
            (Expected::Duplicate, Outcome::Ok { duplicate: true, .. }) => Ok(()),
            (Expected::Late, Outcome::NotApplied(thermae_engine::Refusal::Late)) => Ok(()),
            (expected, outcome) => Err(format!("expected {expected:?}, answered {outcome:?}")),
        }
    }

    /// Notes a refusal that came to a batch of which other rows are not answered.
    pub fn was_refused(&mut self, expected: Expected, outcome: &Outcome) {
        if let (Expected::Sequence(sequence), Outcome::NotApplied(refusal)) = (expected, outcome)
            && refusal.is_passing()
        {
            self.accepted[sequence as usize - 1].refused = true;
        }
    }

    /// Whether a write was refused and not sent again.
    pub fn has_refused(&self) -> bool {
        self.accepted.iter().any(|write| write.refused)
    }

    /// The least sequence number that must survive a crash.
    pub fn must_survive(&self) -> u64 {
        self.accepted.iter().rposition(|write| write.acknowledged).map_or(0, |at| at as u64 + 1)
    }

    /// Forgets what the crash took, and starts over from what is left. Returns what was lost.
    pub fn cut(&mut self, survivors: u64) -> Result<Vec<Accepted>, String> {
        let (least, most) = (self.must_survive(), self.accepted.len() as u64);
        if survivors < least || survivors > most {
            return Err(format!("{survivors} writes survived; {least} acknowledged, {most} sent"));
        }
        let lost = self.accepted.split_off(survivors as usize);
        if let Some(ghost) = self.accepted.iter().find(|write| write.refused) {
            return Err(format!("a refused write is there: {ghost:?}"));
        }
        let kept = std::mem::take(&mut self.accepted);
        *self = PartitionHistory::with_policies(self.model.policies());
        for write in kept {
            self.record(&write.operation, write.producer_sequence);
        }
        for write in &mut self.accepted {
            // Recovery made it durable: it must survive from now on.
            write.acknowledged = true;
        }
        Ok(lost)
    }

    /// The model after everything that is recorded.
    pub fn model(&self) -> &Model {
        &self.model
    }
}
