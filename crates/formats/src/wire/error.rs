//! The ERROR reply and its codes, grouped by what the caller does next.

use super::cursor::{Cursor, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::DEFAULT_MAX_FRAME_BYTES;
use super::malformed::WireError;

/// What a caller does next: the hundreds of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCategory {
    /// 1xx: the request is wrong; repeating it changes nothing.
    FixRequest,
    /// 2xx: prepare again, then repeat.
    Reprepare,
    /// 3xx: repeat after `retry_after_ms`.
    RetryLater,
    /// 4xx: the time given has run out.
    Deadline,
    /// 5xx: the server cannot, until an operator acts.
    Operator,
    /// 6xx: who the caller is does not suffice.
    Credentials,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a request failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ErrorCode { $($(#[$doc])* $name = $code,)* }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &'static [ErrorCode] = &[$(Self::$name,)*];

            /// The code with this number, if this version knows it.
            pub fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The code's name, for messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

codes! {
    /// The payload does not decode.
    Malformed = 100,
    /// No protocol version in common.
    UnsupportedVersion = 101,
    /// A frame kind that the server does not know, or not at this point.
    UnknownKind = 102,
    /// The request, or the reply that it would need, exceeds a stated size.
    TooLarge = 103,
    /// More keys, rows, views or columns than a stated limit.
    TooMany = 104,
    /// A key does not decode as the view's join keys.
    BadKey = 105,
    /// The project has no such view, or the caller may not know of it.
    UnknownView = 106,
    /// The view has no such feature.
    UnknownFeature = 107,
    /// A schema change that is not compatible with the rows that are there.
    IncompatibleSchema = 108,
    /// A definition that is not valid by itself.
    BadSchema = 109,
    /// A matrix was asked of a column that is no number.
    NotNumeric = 110,
    /// The server does not offer this here (MAP over TCP, acknowledgement mode).
    Unsupported = 111,
    /// What is asked for, or what the request brings for it, does not fit.
    BadInput = 112,
    /// The plan is unknown on this connection.
    UnknownPlan = 200,
    /// The schema moved on since the plan or the writer's schema was taken.
    StaleSchema = 201,
    /// Too much work is waiting.
    Overloaded = 300,
    /// More requests in flight than HELLO allowed.
    TooManyInFlight = 301,
    /// The server is still recovering.
    NotReady = 302,
    /// A `min_offset` has not been reached yet.
    Behind = 303,
    /// The server is stopping: connect again.
    ShuttingDown = 304,
    /// The request's deadline passed before it was served.
    DeadlineExceeded = 400,
    /// Writes are off after a failed write or sync.
    ReadOnly = 500,
    /// No room on the disk.
    DiskFull = 501,
    /// No room in the memory budget.
    MemoryFull = 502,
    /// Stored bytes are damaged.
    Corrupt = 503,
    /// A fault in the server.
    Internal = 504,
    /// Credentials are missing, wrong or expired.
    Unauthenticated = 600,
    /// The role does not permit this.
    Denied = 601,
}

impl ErrorCode {
    /// What the caller does next.
    pub fn category(self) -> ErrorCategory {
        match self as u16 / 100 {
            1 => ErrorCategory::FixRequest,
            2 => ErrorCategory::Reprepare,
            3 => ErrorCategory::RetryLater,
            4 => ErrorCategory::Deadline,
            6 => ErrorCategory::Credentials,
            _ => ErrorCategory::Operator,
        }
    }
}

/// A decoded ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// The code's number; [`ErrorReply::known`] types it.
    pub code: u16,
    /// Wait this long before repeating, in milliseconds; 0 = at once or never, by category.
    pub retry_after_ms: u32,
    /// For people. Never parse it.
    pub message: &'a str,
}

impl<'a> ErrorReply<'a> {
    /// The code, if this version knows it. An unknown one still has a category by its hundreds.
    pub fn known(&self) -> Option<ErrorCode> {
        ErrorCode::from_code(self.code)
    }

    /// Appends an ERROR frame. A message beyond 1,024 bytes is cut at a character.
    pub fn encode(out: &mut Vec<u8>, request_id: u64, code: ErrorCode, after_ms: u32, text: &str) {
        let mut cut = text.len().min(1024);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let start = begin_frame(out, Kind::Error, request_id);
        out.extend_from_slice(&(code as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&after_ms.to_le_bytes());
        // Neither can fail: the text is at most 1,024 bytes.
        let _ = put_short(out, &text.as_bytes()[..cut], "an error message");
        let _ = finish_frame(out, start, DEFAULT_MAX_FRAME_BYTES);
    }

    /// Decodes an ERROR frame.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Error)?);
        let code = cursor.u16("an error code")?;
        let reserved = cursor.u16("an error")?;
        cursor.zero(reserved, "an error")?;
        let retry_after_ms = cursor.u32("retry_after_ms")?;
        let message = cursor.text("an error message")?;
        cursor.finish("an error")?;
        Ok(Self { code, retry_after_ms, message })
    }
}
