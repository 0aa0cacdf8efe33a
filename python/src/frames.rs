//! Answers of the embedded store, laid out as the wire's, so that all answers are used alike.

use thermae_features::store::{OnlineColumn, ValueStatus};
use thermae_formats::row_value::encode_value;
use thermae_formats::wire::{
    ColumnShape, Frame, HEADER_BYTES, Kind, ReadFlags, ReadReply, ReplyBuilder, RowStatus,
    ViewReply, ViewShape,
};
use thermae_formats::{NO_TIME, Value, ValueType};

use crate::errors::{Fault, Result};

/// Largest answer of one column, in bytes.
const BYTES_MAX: u32 = 1 << 30;

/// One column as an answer of one view.
pub struct ColumnFrame(Vec<u8>);

impl ColumnFrame {
    /// Lays a column out.
    ///
    /// # Errors
    /// A value that is not of the type, or more than 1 GiB.
    pub fn of(column: &OnlineColumn, value_type: &ValueType) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| {
            Fault::store(format!("column {:?}: {error}", column.name))
        };
        let shapes = [ColumnShape::of(value_type)];
        let flags = ReadFlags { matrix: false, event_times: true };
        let shape = ViewShape { rows: column.values.len() as u32, columns: &shapes };
        let mut builder = ReplyBuilder::new();
        builder
            .begin(Vec::new(), 0, flags, NO_TIME, BYTES_MAX, std::iter::once(shape))
            .map_err(|e| broken(&e))?;
        let mut field = Vec::new();
        for (row, value) in column.values.iter().enumerate() {
            let status = column.statuses.get(row).copied().unwrap_or(ValueStatus::NotFound);
            builder.set_status(0, row, row_status(status));
            builder.set_event_time(0, row, column.event_times.get(row).copied().unwrap_or(NO_TIME));
            if value.is_null() {
                continue;
            }
            field.clear();
            encode_value(value_type, value, &mut field).map_err(|e| broken(&e))?;
            if builder.is_variable(0, 0) {
                builder.set_variable(0, 0, row, &field).map_err(|e| broken(&e))?;
            } else {
                builder.set_fixed(0, 0, row, &field);
            }
        }
        Ok(Self(builder.finish_unsent().map_err(|e| broken(&e))?))
    }

    /// The column as the one of a view.
    pub fn view(&self) -> Option<ViewReply<'_>> {
        let payload = self.0.get(HEADER_BYTES..)?;
        let frame =
            Frame { kind_code: Kind::Columns as u8, request_id: 0, bytes: &self.0, payload };
        ReadReply::again(&frame).ok()?.view(0)
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

/// Columns as rows of a float32 matrix, NaN for null.
///
/// # Errors
/// A column that is no number.
pub fn matrix(columns: &[OnlineColumn], rows: usize) -> Result<Vec<f32>> {
    let mut cells = vec![f32::NAN; rows * columns.len()];
    for (at, column) in columns.iter().enumerate() {
        for (row, value) in column.values.iter().enumerate() {
            if let Some(cell) = cells.get_mut(row * columns.len() + at) {
                *cell = number(value, &column.name)?;
            }
        }
    }
    Ok(cells)
}

fn number(value: &Value, column: &str) -> Result<f32> {
    Ok(match value {
        Value::Null => f32::NAN,
        Value::Bool(v) => f32::from(u8::from(*v)),
        Value::Int32(v) => *v as f32,
        Value::Int64(v) => *v as f32,
        Value::Float32(v) => *v,
        Value::Float64(v) => *v as f32,
        other => {
            let kind = other.kind();
            let what = "a matrix needs bool, integer and float columns only";
            return Err(Fault::invalid(format!("{what}: {column:?} is {kind}")));
        }
    })
}
