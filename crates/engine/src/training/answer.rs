//! Pass 3: answers put behind the rows of the spine, in its order.

use std::collections::VecDeque;
use std::thread::scope;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use thermae_env::Env;
use thermae_tiering::spill::Sorted;

use super::collect::check_columns;
use super::helpers::{spawn, wait};
use super::maker::{BATCH_BYTES, Maker, Piece};
use super::plan::Plan;
use super::spine::Batches;
use super::{Progress, Spine, Tally, TrainingError};

/// Most rows of a batch of the answer.
pub const BATCH_ROWS: usize = 8192;

/// Most pieces that one maker answers without a word to the others: to begin costs a fraction of a batch.
const MOST_OF_ONE: usize = 4;

/// The spine with its features, batch by batch. Where batches end does not depend on memory or threads, but
/// no batch reaches over the end of one of the spine's.
pub struct Answer<'s, E: Env> {
    plan: Plan,
    spine: Unanswered<'s>,
    answers: Sorted<E>,
    /// What makes batches, as many at a time as there are of these, and how many pieces each answers then.
    makers: Vec<Maker<E>>,
    pieces_of_one: usize,
    /// What was answered and is not taken yet.
    ready: VecDeque<Result<RecordBatch, TrainingError>>,
    tallies: Vec<Tally>,
    has_failed: bool,
    progress: &'s Progress,
}

/// What is read of the spine again and not answered yet.
struct Unanswered<'s> {
    batches: Batches<'s>,
    pieces: VecDeque<Piece>,
    /// Why no more is read.
    ended: Option<Result<(), TrainingError>>,
    /// Rows that were read, and how many there are.
    row: u64,
    rows: u64,
}

impl Unanswered<'_> {
    /// Reads until there are so many pieces, or no more.
    fn read(&mut self, plan: &Plan, pieces: usize) {
        while self.pieces.len() < pieces && self.ended.is_none() {
            self.ended = self.read_batch(plan).transpose();
        }
    }

    fn read_batch(&mut self, plan: &Plan) -> Result<Option<()>, TrainingError> {
        let Some(batch) = self.batches.next().transpose().map_err(TrainingError::Spine)? else {
            return self.check_rows(self.row).map(Some);
        };
        check_columns(plan, &batch)?;
        let reached = self.row + batch.num_rows() as u64;
        self.check_rows(reached.max(self.rows))?;
        for begin in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let rows = BATCH_ROWS.min(batch.num_rows() - begin);
            let first = self.row + begin as u64;
            self.pieces.push_back(Piece { batch: batch.slice(begin, rows), first });
        }
        self.row = reached;
        Ok(None)
    }

    fn check_rows(&self, found: u64) -> Result<(), TrainingError> {
        if found == self.rows {
            return Ok(());
        }
        let text = format!("it had {} rows, and then {found}", self.rows);
        Err(TrainingError::SpineChanged(text))
    }
}

impl<'s, E: Env> Answer<'s, E> {
    pub(super) fn new(
        plan: Plan,
        spine: &'s dyn Spine,
        rows: u64,
        answers: Sorted<E>,
        tallies: Vec<Tally>,
        threads: usize,
        progress: &'s Progress,
    ) -> Result<Self, TrainingError> {
        let batches = spine.read().map_err(TrainingError::Spine)?;
        let spine = Unanswered { batches, pieces: VecDeque::new(), ended: None, row: 0, rows };
        // What lies in files is read by one, in order, and there is no memory for more than is needed.
        let makers = if answers.is_spilled() { 1 } else { threads.max(1) };
        let makers = (0..makers).map(|_| Maker::new(&plan)).collect();
        let (pieces_of_one, ready, has_failed) = (1, VecDeque::new(), false);
        Ok(Self {
            plan,
            spine,
            answers,
            makers,
            pieces_of_one,
            ready,
            tallies,
            has_failed,
            progress,
        })
    }

    /// The spine's columns, then those of each view in the order asked.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    /// Rows of the whole answer: those of the spine.
    pub fn rows(&self) -> u64 {
        self.spine.rows
    }

    /// What the rows found in each view, in the order asked.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// The next rows; `None` after the last. After an error there are no more.
    ///
    /// # Errors
    /// The spine is not what it was, something spilled cannot be read, a value is damaged, or it was
    /// cancelled.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, TrainingError> {
        if self.has_failed {
            return Ok(None);
        }
        let batch = self.answer_batch();
        self.has_failed = batch.is_err();
        batch
    }

    fn answer_batch(&mut self) -> Result<Option<RecordBatch>, TrainingError> {
        self.progress.check()?;
        if self.ready.is_empty() {
            self.spine.read(&self.plan, 1);
            self.answer_pieces();
            if self.spine.pieces.is_empty()
                && let Some(ended) = &mut self.spine.ended
                && let Err(error) = std::mem::replace(ended, Ok(()))
            {
                self.ready.push_back(Err(error));
            }
        }
        let batch = self.ready.pop_front().transpose()?;
        if let Some(batch) = &batch {
            self.progress.add_answered(batch.num_rows() as u64);
        }
        Ok(batch)
    }

    /// Answers the pieces that were read, and reads as many more meanwhile.
    fn answer_pieces(&mut self) {
        let Self { plan, spine, answers, makers, pieces_of_one, ready, .. } = self;
        let together = makers.len() * *pieces_of_one;
        let count = together.min(spine.pieces.len());
        let mut present: VecDeque<_> = spine.pieces.drain(..count).collect();
        let shares = present.make_contiguous().chunks(*pieces_of_one);
        let made: Vec<_> = scope(|scope| {
            let (plan, answers) = (&*plan, &*answers);
            let helpers = makers.iter_mut().zip(shares).map(|(maker, pieces)| {
                spawn(scope, "thermae-answer", move || maker.answer_all(plan, answers, pieces))
            });
            let helpers: Vec<_> = helpers.collect();
            spine.read(plan, together);
            let made = |helper| match helper {
                Ok(helper) => wait(helper),
                Err(error) => vec![Err(error)],
            };
            helpers.into_iter().flat_map(made).collect()
        });
        // What one makes of them is about a full batch.
        let bytes = makers.iter().map(Maker::taken_bytes).max().unwrap_or_default();
        *pieces_of_one = (BATCH_BYTES / bytes.max(1)).clamp(1, MOST_OF_ONE);
        for made in made {
            // Nothing follows an error.
            let Ok(rows) = made.as_ref().map(RecordBatch::num_rows) else {
                ready.push_back(made);
                return;
            };
            ready.push_back(made);
            if let Some(rest) = present.pop_front().and_then(|piece| piece.after(rows)) {
                // Its rows are wide: what comes behind it is answered again, and from now on one piece at a time.
                present.push_front(rest);
                present.append(&mut spine.pieces);
                spine.pieces = present;
                makers.truncate(1);
                return;
            }
        }
    }
}

impl<E: Env> Iterator for Answer<'_, E> {
    type Item = Result<RecordBatch, TrainingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
