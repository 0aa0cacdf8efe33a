//! The way in over a socket: many connections, many requests in flight on each, one thread that never waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thermae_client::{
    Ack, Address, Answer, Client, Config, ErrorCategory, Keys, PendingRead, PendingWrite, Plan,
    ReadOptions, RowOutcome, ViewFeatures, ViewHandle, WriteBatch, Written,
};
use thermae_formats::{NO_TIME, Value};

use crate::clock::wall_us;
use crate::error::Error;
use crate::maker::{Request, Shared};
use crate::session::{CHECK_EVERY, Done, End, Session, check_row, present};
use crate::values::Rows;
use crate::workload::{Kind, Operation, PROJECT};

/// Deadlines are looked at after so many polls that received nothing.
const LOOK_EVERY: u32 = 4096;

/// How a client of the bench is configured.
pub fn config(in_flight: usize) -> Config {
    Config {
        in_flight_max: in_flight as u32,
        request_timeout: Duration::from_secs(15),
        retry_in_doubt: false,
        client_name: "thermae-bench".to_owned(),
        spin: true,
        gather: true,
        ..Config::default()
    }
}

/// The features that a part of an operation reads.
pub fn feature_names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("f{at}")).collect()
}

/// Prepares the read of an operation.
///
/// # Errors
/// The server's refusal.
pub fn prepare(client: &Client, operation: &Operation) -> Result<Plan, Error> {
    let names: Vec<_> = operation.of.iter().map(|part| feature_names(part.features)).collect();
    let views = operation.of.iter().zip(&names);
    let views: Vec<_> = views
        .map(|(part, names)| ViewFeatures {
            project: PROJECT,
            view: &part.view,
            version: 0,
            features: names.iter().map(String::as_str).collect(),
        })
        .collect();
    Ok(client.prepare(&views)?)
}

/// Requests of one thread over its connections.
pub struct WireSession {
    links: Vec<Link>,
    in_flight_max: usize,
    next: usize,
    idle_polls: u32,
    arrived: Vec<u64>,
    maker: Encoder,
}

struct Link {
    client: Client,
    plans: Vec<Option<Plan>>,
    /// By the numbers of their requests.
    flights: HashMap<u64, Flight>,
}

struct Flight {
    token: u64,
    what: What,
    operation: usize,
    /// All rows of a modify; of another that is to be checked, a row of the first part and the first of each other;
    /// nothing otherwise.
    rows: Vec<u64>,
    /// Where in the first part its row is.
    checked_row: usize,
}

enum What {
    Read(PendingRead),
    Write(PendingWrite),
}

impl What {
    fn number(&self) -> u64 {
        match self {
            Self::Read(pending) => pending.number(),
            Self::Write(pending) => pending.number(),
        }
    }
}

/// Turns requests into keys and batches.
struct Encoder {
    shared: Arc<Shared>,
    rows: Vec<Rows>,
    keys: Vec<Vec<Keys>>,
    batches: Vec<WriteBatch>,
    values: Vec<Value>,
    ack: Ack,
    sent: u32,
    checks: bool,
}

impl WireSession {
    /// Connects `connections` times and prepares every read. `checks`: answers are compared with what was
    /// written, which those of a null server are not.
    ///
    /// # Errors
    /// A refusal, or nobody there.
    pub fn open(
        address: &Address,
        shared: &Arc<Shared>,
        connections: usize,
        checks: bool,
    ) -> Result<Self, Error> {
        let workload = &shared.workload;
        let in_flight_max = workload.drive.in_flight;
        let mut links = Vec::new();
        for _ in 0..connections.max(1) {
            let client = Client::connect(address, config(in_flight_max))?;
            let plan = |operation: &Operation| match operation.kind {
                Kind::Read | Kind::Modify => prepare(&client, operation).map(Some),
                Kind::Write | Kind::Insert => Ok(None),
            };
            let plans = workload.operations.iter().map(plan).collect::<Result<_, _>>()?;
            links.push(Link { client, plans, flights: HashMap::new() });
        }
        let maker = Encoder::new(shared, &links[0], checks)?;
        let (next, idle_polls, arrived) = (0, 0, Vec::new());
        Ok(Self { links, in_flight_max, next, idle_polls, arrived, maker })
    }

