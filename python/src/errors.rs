//! Failures as exceptions of `thermae.errors`, by what the caller does next.

use pyo3::prelude::*;
use thermae_client::{Error as ClientError, ErrorCategory, ErrorCode};
use thermae_engine::Error as EngineError;
use thermae_engine::training::TrainingError;
use thermae_features::Error as FeatureError;
use thermae_server::ingest::IngestError;

/// A failure on its way to Python.
#[derive(Debug)]
pub struct Fault {
    /// The class, of `thermae.errors`.
    class: &'static str,
    message: String,
    /// Rows that are wrong, counted from 0, with reasons.
    rows: Vec<(u64, String)>,
    retry_after_ms: Option<u32>,
}

/// What this crate's functions give.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    fn new(class: &'static str, message: impl Into<String>) -> Self {
        Fault { class, message: message.into(), rows: Vec::new(), retry_after_ms: None }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidRequestError", message)
    }

    /// Something named is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("NotFoundError", message)
    }

    /// The store or its answer is not as it must be.
    pub fn store(message: impl Into<String>) -> Self {
        Self::new("StoreError", message)
    }

    /// Rows do not fit; none was written.
    pub fn rows(message: impl Into<String>, rows: Vec<(u64, String)>) -> Self {
        Fault { rows, ..Self::new("InvalidRowsError", message) }
    }

    /// Rows were refused by the store itself.
    pub fn not_applied(message: impl Into<String>, rows: Vec<(u64, String)>) -> Self {
        Fault { rows, ..Self::new("NotAppliedError", message) }
    }

    /// It cannot be told whether rows were written.
    pub fn in_doubt(message: impl Into<String>) -> Self {
        Self::new("InDoubtError", message)
    }

    /// The store takes no more now.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new("OverloadedError", message)
    }

    fn after(self, retry_after_ms: u32) -> Self {
        Fault { retry_after_ms: Some(retry_after_ms), ..self }
    }

    /// Names and columns behind a plan have changed: the caller prepares again.
    pub fn is_stale(&self) -> bool {
        self.class == "StalePlanError"
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match &error {
            ClientError::Server { message, retry_after_ms, .. } => {
                refused(&error, message, *retry_after_ms)
            }
            ClientError::Address { .. }
            | ClientError::Key(_)
            | ClientError::Row(_)
            | ClientError::Value(_)
            | ClientError::Usage(_) => Self::invalid(message),
            ClientError::Connect { .. } | ClientError::Disconnected => {
                Self::new("ConnectionFailedError", message)
            }
            ClientError::TimedOut => Self::new("RequestTimeoutError", message),
            ClientError::PlanChanged => Self::new("StalePlanError", message),
            ClientError::Mapped(_) => Self::new("MappedReadsError", message),
            ClientError::Wire(_) | ClientError::Schema(_) => Self::store(message),
        }
    }
}

/// A refusal of the server, by what to do about it.
fn refused(error: &ClientError, message: &str, retry_after_ms: u32) -> Fault {
    match error.code() {
        Some(ErrorCode::UnknownView | ErrorCode::UnknownFeature) => {
            return Fault::not_found(message);
        }
        Some(ErrorCode::IncompatibleSchema | ErrorCode::BadSchema) => {
            return Fault::new("RefusedError", message);
        }
        _ => {}
    }
    match error.category() {
        Some(ErrorCategory::FixRequest) => Fault::invalid(message),
        Some(ErrorCategory::Reprepare) => Fault::new("ConflictError", message),
        Some(ErrorCategory::RetryLater) => Fault::overloaded(message).after(retry_after_ms),
        Some(ErrorCategory::Deadline) => Fault::new("RequestTimeoutError", message),
        Some(ErrorCategory::Credentials) => Fault::new("AccessError", message),
        _ => Fault::store(message),
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Invalid(_) => Self::invalid(message),
            EngineError::NotFound(_) => Self::not_found(message),
            EngineError::Incompatible { .. } => Self::new("RefusedError", message),
            EngineError::InDoubt(_) => Self::in_doubt(message),
            EngineError::Overloaded(_, after_ms) => Self::overloaded(message).after(after_ms),
            _ => Self::store(message),
        }
    }
}

impl From<TrainingError> for Fault {
    fn from(error: TrainingError) -> Self {
        match error {
            TrainingError::Request(error) => error.into(),
            TrainingError::Features(_)
            | TrainingError::MissingColumn { .. }
            | TrainingError::ColumnType { .. }
            | TrainingError::NameTwice { .. }
            | TrainingError::NoTime { .. }
            | TrainingError::TimeRange { .. }
            | TrainingError::Key { .. } => Self::invalid(error.to_string()),
            _ => Self::store(error.to_string()),
        }
    }
}

impl From<FeatureError> for Fault {
    fn from(error: FeatureError) -> Self {
        let message = error.to_string();
        match error {
            FeatureError::Invalid(_) | FeatureError::Definitions(_) => Self::invalid(message),
            FeatureError::NotFound(_) | FeatureError::UnknownFeature(_) => Self::not_found(message),
            FeatureError::Refused(_) => Self::new("RefusedError", message),
            FeatureError::Conflict { .. } => Self::new("ConflictError", message),
            FeatureError::InDoubt(_) => Self::in_doubt(message),
            FeatureError::Engine(error) => error.into(),
            FeatureError::Training(error) => error.into(),
            FeatureError::Database { .. } => Self::store(message),
        }
    }
}

impl From<IngestError> for Fault {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Server(message) => Self::store(message),
            IngestError::Client(error) => error.into(),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> PyErr {
        Python::attach(|py| exception(py, fault).unwrap_or_else(|error| error))
    }
}

fn exception(py: Python<'_>, fault: Fault) -> PyResult<PyErr> {
    let class = py.import("thermae.errors")?.getattr(fault.class)?;
    let error = class.call1((fault.message,))?;
    if !fault.rows.is_empty() {
        error.setattr("rows", fault.rows)?;
    }
    if let Some(after_ms) = fault.retry_after_ms {
        error.setattr("retry_after_s", f64::from(after_ms) / 1_000.0)?;
    }
    Ok(PyErr::from_value(error))
}
