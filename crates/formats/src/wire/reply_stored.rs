//! Rows as they are stored, into an answer: what the server and the mapped path do with each row found.

use super::malformed::WireError;
use super::reply::ReplyBuilder;
use super::reply_view::RowStatus;
use crate::catalogue::SchemaId;
use crate::projection::{Field, ProjectedRow, Projection};

/// A row to be served.
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'a> {
    /// Schema under which the value was encoded.
    pub schema_id: SchemaId,
    /// The encoded value, with or without padding.
    pub value: &'a [u8],
    /// Whether the value has no null bitmap.
    pub dense: bool,
    /// Microseconds UTC.
    pub event_time: i64,
}

impl ReplyBuilder {
    /// Fills one row with the columns that `projection` takes from `stored`, and says how that went:
    /// PRESENT, or ERROR for a value that does not decode.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] when the answer would exceed the largest frame.
    #[inline]
    pub fn set_stored(
        &mut self,
        view: usize,
        row: usize,
        projection: &Projection,
        stored: &StoredRow<'_>,
    ) -> Result<RowStatus, WireError> {
        let run = projection.run(stored.schema_id, stored.value, stored.dense);
        let whole = match run {
            Some(bytes) if !self.is_matrix(view) => self.set_row(view, row, bytes),
            Some(bytes) if projection.run_is_float32() => self.set_matrix_row(view, row, bytes),
            _ => self.set_by_field(view, row, projection, stored)?,
        };
        let status = if whole { RowStatus::Present } else { RowStatus::Error };
        self.set_status(view, row, status);
        self.set_event_time(view, row, stored.event_time);
        Ok(status)
    }

    /// The general way; false when the value does not decode.
    #[inline(never)]
    fn set_by_field(
        &mut self,
        view: usize,
        row: usize,
        projection: &Projection,
        stored: &StoredRow<'_>,
    ) -> Result<bool, WireError> {
        let StoredRow { schema_id, value, dense, .. } = *stored;
        let Ok(values) = projection.row(schema_id, value, dense) else { return Ok(false) };
        if self.is_matrix(view) {
            let mut whole = true;
            self.with_matrix_row(view, row, |cells| {
                whole = values.matrix_row(cells).is_ok();
                if !whole {
                    cells.fill(f32::NAN);
                }
            });
            return Ok(whole);
        }
        for column in 0..projection.len() {
            if !self.set_field(view, row, column, &values)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn set_field(
        &mut self,
        view: usize,
        row: usize,
        column: usize,
        values: &ProjectedRow<'_>,
    ) -> Result<bool, WireError> {
        match values.field(column) {
            Ok(Field::Fixed(bytes)) => self.set_fixed(view, column, row, bytes),
            Ok(Field::Widened(bytes)) => self.set_fixed(view, column, row, &bytes),
            Ok(Field::Variable(bytes)) => self.set_variable(view, column, row, bytes)?,
            Ok(Field::Null) => {}
            Err(_) => return Ok(false),
        }
        Ok(true)
    }
}
