//! What can go wrong in a client, and what to do about it.

use thermae_formats::wire::{ErrorCategory, ErrorCode, ErrorReply, WireError};
use thermae_formats::{KeyError, RowError, SchemaError, ValueError};
use thiserror::Error;

/// Why a call failed. Cheap to clone: one lost connection fails many calls.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// An address that is none.
    #[error("{text:?} is not an address: {why}")]
    Address {
        /// What was given.
        text: String,
        /// What to write.
        why: &'static str,
    },
    /// No connection; is the server running, and there?
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system or the server said.
        why: String,
    },
    /// The connection was lost before the answer came. A read may simply be repeated; a write is
    /// in doubt and is only reported so when it cannot be repeated safely.
    #[error("the connection to the server was lost before its answer came")]
    Disconnected,
    /// No answer within `Config::request_timeout`. A write is then in doubt.
    #[error("no answer came within the request timeout")]
    TimedOut,
    /// The server refused.
    #[error("the server refused ({number} {name}): {message}")]
    Server {
        /// The code's number (docs/protocol.md, section 11).
        number: u16,
        /// The code's name, `Unknown` if this client does not know it.
        name: &'static str,
        /// Wait this long before repeating, milliseconds.
        retry_after_ms: u32,
        /// For people.
        message: String,
    },
    /// The peer broke the protocol, or a request does not fit it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A key does not fit the view's join keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Values do not fit the view's features.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A value in an answer does not decode as its type.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The server's schema cannot be laid out.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The columns behind a plan changed: prepare it again.
    #[error("the columns behind this plan have changed: prepare it again")]
    PlanChanged,
    /// The call itself is wrong.
    #[error("{0}")]
    Usage(String),
    /// The hot tables cannot be mapped or no longer be trusted; read over the socket.
    #[error("mapped reads are off: {0}")]
    Mapped(String),
}

impl Error {
    /// What to do next, for a refusal by the server.
    pub fn category(&self) -> Option<ErrorCategory> {
        match self {
            Self::Server { number, .. } => Some(match ErrorCode::from_code(*number) {
                Some(code) => code.category(),
                // The hundreds of a code say what to do even when the code itself is newer.
                None => match number / 100 {
                    1 => ErrorCategory::FixRequest,
                    2 => ErrorCategory::Reprepare,
                    3 => ErrorCategory::RetryLater,
                    4 => ErrorCategory::Deadline,
                    6 => ErrorCategory::Credentials,
                    _ => ErrorCategory::Operator,
                },
            }),
            _ => None,
        }
    }

    /// The server's code, if it is one that this client knows.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server { number, .. } => ErrorCode::from_code(*number),
            _ => None,
        }
    }

    pub(crate) fn from_reply(reply: &ErrorReply<'_>) -> Self {
        Self::Server {
            number: reply.code,
            name: reply.known().map_or("Unknown", ErrorCode::name),
            retry_after_ms: reply.retry_after_ms,
            message: reply.message.to_owned(),
        }
    }
}
