//! `/metrics`, `/healthz`, `/readyz` and Feast's `/health`.

use hyper::StatusCode;

use super::health::Stage;
use super::metrics::{self, Source};
use super::reply::Reply;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics`.
pub(super) fn metrics(source: &Source, stage: Stage) -> Reply {
    let is_ready = stage == Stage::Ready && failed(source, stage).is_none();
    match metrics::encode(source, is_ready) {
        Ok(body) => Reply { kind: OPEN_METRICS, ..Reply::text(StatusCode::OK, body) },
        Err(error) => {
            let what = format!("the metrics cannot be written: {error}\n");
            Reply::text(StatusCode::INTERNAL_SERVER_ERROR, what)
        }
    }
}

/// `/healthz`: whether the process should live on.
pub(super) fn alive(source: &Source, stage: Stage) -> Reply {
    failed(source, stage).unwrap_or_else(|| Reply::text(StatusCode::OK, "ok\n"))
}

/// `/readyz`, and `/health`, which Feast's server has for the same: whether requests should come here.
pub(super) fn ready(source: &Source, stage: Stage) -> Reply {
    let waiting = |what| Reply::text(StatusCode::SERVICE_UNAVAILABLE, what);
    failed(source, stage).unwrap_or_else(|| match stage {
        Stage::Ready => Reply::text(StatusCode::OK, "ready\n"),
        Stage::Starting => waiting("starting: recovering from the log\n"),
        Stage::Stopping => waiting("stopping\n"),
    })
}

fn failed(source: &Source, stage: Stage) -> Option<Reply> {
    // A stopping server is going away in any case, and its shards end one after the other.
    let failure = if stage == Stage::Ready { (source.failure)() } else { None };
    failure.map(|text| Reply::text(StatusCode::SERVICE_UNAVAILABLE, text + "\n"))
}
