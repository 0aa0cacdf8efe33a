//! A listener on a thread of its own: connections, their limits and their deadlines. What is asked is worked on by
//! helper threads of the same runtime, so that neither a shard nor another connection waits for it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 1_024;
/// A connection that says nothing for so long is closed; the head of a request must arrive in this time.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);
/// A peer that takes nothing of its answer in this time is dropped, milliseconds.
const WRITE_DEADLINE_MS: u32 = 10_000;
/// How long answers under way get when the listener stops.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// A request's head, bytes; ours are some hundred.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Requests of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 64;
/// Threads that work on requests.
const WORKERS: usize = 4;

/// What connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.0 and 1.1.
    Http1,
    /// HTTP/2 from its first byte, as gRPC does.
    Http2,
}

/// A listener that runs. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Listens on `address` (port 0 picks one), on a thread called `name`; `answer` is asked for each request.
    ///
    /// # Errors
    /// The system's reason why it cannot listen or start a thread.
    pub fn start<F, A, B>(
        name: &str,
        address: SocketAddr,
        speaks: Speaks,
        answer: F,
    ) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WORKERS)
            .thread_name(format!("{name}-1"))
            .build()?;
        let (stop, mut stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let graceful = GracefulShutdown::new();
                {
                    let mut accepting = pin!(accept(listener, speaks, answer, &graceful));
                    // The sender's end is the word to stop.
                    poll_fn(|context| match Pin::new(&mut stopped).poll(context) {
                        Poll::Ready(_) => Poll::Ready(()),
                        Poll::Pending => accepting.as_mut().poll(context),
                    })
                    .await;
                }
                let _ = tokio::time::timeout(STOP_DEADLINE, graceful.shutdown()).await;
            });
            runtime.shutdown_timeout(STOP_DEADLINE);
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening; answers under way get some seconds.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            drop(thread.join());
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept<F, A, B>(
    listener: TcpListener,
    speaks: Speaks,
    answer: F,
    graceful: &GracefulShutdown,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // No descriptor is left, most likely: others end.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        set_options(&stream);
        let io = TokioIo::new(stream);
        let service = service_fn(answer.clone());
        match speaks {
            Speaks::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(IDLE_DEADLINE)
                    .max_buf_size(HEAD_BYTES_MAX)
                    .serve_connection(io, service);
                tokio::spawn(until_end(graceful.watch(connection), permit));
            }
            Speaks::Http2 => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(IDLE_DEADLINE)
                    .max_concurrent_streams(STREAMS_MAX)
                    .serve_connection(io, service);
                tokio::spawn(until_end(graceful.watch(connection), permit));
            }
        }
    }
}

/// Why a connection ended is its peer's affair.
async fn until_end<T>(connection: impl Future<Output = T>, permit: OwnedSemaphorePermit) {
    drop(connection.await);
    drop(permit);
}

/// What is not granted is done without.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, WRITE_DEADLINE_MS);
}
