//! The client: a pool of connections, plans, reads and writes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use thermae_formats::KeyValue;
use thermae_formats::wire::{
    EraseStatusRequest, ErrorCode, ErrorReply, Kind, PlanReply, PrepareRequest, ReadFlags,
    ReadHead, Token, ViewFeatures, WireError, decode_json, decode_plan, decode_pong, encode_json,
    encode_ping, encode_read,
};

use crate::address::Address;
use crate::answer::Answer;
use crate::batch::{ViewHandle, WriteBatch, Written};
use crate::buffer::{FrameBuf, Pool};
use crate::config::Config;
use crate::error::Error;
use crate::history::{History, HistoryQuery};
use crate::lane::Lane;
use crate::link::{Link, ServerInfo};
use crate::pending::{PendingRead, PendingScan, PendingWrite, Ticket};
use crate::plan::{Keys, Plan, ReadOptions, Wanted};
use crate::scan::{self, ScanOptions, ScanPage};

/// A client of one server. Cheap to clone; all clones share its connections and its producer.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    lanes: Vec<Arc<Lane>>,
    turn: AtomicUsize,
    plans: Mutex<usize>,
    producer_id: u64,
}

impl Client {
    /// Connects and shakes hands; the other connections of the pool follow when they are needed.
    ///
    /// # Errors
    /// [`Error::Connect`], or the server's refusal.
    pub fn connect(address: &Address, config: Config) -> Result<Self, Error> {
        if !(1..=64).contains(&config.pool_size) {
            return Err(Error::Usage("pool_size lies outside 1 to 64".to_owned()));
        }
        let pool = Arc::new(Pool::default());
        let lane = || Arc::new(Lane::new(address.clone(), config.clone(), Arc::clone(&pool)));
        let lanes: Vec<_> = (0..config.pool_size).map(|_| lane()).collect();
        // The standard library's own seed is the one source of randomness that needs no door.
        let producer_id = RandomState::new().build_hasher().finish() | 1;
        let inner = Inner {
            address: address.clone(),
            lanes,
            turn: AtomicUsize::new(0),
            plans: Mutex::new(0),
            producer_id,
        };
        let client = Self { inner: Arc::new(inner) };
        client.first_lane().link(Instant::now() + config.connect_timeout)?;
        Ok(client)
    }

    /// Where this client connects to.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// The producer under which this client numbers its writes; random, never 0.
    pub fn producer_id(&self) -> u64 {
        self.inner.producer_id
    }

    /// What the server says of itself, at the latest handshake.
    ///
    /// # Errors
    /// [`Error::Connect`] when there is no connection and none can be made.
    pub fn server(&self) -> Result<ServerInfo, Error> {
        Ok(self.first_lane().link(self.deadline())?.server.clone())
    }

    /// Asks the server for its clock, microseconds UTC.
    ///
    /// # Errors
    /// A lost connection, a timeout.
    pub fn ping(&self) -> Result<i64, Error> {
        let frame = self.ask(self.first_lane(), |out, id, _| {
            encode_ping(out, id);
            Ok(())
        })?;
        Ok(decode_pong(&frame.frame())?)
    }

