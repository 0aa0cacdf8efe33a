//! Building the answer to READ: one buffer, laid out once from the shapes, filled by random access.
//!
//! ```text
//! header 24 | head 16 | directory: per view 24 + 16 per column | pad to 64
//! per view:   status u8[rows] | pad | event times i64[rows] | pad
//!   columnar: validity bitmaps, one of ceil(rows/64)*8 bytes per column | pad
//!             per column: values width*rows, or offsets u32[rows+1] | pad
//!   matrix:   f32[rows][columns] | pad
//! columnar:   data of each variable column | pad before each
//! ```
//! Every buffer begins at a multiple of 64 from the frame's start. The buffer is zeroed first, and
//! zero means NOT_FOUND and null: a row that nobody fills is never taken for one that is there.

use zerocopy::FromBytes;

use super::frame::{HEADER_BYTES, Kind, begin_frame, finish_frame};
use super::malformed::WireError;
use super::read::ReadFlags;
use super::reply_layout::{ALIGN, COLUMN_ENTRY_BYTES, HEAD_BYTES, VIEW_ENTRY_BYTES};
use super::reply_view::RowStatus;
use crate::types::ValueType;

/// How one column's values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnShape {
    /// Bytes of each value; 0 = variable.
    pub width_bytes: u32,
}

impl ColumnShape {
    /// The shape of a column of this type.
    pub fn of(value_type: &ValueType) -> Self {
        // A dimension is at most 65,536, so every width fits.
        let width_bytes = value_type.width_bytes().map_or(0, |width| width as u32);
        Self { width_bytes }
    }
}

/// Rows and columns of one view of an answer.
#[derive(Debug, Clone, Copy)]
pub struct ViewShape<'a> {
    /// Rows: the keys asked of this view.
    pub rows: u32,
    /// Columns, in the plan's order.
    pub columns: &'a [ColumnShape],
}

#[derive(Debug, Clone, Copy)]
struct ViewSlots {
    rows: usize,
    first_column: usize,
    columns: usize,
    status: usize,
    event_times: usize,
    validity: usize,
    stride: usize,
    matrix: usize,
}

#[derive(Debug, Clone, Copy)]
struct ColumnSlots {
    width: usize,
    values: usize,
    entry: usize,
    rows: usize,
    staged: usize,
}

/// Values of one variable column until their order is known. Reused over requests.
#[derive(Debug, Default)]
struct Staged {
    bytes: Vec<u8>,
    spans: Vec<(u32, u32)>,
    next_row: usize,
    in_order: bool,
}

/// Builds answers to READ, reusing its scratch memory: nothing is allocated per value, and per
/// request only what the largest request so far did not need.
#[derive(Debug, Default)]
pub struct ReplyBuilder {
    frame: Vec<u8>,
    views: Vec<ViewSlots>,
    columns: Vec<ColumnSlots>,
    staged: Vec<Staged>,
    staged_used: usize,
    matrix_row: Vec<f32>,
    final_bytes: usize,
    max_frame_bytes: u32,
}

