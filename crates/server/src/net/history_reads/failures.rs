//! What a training read fails with, as an ERROR.

use arrow_schema::ArrowError;
use thermae_engine::Error;
use thermae_engine::training::{SpillError, TrainingError};
use thermae_formats::wire::ErrorCode;

use super::stream::StreamError;
use crate::net::failure::Failure;
use crate::net::registry_desk;

/// Why what was asked for cannot be read.
pub fn features(error: thermae_features::Error) -> Failure {
    use thermae_features::Error;
    match error {
        Error::Training(error) => training(error),
        Error::Invalid(what) => Failure::new(ErrorCode::Malformed, what),
        error => registry_desk::failure(error),
    }
}

/// What a client's request, its spine, or the store is to blame for.
pub fn training(error: TrainingError) -> Failure {
    let text = error.to_string();
    let code = match error {
        TrainingError::Request(Error::Invalid(_)) => ErrorCode::Malformed,
        TrainingError::Request(error) => return Failure::from(error),
        TrainingError::Features(_) => ErrorCode::UnknownFeature,
        TrainingError::Key { .. } => ErrorCode::BadKey,
        TrainingError::MissingColumn { .. }
        | TrainingError::ColumnType { .. }
        | TrainingError::NameTwice { .. }
        | TrainingError::NoTime { .. }
        | TrainingError::TimeRange { .. }
        | TrainingError::SpineChanged(_) => ErrorCode::Malformed,
        TrainingError::Spine(cause) => match cause.downcast_ref::<StreamError>() {
            Some(error) => return stream(error),
            None => ErrorCode::Internal,
        },
        TrainingError::History { source, .. } => match source.downcast::<Error>() {
            Ok(error) => return Failure { text, ..Failure::from(*error) },
            Err(_) => ErrorCode::Internal,
        },
        TrainingError::Spill(error) => return spill(&error),
        TrainingError::StoredRow { .. } | TrainingError::Value { .. } => ErrorCode::Corrupt,
        TrainingError::Record
        | TrainingError::Batch(_)
        | TrainingError::Thread(_)
        | TrainingError::Cancelled => ErrorCode::Internal,
    };
    Failure::new(code, text)
}

/// What is wrong with the bytes of a spine.
pub fn stream(error: &StreamError) -> Failure {
    let code = match error {
        StreamError::Io(_) => ErrorCode::Internal,
        StreamError::Truncated | StreamError::Malformed { .. } => ErrorCode::Malformed,
    };
    Failure::new(code, format!("the spine: {error}"))
}

/// What is wrong with the disk.
pub fn spill(error: &SpillError) -> Failure {
    let code = match error {
        SpillError::DiskFull { .. } => ErrorCode::DiskFull,
        SpillError::Damaged { .. } => ErrorCode::Corrupt,
        SpillError::Io { .. } => ErrorCode::Internal,
    };
    Failure::new(code, error.to_string())
}

/// The answer cannot be written as a stream.
pub fn arrow(error: &ArrowError) -> Failure {
    Failure::new(ErrorCode::Internal, format!("cannot write the answer: {error}"))
}

/// The system refused.
pub fn system(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Internal, format!("{what}: {error}"))
}
