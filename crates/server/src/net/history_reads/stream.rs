//! An Arrow IPC stream from somebody who is not trusted.
//!
//! The reader of `arrow-ipc` takes a message's word for where its buffers lie and how long they are, and a
//! wrong word is a panic or an allocation of any size. So each message is held against what is really there
//! before it is decoded: only flat columns, whose buffers are known, pass; what values they hold (offsets,
//! UTF-8) `arrow-ipc` checks itself.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{DataType, SchemaRef};

/// What stands before each message.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Most bytes of what a message says of itself: names of thousands of columns.
const HEAD_MAX_BYTES: usize = 1 << 20;
/// Most bytes of a batch: it is in memory whole.
pub const BATCH_MAX_BYTES: usize = 16 << 20;

/// Why a stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It ends in the middle.
    #[error("the Arrow stream ends in the middle of a message, or without its end mark")]
    Truncated,
    /// It is none.
    #[error("message {message} of the Arrow stream is none: {what}")]
    Malformed {
        /// The message, from 1.
        message: u64,
        /// What is wrong.
        what: String,
    },
}

/// Reads a stream's batches. After an error there are no more.
pub struct StreamReader<R> {
    inner: R,
    schema: SchemaRef,
    message: u64,
    is_over: bool,
}

impl<R: Read> StreamReader<R> {
    /// Reads the schema.
    ///
    /// # Errors
    /// There is none, or it has columns that are not taken.
    pub fn new(mut inner: R) -> Result<Self, StreamError> {
        let wrong = |what: String| StreamError::Malformed { message: 1, what };
        let head = read_head(&mut inner, 1)?.ok_or(StreamError::Truncated)?;
        let message = root_as_message(&head).map_err(|error| wrong(error.to_string()))?;
        let schema = message.header_as_schema().ok_or_else(|| wrong("no schema".to_owned()))?;
        let schema = try_fb_to_schema(schema).map_err(|error| wrong(error.to_string()))?;
        for field in schema.fields() {
            if widths(field.data_type()).is_none() {
                return Err(wrong(format!(
                    "column {:?} is {}, which is not taken: send what the join needs",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        Ok(Self { inner, schema: Arc::new(schema), message: 1, is_over: false })
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, StreamError> {
        self.message += 1;
        let Some(head) = read_head(&mut self.inner, self.message)? else { return Ok(None) };
        let wrong = |what: String| StreamError::Malformed { message: self.message, what };
        let message = root_as_message(&head).map_err(|error| wrong(error.to_string()))?;
        let body_bytes = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        if body_bytes > BATCH_MAX_BYTES {
            let what = format!("it has {} bytes, {BATCH_MAX_BYTES} at most", message.bodyLength());
            return Err(wrong(what));
        }
        let batch = checked(&message, &self.schema, body_bytes).map_err(wrong)?;
        let mut body = vec![0; body_bytes];
        read_whole(&mut self.inner, &mut body)?;
        let (schema, none) = (Arc::clone(&self.schema), HashMap::new());
        read_record_batch(&body.into(), batch, schema, &none, None, &message.version())
            .map(Some)
            .map_err(|error| wrong(error.to_string()))
    }
}

impl<R: Read> Iterator for StreamReader<R> {
    type Item = Result<RecordBatch, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let batch = self.next_batch();
        self.is_over = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}

/// What the next message says of itself; `None` at the end mark.
fn read_head(inner: &mut impl Read, message: u64) -> Result<Option<Vec<u8>>, StreamError> {
    let mut start = [0; 8];
    read_whole(inner, &mut start)?;
    let [mark @ .., a, b, c, d] = start;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let wrong = |what: String| Err(StreamError::Malformed { message, what });
    if mark != CONTINUATION {
        return wrong("it does not begin as one".to_owned());
    }
    if length > HEAD_MAX_BYTES {
        return wrong(format!("its head has {length} bytes, {HEAD_MAX_BYTES} at most"));
    }
    let mut head = vec![0; length];
    read_whole(inner, &mut head)?;
    Ok((length > 0).then_some(head))
}

fn read_whole(inner: &mut impl Read, into: &mut [u8]) -> Result<(), StreamError> {
    inner.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamError::Truncated,
        _ => StreamError::Io(error),
    })
}

/// The batch of a message whose every number holds.
fn checked<'m>(
    message: &Message<'m>,
    schema: &SchemaRef,
    body_bytes: usize,
) -> Result<arrow_ipc::RecordBatch<'m>, String> {
    if message.header_type() != MessageHeader::RecordBatch {
        return Err("no batch; dictionaries are not taken".to_owned());
    }
    let batch = message.header_as_record_batch().ok_or("no batch")?;
    if batch.compression().is_some() {
        return Err("it is compressed, which is not taken".to_owned());
    }
    let (nodes, buffers) = (batch.nodes().ok_or("no nodes")?, batch.buffers().ok_or("no buffers")?);
    let rows = usize::try_from(batch.length()).map_err(|_| "a negative number of rows")?;
    // So many rows have at least a bit each.
    if rows > body_bytes.saturating_mul(8) || nodes.len() != schema.fields().len() {
        return Err("rows or columns that are not there".to_owned());
    }
    let mut buffers = buffers.iter();
    for (field, node) in schema.fields().iter().zip(nodes.iter()) {
        let nulls = usize::try_from(node.null_count()).unwrap_or(usize::MAX);
        if usize::try_from(node.length()) != Ok(rows) || nulls > rows {
            return Err(format!("column {:?} has another number of rows", field.name()));
        }
        let validity = if nulls == 0 { Width::Any } else { Width::Bits };
        let widths = widths(field.data_type()).unwrap_or(&[]);
        for width in std::iter::once(&validity).chain(widths) {
            let within = buffers.next().and_then(|buffer| {
                let begin = usize::try_from(buffer.offset()).ok()?;
                let length = usize::try_from(buffer.length()).ok()?;
                let (needed_bytes, unit_bytes) = width.bytes(field.data_type(), rows)?;
                let is_whole = length >= needed_bytes && length.is_multiple_of(unit_bytes);
                (is_whole && begin.checked_add(length)? <= body_bytes).then_some(())
            });
            within.ok_or_else(|| format!("a buffer of column {:?} is not there", field.name()))?;
        }
    }
    match buffers.next() {
        None => Ok(batch),
        Some(_) => Err("more buffers than its columns have".to_owned()),
    }
}

/// How many bytes a buffer needs.
#[derive(Clone, Copy)]
enum Width {
    Bits,
    /// One value a row, of the column's type.
    Values,
    /// One offset a row and one more, of this many bytes; none where there are no rows.
    Offsets(usize),
    /// Whatever the offsets say.
    Any,
}

impl Width {
    /// The bytes that a buffer has at least, and those of which its length is a multiple.
    fn bytes(self, data_type: &DataType, rows: usize) -> Option<(usize, usize)> {
        Some(match self {
            Self::Bits => (rows.div_ceil(8), 1),
            Self::Values => match data_type {
                DataType::FixedSizeBinary(width) => {
                    (rows.checked_mul(usize::try_from(*width).ok()?)?, 1)
                }
                other => (rows.checked_mul(other.primitive_width()?)?, other.primitive_width()?),
            },
            Self::Offsets(width) if rows == 0 => (0, width),
            Self::Offsets(width) => (rows.checked_add(1)?.checked_mul(width)?, width),
            Self::Any => (0, 1),
        })
    }
}

/// The buffers of a column behind its validity; `None` of a type that is not taken.
fn widths(data_type: &DataType) -> Option<&'static [Width]> {
    Some(match data_type {
        DataType::Boolean => &[Width::Bits],
        DataType::Utf8 | DataType::Binary => &[Width::Offsets(4), Width::Any],
        DataType::LargeUtf8 | DataType::LargeBinary => &[Width::Offsets(8), Width::Any],
        DataType::FixedSizeBinary(width) if *width > 0 => &[Width::Values],
        DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64 => &[Width::Values],
        other if other.is_integer() => &[Width::Values],
        _ => return None,
    })
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
