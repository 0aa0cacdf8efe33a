//! A server in a thread: a script says what it does with each connection.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use thermae_formats::wire::{
    Ack, ColumnShape, Frame, HelloReply, HelloRequest, Kind, Limits, PlanColumn, PlanKey,
    PlanReply, PlanView, ReadRequest, ReplyBuilder, RowOutcome, RowStatus, Token, ViewShape,
    WriteRequest, encode_write_reply, split_frame,
};
use thermae_formats::{KeyType, Scalar, ValueType};

use crate::{Address, Client, Config, Keys, Plan, ViewFeatures};

const MAX: u32 = 64 << 20;

trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// One accepted connection, as the script sees it.
pub struct Conn {
    /// 0 for the first connection, and so on.
    pub number: usize,
    pub store_id: [u8; 16],
    pub limits: Limits,
    pub epoch: u64,
    pub hash_seed: u64,
    /// The socket again, for descriptors, if it is a unix socket.
    pub unix: Option<UnixStream>,
    stream: Box<dyn Duplex>,
    received: Vec<u8>,
}

impl Conn {
    /// The next whole frame; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((frame, _)) = split_frame(&self.received, MAX).unwrap() {
                let len = frame.bytes.len();
                return Some(self.received.drain(..len).collect());
            }
            let mut some = [0; 4096];
            match self.stream.read(&mut some) {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.received.extend_from_slice(&some[..len]),
            }
        }
    }

    pub fn send(&mut self, frame: &[u8]) {
        // The client may be gone already, on purpose.
        let _ = self.stream.write_all(frame);
    }

    pub fn hello(&mut self) {
        let frame = self.next().expect("a HELLO");
        let frame = whole(&frame);
        assert!(HelloRequest::decode(&frame).is_ok());
        let reply = HelloReply {
            version: 1,
            partitions: 64,
            limits: self.limits,
            store_id: self.store_id,
            hash_seed: self.hash_seed,
            epoch: self.epoch,
            server_time_us: 5,
            server_name: "fake",
        };
        let mut out = Vec::new();
        reply.encode(&mut out, frame.request_id).unwrap();
        self.send(&out);
    }

    /// The next frame that is no PREPARE; those are answered.
    pub fn next_request(&mut self) -> Option<Vec<u8>> {
        loop {
            let frame = self.next()?;
            if frame[4] != Kind::Prepare as u8 {
                return Some(frame);
            }
            let id = whole(&frame).request_id;
            let mut out = Vec::new();
            plan_reply(100 + self.number as u32).encode(&mut out, id, MAX).unwrap();
            self.send(&out);
        }
    }

    /// Answers everything until the client goes.
    pub fn serve(&mut self) {
        while let Some(frame) = self.next_request() {
            let reply = answer(&frame);
            self.send(&reply);
        }
    }
}

pub fn whole(bytes: &[u8]) -> Frame<'_> {
    Frame::check(bytes, MAX).unwrap()
}

/// View `v` of project `p`: one int64 join key, a float32 and a string.
pub fn plan_reply(plan_id: u32) -> PlanReply {
    let column = |name: &str, scalar| PlanColumn {
        name: name.to_owned(),
        value_type: ValueType::Scalar(scalar),
    };
    let view = PlanView {
        view_id: 7,
        schema_id: 3,
        version: 1,
        ttl_us: 0,
        join_keys: vec![PlanKey { name: "id".to_owned(), key_type: KeyType::Int64 }],
        columns: vec![column("a", Scalar::Float32), column("b", Scalar::String)],
    };
    PlanReply { plan_id, views: vec![view] }
}

