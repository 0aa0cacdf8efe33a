//! A way into a store, as the driving loop sees it.

use thermae_formats::row_value::decode_value;
use thermae_formats::wire::{RowStatus, ViewReply};

use crate::error::Error;
use crate::maker::Request;
use crate::values::Rows;

/// One answer in so many is compared with what was written.
pub const CHECK_EVERY: u32 = 32;

/// One thread's way in: requests out, what became of them back.
pub trait Session {
    /// How many more requests may be sent now.
    fn room(&self) -> usize;

    /// Sends a request; `token` comes back with its end.
    ///
    /// # Errors
    /// The way in is broken, or the request cannot be made.
    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error>;

    /// Adds the requests that have ended since to `done`, without waiting.
    ///
    /// # Errors
    /// The way in is broken.
    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error>;
}

/// A request that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// As it was sent.
    pub token: u64,
    /// How.
    pub end: End,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Answered: rows that were asked for, and those of them that were there.
    Answered {
        /// Rows asked for, or written.
        rows: u32,
        /// Rows found, or acknowledged.
        found: u32,
    },
    /// Refused because there is too much to do; it counts as an error.
    Refused,
    /// Lost, timed out or failed, and why.
    Failed(String),
}

/// Compares one row of an answer with what was written.
///
/// # Errors
/// [`Error::Wrong`], naming row and feature.
pub fn check_row(
    rows: &Rows,
    row: u64,
    at: usize,
    reply: &ViewReply<'_>,
    is_matrix: bool,
) -> Result<(), Error> {
    if reply.status(at) != RowStatus::Present {
        // A row may be past its ttl, or not be there yet: it is counted, not compared.
        return Ok(());
    }
    let wrong = |column: usize, found: String| {
        Error::Wrong(format!("row {row}, feature {column} reads as {found}"))
    };
    let columns = reply.columns();
    if is_matrix {
        let matrix = reply.matrix().map_err(|error| Error::Wrong(error.to_string()))?;
        for column in 0..columns {
            let found = matrix.get(at * columns + column).copied().unwrap_or(f32::NAN);
            if as_float(&rows.value(row, column)) != Some(found) {
                return Err(wrong(column, found.to_string()));
            }
        }
        return Ok(());
    }
    for column in 0..columns {
        let bytes = reply.column(column).and_then(|values| values.value(at));
        let found = bytes.zip(rows.value_type(column));
        let found = found.map(|(bytes, value_type)| decode_value(value_type, bytes));
        match found {
            Some(Ok(value)) if value.same_bits(&rows.value(row, column)) => {}
            other => return Err(wrong(column, format!("{other:?}").chars().take(80).collect())),
        }
    }
    Ok(())
}

fn as_float(value: &thermae_formats::Value) -> Option<f32> {
    use thermae_formats::Value::{Bool, Float32, Float64, Int32, Int64};
    match value {
        Bool(truth) => Some(f32::from(u8::from(*truth))),
        Int32(number) => Some(*number as f32),
        Int64(number) => Some(*number as f32),
        Float32(number) => Some(*number),
        Float64(number) => Some(*number as f32),
        _ => None,
    }
}

/// Rows of an answer that are there.
pub fn present(reply: &ViewReply<'_>) -> u32 {
    let present = RowStatus::Present as u8;
    reply.statuses().iter().map(|status| u32::from(*status == present)).sum()
}
