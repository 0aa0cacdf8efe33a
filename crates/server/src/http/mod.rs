//! `/metrics`, `/healthz` and `/readyz` on a listener of their own: plain threads, away from the
//! shards, so that a scrape never costs a request anything.

mod metrics;
mod request;

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

pub use metrics::{EngineFamily, Source};
use request::RequestError;

/// Requests served at a time; more than that is not monitoring.
const MAX_CONNECTIONS: usize = 16;
/// A peer that does not take its answer in this time is dropped.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Where the server is in its life, as `/readyz` tells it.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

/// The stages of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Recovering from its log; not listening yet.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Answering what is under way before it ends.
    Stopping = 2,
}

impl Health {
    /// Moves to `stage`.
    pub fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Release);
    }

    /// The present stage.
    pub fn get(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Stopping,
        }
    }
}

/// The running listener.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on `address` (port 0 picks one) and serves until stopped.
    ///
    /// # Errors
    /// The system's reason why it cannot listen or start a thread.
    pub fn start(address: SocketAddr, health: Arc<Health>, source: Source) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = UnixStream::pair()?;
        let shared = Arc::new(Shared { health, source, open: AtomicUsize::new(0) });
        let thread = std::thread::Builder::new()
            .name("thermae-http".to_owned())
            .spawn(move || accept_until(&listener, &stopped, &shared))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening. Answers under way end on their own within their deadlines.
    pub fn stop(&mut self) {
        // Shutting the pair down makes the other end readable, which ends the accept loop.
        drop(self.stop.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared {
    health: Arc<Health>,
    source: Source,
    open: AtomicUsize,
}

fn accept_until(listener: &TcpListener, stopped: &UnixStream, shared: &Arc<Shared>) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if rustix::event::poll(&mut fds, None).is_err() {
            continue;
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        while let Ok((stream, _)) = listener.accept() {
            if shared.open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
                shared.open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let shared_there = Arc::clone(shared);
            let spawned =
                std::thread::Builder::new().name("thermae-http-1".to_owned()).spawn(move || {
                    drop(serve(stream, &shared_there));
                    shared_there.open.fetch_sub(1, Ordering::AcqRel);
                });
            if spawned.is_err() {
                shared.open.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

/// Serves one request and closes: scrapes come every few seconds, keeping alive saves nothing.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_DEADLINE))?;
    let request = match request::read(&mut stream) {
        Ok(request) => request,
        Err(RequestError::Gone) => return Ok(()),
        Err(error @ RequestError::TooLarge) => {
            return respond(&mut stream, 431, TEXT, &format!("{error}\n"), true);
        }
        Err(error @ RequestError::Malformed) => {
            return respond(&mut stream, 400, TEXT, &format!("{error}\n"), true);
        }
    };
    let with_body = request.method != "HEAD";
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return respond(&mut stream, 405, TEXT, "only GET and HEAD are served here\n", true);
    }
    let stage = shared.health.get();
    // A stopping server is going away in any case, and its shards end one after the other.
    let failure = if stage == Stage::Ready { (shared.source.failure)() } else { None };
    let (status, kind, body) = match request.path.as_str() {
        "/metrics" => {
            match metrics::encode(&shared.source, stage == Stage::Ready && failure.is_none()) {
                Ok(body) => (200, OPEN_METRICS, body),
                Err(error) => (500, TEXT, format!("the metrics cannot be written: {error}\n")),
            }
        }
        "/healthz" | "/readyz" if failure.is_some() => {
            (503, TEXT, failure.unwrap_or_default() + "\n")
        }
        "/healthz" => (200, TEXT, "ok\n".to_owned()),
        "/readyz" => match stage {
            Stage::Ready => (200, TEXT, "ready\n".to_owned()),
            Stage::Starting => (503, TEXT, "starting: recovering from the log\n".to_owned()),
            Stage::Stopping => (503, TEXT, "stopping\n".to_owned()),
        },
        _ => (404, TEXT, "here are /metrics, /healthz and /readyz\n".to_owned()),
    };
    respond(&mut stream, status, kind, &body, with_body)
}

fn respond(
    stream: &mut TcpStream,
    status: u16,
    kind: &str,
    body: &str,
    with_body: bool,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let mut answer = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    if with_body {
        answer.push_str(body);
    }
    stream.write_all(answer.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::io::Read;

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
        (HttpServer::start(address, Arc::clone(&health), source).unwrap(), health, counters)
    }

    fn get(server: &HttpServer, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn readiness_follows_the_stages() {
        let (mut server, health, _) = start();
        let ready = "GET /readyz HTTP/1.1\r\n\r\n";
        assert!(get(&server, ready).starts_with("HTTP/1.1 503"));
        health.set(Stage::Ready);
        assert!(get(&server, ready).starts_with("HTTP/1.1 200"));
        health.set(Stage::Stopping);
        assert!(get(&server, ready).starts_with("HTTP/1.1 503"));
        assert!(get(&server, "GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        server.stop();
        assert!(TcpStream::connect(server.address()).is_err());
    }

    #[test]
    fn a_failed_shard_is_named_until_the_server_stops() {
        let (server, health, _) = start_with(|| Some("shard 1 has ended".to_owned()));
        let ask = |path| get(&server, &format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(ask("/healthz").starts_with("HTTP/1.1 200"), "there is no shard yet");
        health.set(Stage::Ready);
        for path in ["/healthz", "/readyz"] {
            let answer = ask(path);
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nshard 1 has ended\n"), "{answer}");
        }
        assert!(ask("/metrics").contains("thermae_ready 0\n"));
        health.set(Stage::Stopping);
        assert!(ask("/healthz").starts_with("HTTP/1.1 200"), "its shards end, as they should");
    }

    #[test]
    fn metrics_are_merged_over_the_shards() {
        let (server, _, counters) = start();
        for shard in &counters.shards {
            add(&shard.view("demo/weather@1").hits, 3);
            shard.cut(Cut::OversizeFrame);
            shard.read_latency.record(5_000);
        }
        let answer = get(&server, "GET /metrics HTTP/1.1\r\n\r\n");
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
        let (server, ..) = start();
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 404),
            ("POST /metrics HTTP/1.1\r\n\r\n".to_owned(), 405),
            ("nonsense\r\n\r\n".to_owned(), 400),
            (format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000)), 431),
        ] {
            let answer = get(&server, &request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        let head = get(&server, "HEAD /healthz HTTP/1.1\r\n\r\n");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }
}
