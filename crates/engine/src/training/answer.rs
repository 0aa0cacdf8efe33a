//! Pass 3: answers put behind the rows of the spine, in its order.

use std::collections::VecDeque;
use std::thread::scope;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use thermae_env::Env;
use thermae_tiering::spill::Sorted;

use super::collect::check_columns;
use super::helpers::{spawn, wait};
use super::maker::{Maker, Piece};
use super::plan::Plan;
use super::spine::Batches;
use super::{Progress, Spine, Tally, TrainingError};

/// Most rows of a batch of the answer.
pub const BATCH_ROWS: usize = 8192;

/// The spine with its features, batch by batch. Where batches end does not depend on memory or threads, but
/// no batch reaches over the end of one of the spine's.
pub struct Answer<'s, E: Env> {
    plan: Plan,
    batches: Batches<'s>,
    answers: Sorted<E>,
    /// What makes batches, as many at a time as there are of these.
    makers: Vec<Maker<E>>,
    /// What was read of the spine and is not answered yet,
    pieces: VecDeque<Piece>,
    /// .. and what was answered and is not taken yet.
    ready: VecDeque<Result<RecordBatch, TrainingError>>,
    /// Rows of the spine that were read again, and their number.
    row: u64,
    rows: u64,
    tallies: Vec<Tally>,
    has_failed: bool,
    progress: &'s Progress,
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
        // What lies in files is read by one, in order.
        let makers = if answers.is_spilled() { 1 } else { threads };
        let makers = (0..makers.max(1)).map(|_| Maker::new(&plan)).collect();
        let (pieces, ready) = (VecDeque::new(), VecDeque::new());
        let (row, has_failed) = (0, false);
        Ok(Self {
            plan,
            batches,
            answers,
            makers,
            pieces,
            ready,
            row,
            rows,
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
        self.rows
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
            let read = self.read_pieces();
            self.answer_pieces();
            if let Err(error) = read {
                self.ready.push_back(Err(error));
            }
        }
        let batch = self.ready.pop_front().transpose()?;
        if let Some(batch) = &batch {
            self.progress.add_answered(batch.num_rows() as u64);
        }
        Ok(batch)
    }

    /// Reads as many pieces of the spine as are answered together.
    fn read_pieces(&mut self) -> Result<(), TrainingError> {
        while self.pieces.len() < self.makers.len() {
            let Some(batch) = self.batches.next().transpose().map_err(TrainingError::Spine)? else {
                return self.check_rows(self.row);
            };
            check_columns(&self.plan, &batch)?;
            let reached = self.row + batch.num_rows() as u64;
            self.check_rows(reached.max(self.rows))?;
            for begin in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                let rows = BATCH_ROWS.min(batch.num_rows() - begin);
                let first = self.row + begin as u64;
                self.pieces.push_back(Piece { batch: batch.slice(begin, rows), first });
            }
            self.row = reached;
        }
        Ok(())
    }

    /// Answers a piece by each maker, all at a time.
    fn answer_pieces(&mut self) {
        let Self { plan, answers, makers, pieces, ready, .. } = self;
        let mut present: VecDeque<_> = pieces.drain(..makers.len().min(pieces.len())).collect();
        let made: Vec<_> = scope(|scope| {
            let mut work = makers.iter_mut().zip(&present);
            let first = work.next();
            let (plan, answers) = (&*plan, &*answers);
            let helpers = work.map(|(maker, piece)| {
                spawn(scope, "thermae-answer", move || maker.answer(plan, answers, piece))
            });
            let helpers: Vec<_> = helpers.collect();
            let first = first.map(|(maker, piece)| maker.answer(plan, answers, piece));
            let others = helpers.into_iter().map(|helper| helper.and_then(wait));
            first.into_iter().chain(others).collect()
        });
        for made in made {
            let rows = made.as_ref().map_or(usize::MAX, RecordBatch::num_rows);
            ready.push_back(made);
            if let Some(rest) = present.pop_front().and_then(|piece| piece.after(rows)) {
                // Its rows are wide: what comes behind it is answered again, and from now on one piece at a time.
                present.push_front(rest);
                present.append(pieces);
                *pieces = present;
                makers.truncate(1);
                return;
            }
        }
    }

    fn check_rows(&self, found: u64) -> Result<(), TrainingError> {
        if found == self.rows {
            return Ok(());
        }
        let text = format!("it had {} rows, and then {found}", self.rows);
        Err(TrainingError::SpineChanged(text))
    }
}

impl<E: Env> Iterator for Answer<'_, E> {
    type Item = Result<RecordBatch, TrainingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
