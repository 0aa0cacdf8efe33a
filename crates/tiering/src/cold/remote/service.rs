//! HTTP as a store's client uses it, and what its answers mean: which are worth another try, and which are not.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_lite::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Error};
use reqwest::StatusCode;
use thiserror::Error as ThisError;

/// Bytes of an error's body that are looked at.
const BODY_BYTES_MAX: usize = 16 << 10;

/// An answer that no repetition changes. It says the store's own code for it and nothing else of its body, which
/// may repeat what was signed.
#[derive(Debug, ThisError)]
#[error("status {status}{code}{hint}")]
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    hint: &'static str,
}

impl Refusal {
    /// The refusal that is at the bottom of an error, if there is one.
    pub fn under<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        let mut at = Some(error);
        while let Some(error) = at {
            if let Some(refusal) = error.downcast_ref::<Self>() {
                return Some(refusal);
            }
            at = error.source();
        }
        None
    }
}

/// Makes clients that tell refusals.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let inner = object_store::client::ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_conditional = request.headers().contains_key("if-none-match")
            || request.headers().contains_key("x-goog-if-generation-match");
        let response = self.inner.execute(request).await?;
        let status = response.status();
        let may_go_by = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if !may_go_by && !may_be_refusal(status) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = beginning(body).await.unwrap_or_default();
        let code = code_of(&body);
        if !may_be_refusal(status) {
            // It is told when it does not go by.
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(Bytes::from(code))));
        }
        // A key that is not there is an answer; a bucket that is not there is a mistake.
        if status == StatusCode::NOT_FOUND && !is_bucket_missing(&code) {
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body)));
        }
        let hint = hint(status, is_conditional);
        let code = if code.is_empty() { code } else { format!(", {code}") };
        Err(HttpError::new(HttpErrorKind::Decode, Refusal { status, code, hint }))
    }
}

/// Whether a status is of an answer that no repetition changes; those that say that a condition does not hold
/// are answers.
fn may_be_refusal(status: StatusCode) -> bool {
    let is_answer = matches!(
        status,
        StatusCode::NOT_MODIFIED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::TOO_MANY_REQUESTS
    );
    let is_final = matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE);
    (status.is_client_error() || status.is_redirection() || is_final) && !is_answer
}

fn hint(status: StatusCode, is_conditional: bool) -> &'static str {
    match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::BAD_REQUEST if is_conditional => {
            "; it may not know conditional writes (If-None-Match: *), without which no two writers are kept apart: \
             use a store that does"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; look at the key, its rights and the clock"
        }
        status if status.is_redirection() => "; look at the region and the endpoint",
        _ => "",
    }
}

fn is_bucket_missing(code: &str) -> bool {
    matches!(code, "NoSuchBucket" | "ContainerNotFound")
}

async fn beginning(body: HttpResponseBody) -> Result<Bytes, HttpError> {
    let mut stream = body.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        let room = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() == BODY_BYTES_MAX {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// What stands in `<Code>` of an error's XML, if it is a word.
fn code_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let is_word = |code: &&str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    code.map(|(code, _)| code).filter(is_word).unwrap_or_default().to_owned()
}
