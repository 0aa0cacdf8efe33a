//! What a workload is driven at: a server, a server's maps, or a store in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thermae_client::{Address, Client, WriteBatch};
use thermae_engine::options::Options;
use thermae_engine::store::Store;
use thermae_engine::write::Ack;

use crate::clock::pause;
use crate::embedded::{EmbeddedSession, judge_outcomes, write_batch};
use crate::error::Error;
use crate::figures::Figures;
use crate::machine::Process;
use crate::maker::{Request, Shared};
use crate::mapped::MappedSession;
use crate::session::{End, Session};
use crate::values::Rows;
use crate::wire::{WireSession, config, fill_batch, judge_write};
use crate::workload::{Kind, PROJECT};

/// Rows of one write while loading, at most.
const LOAD_ROWS: u64 = 2000;
/// Bytes of one write while loading, about.
const LOAD_BYTES: usize = 4 << 20;
/// Bytes of a row in a write beside its key and value, at most.
const ROW_FRAME_BYTES: usize = 48;
/// Pause before a refused write of a load is repeated.
const LOAD_PAUSE: Duration = Duration::from_millis(5);
/// Repetitions of one write of a load.
const LOAD_RETRIES: u32 = 2000;
/// Rows of a view that are looked at before it is taken for loaded.
const SAMPLE_ROWS: u64 = 64;

/// Which way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "way")]
pub enum Way {
    /// Over a socket.
    Wire {
        /// Where the server is.
        server: String,
    },
    /// Through the server's maps.
    Mapped {
        /// Its unix socket.
        server: String,
    },
    /// A store in this process.
    Embedded {
        /// Its directory.
        data: PathBuf,
        /// Memory in bytes.
        memory_bytes: u64,
        /// Shards.
        cores: usize,
    },
}

impl Way {
    /// One word for tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Wire { .. } => "wire",
            Self::Mapped { .. } => "mapped",
            Self::Embedded { .. } => "embedded",
        }
    }
}

/// An open way in.
pub struct Target {
    way: Way,
    open: Open,
}

enum Open {
    Server { address: Address, client: Client, mapped: bool },
    Store(Arc<Store>),
}

impl Target {
    /// Connects, or opens the directory.
    ///
    /// # Errors
    /// An address that is none, nobody there, a directory that does not open.
    pub fn open(way: Way) -> Result<Self, Error> {
        let open = match &way {
            Way::Wire { server } | Way::Mapped { server } => {
                let address: Address = server.parse()?;
                let mapped = matches!(way, Way::Mapped { .. });
                if mapped && !matches!(address, Address::Unix(_)) {
                    let what =
                        "the mapped path needs the server's unix socket: --server unix:/PATH";
                    return Err(Error::Given(what.to_owned()));
                }
                let client = Client::connect(&address, config(64))?;
                Open::Server { address, client, mapped }
            }
            Way::Embedded { data, memory_bytes, cores } => {
                let options =
                    Options { memory_bytes: *memory_bytes, cores: *cores, ..Options::default() };
                Open::Store(Arc::new(Store::open_with(data, options)?))
            }
        };
        Ok(Self { way, open })
    }

