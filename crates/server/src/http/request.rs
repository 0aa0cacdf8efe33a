//! Reading one HTTP request: its method and path, nothing else, within bounds.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A request head larger than this is refused; ours are a hundred bytes.
pub const MAX_HEAD_BYTES: usize = 8 << 10;
/// The whole head must arrive in this time.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// The path without its query.
    pub path: String,
}

/// Why a request gets no answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not HTTP/1.0 or 1.1.
    #[error("this is not an HTTP/1.1 request")]
    Malformed,
    /// The head is larger than [`MAX_HEAD_BYTES`].
    #[error("the request's head is larger than 8 KiB")]
    TooLarge,
    /// The peer closed, or took too long.
    #[error("the request did not arrive within 5 s")]
    Gone,
}

/// Reads the head of one request.
///
/// # Errors
/// A [`RequestError`]; [`RequestError::Gone`] deserves no answer.
pub fn read(stream: &mut TcpStream) -> Result<Request, RequestError> {
    let start = Instant::now();
    let mut head = Vec::with_capacity(1024);
    let mut chunk = [0_u8; 1024];
    loop {
        let left = HEAD_DEADLINE.saturating_sub(start.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err(RequestError::Gone);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(RequestError::Gone),
            Ok(n) => head.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(RequestError::Gone),
        }
        if let Some(request) = parse(&head)? {
            return Ok(request);
        }
    }
}

/// Parses a head; `None` if it has not arrived wholly.
fn parse(head: &[u8]) -> Result<Option<Request>, RequestError> {
    let end = head.windows(4).position(|four| four == b"\r\n\r\n");
    if end.unwrap_or(head.len()) > MAX_HEAD_BYTES {
        return Err(RequestError::TooLarge);
    }
    let Some(end) = end else { return Ok(None) };
    let text = std::str::from_utf8(&head[..end]).map_err(|_| RequestError::Malformed)?;
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None)
            if !method.is_empty()
                && method.bytes().all(|byte| byte.is_ascii_uppercase())
                && target.starts_with('/') =>
        {
            let path = target.split('?').next().unwrap_or_default();
            Ok(Some(Request { method: method.to_owned(), path: path.to_owned() }))
        }
        _ => Err(RequestError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_get_is_read_once_whole() {
        let head = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse(&head[..cut]), Ok(None), "{cut}");
        }
        let request = parse(head).unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/metrics"));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for head in [
            &b"\r\n\r\n"[..],
            b"GET /\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"GET x HTTP/1.1\r\n\r\n",
            b"GET / / HTTP/1.1\r\n\r\n",
            b"\xff\xfe /\r\n\r\n",
        ] {
            assert_eq!(parse(head), Err(RequestError::Malformed), "{head:?}");
        }
    }

    #[test]
    fn an_endless_head_is_cut_off() {
        assert_eq!(parse(&[b'a'; MAX_HEAD_BYTES + 1]), Err(RequestError::TooLarge));
    }
}
