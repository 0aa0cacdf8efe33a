//! Reading the answer to READ without copying: checked once, then sliced.

use zerocopy::FromBytes;

use super::cursor::Cursor;
use super::frame::{Frame, HEADER_BYTES, Kind};
use super::limits::MAX_COLUMNS_PER_PLAN;
use super::malformed::WireError;
use super::read::ReadFlags;
use super::reply_layout::{ALIGN, COLUMN_ENTRY_BYTES, HEAD_BYTES, VIEW_ENTRY_BYTES};

/// What became of one row of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RowStatus {
    /// The store has no row of this key.
    NotFound = 0,
    /// The row is there; single values may still be null.
    Present = 1,
    /// The row is there and older than the view's TTL: its values are withheld.
    OutsideMaxAge = 2,
    /// The row is there and could not be read (damaged): its values are withheld.
    Error = 3,
    /// The row lies in the archive, which does not answer at present: ask again later.
    Unavailable = 4,
}

impl RowStatus {
    const LAST: Self = Self::Unavailable;

    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::NotFound),
            1 => Some(Self::Present),
            2 => Some(Self::OutsideMaxAge),
            3 => Some(Self::Error),
            4 => Some(Self::Unavailable),
            _ => None,
        }
    }
}

/// What became of one value of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CellStatus {
    /// A value.
    Present,
    /// The row is there and this value is null.
    NullValue,
    /// No such row.
    NotFound,
    /// The row is too old.
    OutsideMaxAge,
    /// The row could not be read.
    Error,
    /// The row lies in the archive, which does not answer at present.
    Unavailable,
}

/// An answer to READ, every offset of which has been checked.
#[derive(Debug, Clone, Copy)]
pub struct ReadReply<'a> {
    frame: &'a [u8],
    flags: ReadFlags,
    view_count: u16,
    read_time: i64,
}

impl<'a> ReadReply<'a> {
    /// Checks the frame: offsets, statuses, and the order of variable offsets.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Columns)?);
        let flags = ReadFlags::from_bits(cursor.u8("reply flags")?)?;
        let reserved = cursor.u8("a reply")?;
        cursor.zero(reserved, "a reply")?;
        let view_count = cursor.u16("views")?;
        let reserved = cursor.u32("a reply")?;
        cursor.zero(reserved, "a reply")?;
        let read_time = cursor.i64("read_time")?;
        // An answer to COMPUTE has a view for each column.
        cursor.count(usize::from(view_count), MAX_COLUMNS_PER_PLAN, VIEW_ENTRY_BYTES, "views")?;
        let mut check = Check { frame: frame.bytes, flags, cursor, end: 0 };
        for _ in 0..view_count {
            check.view()?;
        }
        let end = check.end.max(frame.bytes.len() - check.cursor.remaining());
        if end != frame.bytes.len() {
            let extra_bytes = frame.bytes.len() - end;
            return Err(WireError::Trailing { what: "a reply", extra_bytes });
        }
        Ok(Self { frame: frame.bytes, flags, view_count, read_time })
    }

    /// The same answer again, from a frame that [`ReadReply::decode`] accepted before. Of another
    /// frame it may show nonsense, yet reads nothing outside it.
    ///
    /// # Errors
    /// A head that is cut short or holds unknown flags.
    pub fn again(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Columns)?);
        let flags = ReadFlags::from_bits(cursor.u8("reply flags")?)?;
        cursor.u8("a reply")?;
        let view_count = cursor.u16("views")?;
        cursor.u32("a reply")?;
        let read_time = cursor.i64("read_time")?;
        Ok(Self { frame: frame.bytes, flags, view_count, read_time })
    }

    /// Layout of this answer.
    pub fn flags(&self) -> ReadFlags {
        self.flags
    }

    /// The time by which TTL was judged, microseconds UTC.
    pub fn read_time(&self) -> i64 {
        self.read_time
    }

    /// Views in this answer.
    pub fn view_count(&self) -> usize {
        usize::from(self.view_count)
    }

    /// One view of this answer, in the plan's order.
    pub fn view(&self, index: usize) -> Option<ViewReply<'a>> {
        let mut at = HEADER_BYTES + HEAD_BYTES;
        for skipped in 0..usize::from(self.view_count) {
            let entry = ViewEntry::read(self.frame.get(at..at + VIEW_ENTRY_BYTES)?);
            at += VIEW_ENTRY_BYTES;
            if skipped == index {
                return Some(ViewReply {
                    frame: self.frame,
                    entry,
                    entries: at,
                    flags: self.flags,
                });
            }
            at += if self.flags.matrix { 0 } else { entry.columns * COLUMN_ENTRY_BYTES };
        }
        None
    }
}

