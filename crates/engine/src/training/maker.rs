//! Makes a batch of the answer: what some rows of the spine found, behind their columns.

use arrow_array::{ArrayRef, RecordBatch};
use thermae_env::{Env, give_way};
use thermae_tiering::spill::{Sorted, SortedReader};

use super::TrainingError;
use super::column::{Column, Unreadable};
use super::plan::Plan;
use super::records::{FoundCursor, split_answer};

/// Bytes of answered features at which a batch ends; its last row may exceed them.
pub const BATCH_BYTES: usize = 8 << 20;

/// What taking the answer of a row takes, and appending one of its values, nanoseconds, about.
const ROW_NS: u32 = 50;
const VALUE_NS: u32 = 5;

/// Rows of the spine that are answered together.
pub(super) struct Piece {
    pub batch: RecordBatch,
    /// The number of the first of them.
    pub first: u64,
}

impl Piece {
    /// What is left behind so many rows.
    pub fn after(self, rows: usize) -> Option<Self> {
        let left = self.batch.num_rows().checked_sub(rows).filter(|left| *left > 0)?;
        Some(Self { batch: self.batch.slice(rows, left), first: self.first + rows as u64 })
    }
}

/// What makes batches one after the other.
pub(super) struct Maker<E: Env> {
    /// Stands at the answer of a row, or the first one behind it.
    answers: Option<(u64, SortedReader<E>)>,
    columns: Vec<Column>,
    taken: Taken,
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

    /// Takes what was found for a row.
    fn row<E: Env>(
        &mut self,
        row: u64,
        answers: &mut SortedReader<E>,
    ) -> Result<(), TrainingError> {
        for (key_set, cursors) in (0_u16..).zip(&mut self.cursors) {
            let mut begin = None;
            if let Some(record) = answers.peek() {
                let (of_row, of_set, found) = split_answer(record).ok_or(TrainingError::Record)?;
                if (of_row, of_set) == (row, key_set) {
                    begin = Some(self.bytes.len());
                    self.bytes.extend_from_slice(found);
                }
            }
            if begin.is_some() {
                answers.advance()?;
            }
            cursors.push(FoundCursor::new(begin));
        }
        Ok(())
    }
}

impl<E: Env> Maker<E> {
    /// Of batches as they are planned.
    pub fn new(plan: &Plan) -> Self {
        let types = plan.views.iter().map(|view| &view.projection);
        let types = types.flat_map(|p| (0..p.len()).filter_map(|column| p.value_type(column)));
        let columns = types.map(Column::new).collect();
        let cursors = plan.key_sets.iter().map(|_| Vec::new()).collect();
        Self { answers: None, columns, taken: Taken { bytes: Vec::new(), cursors } }
    }

    /// Bytes of features of the batch that was made last.
    pub fn taken_bytes(&self) -> usize {
        self.taken.bytes.len()
    }

    /// Answers pieces one after the other, up to the first that fails or of which rows are left.
    pub fn answer_all(
        &mut self,
        plan: &Plan,
        answers: &Sorted<E>,
        pieces: &[Piece],
    ) -> Vec<Result<RecordBatch, TrainingError>> {
        let mut made = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let batch = self.answer(plan, answers, piece);
            let is_whole = batch.as_ref().is_ok_and(|b| b.num_rows() == piece.batch.num_rows());
            made.push(batch);
            if !is_whole {
                break;
            }
        }
        made
    }

    /// Puts the features behind the rows of a piece, or, where they are many bytes, of its first rows.
    fn answer(
        &mut self,
        plan: &Plan,
        answers: &Sorted<E>,
        piece: &Piece,
    ) -> Result<RecordBatch, TrainingError> {
        let Piece { batch, first } = piece;
        let standing = self.answers.take().filter(|(row, _)| row == first);
        let mut reader = match standing {
            Some((_, reader)) => reader,
            None => answers.read(*first..=u64::MAX)?,
        };
        self.taken.clear();
        let mut rows = 0;
        while rows < batch.num_rows() && self.taken.bytes.len() < BATCH_BYTES {
            give_way(ROW_NS);
            self.taken.row(first + rows as u64, &mut reader)?;
            rows += 1;
        }
        self.answers = Some((first + rows as u64, reader));
        self.append_taken(plan, *first)?;
        let spine = batch.columns().iter().map(|column| column.slice(0, rows));
        let mut columns: Vec<ArrayRef> = spine.collect();
        columns.extend(self.columns.iter_mut().map(Column::finish));
        Ok(RecordBatch::try_new(plan.schema.clone(), columns)?)
    }

    /// Appends what was taken to the columns, one after the other; `first` is the number of its first row.
    fn append_taken(&mut self, plan: &Plan, first: u64) -> Result<(), TrainingError> {
        let Self { columns, taken: Taken { bytes, cursors }, .. } = self;
        for (set, cursors) in plan.key_sets.iter().zip(cursors) {
            for view in set.views.iter().map(|view| &plan.views[*view]) {
                let projection = &view.projection;
                let next = |cursor: &mut FoundCursor| cursor.next_view(bytes, projection.len());
                cursors.iter_mut().try_for_each(next).ok_or(TrainingError::Record)?;
                for column in 0..projection.len() {
                    give_way(VALUE_NS.saturating_mul(cursors.len() as u32));
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
