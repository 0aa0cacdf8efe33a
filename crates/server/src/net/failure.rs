//! Why a request is answered with an ERROR.

use thermae_engine::Error;
use thermae_formats::wire::{ErrorCode, WireError};

/// An ERROR to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure, for programs.
    pub code: ErrorCode,
    /// When to repeat, in milliseconds; 0 = at once or never, as the code says.
    pub retry_after_ms: u32,
    /// What is wrong and what to do, for people.
    pub text: String,
}

impl Failure {
    /// A failure that repeating does not heal by itself.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, retry_after_ms: 0, text: text.into() }
    }

    /// A failure that passes.
    pub fn passing(code: ErrorCode, retry_after_ms: u32, text: impl Into<String>) -> Self {
        Self { code, retry_after_ms, text: text.into() }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        let code = match error {
            WireError::Count { .. } => ErrorCode::TooMany,
            WireError::FrameSize { .. } => ErrorCode::TooLarge,
            WireError::UnknownKind(_) => ErrorCode::UnknownKind,
            _ => ErrorCode::Malformed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(_) => Self::new(ErrorCode::BadSchema, text),
            Error::NotFound(_) => Self::new(ErrorCode::UnknownView, text),
            Error::Incompatible { .. } => Self::new(ErrorCode::IncompatibleSchema, text),
            Error::ReadOnly(_) => Self::new(ErrorCode::ReadOnly, text),
            Error::Overloaded(_, retry_after_ms) => {
                Self::passing(ErrorCode::Overloaded, retry_after_ms, text)
            }
            Error::Corrupt { .. } => Self::new(ErrorCode::Corrupt, text),
            Error::Stopped => Self::new(ErrorCode::ShuttingDown, text),
            Error::InDoubt(_) | Error::Locked(_) | Error::Io { .. } | Error::Archive(_) => {
                Self::new(ErrorCode::Internal, text)
            }
        }
    }
}