/// The one pass over a received answer that makes slicing it safe.
struct Check<'a> {
    frame: &'a [u8],
    flags: ReadFlags,
    cursor: Cursor<'a>,
    /// End of the last buffer so far.
    end: usize,
}

impl<'a> Check<'a> {
    fn view(&mut self) -> Result<(), WireError> {
        let entry = ViewEntry::read(self.cursor.take(VIEW_ENTRY_BYTES, "a view entry")?);
        let rows = entry.rows;
        let statuses = self.buffer(entry.status, 1, rows, "a status buffer")?;
        if let Some(status) = statuses.iter().find(|status| **status > RowStatus::LAST as u8) {
            let code = u32::from(*status);
            return Err(WireError::UnknownCode { what: "row status", code });
        }
        if self.flags.event_times {
            self.buffer(entry.event_times, 8, rows, "event times")?;
        }
        let columns = entry.columns;
        if self.flags.matrix {
            self.cursor.count(columns, MAX_COLUMNS_PER_PLAN, 0, "columns")?;
            self.buffer(entry.matrix, columns * 4, rows, "a matrix")?;
            return Ok(());
        }
        self.cursor.count(columns, MAX_COLUMNS_PER_PLAN, COLUMN_ENTRY_BYTES, "columns")?;
        self.buffer(entry.validity, columns, stride(rows), "validity bitmaps")?;
        for _ in 0..columns {
            let column = ColumnEntry::read(self.cursor.take(COLUMN_ENTRY_BYTES, "a column entry")?);
            if column.width != 0 {
                self.buffer(column.values, column.width, rows, "a column's values")?;
                if (column.data, column.data_bytes) != (0, 0) {
                    let (what, offset_bytes) = ("data of a fixed column", column.data as u64);
                    return Err(WireError::Misplaced { what, offset_bytes });
                }
                continue;
            }
            let offsets = self.buffer(column.values, 4, rows + 1, "a column's offsets")?;
            self.buffer(column.data, 1, column.data_bytes, "a column's data")?;
            if column.data < column.values + offsets.len() {
                let (what, offset_bytes) = ("a column's data", column.data as u64);
                return Err(WireError::Misplaced { what, offset_bytes });
            }
            let mut last = 0;
            for offset in offsets.as_chunks::<4>().0 {
                let offset = u32::from_le_bytes(*offset) as usize;
                if offset < last || offset > column.data_bytes {
                    let offset_bytes = offset as u64;
                    return Err(WireError::Misplaced { what: "a variable value", offset_bytes });
                }
                last = offset;
            }
        }
        Ok(())
    }

    fn buffer(
        &mut self,
        at: usize,
        each: usize,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], WireError> {
        let misplaced = WireError::Misplaced { what, offset_bytes: at as u64 };
        if !at.is_multiple_of(ALIGN) || at < HEADER_BYTES + HEAD_BYTES {
            return Err(misplaced);
        }
        let end = each.checked_mul(count).and_then(|bytes| bytes.checked_add(at));
        let end = end.filter(|end| *end <= self.frame.len()).ok_or(misplaced)?;
        self.end = self.end.max(end);
        Ok(&self.frame[at..end])
    }
}

#[derive(Debug, Clone, Copy)]
struct ViewEntry {
    rows: usize,
    columns: usize,
    status: usize,
    event_times: usize,
    validity: usize,
    matrix: usize,
}

