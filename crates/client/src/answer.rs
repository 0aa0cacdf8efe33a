//! The answer to a read: the received frame and views into it.

use thermae_formats::Value;
use thermae_formats::row_value::decode_value;
use thermae_formats::wire::{
    CellStatus, ErrorReply, Kind, ReadFlags, ReadReply, RowStatus, ViewReply, WireError,
};

use crate::buffer::FrameBuf;
use crate::error::Error;
use crate::plan::Plan;

/// An answer to a read. It owns the received frame, whose buffers it hands out as they lie, each at
/// a multiple of 64 bytes in memory.
#[derive(Debug)]
pub struct Answer {
    frame: FrameBuf,
    plan: Plan,
    read_time: i64,
}

impl Answer {
    /// Checks an answer against its plan: views, rows in all, columns and their widths.
    pub(crate) fn check(
        frame: FrameBuf,
        plan: &Plan,
        flags: ReadFlags,
        rows: usize,
    ) -> Result<Self, Error> {
        let received = frame.frame();
        if received.kind_code == Kind::Error as u8 {
            return Err(Error::from_reply(&ErrorReply::decode(&received)?));
        }
        let reply = ReadReply::decode(&received)?;
        let same = reply.flags() == flags
            && reply.view_count() == plan.views().len()
            && (0..reply.view_count())
                .map_while(|v| reply.view(v))
                .map(|v| v.rows())
                .sum::<usize>()
                == rows
            && plan.inner.shapes.iter().enumerate().all(|(view, shapes)| {
                reply.view(view).is_some_and(|view| {
                    view.columns() == shapes.len()
                        && (flags.matrix
                            || shapes.iter().enumerate().all(|(column, shape)| {
                                view.column(column)
                                    .is_some_and(|c| c.width_bytes() == shape.width_bytes as usize)
                            }))
                })
            });
        if !same {
            return Err(Error::PlanChanged);
        }
        let read_time = reply.read_time();
        Ok(Self { frame, plan: plan.clone(), read_time })
    }

    /// The time by which TTL was judged, microseconds UTC.
    pub fn read_time(&self) -> i64 {
        self.read_time
    }

    /// The plan that was read through.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One view of the answer, in the plan's order: statuses, event times, columns or matrix.
    pub fn view(&self, index: usize) -> Option<ViewReply<'_>> {
        ReadReply::again(&self.frame.frame()).ok()?.view(index)
    }

    /// The float32 block of one view, rows x columns, NaN for null; empty unless asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] for a view that the plan does not have.
    pub fn matrix(&self, view: usize) -> Result<&[f32], Error> {
        let reply = self.view(view).ok_or_else(|| no_view(view))?;
        Ok(reply.matrix()?)
    }

    /// What became of one value of a columnar answer.
    pub fn status(&self, view: usize, row: usize, column: usize) -> CellStatus {
        self.view(view).map_or(CellStatus::NotFound, |view| view.cell(row, column))
    }

    /// One value of a columnar answer; null unless it is present.
    ///
    /// # Errors
    /// A position outside the answer, or bytes that do not decode as the column's type.
    pub fn value(&self, view: usize, row: usize, column: usize) -> Result<Value, Error> {
        let reply = self.view(view).ok_or_else(|| no_view(view))?;
        let found = reply.column(column).zip(self.plan.columns(view).get(column));
        let Some((values, declared)) = found.filter(|_| row < reply.rows()) else {
            return Err(Error::Usage(format!("no row {row}, column {column} in this answer")));
        };
        match values.value(row) {
            Some(bytes) if reply.status(row) == RowStatus::Present => {
                decode_value(&declared.value_type, bytes).map_err(|fault| {
                    Error::Wire(WireError::Misplaced {
                        what: fault.reason,
                        offset_bytes: fault.offset as u64,
                    })
                })
            }
            _ => Ok(Value::Null),
        }
    }
}

fn no_view(view: usize) -> Error {
    Error::Usage(format!("this answer has no view {view}"))
}