    /// In flight now.
    pub fn in_flight(&self) -> usize {
        self.links.iter().map(|link| link.flights.len()).sum()
    }
}

impl Encoder {
    fn new(shared: &Arc<Shared>, link: &Link, checks: bool) -> Result<Self, Error> {
        let views = shared.workload.views.iter();
        let rows = views.clone().map(Rows::new).collect();
        let handles = views.map(|view| link.client.view(PROJECT, &view.name));
        let handles: Vec<ViewHandle> = handles.collect::<Result<_, _>>()?;
        let keys = |plan: &Option<Plan>| match plan {
            Some(plan) => (0..plan.views().len()).map(|view| plan.keys(view)).collect(),
            None => Ok(Vec::new()),
        };
        let keys = link.plans.iter().map(keys).collect::<Result<_, _>>()?;
        let ack = if shared.workload.drive.logged { Ack::Logged } else { Ack::Durable };
        let batches = handles.iter().map(WriteBatch::put).collect();
        let (values, sent) = (Vec::new(), 0);
        let shared = Arc::clone(shared);
        Ok(Self { shared, rows, keys, batches, values, ack, sent, checks })
    }

    fn read(&mut self, link: &Link, request: &Request) -> Result<PendingRead, Error> {
        let lists = &mut self.keys[request.operation];
        for (list, (view, rows)) in lists.iter_mut().zip(&request.parts) {
            push_keys(list, &self.rows[*view], rows)?;
        }
        let Some(plan) = &link.plans[request.operation] else {
            return Err(Error::Given("a write was asked to read".to_owned()));
        };
        let lists: Vec<&Keys> = lists.iter().collect();
        let matrix = self.shared.workload.operations[request.operation].matrix;
        let options = ReadOptions { matrix, ..ReadOptions::default() };
        Ok(link.client.send_read(plan, &lists, &options)?)
    }

    fn write(&mut self, client: &Client, view: usize, rows: &[u64]) -> Result<PendingWrite, Error> {
        let (made, batch) = (&self.rows[view], &mut self.batches[view]);
        batch.clear();
        // Without a producer: a refused row would make those after it wait for its repetition.
        batch.ack(self.ack).producer(0, 1);
        fill_batch(batch, made, rows, &mut self.values)?;
        Ok(client.send_write(batch)?)
    }

    /// The rows of a request that its answer is to be compared with, and where in the first part its row is.
    fn checked(&mut self, request: &Request) -> (Vec<u64>, usize) {
        let first = &request.parts[0].1;
        self.sent = self.sent.wrapping_add(1);
        if request.kind == Kind::Modify {
            return (first.clone(), 0);
        }
        if !self.checks || !self.sent.is_multiple_of(CHECK_EVERY) {
            return (Vec::new(), 0);
        }
        // Another row of the first part each time, the first of the others.
        let at = (self.sent / CHECK_EVERY) as usize % first.len().max(1);
        let others = request.parts.iter().skip(1).filter_map(|(_, rows)| rows.first());
        (first.get(at).into_iter().chain(others).copied().collect(), at)
    }

    /// Judges an answer: rows found, and now and then one of them against what was written.
    fn judge(&self, answer: &Answer, flight: &Flight) -> Result<End, Error> {
        let operation = &self.shared.workload.operations[flight.operation];
        let (mut rows, mut found) = (0, 0);
        for (part, view) in self.shared.views_of(flight.operation).iter().enumerate() {
            let Some(reply) = answer.view(part) else { continue };
            rows += reply.rows() as u32;
            found += present(&reply);
            if self.checks
                && let Some(row) = flight.rows.get(part)
            {
                let at = if part == 0 { flight.checked_row } else { 0 };
                check_row(&self.rows[*view], *row, at, &reply, operation.matrix)?;
            }
        }
        Ok(End::Answered { rows, found })
    }
}

/// Puts the keys of rows into a list.
///
/// # Errors
/// A key that does not fit: never of rows of the same workload.
pub fn push_keys(list: &mut Keys, made: &Rows, rows: &[u64]) -> Result<(), Error> {
    list.clear();
    for row in rows {
        if made.is_number() {
            list.push_packed(&row.to_le_bytes(), 1);
        } else {
            list.push(&[made.key(*row)])?;
        }
    }
    Ok(())
}

