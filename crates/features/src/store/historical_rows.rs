//! The rows of a training read, with what is computed of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use thermae_engine::training::{self, Answer, Tally, TrainingError};
use thermae_env::Env;
use thermae_formats::Value;

use super::arrow_values::{array_of, is_readable, values_of};
use super::computed::compute;
use super::resolve::{Origin, Resolved};
use crate::error::Error;

/// The spine's rows with their features, batch by batch, as [`Answer`] gives them.
pub struct HistoricalRows<'s, E: Env> {
    answer: Answer<'s, E>,
    /// None where nothing is computed: the rows are as they were read.
    shape: Option<Shape>,
    row: u64,
}

/// How the answer is made of what was read.
struct Shape {
    resolved: Arc<Resolved>,
    schema: SchemaRef,
    /// Columns of the spine; those of the joins follow.
    spine: usize,
    /// The first column of each join.
    joins: Vec<usize>,
    /// By field of the request, its column of the spine.
    request: Vec<usize>,
    time_column: String,
    time: usize,
}

/// What a column of a join is called between reading and computing.
pub(super) fn hidden_name(join: usize, feature: usize) -> String {
    format!("\u{1}{join}.{feature}")
}

impl<'s, E: Env> HistoricalRows<'s, E> {
    pub(super) fn new(
        answer: Answer<'s, E>,
        resolved: Arc<Resolved>,
        spine: &Schema,
        time_column: &str,
    ) -> Result<Self, Error> {
        let shape = match resolved.computed.is_empty() {
            true => None,
            false => Some(Shape::new(resolved, &answer.schema(), spine, time_column)?),
        };
        Ok(HistoricalRows { answer, shape, row: 0 })
    }

    /// The spine's columns, then those that were asked for, in their order.
    pub fn schema(&self) -> SchemaRef {
        self.shape.as_ref().map_or_else(|| self.answer.schema(), |shape| Arc::clone(&shape.schema))
    }

    /// Rows of the whole answer: those of the spine.
    pub fn rows(&self) -> u64 {
        self.answer.rows()
    }

    /// What the rows found in each view that is read, those that were asked for first.
    pub fn tallies(&self) -> &[Tally] {
        self.answer.tallies()
    }

    /// The next rows; `None` after the last. After an error there are no more.
    ///
    /// # Errors
    /// As [`Answer::next_batch`].
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, TrainingError> {
        let Some(batch) = self.answer.next_batch()? else { return Ok(None) };
        let first = self.row;
        self.row += batch.num_rows() as u64;
        match &self.shape {
            None => Ok(Some(batch)),
            Some(shape) => shape.apply(&batch, first).map(Some),
        }
    }
}

impl<E: Env> Iterator for HistoricalRows<'_, E> {
    type Item = Result<RecordBatch, TrainingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Shape {
    fn new(
        resolved: Arc<Resolved>,
        read: &Schema,
        spine: &Schema,
        time_column: &str,
    ) -> Result<Self, Error> {
        let mut joins = Vec::with_capacity(resolved.joins.len());
        let mut next = spine.fields().len();
        for joined in &resolved.joins {
            joins.push(next);
            next += joined.features.len();
        }
        let mut fields = spine.fields().to_vec();
        for (name, origin) in &resolved.columns {
            if fields.iter().any(|field| field.name() == name) {
                return Err(TrainingError::NameTwice { name: name.clone() }.into());
            }
            let field = match *origin {
                Origin::Stored { join, feature } => {
                    let at = joins.get(join).map_or(0, |first| first + feature);
                    read.field(at).clone().with_name(name)
                }
                Origin::Computed { view, feature } => {
                    let view = resolved.computed.get(view);
                    let Some(expression) = view.and_then(|view| view.expressions.get(feature))
                    else {
                        continue;
                    };
                    training::field(name, expression.value_type())
                }
            };
            fields.push(Arc::new(field));
        }
        let mut request = Vec::with_capacity(resolved.request.len());
        for field in &resolved.request {
            let at = spine.index_of(&field.name).map_err(|_| TrainingError::MissingColumn {
                what: format!("the request field {:?} of on-demand features", field.name),
                column: field.name.clone(),
                there: spine
                    .fields()
                    .iter()
                    .map(|f| f.name().as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
            let found = spine.field(at).data_type();
            if !is_readable(found, &field.value_type) {
                let (column, found) = (field.name.clone(), found.to_string());
                let what = format!("the request field {:?}, which is {}", column, field.value_type);
                return Err(TrainingError::ColumnType { column, found, what }.into());
            }
            request.push(at);
        }
        Ok(Shape {
            resolved,
            schema: Arc::new(Schema::new(fields)),
            spine: spine.fields().len(),
            joins,
            request,
            time_column: time_column.to_owned(),
            // The read has found it.
            time: spine.index_of(time_column).unwrap_or(0),
        })
    }

    fn apply(&self, batch: &RecordBatch, first_row: u64) -> Result<RecordBatch, TrainingError> {
        let resolved = &self.resolved;
        let mut stored: Vec<Vec<Vec<Value>>> = Vec::with_capacity(self.joins.len());
        for (joined, first) in resolved.joins.iter().zip(&self.joins) {
            let types = joined.plan.value_types().zip(*first..);
            let columns = types.map(|(value_type, at)| values_of(batch.column(at), value_type));
            stored.push(columns.collect());
        }
        let fields = resolved.request.iter().zip(&self.request);
        let request: Vec<Vec<Value>> =
            fields.map(|(field, at)| values_of(batch.column(*at), &field.value_type)).collect();
        let mut times_us = Vec::with_capacity(batch.num_rows());
        training::read_times(
            &self.time_column,
            batch.column(self.time),
            first_row + 1,
            &mut times_us,
        )?;
        let mut columns: Vec<ArrayRef> = batch.columns().iter().take(self.spine).cloned().collect();
        for (_, origin) in &resolved.columns {
            match *origin {
                Origin::Stored { join, feature } => {
                    let at = self.joins.get(join).map_or(0, |first| first + feature);
                    columns.push(Arc::clone(batch.column(at)));
                }
                Origin::Computed { view, feature } => {
                    let Some(view) = resolved.computed.get(view) else { continue };
                    let Some(expression) = view.expressions.get(feature) else { continue };
                    let values = compute(
                        view,
                        expression,
                        batch.num_rows(),
                        |(join, feature)| {
                            let column = stored.get(join).and_then(|all| all.get(feature));
                            column.map_or(&[], Vec::as_slice)
                        },
                        |place| request.get(place).map_or(&[], Vec::as_slice),
                        |row| times_us.get(row).copied().unwrap_or_default(),
                    );
                    columns.push(array_of(&values, expression.value_type()));
                }
            }
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
