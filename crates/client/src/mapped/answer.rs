//! The answer of a mapped read: laid out as the wire's, so that both are used alike.

use thermae_formats::projection::Projection;
use thermae_formats::wire::{
    Frame, HEADER_BYTES, Kind, ReadFlags, ReadReply, ReplyBuilder, RowStatus, StoredRow, ViewReply,
    ViewShape,
};

use super::plan::MappedView;
use crate::answer::Answer;
use crate::buffer::AlignedBuf;
use crate::error::Error;
use crate::plan::ReadOptions;

/// Largest answer in memory, in bytes.
const MAX_BYTES: u32 = 256 << 20;

/// Room for the answer of a mapped read. Reuse it: its memory is kept.
#[derive(Default)]
pub struct MappedAnswer {
    builder: ReplyBuilder,
    spare: Vec<u8>,
    buffer: AlignedBuf,
    bytes: usize,
    columns: usize,
    flags: ReadFlags,
}

impl MappedAnswer {
    /// An answer without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Statuses, event times, columns or matrix, as of an answer over the wire; its buffers begin at
    /// multiples of 64 in memory. `None` before the first read.
    pub fn view(&self) -> Option<ViewReply<'_>> {
        let bytes = self.buffer.bytes().get(..self.bytes)?;
        let payload = bytes.get(HEADER_BYTES..)?;
        let frame = Frame { kind_code: Kind::Columns as u8, request_id: 0, bytes, payload };
        ReadReply::again(&frame).ok()?.view(0)
    }

    /// The float32 block, rows x columns, NaN for null; empty unless asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] before the first read.
    pub fn matrix(&self) -> Result<&[f32], Error> {
        match self.view() {
            Some(view) => Ok(view.matrix()?),
            None => Err(Error::Usage("nothing has been read yet".to_owned())),
        }
    }

    pub(super) fn begin(
        &mut self,
        view: &MappedView,
        rows: usize,
        options: &ReadOptions,
        read_time: i64,
    ) -> Result<(), Error> {
        if options.matrix && !view.is_matrix {
            let why = "a matrix needs bool, integer and float columns only";
            return Err(Error::Usage(why.to_owned()));
        }
        self.bytes = 0;
        self.columns = view.shapes.len();
        self.flags = ReadFlags { matrix: options.matrix, event_times: options.event_times };
        let shape = ViewShape { rows: rows as u32, columns: &view.shapes };
        let spare = std::mem::take(&mut self.spare);
        let views = std::iter::once(shape);
        Ok(self.builder.begin(spare, 0, self.flags, read_time, MAX_BYTES, views)?)
    }

    pub(super) fn set_outside_max_age(&mut self, row: usize, event_time: i64) {
        self.builder.set_status(0, row, RowStatus::OutsideMaxAge);
        self.builder.set_event_time(0, row, event_time);
    }

    /// Copies the columns of one row; false when they do not decode, or do not fit.
    #[inline]
    pub(super) fn set_row(
        &mut self,
        row: usize,
        projection: &Projection,
        stored: &StoredRow<'_>,
    ) -> bool {
        matches!(self.builder.set_stored(0, row, projection, stored), Ok(RowStatus::Present))
    }

    fn set(&mut self, row: usize, column: usize, bytes: &[u8]) -> bool {
        if self.builder.is_variable(0, column) {
            return self.builder.set_variable(0, column, row, bytes).is_ok();
        }
        self.builder.set_fixed(0, column, row, bytes);
        true
    }

    /// Puts rows that the server answered into their places.
    pub(super) fn fill_in(
        &mut self,
        answer: &Answer,
        view: usize,
        places: &[u32],
    ) -> Result<(), Error> {
        let Some(reply) = answer.view(view) else { return Err(Error::PlanChanged) };
        let matrix = reply.matrix()?;
        for (row, place) in places.iter().map(|place| *place as usize).enumerate() {
            self.builder.set_status(0, place, reply.status(row));
            if let Some(event_time) = reply.event_time(row) {
                self.builder.set_event_time(0, place, event_time);
            }
            if self.flags.matrix {
                let cells = matrix.get(row * self.columns..(row + 1) * self.columns);
                let cells = cells.ok_or(Error::PlanChanged)?;
                self.builder.with_matrix_row(0, place, |own| own.copy_from_slice(cells));
                continue;
            }
            for column in 0..self.columns {
                let found = reply.column(column).and_then(|values| values.value(row));
                if let Some(bytes) = found
                    && !self.set(place, column, bytes)
                {
                    return Err(Error::Mapped("the answer exceeds 256 MiB".to_owned()));
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let frame = self.builder.finish_unsent()?;
        self.buffer.grow(frame.len());
        self.buffer.bytes_mut()[..frame.len()].copy_from_slice(&frame);
        self.bytes = frame.len();
        self.spare = frame;
        Ok(())
    }
}
