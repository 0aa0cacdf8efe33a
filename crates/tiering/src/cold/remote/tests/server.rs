//! As much of S3 as a client of the archive and of backups uses, over plain HTTP, and what may become of a request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::sockopt::set_socket_linger;

use crate::cold::remote::{OpenOptions, Patience, open_url};
use crate::cold::{MemoryObjects, ObjectError, Objects, PutNew};

/// Keys of one page of a listing: so few that every listing has several.
const PAGE_KEYS: usize = 3;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Works,
    /// It is not done, and answered with this status and code.
    Status(u16, &'static str),
    /// It is done, and answered with this status all the same.
    DoneThen(u16, &'static str),
    /// It is not done, and the connection reset.
    ResetBefore,
    /// It is done, and the connection reset before the answer.
    ResetAfter,
    /// It is not done, and no answer comes.
    Silent,
    /// It is done, and no answer comes.
    DoneSilent,
    /// The answer's body ends before its length, and the connection with it.
    Truncated,
    /// The answer says that it is shorter than it is, and is.
    Short,
}

/// A request as the server sees it.
pub struct Asked {
    pub method: String,
    /// Without the bucket.
    pub key: String,
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

type Fates = dyn Fn(&Asked) -> Fate + Send + Sync;

/// A server on a port of its own, with the one bucket `bucket`.
pub struct Server {
    pub objects: Arc<MemoryObjects>,
    pub requests: Arc<AtomicU64>,
    address: String,
    fates: Arc<Mutex<Arc<Fates>>>,
}

struct Shared {
    objects: Arc<MemoryObjects>,
    requests: Arc<AtomicU64>,
    fates: Arc<Mutex<Arc<Fates>>>,
    uploads: Mutex<BTreeMap<String, BTreeMap<u64, Vec<u8>>>>,
    /// Whether it knows If-None-Match, as it should.
    knows_conditions: bool,
}

impl Server {
    pub fn start() -> Self {
        Self::begin(true)
    }

    /// One that writes over what is there, whatever it is asked.
    pub fn without_conditions() -> Self {
        Self::begin(false)
    }

    fn begin(knows_conditions: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let objects = Arc::new(MemoryObjects::default());
        let requests = Arc::new(AtomicU64::new(0));
        let works: Arc<Fates> = Arc::new(|_: &Asked| Fate::Works);
        let fates = Arc::new(Mutex::new(works));
        let shared = Arc::new(Shared {
            objects: Arc::clone(&objects),
            requests: Arc::clone(&requests),
            fates: Arc::clone(&fates),
            uploads: Mutex::default(),
            knows_conditions,
        });
        // It ends with the process: a test holds a few.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { objects, requests, address, fates }
    }

    /// What becomes of each request from now on.
    pub fn set_fates(&self, fates: impl Fn(&Asked) -> Fate + Send + Sync + 'static) {
        *self.fates.lock().unwrap() = Arc::new(fates);
    }

    /// The next request of that method meets this fate, and `times - 1` after it; the others work.
    pub fn fail(&self, method: &'static str, fate: Fate, times: u64) {
        let left = AtomicU64::new(times);
        self.set_fates(move |asked| {
            let is_meant = asked.method == method && asked.key != "thermae.probe";
            let take = |left: u64| left.checked_sub(1);
            let is_hit =
                is_meant && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
            if is_hit { fate } else { Fate::Works }
        });
    }

    /// Objects of the bucket below a prefix, by a client with little patience.
    pub fn open(&self, prefix: &str) -> Arc<dyn Objects> {
        self.open_with(prefix, "secret").unwrap()
    }

    /// The same by one with more: for what takes its time.
    pub fn open_patiently(&self) -> Arc<dyn Objects> {
        self.open_by("", "secret", 20_000).unwrap()
    }

    pub fn open_with(&self, prefix: &str, secret: &str) -> Result<Arc<dyn Objects>, ObjectError> {
        self.open_by(prefix, secret, 300)
    }

    fn open_by(
        &self,
        prefix: &str,
        secret: &str,
        request_ms: u64,
    ) -> Result<Arc<dyn Objects>, ObjectError> {
        let values = [
            ("aws_endpoint", format!("http://{}", self.address)),
            ("aws_region", "here".to_owned()),
            ("aws_access_key_id", "key".to_owned()),
            ("aws_secret_access_key", secret.to_owned()),
            ("aws_allow_http", "true".to_owned()),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value)).into();
        let patience =
            Patience { connect_ms: 2_000, request_ms, retry_ms: 5_000, pause_ms: 1, retries: 2 };
        open_url(&format!("s3://bucket/{prefix}"), &OpenOptions { values, patience })
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    // Whoever stays silent is left, in the end, by the client.
    while let Some(asked) = read(&mut reader) {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let fates = Arc::clone(&shared.fates.lock().unwrap());
        let fate = fates(&asked);
        let answer = match fate {
            Fate::Status(status, code) => Some(error(status, code)),
            Fate::ResetBefore | Fate::Silent => None,
            _ => Some(shared.answer(&asked)),
        };
        let answer = match (fate, answer) {
            (Fate::ResetBefore | Fate::ResetAfter, _) => {
                set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
                return;
            }
            (Fate::Silent | Fate::DoneSilent, _) | (_, None) => {
                // Until the other side gives up.
                let _ = reader.read(&mut [0; 1]);
                return;
            }
            (Fate::DoneThen(status, code), _) => error(status, code),
            (_, Some(answer)) => answer,
        };
        if !answer.write(stream, &asked.method, fate) {
            return;
        }
    }
}

/// Reads a request; none: the connection ends.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
    } else if headers.contains_key("transfer-encoding") {
        body = read_chunks(reader)?;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = decoded(path).strip_prefix("/bucket")?.trim_start_matches('/').to_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    Some(Asked { method, key, query: pairs.map(pair).collect(), headers, body })
}

fn read_chunks(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => (bytes.push(byte), rest = &after[2..]),
            _ => (bytes.push(*first), rest = after),
        };
    }
    String::from_utf8(bytes).unwrap()
}

