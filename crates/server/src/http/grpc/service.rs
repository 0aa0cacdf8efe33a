//! The calls of the service, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use super::super::feast::Features;
use super::super::health::{Health, Stage};
use super::super::reply::Failure;
use super::messages::{InfoRequest, InfoResponse, OnlineRequest, OnlineResponse};
use super::online::online;

/// Requests that are received or worked on at a time, each of at most the 4 MiB that tonic takes.
const UNDER_WAY_MAX: usize = 32;
/// How long one may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// The service, for any number of connections.
#[derive(Clone)]
pub(super) struct Service {
    health: Arc<Health>,
    features: Arc<Features>,
    under_way: Arc<Semaphore>,
}

impl Service {
    pub fn new(health: Arc<Health>, features: Arc<Features>) -> Self {
        Self { health, features, under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)) }
    }

    /// Answers a call, whatever it is.
    pub async fn answer(self, request: http::Request<Incoming>) -> http::Response<Body> {
        let Ok(permit) = Arc::clone(&self.under_way).try_acquire_owned() else {
            return Status::unavailable("too many requests are under way").into_http();
        };
        let answer = tokio::time::timeout(REQUEST_DEADLINE, self.call(request)).await;
        drop(permit);
        answer.unwrap_or_else(|_| {
            let what = format!("there is no answer within {} s", REQUEST_DEADLINE.as_secs());
            Status::deadline_exceeded(what).into_http()
        })
    }

    async fn call(self, request: http::Request<Incoming>) -> http::Response<Body> {
        match request.uri().path() {
            "/feast.serving.ServingService/GetOnlineFeatures" => {
                let codec = ProstCodec::<OnlineResponse, OnlineRequest>::default();
                Grpc::new(codec).unary(OnlineCall(self), request).await
            }
            "/feast.serving.ServingService/GetFeastServingInfo" => {
                let codec = ProstCodec::<InfoResponse, InfoRequest>::default();
                Grpc::new(codec).unary(InfoCall, request).await
            }
            path => Status::unimplemented(format!("{path} is not served here")).into_http(),
        }
    }

    async fn online(self, request: OnlineRequest) -> Result<OnlineResponse, Status> {
        if self.health.get() != Stage::Ready {
            return Err(Status::unavailable("the server is starting or stopping"));
        }
        let worked = tokio::task::spawn_blocking(move || online(&self.features, request));
        let broken = |_| Status::internal("the request broke its helper thread");
        worked.await.map_err(broken)?.map_err(status)
    }
}

struct OnlineCall(Service);

impl UnaryService<OnlineRequest> for OnlineCall {
    type Response = OnlineResponse;
    type Future = BoxFuture<Response<OnlineResponse>, Status>;

    fn call(&mut self, request: Request<OnlineRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.online(request.into_inner()).await.map(Response::new) })
    }
}

struct InfoCall;

impl UnaryService<InfoRequest> for InfoCall {
    type Response = InfoResponse;
    type Future = BoxFuture<Response<InfoResponse>, Status>;

    fn call(&mut self, _: Request<InfoRequest>) -> Self::Future {
        let version = format!("thermae {}", env!("CARGO_PKG_VERSION"));
        Box::pin(async move { Ok(Response::new(InfoResponse { version })) })
    }
}

fn status(failure: Failure) -> Status {
    let code = match failure.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidArgument,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, failure.message)
}