/// The right answer to a READ (a = key, b = "k<key>", negative keys not found) or to a write.
pub fn answer(bytes: &[u8]) -> Vec<u8> {
    let frame = whole(bytes);
    if frame.kind_code != Kind::Read as u8 {
        return written(bytes, 40);
    }
    let read = ReadRequest::decode(&frame, &Limits::default()).unwrap();
    let keys = read.views().next().unwrap();
    let shapes = [ColumnShape { width_bytes: 4 }, ColumnShape { width_bytes: 0 }];
    let views = [ViewShape { rows: keys.count, columns: &shapes }];
    let mut builder = ReplyBuilder::new();
    let flags = read.head.flags;
    builder.begin(Vec::new(), frame.request_id, flags, 77, MAX, views.into_iter()).unwrap();
    for (row, key) in keys.bytes.as_chunks::<8>().0.iter().enumerate() {
        let key = i64::from_le_bytes(*key);
        if key < 0 {
            continue;
        }
        builder.set_status(0, row, RowStatus::Present);
        builder.set_event_time(0, row, key * 10);
        if flags.matrix {
            builder.with_matrix_row(0, row, |cells| cells[0] = key as f32);
        } else {
            builder.set_fixed(0, 0, row, &(key as f32).to_le_bytes());
            builder.set_variable(0, 1, row, format!("k{key}").as_bytes()).unwrap();
        }
    }
    builder.finish().unwrap()
}

/// Every row OK, the first at this sequence.
pub fn written(bytes: &[u8], first: u64) -> Vec<u8> {
    let frame = whole(bytes);
    let write = WriteRequest::decode(&frame, &Limits::default()).unwrap();
    let ok = |row| {
        let token = Token { partition: 2, sequence: first + row as u64 };
        RowOutcome::Ok { token, duplicate: false }
    };
    let outcomes: Vec<RowOutcome> = (0..write.row_count()).map(ok).collect();
    let mut out = Vec::new();
    encode_write_reply(&mut out, frame.request_id, Ack::Durable, &outcomes, "", MAX).unwrap();
    out
}

/// (connection, bytes).
type Noted = (usize, Vec<u8>);

/// A running fake; every connection gets a thread and the script.
pub struct Fake {
    pub address: Address,
    log: Arc<Mutex<Vec<Noted>>>,
}

impl Fake {
    /// `script` is called for each connection, HELLO not yet answered.
    pub fn start(script: impl Fn(&mut Conn, &Log) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let accept = move || {
            let stream = listener.accept().unwrap().0;
            stream.set_nodelay(true).unwrap();
            (Box::new(stream) as Box<dyn Duplex>, None)
        };
        Self::serve(address, accept, script)
    }

    /// The same on a unix socket.
    pub fn start_unix(
        path: &Path,
        script: impl Fn(&mut Conn, &Log) + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || {
            let stream = listener.accept().unwrap().0;
            let again = stream.try_clone().unwrap();
            (Box::new(stream) as Box<dyn Duplex>, Some(again))
        };
        Self::serve(Address::Unix(path.to_owned()), accept, script)
    }

    fn serve(
        address: Address,
        accept: impl Fn() -> (Box<dyn Duplex>, Option<UnixStream>) + Send + 'static,
        script: impl Fn(&mut Conn, &Log) + Send + Sync + 'static,
    ) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        let script = Arc::new(script);
        thread::spawn(move || {
            for number in 0.. {
                let (stream, unix) = accept();
                let (script, shared) = (Arc::clone(&script), Log(Arc::clone(&shared)));
                thread::spawn(move || {
                    let mut conn = Conn {
                        number,
                        store_id: [1; 16],
                        limits: Limits::default(),
                        epoch: number as u64,
                        hash_seed: 1,
                        unix,
                        stream,
                        received: Vec::new(),
                    };
                    script(&mut conn, &shared);
                });
            }
        });
        Self { address, log }
    }

    /// What the script noted, in order: (connection, bytes).
    pub fn noted(&self) -> Vec<(usize, Vec<u8>)> {
        self.log.lock().unwrap().clone()
    }

    pub fn client(&self, config: Config) -> (Client, Plan) {
        let client = Client::connect(&self.address, config).unwrap();
        let wanted = ViewFeatures { project: "p", view: "v", version: 0, features: vec!["a", "b"] };
        let plan = client.prepare(&[wanted]).unwrap();
        (client, plan)
    }
}

/// Where a script notes what it has seen.
pub struct Log(Arc<Mutex<Vec<Noted>>>);

impl Log {
    pub fn note(&self, conn: &Conn, bytes: &[u8]) {
        self.0.lock().unwrap().push((conn.number, bytes.to_vec()));
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

pub fn keys(plan: &Plan, wanted: &[i64]) -> Keys {
    let mut keys = plan.keys(0).unwrap();
    wanted.iter().for_each(|key| keys.push_i64(*key).unwrap());
    keys
}
