//! What is served where, and how a request gets to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::feast::{self, Features};
use super::health::{Health, Stage};
use super::metrics::Source;
use super::monitor;
use super::reply::{Failure, Reply};

/// The body of a request must arrive in this time.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// The least that a request takes of the room for bodies, KiB.
const LEAST_KIB: u32 = 64;

/// A thing that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Metrics,
    Alive,
    Ready,
    OpenApi,
    Online,
    Push,
    Write,
    Materialize,
    MaterializeIncremental,
}

/// Everything that is served. HEAD is answered where GET is.
pub(super) const ROUTES: [(&str, Method, Route); 10] = [
    ("/metrics", Method::GET, Route::Metrics),
    ("/healthz", Method::GET, Route::Alive),
    ("/readyz", Method::GET, Route::Ready),
    ("/health", Method::GET, Route::Ready),
    ("/openapi.json", Method::GET, Route::OpenApi),
    ("/get-online-features", Method::POST, Route::Online),
    ("/push", Method::POST, Route::Push),
    ("/write-to-online-store", Method::POST, Route::Write),
    ("/materialize", Method::POST, Route::Materialize),
    ("/materialize-incremental", Method::POST, Route::MaterializeIncremental),
];

/// What all connections share.
pub(super) struct Shared {
    health: Arc<Health>,
    source: Source,
    features: Arc<Features>,
    /// Room for bodies that are being received or worked on, KiB.
    room: Arc<Semaphore>,
}

impl Shared {
    pub fn new(health: Arc<Health>, source: Source, features: Arc<Features>) -> Self {
        let room_kib = features.limits().buffer_bytes >> 10;
        let room_kib = usize::try_from(room_kib).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { health, source, features, room: Arc::new(Semaphore::new(room_kib)) }
    }

    /// Answers a request, whatever it is.
    pub async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        let here = ROUTES.iter().filter(|(known, ..)| *known == path);
        match here.clone().find(|(_, known, _)| known == method) {
            Some((_, known, route)) if *known == Method::GET => self.show(*route).into_response(),
            Some((.., route)) => {
                let done = self.work(*route, request).await;
                done.unwrap_or_else(Failure::into_reply).into_response()
            }
            None => match here.map(|(_, known, _)| known.as_str()).next() {
                Some(known) => {
                    let what = format!("only {known} is served here\n");
                    let reply = Reply::text(StatusCode::METHOD_NOT_ALLOWED, what);
                    let mut response = reply.into_response();
                    let allowed = if known == "GET" { "GET, HEAD" } else { known };
                    // Methods are letters.
                    if let Ok(allowed) = HeaderValue::from_str(allowed) {
                        response.headers_mut().insert(ALLOW, allowed);
                    }
                    response
                }
                None => {
                    let known: Vec<&str> = ROUTES.iter().map(|(path, ..)| *path).collect();
                    let what = format!("here are {}\n", known.join(", "));
                    Reply::text(StatusCode::NOT_FOUND, what).into_response()
                }
            },
        }
    }

    /// On the listener's own thread: who watches must not wait behind those who read.
    fn show(&self, route: Route) -> Reply {
        let stage = self.health.get();
        match route {
            Route::Metrics => monitor::metrics(&self.source, stage),
            Route::Alive => monitor::alive(&self.source, stage),
            Route::OpenApi => Reply::json(feast::OPENAPI),
            _ => monitor::ready(&self.source, stage),
        }
    }

    /// Takes the body, and lets a helper thread work on it.
    async fn work(
        self: &Arc<Self>,
        route: Route,
        request: Request<Incoming>,
    ) -> Result<Reply, Failure> {
        match self.health.get() {
            Stage::Ready => {}
            Stage::Starting => return Err(Failure::passing("the server is starting")),
            Stage::Stopping => return Err(Failure::passing("the server is stopping")),
        }
        let (body, permit) = self.body(request).await?;
        let features = Arc::clone(&self.features);
        let worked = tokio::task::spawn_blocking(move || {
            let reply = match route {
                Route::Online => feast::online(&features, &body),
                Route::Push => feast::push(&features, &body),
                Route::Write => feast::write(&features, &body),
                Route::MaterializeIncremental => feast::materialize_incremental(&features, &body),
                _ => feast::materialize(&features, &body),
            };
            drop(permit);
            reply
        });
        // A panic was printed where it happened.
        worked.await.unwrap_or_else(|_| {
            let what = "the request broke its helper thread";
            Err(Failure::of(StatusCode::INTERNAL_SERVER_ERROR, what))
        })
    }

    async fn body(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Failure> {
        let most_bytes = self.features.limits().frame_bytes;
        let too_large = || {
            let what = format!("the body is larger than {most_bytes} bytes: send it in pieces");
            Failure::of(StatusCode::PAYLOAD_TOO_LARGE, what)
        };
        let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let bytes = length.and_then(|text| text.parse().ok()).unwrap_or(u64::from(most_bytes));
        let bytes = u32::try_from(bytes).ok().filter(|bytes| *bytes <= most_bytes);
        let kib = bytes.ok_or_else(too_large)?.div_ceil(1 << 10).max(LEAST_KIB);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(kib);
        let permit = permit.map_err(|_| Failure::passing("too many requests are under way"))?;
        let body = Limited::new(request.into_body(), most_bytes as usize).collect();
        match tokio::time::timeout(BODY_DEADLINE, body).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), permit)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Failure::of(
                StatusCode::BAD_REQUEST,
                format!("the body cannot be read: {error}"),
            )),
            Err(_) => Err(Failure::of(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} s", BODY_DEADLINE.as_secs()),
            )),
        }
    }
}
