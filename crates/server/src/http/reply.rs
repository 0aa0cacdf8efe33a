//! Answers of the listener, and why there is none.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use thermae_features::Error;

/// Content type of plain text.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// Content type of JSON.
pub(super) const JSON: &str = "application/json";
/// When to repeat what the server has no room or is not there for, seconds.
const RETRY_S: u32 = 1;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub kind: &'static str,
    pub body: Vec<u8>,
    /// When to repeat the request, seconds.
    pub retry_s: Option<u32>,
}

impl Reply {
    /// A text.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, kind: TEXT, body: body.into().into_bytes(), retry_s: None }
    }

    /// JSON that is written already.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self { status: StatusCode::OK, kind: JSON, body: body.into(), retry_s: None }
    }

    /// As hyper sends it.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Some(retry_s) = self.retry_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_s));
        }
        response
    }
}

/// Why a request is not answered as it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: StatusCode,
    /// The exception of Feast's that its client raises.
    pub class: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Failure {
    /// A request that cannot be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::of(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// Something that passes.
    pub fn passing(message: impl Into<String>) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// Of a status.
    pub fn of(status: StatusCode, message: impl Into<String>) -> Self {
        let class = match status {
            StatusCode::NOT_FOUND => "FeastObjectNotFoundException",
            _ => "FeastError",
        };
        Self { status, class, message: message.into() }
    }

    /// As Feast's server tells its errors: a JSON text that holds JSON.
    pub fn into_reply(self) -> Reply {
        let detail = serde_json::json!({
            "module": "feast.errors", "class": self.class, "message": self.message,
        });
        let body = serde_json::Value::from(detail.to_string()).to_string().into_bytes();
        let is_passing = self.status == StatusCode::SERVICE_UNAVAILABLE;
        Reply { status: self.status, kind: JSON, body, retry_s: is_passing.then_some(RETRY_S) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use thermae_engine::Error as Engine;
        let status = match &error {
            Error::Invalid(_) | Error::Definitions(_) | Error::Refused(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Error::NotFound(_) | Error::UnknownFeature(_) => StatusCode::NOT_FOUND,
            Error::Conflict { .. } => StatusCode::CONFLICT,
            Error::Engine(engine) => match engine {
                Engine::Invalid(_) | Engine::Incompatible { .. } => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                Engine::NotFound(_) => StatusCode::NOT_FOUND,
                Engine::ReadOnly(_)
                | Engine::Overloaded(..)
                | Engine::Archive(_)
                | Engine::Stopped => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Error::Database { .. } | Error::InDoubt(_) | Error::Training(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::of(status, error.to_string())
    }
}
