//! HISTORY: training reads. What is asked for, the spine in pieces, the answer in pieces.

use super::cursor::{Cursor, flag, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::{MAX_COLUMNS_PER_PLAN, MAX_JOINS};
use super::malformed::WireError;

const AS_OF_KNOWN: u8 = 1;
const FULL_NAMES: u8 = 2;
const LAST: u8 = 1;
const OVER: u8 = 1;
/// The least bytes of a view in a request: two texts and two counts.
const JOIN_LEAST_BYTES: usize = 8;
/// The least bytes of a name.
const TEXT_LEAST_BYTES: usize = 2;
const TALLY_BYTES: usize = 16;

/// One view of a training read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryJoin<'a> {
    /// A feature view or an on-demand view: `view`, `project/view`, either with `@version`.
    pub view: &'a str,
    /// What full names call it; empty: by its name.
    pub alias: &'a str,
    /// Its features; none: all of them.
    pub features: Vec<&'a str>,
    /// Join keys that the spine calls otherwise: (join key, column).
    pub columns: Vec<(&'a str, &'a str)>,
}

/// A HISTORY: what is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryRequest<'a> {
    /// Only what had been learnt by each row's time.
    pub as_of_known: bool,
    /// Columns are called `view__feature`.
    pub full_names: bool,
    /// Helper threads; 0, or more than the server's own choice: that.
    pub threads: u32,
    /// Memory for sorting, in bytes; 0, or more than the server's own choice: that.
    pub budget_bytes: u64,
    /// The spine's column that holds each row's time.
    pub time_column: &'a str,
    /// What is joined.
    pub joins: Vec<HistoryJoin<'a>>,
}

impl<'a> HistoryRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// Too many views or names, a name that is too long, a frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::History, request_id);
        let flags = flag(self.as_of_known, AS_OF_KNOWN) | flag(self.full_names, FULL_NAMES);
        out.extend_from_slice(&[flags, 0]);
        put_count(out, self.joins.len(), MAX_JOINS, "views of a training read")?;
        out.extend_from_slice(&self.threads.to_le_bytes());
        out.extend_from_slice(&self.budget_bytes.to_le_bytes());
        put_short(out, self.time_column.as_bytes(), "the time column")?;
        for join in &self.joins {
            put_short(out, join.view.as_bytes(), "a view")?;
            put_short(out, join.alias.as_bytes(), "an alias")?;
            put_count(out, join.features.len(), MAX_COLUMNS_PER_PLAN, "features")?;
            for feature in &join.features {
                put_short(out, feature.as_bytes(), "a feature")?;
            }
            put_count(out, join.columns.len(), MAX_COLUMNS_PER_PLAN, "renamed join keys")?;
            for (key, column) in &join.columns {
                put_short(out, key.as_bytes(), "a join key")?;
                put_short(out, column.as_bytes(), "a column")?;
            }
        }
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::History)?);
        let flags = flags(&mut cursor, AS_OF_KNOWN | FULL_NAMES, "set of history flags")?;
        let reserved = cursor.u8("a training read")?;
        cursor.zero(reserved, "a training read")?;
        let views = cursor.u16("views of a training read")?;
        let what = "views of a training read";
        let views = cursor.count(views.into(), MAX_JOINS, JOIN_LEAST_BYTES, what)?;
        let (threads, budget_bytes) = (cursor.u32("threads")?, cursor.u64("memory")?);
        let time_column = cursor.text("the time column")?;
        let mut joins = Vec::with_capacity(views);
        for _ in 0..views {
            joins.push(join(&mut cursor)?);
        }
        cursor.finish("a training read")?;
        let (as_of_known, full_names) = (flags & AS_OF_KNOWN != 0, flags & FULL_NAMES != 0);
        Ok(Self { as_of_known, full_names, threads, budget_bytes, time_column, joins })
    }
}

fn join<'a>(cursor: &mut Cursor<'a>) -> Result<HistoryJoin<'a>, WireError> {
    let (view, alias) = (cursor.text("a view")?, cursor.text("an alias")?);
    let named = cursor.u16("features")?;
    let named = cursor.count(named.into(), MAX_COLUMNS_PER_PLAN, TEXT_LEAST_BYTES, "features")?;
    let features = (0..named).map(|_| cursor.text("a feature")).collect::<Result<_, _>>()?;
    let what = "renamed join keys";
    let renamed = cursor.u16(what)?;
    let renamed = cursor.count(renamed.into(), MAX_COLUMNS_PER_PLAN, 2 * TEXT_LEAST_BYTES, what)?;
    let pair = |_| Ok((cursor.text("a join key")?, cursor.text("a column")?));
    let columns = (0..renamed).map(pair).collect::<Result<_, WireError>>()?;
    Ok(HistoryJoin { view, alias, features, columns })
}

fn put_count(
    out: &mut Vec<u8>,
    count: usize,
    max: usize,
    what: &'static str,
) -> Result<(), WireError> {
    if count > max {
        return Err(WireError::Count { what, count: count as u64, max: max as u64 });
    }
    // Every maximum here is below 2^16.
    out.extend_from_slice(&(count as u16).to_le_bytes());
    Ok(())
}