impl ViewEntry {
    fn read(bytes: &[u8]) -> Self {
        let word = |index| word(bytes, index);
        Self {
            rows: word(0),
            columns: word(1),
            status: word(2),
            event_times: word(3),
            validity: word(4),
            matrix: word(5),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct ColumnEntry {
    width: usize,
    values: usize,
    data: usize,
    data_bytes: usize,
}

impl ColumnEntry {
    fn read(bytes: &[u8]) -> Self {
        let word = |index| word(bytes, index);
        Self { width: word(0), values: word(1), data: word(2), data_bytes: word(3) }
    }
}

fn word(bytes: &[u8], index: usize) -> usize {
    bytes.as_chunks::<4>().0.get(index).map_or(0, |word| u32::from_le_bytes(*word) as usize)
}

fn stride(rows: usize) -> usize {
    rows.div_ceil(64) * 8
}

/// One view of an answer.
#[derive(Debug, Clone, Copy)]
pub struct ViewReply<'a> {
    frame: &'a [u8],
    entry: ViewEntry,
    entries: usize,
    flags: ReadFlags,
}

impl<'a> ViewReply<'a> {
    /// Rows, in the order of the keys asked.
    pub fn rows(&self) -> usize {
        self.entry.rows
    }

    /// Columns, in the order of the features asked.
    pub fn columns(&self) -> usize {
        self.entry.columns
    }

    /// Status codes of all rows ([`RowStatus`] as u8).
    pub fn statuses(&self) -> &'a [u8] {
        self.frame.get(self.entry.status..self.entry.status + self.entry.rows).unwrap_or_default()
    }

    /// What became of one row; NOT_FOUND beyond the last.
    pub fn status(&self, row: usize) -> RowStatus {
        let code = self.statuses().get(row).copied().unwrap_or_default();
        RowStatus::from_code(code).unwrap_or(RowStatus::Error)
    }

    /// Event time of one row, microseconds UTC; 0 where there is no row, `None` if not asked for.
    pub fn event_time(&self, row: usize) -> Option<i64> {
        if !self.flags.event_times || row >= self.entry.rows {
            return None;
        }
        let at = self.entry.event_times + row * 8;
        self.frame.get(at..)?.first_chunk::<8>().map(|bytes| i64::from_le_bytes(*bytes))
    }

    /// All event times, microseconds UTC; empty if not asked for.
    ///
    /// # Errors
    /// [`WireError::Misplaced`] when the frame does not lie 8-aligned in memory.
    pub fn event_times(&self) -> Result<&'a [i64], WireError> {
        if !self.flags.event_times {
            return Ok(&[]);
        }
        let at = self.entry.event_times;
        cast(self.frame, at, self.entry.rows * 8, "event times")
    }

    /// The row-major float32 block, rows x columns, NaN for null; empty in a columnar answer.
    ///
    /// # Errors
    /// [`WireError::Misplaced`] when the frame does not lie 4-aligned in memory.
    pub fn matrix(&self) -> Result<&'a [f32], WireError> {
        if !self.flags.matrix {
            return Ok(&[]);
        }
        cast(self.frame, self.entry.matrix, self.entry.rows * self.entry.columns * 4, "a matrix")
    }

    /// One column; `None` beyond the last and in a matrix answer.
    pub fn column(&self, index: usize) -> Option<Column<'a>> {
        if self.flags.matrix || index >= self.entry.columns {
            return None;
        }
        let at = self.entries + index * COLUMN_ENTRY_BYTES;
        let entry = ColumnEntry::read(self.frame.get(at..at + COLUMN_ENTRY_BYTES)?);
        let stride = stride(self.entry.rows);
        let validity = self.entry.validity + index * stride;
        let validity = self.frame.get(validity..validity + stride)?;
        Some(Column { frame: self.frame, rows: self.entry.rows, entry, validity })
    }

    /// What became of one value, in a columnar answer.
    pub fn cell(&self, row: usize, column: usize) -> CellStatus {
        match self.status(row) {
            RowStatus::NotFound => CellStatus::NotFound,
            RowStatus::OutsideMaxAge => CellStatus::OutsideMaxAge,
            RowStatus::Error => CellStatus::Error,
            RowStatus::Unavailable => CellStatus::Unavailable,
            RowStatus::Present => match self.column(column) {
                Some(column) if column.is_valid(row) => CellStatus::Present,
                _ => CellStatus::NullValue,
            },
        }
    }
}

/// One column of a columnar answer.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    frame: &'a [u8],
    rows: usize,
    entry: ColumnEntry,
    validity: &'a [u8],
}

