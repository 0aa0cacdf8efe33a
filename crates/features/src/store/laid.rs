//! Answers laid out as the wire's COLUMNS, a view of one column for each column asked: what is served over the wire
//! and what an embedder hands on look alike.

use thermae_formats::row_value::encode_value;
use thermae_formats::wire::{
    ColumnShape, ReadFlags, ReplyBuilder, RowStatus, ViewShape, WireError,
};

use super::online::{OnlineAnswer, ValueStatus};
use crate::error::Error;

impl OnlineAnswer {
    /// The answer's frame, under a request's id.
    ///
    /// # Errors
    /// More than `max_frame_bytes`, or a value that is not of its column's type.
    pub fn to_frame(
        &self,
        request_id: u64,
        event_times: bool,
        max_frame_bytes: u32,
    ) -> Result<Vec<u8>, Error> {
        let too_large = |error: WireError| {
            Error::Invalid(format!("the answer is too large: {error}: ask in several requests"))
        };
        let shapes: Vec<[ColumnShape; 1]> =
            self.types.iter().map(|value_type| [ColumnShape::of(value_type)]).collect();
        let views = self.columns.iter().zip(&shapes);
        let views = views
            .map(|(column, shape)| ViewShape { rows: column.values.len() as u32, columns: shape });
        let flags = ReadFlags { matrix: false, event_times };
        let mut builder = ReplyBuilder::new();
        let (buffer, time) = (Vec::new(), self.read_time);
        builder
            .begin(buffer, request_id, flags, time, max_frame_bytes, views)
            .map_err(too_large)?;
        let mut field = Vec::new();
        for (view, (column, value_type)) in self.columns.iter().zip(&self.types).enumerate() {
            let stands = column.statuses.iter().zip(&column.event_times).enumerate();
            for (row, (status, event_time)) in stands {
                builder.set_status(view, row, row_status(*status));
                builder.set_event_time(view, row, *event_time);
            }
            for (row, value) in column.values.iter().enumerate() {
                if value.is_null() {
                    continue;
                }
                field.clear();
                encode_value(value_type, value, &mut field)
                    .map_err(|e| Error::Invalid(format!("column {:?}: {e}", column.name)))?;
                if builder.is_variable(view, 0) {
                    builder.set_variable(view, 0, row, &field).map_err(too_large)?;
                } else {
                    builder.set_fixed(view, 0, row, &field);
                }
            }
        }
        builder.finish().map_err(too_large)
    }
}

fn row_status(status: ValueStatus) -> RowStatus {
    match status {
        ValueStatus::Present | ValueStatus::NullValue => RowStatus::Present,
        ValueStatus::NotFound => RowStatus::NotFound,
        ValueStatus::OutsideMaxAge => RowStatus::OutsideMaxAge,
        ValueStatus::Corrupt => RowStatus::Error,
        ValueStatus::Unavailable => RowStatus::Unavailable,
    }
}
