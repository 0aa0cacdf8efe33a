//! COMPUTE: features by name, some of which are computed of stored ones and of what the request brings.

use super::cursor::{Cursor, count16, count32, flag, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::{Limits, MAX_COLUMNS_PER_PLAN};
use super::malformed::WireError;
use super::write::ROW_DENSE;
use crate::types::ValueType;

const EVENT_TIMES: u8 = 2;
/// Bytes of a row beside its value.
const ROW_BYTES: usize = 8;

/// A column that the request brings: a join key, or what features are computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeColumn<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its type.
    pub value_type: ValueType,
}

/// A row that the request brings: a value of each column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComputeRow<'a> {
    /// The value is without a null bitmap.
    pub dense: bool,
    /// The values, laid out as if the columns were a schema.
    pub value: &'a [u8],
}

/// A COMPUTE; it is answered by COLUMNS, a view of one column for each column asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeRequest<'a> {
    /// Event times beside the statuses.
    pub event_times: bool,
    /// Time given to the server, microseconds; 0 = no deadline.
    pub deadline_us: u32,
    /// The time by which TTL is judged and expressions compute, microseconds UTC; `NO_TIME` = the server's now.
    pub read_time: i64,
    /// The version of the registry under which the client was told what the answer's columns are.
    pub registry_version: u64,
    /// What is asked for, as JSON.
    pub ask: &'a str,
    /// What the rows hold.
    pub columns: Vec<ComputeColumn<'a>>,
    /// One an entity.
    pub rows: Vec<ComputeRow<'a>>,
}

impl<'a> ComputeRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A name or count that does not fit, a frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let columns = count16(self.columns.len(), "columns")?;
        let (rows, ask) =
            (count32(self.rows.len(), "rows")?, count32(self.ask.len(), "what is asked")?);
        let start = begin_frame(out, Kind::Compute, request_id);
        out.extend_from_slice(&[flag(self.event_times, EVENT_TIMES), 0]);
        out.extend_from_slice(&columns.to_le_bytes());
        out.extend_from_slice(&self.deadline_us.to_le_bytes());
        out.extend_from_slice(&self.read_time.to_le_bytes());
        out.extend_from_slice(&self.registry_version.to_le_bytes());
        out.extend_from_slice(&rows.to_le_bytes());
        out.extend_from_slice(&ask.to_le_bytes());
        out.extend_from_slice(self.ask.as_bytes());
        for column in &self.columns {
            put_short(out, column.name.as_bytes(), "a column name")?;
            put_short(out, column.value_type.to_string().as_bytes(), "a value type")?;
        }
        for row in &self.rows {
            out.extend_from_slice(&[flag(row.dense, ROW_DENSE), 0, 0, 0]);
            out.extend_from_slice(&count32(row.value.len(), "a row")?.to_le_bytes());
            out.extend_from_slice(row.value);
        }
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame: at most `limits.max_batch_keys` rows. Row values are not looked into.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>, limits: &Limits) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Compute)?);
        let flags = cursor.u8("flags")?;
        if flags & !EVENT_TIMES != 0 {
            return Err(WireError::UnknownCode { what: "set of flags", code: flags.into() });
        }
        let reserved = cursor.u8("a COMPUTE")?;
        cursor.zero(reserved, "a COMPUTE")?;
        let columns = usize::from(cursor.u16("columns")?);
        let deadline_us = cursor.u32("deadline_us")?;
        let read_time = cursor.i64("read_time")?;
        let registry_version = cursor.u64("a registry version")?;
        let rows = cursor.u32("rows")? as usize;
        let ask_bytes = cursor.u32("what is asked")? as usize;
        let ask = cursor.take(ask_bytes, "what is asked")?;
        let ask = std::str::from_utf8(ask).map_err(|_| WireError::Utf8("what is asked"))?;
        let columns = (0..cursor.count(columns, MAX_COLUMNS_PER_PLAN, 4, "columns")?)
            .map(|_| {
                let name = cursor.text("a column name")?;
                let text = cursor.text("a value type")?;
                let value_type = text.parse().map_err(|_| WireError::Type(text.to_owned()))?;
                Ok(ComputeColumn { name, value_type })
            })
            .collect::<Result<_, WireError>>()?;
        let rows = (0..cursor.count(rows, limits.max_batch_keys as usize, ROW_BYTES, "rows")?)
            .map(|_| {
                let flags = cursor.u8("row flags")?;
                if flags & !ROW_DENSE != 0 {
                    let code = flags.into();
                    return Err(WireError::UnknownCode { what: "set of row flags", code });
                }
                for byte in cursor.take(3, "a row")? {
                    cursor.zero(*byte, "a row")?;
                }
                let bytes = cursor.u32("a row")? as usize;
                let value = cursor.take(bytes, "a row")?;
                Ok(ComputeRow { dense: flags & ROW_DENSE != 0, value })
            })
            .collect::<Result<_, _>>()?;
        cursor.finish("a COMPUTE")?;
        let event_times = flags & EVENT_TIMES != 0;
        Ok(Self { event_times, deadline_us, read_time, registry_version, ask, columns, rows })
    }
}