impl<'a> Column<'a> {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of each value; 0 = variable.
    pub fn width_bytes(&self) -> usize {
        self.entry.width
    }

    /// The validity bitmap, lowest bit first, 1 = there is a value; padded to 8 bytes.
    pub fn validity(&self) -> &'a [u8] {
        self.validity
    }

    /// Whether this row has a value.
    pub fn is_valid(&self, row: usize) -> bool {
        row < self.rows
            && self.validity.get(row >> 3).is_some_and(|bits| bits >> (row & 7) & 1 == 1)
    }

    /// All values of a fixed column, little-endian; zeros where there is none.
    pub fn values(&self) -> &'a [u8] {
        let at = self.entry.values;
        self.frame.get(at..at + self.rows * self.entry.width).unwrap_or_default()
    }

    /// One value's bytes, fixed or variable; `None` when null.
    pub fn value(&self, row: usize) -> Option<&'a [u8]> {
        if !self.is_valid(row) {
            return None;
        }
        if self.entry.width != 0 {
            let at = self.entry.values + row * self.entry.width;
            return self.frame.get(at..at + self.entry.width);
        }
        let offsets = self.frame.get(self.entry.values + row * 4..)?;
        let (start, end) = (word(offsets, 0), word(offsets, 1));
        self.frame.get(self.entry.data + start..self.entry.data + end)
    }

    /// Offsets of a variable column, rows + 1 of them, into [`Column::data`].
    ///
    /// # Errors
    /// A fixed column, or a frame that does not lie 4-aligned in memory.
    pub fn offsets(&self) -> Result<&'a [u32], WireError> {
        self.width(0, "offsets")?;
        cast(self.frame, self.entry.values, (self.rows + 1) * 4, "a column's offsets")
    }

    /// Data of a variable column; empty for a fixed one.
    pub fn data(&self) -> &'a [u8] {
        self.frame.get(self.entry.data..self.entry.data + self.entry.data_bytes).unwrap_or_default()
    }

    /// The values as float32, also `rows x N` of a float32 vector; zeros where null.
    ///
    /// # Errors
    /// A width that is no multiple of 4, or a frame that does not lie aligned in memory.
    pub fn as_f32(&self) -> Result<&'a [f32], WireError> {
        if self.entry.width == 0 || !self.entry.width.is_multiple_of(4) {
            let width_bytes = self.entry.width;
            return Err(WireError::WrongColumn { width_bytes, wanted: "float32" });
        }
        self.cast("float32")
    }

    /// The values as int32; zeros where null.
    ///
    /// # Errors
    /// Another width, or a frame that does not lie aligned in memory.
    pub fn as_i32(&self) -> Result<&'a [i32], WireError> {
        self.width(4, "int32")?;
        self.cast("int32")
    }

    /// The values as int64 or timestamps in microseconds UTC; zeros where null.
    ///
    /// # Errors
    /// Another width, or a frame that does not lie aligned in memory.
    pub fn as_i64(&self) -> Result<&'a [i64], WireError> {
        self.width(8, "int64")?;
        self.cast("int64")
    }

    /// The values as float64; zeros where null.
    ///
    /// # Errors
    /// Another width, or a frame that does not lie aligned in memory.
    pub fn as_f64(&self) -> Result<&'a [f64], WireError> {
        self.width(8, "float64")?;
        self.cast("float64")
    }

    fn width(&self, width: usize, wanted: &'static str) -> Result<(), WireError> {
        if self.entry.width == width {
            Ok(())
        } else {
            Err(WireError::WrongColumn { width_bytes: self.entry.width, wanted })
        }
    }

    fn cast<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
        &self,
        what: &'static str,
    ) -> Result<&'a [T], WireError> {
        cast(self.frame, self.entry.values, self.rows * self.entry.width, what)
    }
}

fn cast<'a, T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
    frame: &'a [u8],
    at: usize,
    len: usize,
    what: &'static str,
) -> Result<&'a [T], WireError> {
    let misplaced = || WireError::Misplaced { what, offset_bytes: at as u64 };
    let bytes = frame.get(at..at + len).ok_or_else(misplaced)?;
    <[T]>::ref_from_bytes(bytes).map_err(|_| misplaced())
}