struct Answer {
    status: u16,
    headers: String,
    body: Bytes,
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer { status, headers: String::new(), body: body.into() }
}

/// An error as S3 says it, with more in it than anyone should repeat.
fn error(status: u16, code: &str) -> Answer {
    let key = "<AWSAccessKeyId>key</AWSAccessKeyId><StringToSign>signed</StringToSign>";
    answer(status, format!("<Error><Code>{code}</Code><Message>no</Message>{key}</Error>"))
}

impl Answer {
    /// Writes it; whether the connection goes on.
    fn write(&self, mut stream: &TcpStream, method: &str, fate: Fate) -> bool {
        let cut = match fate {
            Fate::Truncated | Fate::Short => self.body.len() / 2,
            _ => self.body.len(),
        };
        let said = if fate == Fate::Truncated { self.body.len() } else { cut };
        let Self { status, headers, .. } = self;
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {said}\r\n{headers}\r\n");
        let body = if method == "HEAD" { &[] } else { &self.body[..cut] };
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        sent.is_ok() && fate != Fate::Truncated
    }
}

impl Shared {
    fn answer(&self, asked: &Asked) -> Answer {
        let Asked { method, key, query, .. } = asked;
        match (&method[..], query.contains_key("uploads"), query.get("uploadId")) {
            ("GET", ..) if key.is_empty() => self.list(query),
            ("GET" | "HEAD", ..) => self.get(asked),
            ("PUT", _, None) => self.put(asked),
            ("PUT", _, Some(id)) => {
                let number = query["partNumber"].parse().unwrap();
                let mut uploads = self.uploads.lock().unwrap();
                uploads.entry(id.clone()).or_default().insert(number, asked.body.clone());
                tagged(answer(200, ""))
            }
            ("POST", true, _) => {
                let id = self.requests.load(Ordering::Relaxed);
                let text = format!("<UploadId>{id}</UploadId>");
                let root = "InitiateMultipartUploadResult";
                answer(200, format!("<{root}><Bucket/><Key/>{text}</{root}>"))
            }
            ("POST", _, Some(id)) => {
                let Some(parts) = self.uploads.lock().unwrap().remove(id) else {
                    return error(404, "NoSuchUpload");
                };
                let whole: Vec<u8> = parts.into_values().flatten().collect();
                self.objects.replace(key, whole.into()).unwrap();
                let root = "CompleteMultipartUploadResult";
                answer(200, format!("<{root}><ETag>\"e\"</ETag></{root}>"))
            }
            ("DELETE", _, Some(id)) => {
                self.uploads.lock().unwrap().remove(id);
                answer(204, "")
            }
            ("DELETE", ..) => {
                self.objects.delete(key).unwrap();
                answer(204, "")
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }

    fn put(&self, asked: &Asked) -> Answer {
        let body = Bytes::from(asked.body.clone());
        let is_conditional = asked.headers.contains_key("if-none-match") && self.knows_conditions;
        if !is_conditional {
            self.objects.replace(&asked.key, body).unwrap();
            return tagged(answer(200, ""));
        }
        match self.objects.put_new(&asked.key, body).unwrap() {
            PutNew::Created => tagged(answer(200, "")),
            PutNew::Exists => error(412, "PreconditionFailed"),
        }
    }

    fn get(&self, asked: &Asked) -> Answer {
        let Ok(whole) = self.objects.get(&asked.key) else { return error(404, "NoSuchKey") };
        let Some(range) = asked.headers.get("range") else { return tagged(answer(200, whole)) };
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let to = to.parse::<usize>().unwrap().min(whole.len().saturating_sub(1));
        if from >= whole.len() {
            return error(416, "InvalidRange");
        }
        let mut answer = tagged(answer(206, whole.slice(from..=to)));
        write!(answer.headers, "Content-Range: bytes {from}-{to}/{}\r\n", whole.len()).unwrap();
        answer
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let get = |name: &str| query.get(name).map_or("", String::as_str);
        let after = get("start-after").max(get("continuation-token"));
        let mut found = self.objects.list(get("prefix"), after).unwrap();
        let is_cut = found.len() > PAGE_KEYS;
        found.truncate(PAGE_KEYS);
        let mut text = String::from("<ListBucketResult>");
        for object in &found {
            let (path, bytes) = (&object.path, object.bytes);
            let facts = "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag>";
            let _ =
                write!(text, "<Contents><Key>{path}</Key><Size>{bytes}</Size>{facts}</Contents>");
        }
        let _ = write!(text, "<IsTruncated>{is_cut}</IsTruncated>");
        if let Some(last) = found.last().filter(|_| is_cut) {
            let _ = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", last.path);
        }
        text.push_str("</ListBucketResult>");
        answer(200, text)
    }
}

fn tagged(mut answer: Answer) -> Answer {
    answer.headers = "ETag: \"e\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n".to_owned();
    answer
}
