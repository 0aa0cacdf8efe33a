//! Pass 3: answers put behind the rows of the spine, in its order.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use thermae_env::Env;
use thermae_tiering::spill::{Sorted, SortedReader};

use super::collect::check_columns;
use super::column::{Column, Unreadable};
use super::plan::Plan;
use super::records::{FoundCursor, split_answer};
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
    /// The answers of the batch that is made.
    taken: Taken,
    /// The spine's batch that is being answered, and its next row.
    present: Option<(RecordBatch, usize)>,
    /// The next row of the spine, and their number.
    row: u64,
    rows: u64,
    tallies: Vec<Tally>,
    has_failed: bool,
    progress: &'s Progress,
}

/// Answers taken one after the other.
struct Taken {
    bytes: Vec<u8>,
    /// By set of join keys and row, a place in them.
    cursors: Vec<Vec<FoundCursor>>,
}

impl Taken {
    fn clear(&mut self) {
        self.bytes.clear();
        self.cursors.iter_mut().for_each(Vec::clear);
    }
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
        let cursors = plan.key_sets.iter().map(|_| Vec::new()).collect();
        let taken = Taken { bytes: Vec::new(), cursors };
        let (present, row, has_failed) = (None, 0, false);
        Ok(Self {
            plan,
            batches,
            answers,
            columns,
            taken,
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
        let first = self.row;
        self.taken.clear();
        let mut at = begin;
        while at < end && self.taken.bytes.len() < BATCH_BYTES {
            self.take_row()?;
            at += 1;
        }
        self.append_taken(first)?;
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

    /// Takes what was found for the next row.
    fn take_row(&mut self) -> Result<(), TrainingError> {
        for (key_set, cursors) in (0_u16..).zip(&mut self.taken.cursors) {
            let mut begin = None;
            if let Some(record) = self.answers.peek() {
                let (row, of_set, found) = split_answer(record).ok_or(TrainingError::Record)?;
                if (row, of_set) == (self.row, key_set) {
                    begin = Some(self.taken.bytes.len());
                    self.taken.bytes.extend_from_slice(found);
                }
            }
            if begin.is_some() {
                self.answers.advance()?;
            }
            cursors.push(FoundCursor::new(begin));
        }
        self.row += 1;
        Ok(())
    }

    /// Appends what was taken to the columns, one after the other; `first` is the number of its first row.
    fn append_taken(&mut self, first: u64) -> Result<(), TrainingError> {
        let Self { plan, columns, taken: Taken { bytes, cursors }, .. } = self;
        for (set, cursors) in plan.key_sets.iter().zip(cursors) {
            for view in set.views.iter().map(|view| &plan.views[*view]) {
                let projection = &view.projection;
                let next = |cursor: &mut FoundCursor| cursor.next_view(bytes, projection.len());
                cursors.iter_mut().try_for_each(next).ok_or(TrainingError::Record)?;
                for column in 0..projection.len() {
                    let (width, number) =
                        (projection.width_bytes(column), view.first_column + column);
                    let values = cursors
                        .iter_mut()
                        .map(|cursor| cursor.take(bytes, column, width).ok_or(Unreadable::Record));
                    columns[number].extend(values).map_err(|error| match error {
                        Unreadable::Record => TrainingError::Record,
                        Unreadable::Value { at, reason } => TrainingError::Value {
                            column: plan.column_name(number).to_owned(),
                            row: first + at as u64 + 1,
                            reason,
                        },
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl<E: Env> Iterator for Answer<'_, E> {
    type Item = Result<RecordBatch, TrainingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