fn flags(cursor: &mut Cursor<'_>, known: u8, what: &'static str) -> Result<u8, WireError> {
    let flags = cursor.u8(what)?;
    if flags & !known != 0 {
        return Err(WireError::UnknownCode { what, code: flags.into() });
    }
    Ok(flags)
}

/// Bytes after their length; a frame of more than 2^32 is refused when it ends.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(cursor: &mut Cursor<'a>, what: &'static str) -> Result<&'a [u8], WireError> {
    let length = cursor.u32(what)?;
    cursor.take(length as usize, what)
}

/// A HISTORY_PUT: a piece of the spine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPut<'a> {
    /// It is the last one: the join begins.
    pub last: bool,
    /// The next bytes of the Arrow IPC stream, cut anywhere.
    pub bytes: &'a [u8],
}

impl<'a> HistoryPut<'a> {
    /// Bytes of a frame beside those of the stream.
    pub const BESIDE_BYTES: usize = super::frame::HEADER_BYTES + 8;

    /// Appends the frame.
    ///
    /// # Errors
    /// A frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::HistoryPut, request_id);
        out.extend_from_slice(&[if self.last { LAST } else { 0 }, 0, 0, 0]);
        put_bytes(out, self.bytes);
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::HistoryPut)?);
        let flags = flags(&mut cursor, LAST, "set of history flags")?;
        for byte in cursor.take(3, "a piece of a spine")? {
            cursor.zero(*byte, "a piece of a spine")?;
        }
        let bytes = take_bytes(&mut cursor, "a piece of a spine")?;
        cursor.finish("a piece of a spine")?;
        Ok(Self { last: flags & LAST != 0, bytes })
    }
}

/// Appends a HISTORY_NEXT or a HISTORY_END, neither of which says anything.
pub fn encode_history_step(out: &mut Vec<u8>, kind: Kind, request_id: u64) {
    let start = begin_frame(out, kind, request_id);
    // A frame without payload fits every limit.
    let _ = finish_frame(out, start, u32::MAX);
}

/// Checks a HISTORY_NEXT or a HISTORY_END.
///
/// # Errors
/// It has a payload.
pub fn decode_history_step(frame: &Frame<'_>, kind: Kind) -> Result<(), WireError> {
    Cursor::new(frame.payload_of(kind)?).finish("a step of a training read")
}

/// How far a training read is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistorySteps {
    /// Rows of the spine, as far as known.
    pub rows: u64,
    /// Rows read.
    pub read: u64,
    /// Entries to be joined: one a row and set of join keys.
    pub to_join: u64,
    /// Entries joined.
    pub joined: u64,
    /// Rows answered.
    pub answered: u64,
}

/// What the rows found in one feature view; the others found nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryTally {
    /// Rows with a version to be served.
    pub present: u64,
    /// Rows whose newest version was older than the TTL.
    pub outside_max_age: u64,
}

/// A HISTORY_REPLY, which answers every step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryReply<'a> {
    /// Nothing follows: the training read is over.
    pub over: bool,
    /// How far it is.
    pub steps: HistorySteps,
    /// By view, once all is joined; empty before.
    pub tallies: Vec<HistoryTally>,
    /// The next bytes of the answer's Arrow IPC stream.
    pub bytes: &'a [u8],
}

impl<'a> HistoryReply<'a> {
    /// Most bytes of a frame beside those of the stream.
    pub const BESIDE_BYTES: usize = super::frame::HEADER_BYTES + 48 + MAX_JOINS * TALLY_BYTES;

    /// Appends the frame.
    ///
    /// # Errors
    /// A frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::HistoryReply, request_id);
        out.extend_from_slice(&[if self.over { OVER } else { 0 }, 0]);
        put_count(out, self.tallies.len(), MAX_JOINS, "views of a training read")?;
        let HistorySteps { rows, read, to_join, joined, answered } = self.steps;
        for count in [rows, read, to_join, joined, answered] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        for tally in &self.tallies {
            out.extend_from_slice(&tally.present.to_le_bytes());
            out.extend_from_slice(&tally.outside_max_age.to_le_bytes());
        }
        put_bytes(out, self.bytes);
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let what = "a step of a training read";
        let mut cursor = Cursor::new(frame.payload_of(Kind::HistoryReply)?);
        let flags = flags(&mut cursor, OVER, "set of history flags")?;
        let reserved = cursor.u8(what)?;
        cursor.zero(reserved, what)?;
        let views = cursor.u16(what)?;
        let views = cursor.count(views.into(), MAX_JOINS, TALLY_BYTES, what)?;
        let mut steps = [0; 5];
        for count in &mut steps {
            *count = cursor.u64(what)?;
        }
        let [rows, read, to_join, joined, answered] = steps;
        let mut tallies = Vec::with_capacity(views);
        for _ in 0..views {
            let (present, outside_max_age) = (cursor.u64(what)?, cursor.u64(what)?);
            tallies.push(HistoryTally { present, outside_max_age });
        }
        let bytes = take_bytes(&mut cursor, what)?;
        cursor.finish(what)?;
        let steps = HistorySteps { rows, read, to_join, joined, answered };
        Ok(Self { over: flags & OVER != 0, steps, tallies, bytes })
    }
}
