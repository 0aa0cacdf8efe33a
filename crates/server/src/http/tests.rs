//! The listener from outside, without a store behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::*;
use crate::net::counters::{AllCounters, Cut};
use crate::net::histogram::add;
use crate::serve::limits::Limits;

fn start() -> (HttpServer, Arc<Health>, AllCounters) {
    start_with(|| None)
}

fn start_with(
    failure: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> (HttpServer, Arc<Health>, AllCounters) {
    let counters = AllCounters::new(2);
    let source = Source {
        counters: counters.clone(),
        limits: Limits::default(),
        failure: Arc::new(failure),
        engine: Arc::new(|| {
            vec![metrics::EngineFamily {
                name: "rows",
                help: "Rows held",
                counter: false,
                values: vec![(vec![("shard", "0".to_owned())], 42)],
            }]
        }),
    };
    let health = Arc::new(Health::default());
    let address = "127.0.0.1:0".parse().unwrap();
    let features = Arc::new(Features::new(Limits::default(), None));
    let server = HttpServer::start(address, Arc::clone(&health), source, features).unwrap();
    (server, health, counters)
}

/// Sends bytes as they are; everything that comes until the server closes.
fn ask(server: &HttpServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &HttpServer, path: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"))
}

#[test]
fn readiness_follows_the_stages() {
    let (mut server, health, _) = start();
    for path in ["/readyz", "/health"] {
        health.set(Stage::Starting);
        assert!(get(&server, path).starts_with("HTTP/1.1 503"));
        health.set(Stage::Ready);
        assert!(get(&server, path).starts_with("HTTP/1.1 200"));
        health.set(Stage::Stopping);
        assert!(get(&server, path).starts_with("HTTP/1.1 503"));
    }
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200"));
    server.stop();
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn a_failed_shard_is_named_until_the_server_stops() {
    let (server, health, _) = start_with(|| Some("shard 1 has ended".to_owned()));
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200"), "there is no shard yet");
    health.set(Stage::Ready);
    for path in ["/healthz", "/readyz", "/health"] {
        let answer = get(&server, path);
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nshard 1 has ended\n"), "{answer}");
    }
    assert!(get(&server, "/metrics").contains("thermae_ready 0\n"));
    health.set(Stage::Stopping);
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200"), "its shards end, as they should");
}

#[test]
fn metrics_are_merged_over_the_shards() {
    let (server, _, counters) = start();
    for shard in &counters.shards {
        add(&shard.view("demo/weather@1").hits, 3);
        shard.cut(Cut::OversizeFrame);
        shard.read_latency.record(5_000);
    }
    let answer = get(&server, "/metrics");
    for line in [
        "thermae_view_keys_read_total{view=\"demo/weather@1\",result=\"hit\"} 6\n",
        "thermae_limit_hits_total{limit=\"oversize_frame\"} 2\n",
        "thermae_limit{limit=\"connections\"} 10000\n",
        "thermae_read_seconds_count 2\n",
        "thermae_read_seconds_bucket{le=\"0.000008192\"} 2\n",
        "thermae_rows{shard=\"0\"} 42\n",
        "thermae_ready 0\n",
        "# EOF\n",
    ] {
        assert!(answer.contains(line), "{line} is not in\n{answer}");
    }
}

#[test]
fn what_it_does_not_serve_is_told_so() {
    let (server, health, _) = start();
    let closing = "HTTP/1.1\r\nConnection: close\r\n";
    for (request, status) in [
        (format!("GET / {closing}\r\n"), 404),
        (format!("POST /metrics {closing}Content-Length: 0\r\n\r\n"), 405),
        (format!("GET /push {closing}\r\n"), 405),
        (format!("POST /push {closing}Content-Length: 2\r\n\r\n{{}}"), 503),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(20_000)), 431),
    ] {
        let answer = ask(&server, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let head = ask(&server, &format!("HEAD /healthz {closing}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let refused = ask(&server, &format!("DELETE /health {closing}\r\n"));
    assert!(refused.to_ascii_lowercase().contains("\r\nallow: get, head\r\n"), "{refused}");
    // The store is not there yet, whatever the stage says; and a body is refused by what it says of itself.
    health.set(Stage::Ready);
    let early = ask(&server, &format!("POST /push {closing}Content-Length: 2\r\n\r\n{{}}"));
    assert!(early.starts_with("HTTP/1.1 422"), "{early}");
    let large = format!("POST /push {closing}Content-Length: 99999999999\r\n\r\n");
    let large = ask(&server, &large);
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    assert!(large.contains("larger than 16777216 bytes"), "{large}");
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let (server, health, _) = start();
    health.set(Stage::Ready);
    let two = "GET /health HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answers = ask(&server, two);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.contains("ready\n") && answers.ends_with("ok\n"), "{answers}");
}

#[test]
fn the_openapi_document_has_every_route_and_no_other() {
    let document: serde_json::Value = serde_json::from_str(feast::OPENAPI).unwrap();
    let mut told = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, what) in methods.as_object().unwrap() {
            told.push((path.clone(), method.to_ascii_uppercase()));
            assert!(what["summary"].is_string() && what["responses"]["200"].is_object(), "{path}");
            let takes_body = what["requestBody"].is_object();
            assert_eq!(takes_body, method == "post", "{path}");
        }
    }
    let mut served: Vec<(String, String)> = routes::ROUTES
        .iter()
        .map(|(path, method, _)| ((*path).to_owned(), method.to_string()))
        .collect();
    told.sort();
    served.sort();
    assert_eq!(told, served);
    let (server, ..) = start();
    assert!(get(&server, "/openapi.json").ends_with(feast::OPENAPI));
}

/// Whatever a schema is named by is there.
#[test]
fn the_openapi_document_names_no_schema_that_it_lacks() {
    let document: serde_json::Value = serde_json::from_str(feast::OPENAPI).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let names: Vec<&str> = feast::OPENAPI
        .split("\"#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(schemas.contains_key(name), "{name}");
    }
}
