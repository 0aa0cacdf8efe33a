//! The answer to a write: one outcome for each row, eight bytes when all went well.

use std::fmt;

use super::cursor::{Cursor, count32, put_short};
use super::frame::{Frame, HEADER_BYTES, Kind, begin_frame, finish_frame};
use super::malformed::WireError;
use super::read::Token;
use super::write::Ack;

const CODE_OK: u8 = 0;
const CODE_DUPLICATE: u8 = 1;
const CODE_IN_DOUBT: u8 = 2;
const CODE_OVERLOADED: u8 = 35;
const CODE_FAILS_CHECK: u8 = 37;
const CODE_QUARANTINED: u8 = 38;
/// Codes from here on say why a row was not applied, also those that a version does not know.
const CODE_NOT_APPLIED: u8 = 16;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a row was not applied and will not be.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum NotApplied {
            $($(#[$doc])* $name,)*
            /// A reason that this version does not know, by its code; the reply's message tells it.
            Unknown(u8),
        }

        impl NotApplied {
            /// Every reason that this version knows, in order.
            pub const ALL: &'static [NotApplied] = &[$(Self::$name,)*];

            /// The reason's code.
            pub fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* Self::Unknown(code) => code }
            }

            fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    CODE_NOT_APPLIED.. => Some(Self::Unknown(code)),
                    _ => None,
                }
            }
        }

        impl fmt::Display for NotApplied {
            /// The reason's name, for messages; the number of one that is not known.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self::Unknown(code) => write!(f, "reason {code}"),
                }
            }
        }
    };
}

reasons! {
    /// A partial write older than the newest row.
    Late = 16,
    /// The event time lies further in the future than the server's allowed skew.
    FutureEventTime = 17,
    /// The key does not decode as the view's join keys.
    BadKey = 18,
    /// The value does not decode as the schema's row.
    BadValue = 19,
    /// The row exceeds the largest row.
    RowTooLarge = 20,
    /// The schema id is not one of the view's.
    UnknownSchema = 21,
    /// Not offered here.
    Unsupported = 22,
    /// An earlier row of this producer was refused: repeat that one first.
    BlockedBehind = 23,
    /// The partition remembers as many producers as it may: reuse producer ids.
    TooManyProducers = 24,
    /// The row that a partial write would be merged onto is damaged: write the whole row.
    CorruptBase = 25,
    /// No room in the memory budget.
    MemoryFull = 32,
    /// No room on the disk.
    DiskFull = 33,
    /// The shard takes no writes after a failed write or sync.
    ReadOnly = 34,
    /// The row that a partial write would be merged onto lies in the archive, which does not answer: repeat it
    /// later, or write the whole row.
    ArchiveUnavailable = 36,
}

/// What became of one written row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOutcome {
    /// Applied, at the level of the reply.
    Ok {
        /// Its place in the log.
        token: Token,
        /// It had been applied before: this was a repeat.
        duplicate: bool,
    },
    /// Not applied, and it will not be.
    NotApplied(NotApplied),
    /// Not applied, for too much work is waiting: repeat it later.
    Overloaded {
        /// When a repetition has a chance, in milliseconds from now; 0 where the server does not say.
        retry_after_ms: u32,
    },
    /// Not applied, and it will not be: it fails a check of its view.
    FailsCheck {
        /// The number of the check, as the registry's health tells them.
        check: u32,
    },
    /// Not applied to its view, and it will not be: it fails a check, and is in the view's quarantine.
    Quarantined {
        /// The number of the check.
        check: u32,
    },
    /// Unknown: repeating it with the same producer id and sequence is safe.
    InDoubt,
}

impl RowOutcome {
    fn code(self) -> u8 {
        match self {
            Self::Ok { duplicate: false, .. } => CODE_OK,
            Self::Ok { duplicate: true, .. } => CODE_DUPLICATE,
            Self::InDoubt => CODE_IN_DOUBT,
            Self::NotApplied(reason) => reason.code(),
            Self::Overloaded { .. } => CODE_OVERLOADED,
            Self::FailsCheck { .. } => CODE_FAILS_CHECK,
            Self::Quarantined { .. } => CODE_QUARANTINED,
        }
    }

