//! READ: a plan and packed keys.

use super::cursor::{Cursor, count16, count32};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::{Limits, MAX_TOKENS, MAX_VIEWS_PER_PLAN};
use super::malformed::WireError;

/// How an answer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadFlags {
    /// One row-major float32 block for each view, NaN for null, instead of columns.
    pub matrix: bool,
    /// Event times beside the statuses.
    pub event_times: bool,
}

impl ReadFlags {
    pub(super) fn bits(self) -> u8 {
        u8::from(self.matrix) | u8::from(self.event_times) << 1
    }

    pub(super) fn from_bits(bits: u8) -> Result<Self, WireError> {
        if bits > 3 {
            return Err(WireError::UnknownCode { what: "set of read flags", code: bits.into() });
        }
        Ok(Self { matrix: bits & 1 != 0, event_times: bits & 2 != 0 })
    }
}

/// A write's place in the log: what a later read may ask to see.
/// Packed as `sequence << 16 | partition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The partition.
    pub partition: u16,
    /// The sequence number in it, below 2^48.
    pub sequence: u64,
}

impl Token {
    /// As one word.
    pub fn pack(self) -> u64 {
        self.sequence << 16 | u64::from(self.partition)
    }

    /// From one word.
    pub fn unpack(word: u64) -> Self {
        Self { partition: (word & 0xFFFF) as u16, sequence: word >> 16 }
    }
}

/// Encoded keys of one view, one after the other; each tells its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedKeys<'a> {
    /// How many.
    pub count: u32,
    /// Their bytes (docs/protocol.md, "Keys").
    pub bytes: &'a [u8],
}

/// What a READ asks beside its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadHead {
    /// The plan, of this connection.
    pub plan_id: u32,
    /// Layout of the answer.
    pub flags: ReadFlags,
    /// The time by which TTL is judged, microseconds UTC; `NO_TIME` = the server's now.
    pub read_time: i64,
    /// Time given, from the server's receipt, microseconds; 0 = none.
    pub deadline_us: u32,
}

/// Appends a READ frame.
///
/// # Errors
/// Counts that do not fit, a frame beyond `max_frame_bytes`.
pub fn encode_read<'k>(
    out: &mut Vec<u8>,
    request_id: u64,
    head: &ReadHead,
    tokens: &[Token],
    views: impl ExactSizeIterator<Item = PackedKeys<'k>>,
    max_frame_bytes: u32,
) -> Result<(), WireError> {
    let start = begin_frame(out, Kind::Read, request_id);
    out.extend_from_slice(&head.plan_id.to_le_bytes());
    out.extend_from_slice(&[head.flags.bits(), 0]);
    out.extend_from_slice(&count16(views.len(), "views")?.to_le_bytes());
    out.extend_from_slice(&head.read_time.to_le_bytes());
    out.extend_from_slice(&head.deadline_us.to_le_bytes());
    out.extend_from_slice(&count32(tokens.len(), "tokens")?.to_le_bytes());
    for token in tokens {
        out.extend_from_slice(&token.pack().to_le_bytes());
    }
    for keys in views {
        out.extend_from_slice(&keys.count.to_le_bytes());
        out.extend_from_slice(&count32(keys.bytes.len(), "key bytes")?.to_le_bytes());
        out.extend_from_slice(keys.bytes);
    }
    finish_frame(out, start, max_frame_bytes)
}

/// A decoded READ. Key bytes are not looked at: that needs the view's key types
/// (`formats::key::split_key`).
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest<'a> {
    /// Plan, flags, times.
    pub head: ReadHead,
    /// Keys over all views.
    pub key_count: u32,
    tokens: &'a [u8],
    view_count: u16,
    views: Cursor<'a>,
}

impl<'a> ReadRequest<'a> {
    /// Decodes the frame, at most `limits.max_batch_keys` keys in all.
    ///
    /// # Errors
    /// [`WireError::Count`] beyond a limit, or any other [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>, limits: &Limits) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Read)?);
        let plan_id = cursor.u32("a plan id")?;
        let flags = ReadFlags::from_bits(cursor.u8("read flags")?)?;
        let reserved = cursor.u8("a READ")?;
        cursor.zero(reserved, "a READ")?;
        let view_count = cursor.u16("views")?;
        let read_time = cursor.i64("read_time")?;
        let deadline_us = cursor.u32("deadline_us")?;
        let count = cursor.u32("tokens")? as usize;
        let count = cursor.count(count, MAX_TOKENS, 8, "tokens")?;
        let tokens = cursor.take(count * 8, "tokens")?;
        cursor.count(usize::from(view_count), MAX_VIEWS_PER_PLAN, 8, "views")?;
        let views = cursor;
        let mut key_count: u32 = 0;
        for _ in 0..view_count {
            let keys = packed(&mut cursor)?;
            key_count = key_count.saturating_add(keys.count);
        }
        if key_count > limits.max_batch_keys {
            return Err(WireError::Count {
                what: "keys",
                count: u64::from(key_count),
                max: u64::from(limits.max_batch_keys),
            });
        }
        cursor.finish("a READ")?;
        let head = ReadHead { plan_id, flags, read_time, deadline_us };
        Ok(Self { head, key_count, tokens, view_count, views })
    }

    /// What the answer must have seen.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = Token> + use<'a> {
        self.tokens.as_chunks::<8>().0.iter().map(|word| Token::unpack(u64::from_le_bytes(*word)))
    }

    /// How many views carry keys; the plan's count, or the request is wrong.
    pub fn view_count(&self) -> usize {
        usize::from(self.view_count)
    }

    /// Keys of each view, in the plan's order.
    pub fn views(&self) -> impl Iterator<Item = PackedKeys<'a>> + use<'a> {
        let mut cursor = self.views;
        // Decoding went over the same bytes already, so nothing is cut short here.
        (0..self.view_count).map_while(move |_| packed(&mut cursor).ok())
    }
}

fn packed<'a>(cursor: &mut Cursor<'a>) -> Result<PackedKeys<'a>, WireError> {
    let count = cursor.u32("a key count")?;
    let len = cursor.u32("key bytes")? as usize;
    Ok(PackedKeys { count, bytes: cursor.take(len, "keys")? })
}
