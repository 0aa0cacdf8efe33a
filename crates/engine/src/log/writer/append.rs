//! Appending to the open batch: everything that can be refused is refused here, before anything is
//! touched. What was appended has its place on the disk.

use thermae_env::Env;
use thermae_formats::batch::{BATCH_ALIGN, BatchBuilder, Record, RecordKind};
use thermae_formats::segment::SEGMENT_HEADER_BYTES;

use super::super::AppendError;
use super::{LogWriter, Stopping, room_in};

/// While no further segment can be made, this share of a segment is kept for records that shrink the
/// store: tombstones, marks and erases.
const RESERVE_SHARE: u64 = 16;

impl<E: Env> LogWriter<E> {
    /// Adds a record to the open batch and returns the number that the batch will have.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing has changed then. [`AppendError::is_backpressure`] tells what
    /// passes by itself.
    pub fn append(&mut self, record: &Record<'_>) -> Result<u64, AppendError> {
        if let Some(failure) = &self.failed {
            return Err(AppendError::ReadOnly(failure.clone()));
        }
        if self.stopping != Stopping::No {
            return Err(AppendError::Stopping);
        }
        let limit = self.options.batch_limit(self.segment.header.segment_bytes);
        let alone = BatchBuilder::new().bytes_with(record);
        if alone > limit {
            return Err(AppendError::TooLarge { bytes: alone, limit });
        }
        let place = match self.open.builder.records() {
            0 => self.place(alone, limit, record.kind)?,
            _ => self.grow(record)?,
        };
        let needed = self.open.builder.bytes_with(record);
        if self.open.buf.len() < needed {
            self.open.buf.resize(needed, 0);
        }
        if self.open.builder.push(&mut self.open.buf, record).is_err() {
            return Err(AppendError::TooLarge { bytes: alone, limit });
        }
        (self.open.room, self.open.is_rolling) = place;
        Ok(self.open_number())
    }

    /// Room and segment of a new batch that starts with `needed` bytes.
    fn place(
        &self,
        needed: usize,
        limit: usize,
        kind: RecordKind,
    ) -> Result<(usize, bool), AppendError> {
        let here = self.room() as usize;
        if needed + self.reserve(kind) <= here {
            return Ok((here.min(limit), false));
        }
        if self.next.is_ready() {
            let whole = room_in(&self.segment.header, SEGMENT_HEADER_BYTES as u64) as usize;
            return Ok((whole.min(limit), true));
        }
        Err(self.next.refusal())
    }

    fn grow(&self, record: &Record<'_>) -> Result<(usize, bool), AppendError> {
        let needed = self.open.builder.bytes_with(record);
        if needed > self.open.room {
            return Err(AppendError::BatchFull);
        }
        let grows = needed > self.open.builder.batch_bytes();
        let is_here = !self.open.is_rolling;
        if grows && is_here && needed + self.reserve(record.kind) > self.room() as usize {
            return Err(self.next.refusal());
        }
        Ok((self.open.room, self.open.is_rolling))
    }

    /// Bytes at the segment's end that a record of this kind may not use now.
    fn reserve(&self, kind: RecordKind) -> usize {
        let shrinks = matches!(kind, RecordKind::Tombstone | RecordKind::Mark | RecordKind::Erase);
        if shrinks || !self.next.is_blocked() {
            return 0;
        }
        let share = (self.segment.header.segment_bytes / RESERVE_SHARE) as usize;
        share.max(BATCH_ALIGN)
    }
}