    /// Compiles features of some views, in this order, into a plan.
    ///
    /// # Errors
    /// The server's refusal (a view or feature that it does not have), a lost connection.
    pub fn prepare(&self, views: &[ViewFeatures<'_>]) -> Result<Plan, Error> {
        let wanted: Vec<Wanted> = views
            .iter()
            .map(|view| Wanted {
                project: view.project.to_owned(),
                view: view.view.to_owned(),
                version: view.version,
                features: view.features.iter().map(|name| (*name).to_owned()).collect(),
            })
            .collect();
        let lane = self.first_lane();
        let link = lane.link(self.deadline())?;
        let reply = self.prepare_on(lane, &link, &wanted)?;
        let index = {
            let mut plans = self.inner.plans.lock().unwrap_or_else(PoisonError::into_inner);
            *plans += 1;
            *plans - 1
        };
        link.set_plan_id(index, Some(reply.plan_id));
        Ok(Plan::new(index, wanted, reply))
    }

    fn prepare_on(
        &self,
        lane: &Arc<Lane>,
        link: &Link,
        wanted: &[Wanted],
    ) -> Result<PlanReply, Error> {
        let views = wanted.iter().map(|wanted| ViewFeatures {
            project: &wanted.project,
            view: &wanted.view,
            version: wanted.version,
            features: wanted.features.iter().map(String::as_str).collect(),
        });
        let request = PrepareRequest { views: views.collect() };
        let deadline = self.deadline();
        let max = link.server.limits.max_frame_bytes;
        let id = lane.submit(link, deadline, |out, id| Ok(request.encode(out, id, max)?))?;
        let frame = refusal(Ticket::new(lane, id, deadline).wait()?)?;
        Ok(decode_plan(&frame.frame())?)
    }

    /// The plan's id on this connection, prepared there first if it has not been.
    fn plan_id(&self, lane: &Arc<Lane>, link: &Link, plan: &Plan) -> Result<u32, Error> {
        if let Some(id) = link.plan_id(plan.inner.index) {
            return Ok(id);
        }
        let reply = self.prepare_on(lane, link, &plan.inner.wanted)?;
        if !plan.same_columns(&reply) {
            return Err(Error::PlanChanged);
        }
        link.set_plan_id(plan.inner.index, Some(reply.plan_id));
        Ok(reply.plan_id)
    }

    /// Reads keys, one list for each view of the plan. The calling thread sends and receives itself.
    /// Repeated once when the connection is lost or the server asks for a new preparation.
    ///
    /// # Errors
    /// The server's refusal, a lost connection, a timeout, [`Error::PlanChanged`].
    pub fn read(
        &self,
        plan: &Plan,
        keys: &[&Keys],
        options: &ReadOptions,
    ) -> Result<Answer, Error> {
        let first = self.send_read(plan, keys, options).and_then(PendingRead::wait);
        match first {
            Err(Error::Disconnected) => {}
            Err(ref error) if is_stale(error) => self.forget(plan),
            answer => return answer,
        }
        match self.send_read(plan, keys, options)?.wait() {
            Err(ref error) if is_stale(error) => Err(Error::PlanChanged),
            answer => answer,
        }
    }

    /// Sends a read without waiting for its answer. It waits only to connect, to prepare the plan on
    /// a new connection, or for room among the requests in flight.
    ///
    /// # Errors
    /// As [`Client::read`], before anything was sent.
    pub fn send_read(
        &self,
        plan: &Plan,
        keys: &[&Keys],
        options: &ReadOptions,
    ) -> Result<PendingRead, Error> {
        if keys.len() != plan.views().len() {
            let (given, due) = (keys.len(), plan.views().len());
            return Err(Error::Usage(format!("{given} lists of keys for {due} views")));
        }
        let lane = self.next_lane();
        let deadline = self.deadline();
        let link = lane.link(deadline)?;
        let flags = ReadFlags { matrix: options.matrix, event_times: options.event_times };
        let head = ReadHead {
            plan_id: self.plan_id(lane, &link, plan)?,
            flags,
            read_time: options.read_time,
            deadline_us: options.deadline_us,
        };
        let max = link.server.limits.max_frame_bytes;
        let id = lane.submit(&link, deadline, |out, id| {
            let views = keys.iter().map(|keys| keys.packed());
            Ok(encode_read(out, id, &head, &options.min_offset, views, max)?)
        })?;
        let rows = keys.iter().map(|keys| keys.len()).sum();
        let ticket = Ticket::new(lane, id, deadline);
        Ok(PendingRead { ticket, plan: plan.clone(), flags, rows })
    }

    /// Takes in the answers that have arrived, without waiting, and adds the numbers of their requests to `arrived`.
    /// With [`PendingRead::take`] and [`PendingWrite::take`] one thread can keep many requests in flight over many
    /// clients and leave on a schedule of its own. A lost connection tells no numbers: `take` of what it carried does.
    pub fn receive(&self, arrived: &mut Vec<u64>) {
        for lane in &self.inner.lanes {
            lane.receive_now(&mut |number| arrived.push(number));
        }
    }

    /// Reads a page of the history of a plan's one view: the first, or, with `place`, the one that follows
    /// the page which said so. Repeated once as [`Client::read`] is.
    ///
    /// # Errors
    /// The server's refusal, a lost connection, a timeout, [`Error::PlanChanged`].
    pub fn scan(
        &self,
        plan: &Plan,
        options: &ScanOptions,
        place: Option<&[u8]>,
    ) -> Result<ScanPage, Error> {
        let first = self.send_scan(plan, options, place).and_then(PendingScan::wait);
        match first {
            Err(Error::Disconnected) => {}
            Err(ref error) if is_stale(error) => self.forget(plan),
            page => return page,
        }
        match self.send_scan(plan, options, place)?.wait() {
            Err(ref error) if is_stale(error) => Err(Error::PlanChanged),
            page => page,
        }
    }

    /// Asks for a page without waiting for it. A server reads one page at a time for a connection.
    ///
    /// # Errors
    /// A plan of several views, a key that does not fit the view, or as [`Client::send_read`].
    pub fn send_scan(
        &self,
        plan: &Plan,
        options: &ScanOptions,
        place: Option<&[u8]>,
    ) -> Result<PendingScan, Error> {
        if plan.views().len() != 1 {
            return Err(Error::Usage("a scan is of a plan of one view".to_owned()));
        }
        let lane = self.first_lane();
        let deadline = self.deadline();
        let link = lane.link(deadline)?;
        let plan_id = self.plan_id(lane, &link, plan)?;
        let (max, place) = (link.server.limits.max_frame_bytes, place.unwrap_or_default());
        let id = lane.submit(&link, deadline, |out, id| {
            scan::encode(out, id, plan_id, plan, options, place, max)
        })?;
        Ok(PendingScan { ticket: Ticket::new(lane, id, deadline), plan: plan.clone() })
    }

    /// Begins a training read, over a connection of its own.
    ///
    /// # Errors
    /// The server's refusal, a lost connection. What does not fit the spine is told when that is whole.
    pub fn history(&self, query: &HistoryQuery) -> Result<History, Error> {
        let (address, config) = (self.inner.address.clone(), self.config().clone());
        History::begin(Lane::new(address, config, Arc::default()), query)
    }

    fn forget(&self, plan: &Plan) {
        for lane in &self.inner.lanes {
            if let Ok(link) = lane.link(self.deadline()) {
                link.set_plan_id(plan.inner.index, None);
            }
        }
    }

    /// A view as a writer needs it, with its newest schema.
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn view(&self, project: &str, view: &str) -> Result<ViewHandle, Error> {
        self.view_version(project, view, 0)
    }

    /// As [`Client::view`], of this version of the view, which has rows of its own; 0 is the newest.
    ///
    /// # Errors
    /// As [`Client::prepare`].
    pub fn view_version(
        &self,
        project: &str,
        view: &str,
        version: u32,
    ) -> Result<ViewHandle, Error> {
        let wanted = ViewFeatures { project, view, version, features: Vec::new() };
        let plan = self.prepare(&[wanted])?;
        match plan.views().first() {
            Some(view) => ViewHandle::new(view.clone()),
            None => Err(Error::PlanChanged),
        }
    }

    /// Writes a batch and waits for the outcome of each row.
    ///
    /// # Errors
    /// As [`PendingWrite::wait`].
    pub fn write(&self, batch: &mut WriteBatch) -> Result<Written, Error> {
        self.send_write(batch)?.wait()
    }

    /// Sends a batch without waiting. Batches are numbered, and taken by the server, in the order of
    /// these calls. When the connection is lost, those without an answer are sent again in the same
    /// order with the same numbers (`Config::retry_in_doubt`).
    ///
    /// # Errors
    /// A batch that is empty or exceeds the server's limits, no connection.
    pub fn send_write(&self, batch: &mut WriteBatch) -> Result<PendingWrite, Error> {
        let rows = batch.len();
        if rows == 0 {
            return Err(Error::Usage("the batch is empty".to_owned()));
        }
        let lane = self.first_lane();
        let deadline = self.deadline();
        let survives = lane.config().retry_in_doubt;
        let id = lane.submit_write(deadline, survives, |out, id, last, link| {
            let limits = &link.server.limits;
            if rows > limits.max_rows_per_write as usize {
                let max = u64::from(limits.max_rows_per_write);
                return Err(WireError::Count { what: "rows", count: rows as u64, max }.into());
            }
            let frame_bytes = batch.len_bytes() as u64;
            if frame_bytes > u64::from(limits.max_frame_bytes) {
                let max_bytes = u64::from(limits.max_frame_bytes);
                return Err(WireError::FrameSize { frame_bytes, max_bytes }.into());
            }
            let last = batch.number(self.inner.producer_id, last);
            batch.encode(out, id, limits.max_frame_bytes)?;
            Ok(last)
        })?;
        Ok(PendingWrite { ticket: Ticket::new(lane, id, deadline), rows })
    }

    /// Definitions of the views, as JSON: all, one project's, or one.
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn describe(&self, project: Option<&str>, view: Option<&str>) -> Result<String, Error> {
        let mut fields = serde_json::Map::new();
        for (name, value) in [("project", project), ("view", view)] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.into());
            }
        }
        self.json(Kind::Describe, &serde_json::Value::from(fields).to_string())
    }

    /// Applies definitions, `{"objects": [object..], "views": [definition..], "dry_run": false}`, or switches a view,
    /// `{"switch": "view@2"}` (docs/protocol.md).
    ///
    /// # Errors
    /// The server's refusal, which names what is incompatible; a lost connection.
    pub fn apply(&self, json: &str) -> Result<String, Error> {
        self.json(Kind::Apply, json)
    }

    /// Asks the registry: `{"lineage": ""}`, `{"impact": "view:feature"}`, `{"objects": "service"}` or
    /// `{"log": 10}` (docs/protocol.md); the answer is JSON.
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn registry(&self, json: &str) -> Result<String, Error> {
        self.json(Kind::Describe, &format!("{{\"registry\":{json}}}"))
    }

    /// Figures of engine and server, as JSON.
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn stats(&self) -> Result<String, Error> {
        self.json(Kind::Stats, "{}")
    }

    /// Begins a backup, `{"place": "daily", "keep": 7, "bytes_per_s": 0}`, or asks how far the newest has got,
    /// `{}` (docs/protocol.md).
    ///
    /// # Errors
    /// The server's refusal, a lost connection.
    pub fn backup(&self, json: &str) -> Result<String, Error> {
        self.json(Kind::Backup, json)
    }

    /// How far erases of entities of a view are, by the tokens that their write answered, and which backups still
    /// hold any of `keys`: JSON (docs/protocol.md, ERASE_STATUS).
    ///
    /// # Errors
    /// A key that does not fit the view, the server's refusal, a lost connection.
    pub fn erase_status(
        &self,
        view: &ViewHandle,
        tokens: &[Token],
        keys: &[Vec<KeyValue>],
    ) -> Result<String, Error> {
        let encoded = keys.iter().map(|key| view.encode_key(key)).collect::<Result<Vec<_>, _>>()?;
        let request = EraseStatusRequest {
            view_id: view.view().view_id,
            tokens: tokens.to_vec(),
            keys: encoded.iter().map(Vec::as_slice).collect(),
        };
        let frame =
            self.ask(self.first_lane(), |out, id, max| Ok(request.encode(out, id, max)?))?;
        Ok(decode_json(&frame.frame())?.to_owned())
    }

    fn json(&self, kind: Kind, text: &str) -> Result<String, Error> {
        let frame =
            self.ask(self.first_lane(), |out, id, max| Ok(encode_json(out, kind, id, text, max)?))?;
        Ok(decode_json(&frame.frame())?.to_owned())
    }

    pub(crate) fn ask(
        &self,
        lane: &Arc<Lane>,
        encode: impl FnOnce(&mut Vec<u8>, u64, u32) -> Result<(), Error>,
    ) -> Result<FrameBuf, Error> {
        let deadline = self.deadline();
        let link = lane.link(deadline)?;
        let max = link.server.limits.max_frame_bytes;
        let id = lane.submit(&link, deadline, |out, id| encode(out, id, max))?;
        refusal(Ticket::new(lane, id, deadline).wait()?)
    }

    pub(crate) fn config(&self) -> &Config {
        self.first_lane().config()
    }

    /// The connection whose turn it is.
    pub(crate) fn next_lane(&self) -> &Arc<Lane> {
        let turn = match self.inner.lanes.len() {
            1 => 0,
            lanes => self.inner.turn.fetch_add(1, Ordering::Relaxed) % lanes,
        };
        &self.inner.lanes[turn]
    }

    fn first_lane(&self) -> &Arc<Lane> {
        // The pool has at least one connection: checked when it was made.
        &self.inner.lanes[0]
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.first_lane().config().request_timeout
    }
}

pub(crate) fn is_stale(error: &Error) -> bool {
    matches!(error.code(), Some(ErrorCode::UnknownPlan | ErrorCode::StaleSchema))
}

fn refusal(frame: FrameBuf) -> Result<FrameBuf, Error> {
    let received = frame.frame();
    if received.kind_code == Kind::Error as u8 {
        return Err(Error::from_reply(&ErrorReply::decode(&received)?));
    }
    Ok(frame)
}