    /// Which way in it is.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Defines the workload's views; what is there as it must be stays.
    ///
    /// # Errors
    /// A view of that name that has other features: drop the data or name the view otherwise.
    pub fn define(&self, shared: &Shared) -> Result<(), Error> {
        let views = shared.workload.views.iter().map(crate::workload::View::definition);
        let views: Vec<_> = views.collect();
        let told = |error: String| {
            Error::Given(format!(
                "the views of this workload cannot be defined, because the project {PROJECT:?} has others of \
                 that name: {error}. Use an empty data directory, or other names"
            ))
        };
        match &self.open {
            Open::Store(store) => {
                store.apply(&views).map_err(|error| told(error.to_string()))?;
            }
            Open::Server { client, .. } => {
                let json = views.iter().map(thermae_formats::FeatureView::to_json);
                let json: Vec<Vec<u8>> =
                    json.collect::<Result<_, _>>().map_err(|error| told(error.to_string()))?;
                let json: Vec<_> = json.iter().map(|json| String::from_utf8_lossy(json)).collect();
                let apply = format!("{{\"views\":[{}]}}", json.join(","));
                client.apply(&apply).map_err(|error| told(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// A way in for one thread.
    ///
    /// # Errors
    /// A refusal.
    pub fn session(
        &self,
        shared: &Arc<Shared>,
        connections: usize,
    ) -> Result<Box<dyn Session + Send>, Error> {
        Ok(match &self.open {
            Open::Store(store) => Box::new(EmbeddedSession::open(store, shared)?),
            Open::Server { address, mapped: true, .. } => {
                Box::new(MappedSession::open(address, shared, connections)?)
            }
            Open::Server { address, .. } => {
                Box::new(WireSession::open(address, shared, connections, true)?)
            }
        })
    }

    /// Figures of the store by now.
    ///
    /// # Errors
    /// The server is gone, or tells what is no JSON.
    pub fn figures(&self) -> Result<Figures, Error> {
        match &self.open {
            Open::Server { client, .. } => Figures::from_json(&client.stats()?),
            Open::Store(store) => {
                let engine = serde_json::to_value(store.handle().stats())
                    .map_err(|error| Error::Given(format!("the store's figures: {error}")))?;
                Ok(Figures::from_engine(&engine).with_process(Process::here()))
            }
        }
    }

    /// Whether a few rows of a view, the last one among them, are there and right.
    ///
    /// # Errors
    /// The way in broke.
    fn is_loaded(&self, shared: &Arc<Shared>, view: usize) -> Result<bool, Error> {
        let entities = shared.workload.views[view].entities;
        let sample = SAMPLE_ROWS.min(entities);
        let rows = (1..=sample).map(|at| (entities - 1) * at / sample).collect();
        let asked = sampled(shared, view)?;
        let mut session = self.session(&asked, 1)?;
        let request = Request { operation: 0, kind: Kind::Read, parts: vec![(0, rows)] };
        let mut done = Vec::new();
        // As many as it takes for one to be compared with what was written.
        for token in 0..u64::from(crate::session::CHECK_EVERY) {
            session.send(&request, token)?;
            while done.is_empty() {
                match session.poll(&mut done) {
                    Err(Error::Wrong(_)) => return Ok(false),
                    other => other?,
                }
            }
            match done.pop().map(|done| done.end) {
                Some(End::Answered { rows, found }) if rows == found => {}
                Some(End::Failed(why)) => return Err(Error::Given(why)),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Writes every row of every view that is not there already; how many were written. `told` is called with
    /// rows done of all.
    ///
    /// # Errors
    /// A row that is refused for another cause than want of room.
    pub fn load(&self, shared: &Arc<Shared>, mut told: impl FnMut(u64, u64)) -> Result<u64, Error> {
        let mut wanted = Vec::new();
        for at in 0..shared.workload.views.len() {
            if !self.is_loaded(shared, at)? {
                wanted.push(at);
            }
        }
        let all = wanted.iter().map(|at| shared.workload.views[*at].entities).sum();
        let mut written = 0;
        for at in wanted {
            let view = &shared.workload.views[at];
            let made = Rows::new(view);
            // What a row takes in a frame beside key and value: times, lengths.
            let row_bytes = crate::shape::payload_bytes(view) as usize + ROW_FRAME_BYTES;
            let (most_rows, most_bytes) = self.write_limits()?;
            let step = ((most_bytes / row_bytes) as u64).clamp(1, most_rows);
            let mut first = 0;
            while first < view.entities {
                let ids: Vec<u64> = (first..view.entities.min(first + step)).collect();
                self.write_all(&made, &view.name, &ids)?;
                first += ids.len() as u64;
                written += ids.len() as u64;
                told(written, all);
            }
        }
        Ok(written)
    }

    /// Rows and bytes of one write while loading, at most.
    fn write_limits(&self) -> Result<(u64, usize), Error> {
        let Open::Server { client, .. } = &self.open else { return Ok((LOAD_ROWS, LOAD_BYTES)) };
        let limits = client.server()?.limits;
        let frame_bytes = limits.max_frame_bytes as usize;
        let rows = LOAD_ROWS.min(u64::from(limits.max_rows_per_write));
        Ok((rows, LOAD_BYTES.min(frame_bytes / 2)))
    }

    /// Writes rows, as often as it takes while there is no room.
    fn write_all(&self, made: &Rows, view: &str, ids: &[u64]) -> Result<(), Error> {
        let (mut values, mut encoded) = (Vec::new(), Vec::new());
        for _ in 0..LOAD_RETRIES {
            let end = match &self.open {
                Open::Server { client, .. } => {
                    let handle = client.view(PROJECT, view)?;
                    let mut batch = WriteBatch::put(&handle);
                    batch.producer(0, 1);
                    fill_batch(&mut batch, made, ids, &mut values)?;
                    judge_write(&client.write(&mut batch)?)
                }
                Open::Store(store) => {
                    let catalogue = store.handle().catalogue();
                    let view = catalogue.resolve(&format!("{PROJECT}/{view}"))?;
                    let batch =
                        write_batch(view, made, ids, Ack::Durable, &mut values, &mut encoded)?;
                    judge_outcomes(&store.handle().write(batch)?)
                }
            };
            match end {
                End::Answered { .. } => return Ok(()),
                End::Refused => pause(LOAD_PAUSE),
                End::Failed(why) => return Err(Error::Given(why)),
            }
        }
        Err(Error::Given(format!("{view}: the load was refused {LOAD_RETRIES} times")))
    }
}

/// A workload that only reads one view of another, all features.
fn sampled(shared: &Arc<Shared>, view: usize) -> Result<Arc<Shared>, Error> {
    use crate::workload::{Count, Operation, Part, Workload};
    let view = shared.workload.views[view].clone();
    let part = Part { view: view.name.clone(), keys: Count::Exactly(1), features: 0 };
    let operation = Operation {
        kind: Kind::Read,
        weight: 1.0,
        of: vec![part],
        keys: crate::keys::Keys::Uniform,
        same_keys: false,
        consecutive: false,
        matrix: false,
    };
    let workload = Workload {
        name: "sample".to_owned(),
        description: String::new(),
        views: vec![view],
        operations: vec![operation],
        drive: crate::workload::Drive::default(),
    };
    Shared::new(workload)
}
