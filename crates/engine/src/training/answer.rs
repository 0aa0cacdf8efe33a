//! Pass 3: answers put behind the rows of the spine, in its order.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use thermae_env::Env;
use thermae_tiering::spill::{Sorted, SortedReader};

use super::collect::check_columns;
use super::column::Column;
use super::plan::Plan;
use super::records::{split_answer, split_found};
use super::spine::Batches;
use super::{Progress, Spine, Tally, TrainingError};

/// Most rows of a batch of the answer.
pub const BATCH_ROWS: usize = 8192;
/// Bytes of answered features at which a batch ends; its last row may exceed them.
pub const BATCH_BYTES: usize = 8 << 20;

/// The spine with its features, batch by batch. Where batches end does not depend on memory or threads, but
/// no batch reaches over the end of one of the spine's.
pub struct Answer<'s, E: Env> {
    plan: Plan,
    batches: Batches<'s>,
    answers: SortedReader<E>,
    columns: Vec<Column>,
    /// The spine's batch that is being answered, and its next row.
    present: Option<(RecordBatch, usize)>,
    /// The next row of the spine, and their number.
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
        answers: &Sorted<E>,
        tallies: Vec<Tally>,
        progress: &'s Progress,
    ) -> Result<Self, TrainingError> {
        let types = plan.views.iter().map(|view| &view.projection);
        let types = types.flat_map(|p| (0..p.len()).filter_map(|column| p.value_type(column)));
        let columns = types.map(Column::new).collect();
        let answers = answers.read(0..=u64::MAX)?;
        let batches = spine.read().map_err(TrainingError::Spine)?;
        let (present, row, has_failed) = (None, 0, false);
        Ok(Self {
            plan,
            batches,
            answers,
            columns,
            present,
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
        let Some((batch, begin)) = self.unanswered()? else { return Ok(None) };
        let end = batch.num_rows().min(begin + BATCH_ROWS);
        let (mut at, mut bytes) = (begin, 0);
        while at < end && bytes < BATCH_BYTES {
            bytes += self.answer_row()?;
            at += 1;
        }
        let spine = batch.columns().iter().map(|column| column.slice(begin, at - begin));
        let mut columns: Vec<ArrayRef> = spine.collect();
        columns.extend(self.columns.iter_mut().map(Column::finish));
        self.progress.add_answered((at - begin) as u64);
        self.present = Some((batch, at));
        Ok(Some(RecordBatch::try_new(self.plan.schema.clone(), columns)?))
    }

    /// The spine's batch with rows that are not answered yet, and the first of them.
    fn unanswered(&mut self) -> Result<Option<(RecordBatch, usize)>, TrainingError> {
        loop {
            if let Some((batch, at)) = self.present.take()
                && at < batch.num_rows()
            {
                return Ok(Some((batch, at)));
            }
            let Some(batch) = self.batches.next().transpose().map_err(TrainingError::Spine)? else {
                self.check_rows(self.row)?;
                return Ok(None);
            };
            check_columns(&self.plan, &batch)?;
            let reached = self.row + batch.num_rows() as u64;
            self.check_rows(reached.max(self.rows))?;
            self.present = Some((batch, 0));
        }
    }

    fn check_rows(&self, found: u64) -> Result<(), TrainingError> {
        if found == self.rows {
            return Ok(());
        }
        let text = format!("it had {} rows, and then {found}", self.rows);
        Err(TrainingError::SpineChanged(text))
    }

    /// Appends what was found for the next row to the columns; returns its bytes.
    fn answer_row(&mut self) -> Result<usize, TrainingError> {
        let Self { plan, answers, columns, row, .. } = self;
        let mut bytes = 0;
        for (key_set, set) in (0_u16..).zip(&plan.key_sets) {
            let (mut rest, mut is_answered) = (&[][..], false);
            if let Some(record) = answers.peek() {
                let (of_row, of_set, found) = split_answer(record).ok_or(TrainingError::Record)?;
                if (of_row, of_set) == (*row, key_set) {
                    (rest, is_answered) = (found, true);
                    bytes += record.len();
                }
            }
            for &at in &set.views {
                let view = &plan.views[at];
                let mut take = |column: usize, value: Option<&[u8]>| {
                    let column = view.first_column + column;
                    columns[column].append(value).map_err(|fault| TrainingError::Value {
                        column: plan.column_name(column).to_owned(),
                        row: *row + 1,
                        reason: fault.reason,
                    })
                };
                if is_answered {
                    let taken = split_found(&view.projection, &mut rest, take);
                    taken.ok_or(TrainingError::Record)??;
                } else {
                    (0..view.projection.len()).try_for_each(|column| take(column, None))?;
                }
            }
            if is_answered {
                answers.advance()?;
            }
        }
        *row += 1;
        Ok(bytes)
    }
}

impl<E: Env> Iterator for Answer<'_, E> {
    type Item = Result<RecordBatch, TrainingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