/// Puts rows into a batch, with the present time.
///
/// # Errors
/// Values that do not fit the view that is there.
pub fn fill_batch(
    batch: &mut WriteBatch,
    made: &Rows,
    rows: &[u64],
    values: &mut Vec<Value>,
) -> Result<(), Error> {
    let now = wall_us();
    for row in rows {
        made.fill(*row, values);
        batch.push(&[made.key(*row)], now, NO_TIME, values)?;
    }
    Ok(())
}

/// How a write ended.
pub fn judge_write(written: &Written) -> End {
    let ok = |outcome: &&RowOutcome| matches!(outcome, RowOutcome::Ok { .. });
    let rows = written.outcomes.len() as u32;
    let found = written.outcomes.iter().filter(ok).count() as u32;
    if found == rows {
        return End::Answered { rows, found };
    }
    let is_overload = |outcome: &RowOutcome| matches!(outcome, RowOutcome::Overloaded { .. });
    match written.outcomes.iter().any(is_overload) {
        true => End::Refused,
        false => End::Failed(format!("a row was not written: {}", written.message)),
    }
}

/// An error of one request: a refusal for want of room, or a failure.
pub fn judge_error(error: &thermae_client::Error) -> End {
    match error.category() {
        Some(ErrorCategory::RetryLater) => End::Refused,
        _ => End::Failed(error.to_string()),
    }
}

impl Session for WireSession {
    fn room(&self) -> usize {
        let room = |link: &Link| self.in_flight_max.saturating_sub(link.flights.len());
        self.links.iter().map(room).sum()
    }

    fn send(&mut self, request: &Request, token: u64) -> Result<(), Error> {
        let count = self.links.len();
        let has_room = |at: &usize| self.links[*at].flights.len() < self.in_flight_max;
        let chosen = (0..count).map(|step| (self.next + step) % count).find(has_room);
        let chosen = chosen.unwrap_or(self.next);
        self.next = (chosen + 1) % count;
        let link = &mut self.links[chosen];
        let what = match request.kind {
            Kind::Read | Kind::Modify => What::Read(self.maker.read(link, request)?),
            Kind::Write | Kind::Insert => {
                let (view, rows) = &request.parts[0];
                What::Write(self.maker.write(&link.client, *view, rows)?)
            }
        };
        let ((rows, checked_row), operation) = (self.maker.checked(request), request.operation);
        let flight = Flight { token, what, operation, rows, checked_row };
        link.flights.insert(flight.what.number(), flight);
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.idle_polls = self.idle_polls.wrapping_add(1);
        let look = self.idle_polls.is_multiple_of(LOOK_EVERY);
        for link in &mut self.links {
            if link.flights.is_empty() {
                continue;
            }
            self.arrived.clear();
            link.client.receive(&mut self.arrived);
            if look {
                // Those whose connection is lost, and those that are too late.
                self.arrived.extend(link.flights.keys());
            }
            for number in &self.arrived {
                let Some(flight) = link.flights.remove(number) else { continue };
                match step(&link.client, &mut self.maker, flight)? {
                    Stepped::Ended(done_now) => done.push(done_now),
                    Stepped::GoesOn(flight) => {
                        link.flights.insert(flight.what.number(), flight);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What became of a request.
enum Stepped {
    Ended(Done),
    GoesOn(Flight),
}

/// Moves a request on, if its answer has come.
fn step(client: &Client, maker: &mut Encoder, mut flight: Flight) -> Result<Stepped, Error> {
    let end = match &mut flight.what {
        What::Read(pending) => match pending.take() {
            None => return Ok(Stepped::GoesOn(flight)),
            Some(Err(error)) => judge_error(&error),
            Some(Ok(answer)) => {
                let end = maker.judge(&answer, &flight)?;
                if maker.shared.workload.operations[flight.operation].kind == Kind::Modify {
                    let view = maker.shared.views_of(flight.operation)[0];
                    flight.what = What::Write(maker.write(client, view, &flight.rows)?);
                    return Ok(Stepped::GoesOn(flight));
                }
                end
            }
        },
        What::Write(pending) => match pending.take() {
            None => return Ok(Stepped::GoesOn(flight)),
            Some(Err(error)) => judge_error(&error),
            Some(Ok(written)) => judge_write(&written),
        },
    };
    Ok(Stepped::Ended(Done { token: flight.token, end }))
}