impl ReplyBuilder {
    /// A builder without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays an answer out in `buffer`, whose old contents are dropped and whose memory is reused.
    /// `read_time` is the time by which TTL is judged, microseconds UTC.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] when the fixed buffers alone exceed `max_frame_bytes`.
    pub fn begin<'s>(
        &mut self,
        mut buffer: Vec<u8>,
        request_id: u64,
        flags: ReadFlags,
        read_time: i64,
        max_frame_bytes: u32,
        shapes: impl Iterator<Item = ViewShape<'s>> + Clone,
    ) -> Result<(), WireError> {
        self.views.clear();
        self.columns.clear();
        self.staged_used = 0;
        self.max_frame_bytes = max_frame_bytes;
        let total = self.place(flags, shapes)?;
        buffer.clear();
        let _start = begin_frame(&mut buffer, Kind::Columns, request_id);
        buffer.reserve(total - buffer.len());
        buffer.extend_from_slice(&[flags.bits(), 0]);
        buffer.extend_from_slice(&(self.views.len() as u16).to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&read_time.to_le_bytes());
        for view in &self.views {
            let words = [
                view.rows,
                view.columns,
                view.status,
                view.event_times,
                view.validity,
                view.matrix,
            ];
            words.iter().for_each(|word| put32(&mut buffer, *word));
            if !flags.matrix {
                for column in &self.columns[view.first_column..view.first_column + view.columns] {
                    [column.width, column.values, 0, 0].iter().for_each(|w| put32(&mut buffer, *w));
                }
            }
        }
        buffer.resize(total, 0);
        if flags.matrix {
            for view in &self.views {
                let block = view.matrix..view.matrix + view.rows * view.columns * 4;
                for cell in buffer[block].as_chunks_mut::<4>().0 {
                    *cell = f32::NAN.to_le_bytes();
                }
            }
        }
        self.final_bytes = total;
        self.frame = buffer;
        Ok(())
    }

    /// Decides where every buffer lies; returns the end of the fixed ones.
    fn place<'s>(
        &mut self,
        flags: ReadFlags,
        shapes: impl Iterator<Item = ViewShape<'s>> + Clone,
    ) -> Result<usize, WireError> {
        let mut entry = HEADER_BYTES + HEAD_BYTES;
        let mut end = Placed { at: entry, max: self.max_frame_bytes };
        for shape in shapes.clone() {
            end.at += VIEW_ENTRY_BYTES;
            end.at += if flags.matrix { 0 } else { COLUMN_ENTRY_BYTES * shape.columns.len() };
        }
        for shape in shapes {
            let rows = shape.rows as usize;
            let columns = shape.columns.len();
            let stride = rows.div_ceil(64) * 8;
            let status = end.place(1, rows)?;
            let event_times = if flags.event_times { end.place(8, rows)? } else { 0 };
            let first_column = self.columns.len();
            let (mut validity, mut matrix) = (0, 0);
            entry += VIEW_ENTRY_BYTES;
            if flags.matrix {
                matrix = end.place(columns * 4, rows)?;
            } else {
                validity = end.place(columns, stride)?;
                for column in shape.columns {
                    let width = column.width_bytes as usize;
                    let (values, staged) = if width == 0 {
                        (end.place(4, rows + 1)?, self.stage(rows))
                    } else {
                        (end.place(width, rows)?, 0)
                    };
                    self.columns.push(ColumnSlots { width, values, entry, rows, staged });
                    entry += COLUMN_ENTRY_BYTES;
                }
            }
            self.views.push(ViewSlots {
                rows,
                first_column,
                columns,
                status,
                event_times,
                validity,
                stride,
                matrix,
            });
        }
        Ok(end.at)
    }

    fn stage(&mut self, rows: usize) -> usize {
        if self.staged.len() == self.staged_used {
            self.staged.push(Staged::default());
        }
        let staged = &mut self.staged[self.staged_used];
        staged.bytes.clear();
        staged.spans.clear();
        staged.spans.resize(rows, (0, 0));
        staged.next_row = 0;
        staged.in_order = true;
        self.staged_used += 1;
        self.staged_used - 1
    }

    /// Sets what became of one row; NOT_FOUND until then.
    #[inline]
    pub fn set_status(&mut self, view: usize, row: usize, status: RowStatus) {
        let slots = &self.views[view];
        debug_assert!(row < slots.rows);
        self.frame[slots.status + row] = status as u8;
    }

    /// Whether the answer to a view is a matrix.
    #[inline]
    pub(super) fn is_matrix(&self, view: usize) -> bool {
        self.views[view].matrix != 0
    }

    /// Sets one row of a matrix from its cells' bytes; false when `bytes` is not as long as that.
    #[inline]
    pub(super) fn set_matrix_row(&mut self, view: usize, row: usize, bytes: &[u8]) -> bool {
        let slots = &self.views[view];
        debug_assert!(row < slots.rows);
        let row_bytes = slots.columns * 4;
        let at = slots.matrix + row * row_bytes;
        let fits = bytes.len() == row_bytes;
        if fits {
            self.frame[at..at + row_bytes].copy_from_slice(bytes);
        }
        fits
    }

    /// Sets one row's event time, microseconds UTC; does nothing when none were asked for.
    #[inline]
    pub fn set_event_time(&mut self, view: usize, row: usize, event_time: i64) {
        let slots = &self.views[view];
        debug_assert!(row < slots.rows);
        if slots.event_times != 0 {
            let at = slots.event_times + row * 8;
            self.frame[at..at + 8].copy_from_slice(&event_time.to_le_bytes());
        }
    }

    /// Marks one fixed value as present and hands out its bytes, little-endian, to be filled.
    /// Rows may come in any order. A column of variable width hands out nothing.
    #[inline]
    pub fn fixed_mut(&mut self, view: usize, column: usize, row: usize) -> &mut [u8] {
        let slots = &self.views[view];
        debug_assert!(row < slots.rows);
        self.frame[slots.validity + column * slots.stride + (row >> 3)] |= 1 << (row & 7);
        let column = &self.columns[slots.first_column + column];
        let at = column.values + row * column.width;
        &mut self.frame[at..at + column.width]
    }

    /// Sets one fixed value from its bytes, little-endian; `value` is as long as the column's width.
    #[inline]
    pub fn set_fixed(&mut self, view: usize, column: usize, row: usize, value: &[u8]) {
        let slot = self.fixed_mut(view, column, row);
        // Constant lengths compile to plain moves; the general copy is a call.
        match (slot.len(), value.len()) {
            (4, 4) => slot[..4].copy_from_slice(&value[..4]),
            (8, 8) => slot[..8].copy_from_slice(&value[..8]),
            (slot_len, len) => {
                debug_assert_eq!(slot_len, len, "a value's width is its column's");
                let len = len.min(slot_len);
                slot[..len].copy_from_slice(&value[..len]);
            }
        }
    }

    /// Sets every column of one row from their bytes side by side, in column order: the quick way
    /// for rows of fixed width without a null. False, and the row is not to be trusted, when `bytes`
    /// is not as long as the columns are wide together.
    #[inline]
    pub(super) fn set_row(&mut self, view: usize, row: usize, bytes: &[u8]) -> bool {
        let slots = &self.views[view];
        debug_assert!(row < slots.rows);
        let columns = &self.columns[slots.first_column..slots.first_column + slots.columns];
        let mut validity = slots.validity + (row >> 3);
        let mut rest = bytes;
        for column in columns {
            let at = column.values + row * column.width;
            let Some((value, after)) = rest.split_at_checked(column.width) else { return false };
            let slot = &mut self.frame[at..at + column.width];
            // Constant lengths compile to plain moves; the general copy is a call.
            match column.width {
                4 => slot[..4].copy_from_slice(&value[..4]),
                8 => slot[..8].copy_from_slice(&value[..8]),
                _ => slot.copy_from_slice(value),
            }
            self.frame[validity] |= 1 << (row & 7);
            validity += slots.stride;
            rest = after;
        }
        rest.is_empty()
    }

    /// Whether a column's values are of variable width.
    #[inline]
    pub fn is_variable(&self, view: usize, column: usize) -> bool {
        self.columns[self.views[view].first_column + column].width == 0
    }

    /// Sets one value of a variable column. Rows may come in any order; in rising order is quickest.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] when the answer would exceed the largest frame: answer with an
    /// ERROR instead.
    pub fn set_variable(
        &mut self,
        view: usize,
        column: usize,
        row: usize,
        value: &[u8],
    ) -> Result<(), WireError> {
        let slots = &self.views[view];
        let place = &self.columns[slots.first_column + column];
        let staged = &mut self.staged[place.staged];
        if staged.bytes.is_empty() && !value.is_empty() {
            // Its data buffer exists from now on, and with it at most this much padding.
            self.final_bytes += ALIGN;
        }
        self.final_bytes += value.len();
        if self.final_bytes > self.max_frame_bytes as usize {
            return Err(too_large(self.final_bytes, self.max_frame_bytes));
        }
        staged.in_order &= row >= staged.next_row;
        staged.next_row = row + 1;
        staged.spans[row] = (staged.bytes.len() as u32, value.len() as u32);
        staged.bytes.extend_from_slice(value);
        self.frame[slots.validity + column * slots.stride + (row >> 3)] |= 1 << (row & 7);
        Ok(())
    }

    /// Hands one row of a matrix answer to `fill`, which finds NaN in every cell.
    pub fn with_matrix_row(&mut self, view: usize, row: usize, fill: impl FnOnce(&mut [f32])) {
        let slots = &self.views[view];
        debug_assert!(row < slots.rows && slots.matrix != 0);
        let at = slots.matrix + row * slots.columns * 4;
        let bytes = &mut self.frame[at..at + slots.columns * 4];
        if let Ok(cells) = <[f32]>::mut_from_bytes(bytes) {
            fill(cells);
            return;
        }
        // The allocator gave a buffer that floats cannot lie in directly: fill beside it and copy.
        self.matrix_row.clear();
        self.matrix_row.resize(slots.columns, f32::NAN);
        fill(&mut self.matrix_row);
        for (cell, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&self.matrix_row) {
            *cell = value.to_le_bytes();
        }
    }

    /// Completes the frame and hands its buffer over.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] when the answer exceeds the largest frame.
    pub fn finish(&mut self) -> Result<Vec<u8>, WireError> {
        let mut frame = self.complete();
        let start = super::frame::FrameStart(0);
        finish_frame(&mut frame, start, self.max_frame_bytes)?;
        Ok(frame)
    }

    /// Puts the variable columns' data behind the fixed buffers.
    fn complete(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.frame);
        for column in self.columns.iter().filter(|column| column.width == 0) {
            let staged = &self.staged[column.staged];
            frame.resize(frame.len().next_multiple_of(ALIGN), 0);
            let data = frame.len();
            if staged.in_order {
                frame.extend_from_slice(&staged.bytes);
            }
            let mut end = 0;
            for (row, (start, len)) in staged.spans.iter().enumerate() {
                let (start, len) = (*start as usize, *len as usize);
                if !staged.in_order {
                    frame.extend_from_slice(&staged.bytes[start..start + len]);
                }
                end += len;
                set32(&mut frame, column.values + 4 * (row + 1), end);
            }
            debug_assert_eq!(staged.spans.len(), column.rows);
            // A value that was set twice out of order leaves staged bytes that nothing names.
            frame.truncate(data + end);
            set32(&mut frame, column.entry + 8, data);
            set32(&mut frame, column.entry + 12, end);
        }
        frame
    }

    /// Completes the answer without length and checksum: for one that stays in this process
    /// ([`super::ReadReply::again`] reads it) and for nothing that is sent.
    ///
    /// # Errors
    /// As [`ReplyBuilder::finish`].
    pub fn finish_unsent(&mut self) -> Result<Vec<u8>, WireError> {
        let frame = self.complete();
        if frame.len() > self.max_frame_bytes as usize {
            return Err(too_large(frame.len(), self.max_frame_bytes));
        }
        Ok(frame)
    }

    /// Gives up an answer that was begun; its buffer comes back for reuse.
    pub fn abandon(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frame)
    }
}

struct Placed {
    at: usize,
    max: u32,
}

impl Placed {
    fn place(&mut self, each: usize, count: usize) -> Result<usize, WireError> {
        let start = self.at.next_multiple_of(ALIGN);
        let end = each.checked_mul(count).and_then(|bytes| bytes.checked_add(start));
        match end.filter(|end| *end <= self.max as usize) {
            Some(end) => {
                self.at = end;
                Ok(start)
            }
            None => Err(too_large(end.unwrap_or(usize::MAX), self.max)),
        }
    }
}

fn too_large(frame_bytes: usize, max: u32) -> WireError {
    WireError::FrameSize { frame_bytes: frame_bytes as u64, max_bytes: u64::from(max) }
}

fn put32(out: &mut Vec<u8>, value: usize) {
    // Everything placed lies below max_frame_bytes, a u32.
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

fn set32(frame: &mut [u8], at: usize, value: usize) {
    frame[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}