    /// What stands in the row's place among the tokens.
    fn word(self) -> u64 {
        match self {
            Self::Ok { token, .. } => token.pack(),
            Self::Overloaded { retry_after_ms } => u64::from(retry_after_ms),
            Self::FailsCheck { check } | Self::Quarantined { check } => u64::from(check),
            Self::NotApplied(_) | Self::InDoubt => 0,
        }
    }

    fn from_code(code: u8, word: u64) -> Option<Self> {
        let token = Token::unpack(word);
        let number = |word| u32::try_from(word).unwrap_or(u32::MAX);
        Some(match code {
            CODE_OK => Self::Ok { token, duplicate: false },
            CODE_DUPLICATE => Self::Ok { token, duplicate: true },
            CODE_IN_DOUBT => Self::InDoubt,
            CODE_OVERLOADED => Self::Overloaded { retry_after_ms: number(word) },
            CODE_FAILS_CHECK => Self::FailsCheck { check: number(word) },
            CODE_QUARANTINED => Self::Quarantined { check: number(word) },
            _ => Self::NotApplied(NotApplied::from_code(code)?),
        })
    }
}

/// Appends a WRITTEN frame. `level` is the lowest that any row that is OK reached; `message` says,
/// for people, why the first row that is not OK is not.
///
/// # Errors
/// Counts that do not fit, a frame beyond `max_frame_bytes`.
pub fn encode_write_reply(
    out: &mut Vec<u8>,
    request_id: u64,
    level: Ack,
    outcomes: &[RowOutcome],
    message: &str,
    max_frame_bytes: u32,
) -> Result<(), WireError> {
    let start = begin_frame(out, Kind::Written, request_id);
    let plain = outcomes.iter().all(|outcome| outcome.code() == CODE_OK);
    out.extend_from_slice(&[level as u8, u8::from(!plain), 0, 0]);
    out.extend_from_slice(&count32(outcomes.len(), "rows")?.to_le_bytes());
    for outcome in outcomes {
        out.extend_from_slice(&outcome.word().to_le_bytes());
    }
    if !plain {
        out.extend(outcomes.iter().map(|outcome| outcome.code()));
    }
    put_short(out, message.as_bytes(), "a message")?;
    finish_frame(out, start, max_frame_bytes)
}

/// A decoded WRITTEN.
#[derive(Debug, Clone, Copy)]
pub struct WriteReply<'a> {
    /// The lowest level that any row that is OK reached.
    pub level: Ack,
    /// For people: why the first row that is not OK is not.
    pub message: &'a str,
    tokens: &'a [u8],
    codes: &'a [u8],
}

impl<'a> WriteReply<'a> {
    /// Decodes the frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Written)?);
        let level = Ack::from_code(cursor.u8("a level")?)?;
        let form = cursor.u8("a form")?;
        if form > 1 {
            return Err(WireError::UnknownCode { what: "form of a reply", code: form.into() });
        }
        let reserved = cursor.u16("a write reply")?;
        cursor.zero(reserved, "a write reply")?;
        let rows = cursor.u32("rows")? as usize;
        let each = 8 + usize::from(form);
        let rows = cursor.count(rows, usize::MAX / HEADER_BYTES, each, "rows")?;
        let tokens = cursor.take(rows * 8, "tokens")?;
        let codes = cursor.take(rows * usize::from(form), "outcome codes")?;
        for code in codes {
            if RowOutcome::from_code(*code, 0).is_none() {
                return Err(WireError::UnknownCode { what: "outcome", code: u32::from(*code) });
            }
        }
        let message = cursor.text("a message")?;
        cursor.finish("a write reply")?;
        Ok(Self { level, message, tokens, codes })
    }

    /// How many rows.
    pub fn row_count(&self) -> usize {
        self.tokens.len() / 8
    }

    /// Whether every row is OK.
    pub fn all_ok(&self) -> bool {
        self.codes.iter().all(|code| *code <= CODE_DUPLICATE)
    }

    /// The outcomes in row order.
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = RowOutcome> + use<'a> {
        let codes = self.codes;
        self.tokens.as_chunks::<8>().0.iter().enumerate().map(move |(row, word)| {
            let code = codes.get(row).copied().unwrap_or(CODE_OK);
            let word = u64::from_le_bytes(*word);
            // Every code was checked in decode; InDoubt is the answer that claims the least.
            RowOutcome::from_code(code, word).unwrap_or(RowOutcome::InDoubt)
        })
    }
}
