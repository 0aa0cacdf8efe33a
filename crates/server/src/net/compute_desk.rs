//! The helper threads that read features by name, those that are computed at the read among them: rows may have to
//! be fetched and every row is evaluated, which no shard waits for. It is what HTTP does, from and to other bytes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use thermae_env::Env;
use thermae_features::model::RequestField;
use thermae_features::store::{Ask, EntityColumns, FeatureStore, WantedKey};
use thermae_features::{Error, store::OnlineAnswer};
use thermae_formats::wire::{ComputeRequest, ErrorCode, Frame, HEADER_BYTES, Kind};
use thermae_formats::{Feature, KeyValue, NO_TIME, RowLayout, Value};

use super::failure::Failure;
use super::helper::Helper;
use super::registry_desk;
use super::scan_arrivals::{Destination, Page};
use crate::serve::limits::Limits;

/// Threads, as many as work on requests by HTTP.
const THREADS: usize = 4;
/// Requests that wait for them at most.
const WAITING_MAX: usize = 256;

/// A COMPUTE that somebody waits for.
pub struct Computation {
    /// The whole frame.
    pub frame: Vec<u8>,
    /// Id of the request.
    pub request_id: u64,
    /// When it came, monotonic nanoseconds.
    pub received_ns: u64,
    /// Largest frame that may be sent, in bytes.
    pub max_frame_bytes: u32,
    /// Who waits.
    pub destination: Destination,
}

/// The helper threads.
pub struct ComputeDesk(Helper<Computation>);

impl ComputeDesk {
    /// Starts them over a feature store.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start<E: Env>(
        env: E,
        features: Arc<FeatureStore<E>>,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let work = move |computation: Computation| {
            let answer = answer(&env, &features, &limits, &computation);
            computation.destination.put(answer);
        };
        Helper::start_several("computed features", THREADS, WAITING_MAX, work).map(Self)
    }

    /// Where computations go.
    pub fn computations(&self) -> SyncSender<Option<Computation>> {
        self.0.requests()
    }
}

fn answer<E: Env>(
    env: &E,
    features: &FeatureStore<E>,
    limits: &Limits,
    computation: &Computation,
) -> Page {
    let bytes = computation.frame.as_slice();
    let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let (kind_code, request_id) = (Kind::Compute as u8, computation.request_id);
    let frame = Frame { kind_code, request_id, bytes, payload };
    let request = ComputeRequest::decode(&frame, &limits.wire())?;
    let deadline_ns = u64::from(request.deadline_us) * 1_000;
    if deadline_ns > 0 && env.monotonic_ns() > computation.received_ns + deadline_ns {
        let text = "the deadline passed before the request was reached: the server is behind";
        return Err(Failure::new(ErrorCode::DeadlineExceeded, text));
    }
    let answer = online(features, limits, &request)?;
    if answer.registry_version != request.registry_version {
        let text = "the registry has changed since the client asked what there is: ask again";
        return Err(Failure::new(ErrorCode::StaleSchema, text));
    }
    answer
        .to_frame(request_id, request.event_times, computation.max_frame_bytes)
        .map_err(|error| Failure::new(ErrorCode::TooLarge, error.to_string()))
}

fn online<E: Env>(
    features: &FeatureStore<E>,
    limits: &Limits,
    request: &ComputeRequest<'_>,
) -> Result<OnlineAnswer, Failure> {
    let ask = Ask::of_json(request.ask).map_err(failure)?;
    let ask = match request.read_time {
        NO_TIME => ask,
        time => ask.at(time),
    };
    let wanted = features.wanted(&ask).map_err(failure)?;
    let rows = request.rows.len();
    limits.check_read(&wanted, rows).map_err(|what| Failure::new(ErrorCode::TooMany, what))?;
    let brought = Brought::new(request).map_err(|what| Failure::new(ErrorCode::BadInput, what))?;
    let entities = wanted.entity_rows(rows, &brought).map_err(failure)?;
    features.get_online_features(&ask, &entities).map_err(failure)
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Invalid(what) => Failure::new(ErrorCode::BadInput, what),
        error => registry_desk::failure(error),
    }
}

/// The rows of a request.
struct Brought<'a> {
    request: &'a ComputeRequest<'a>,
    rows: Vec<Vec<Value>>,
}

impl<'a> Brought<'a> {
    fn new(request: &'a ComputeRequest<'a>) -> Result<Self, String> {
        let mut names = HashSet::new();
        if let Some(twice) = request.columns.iter().find(|column| !names.insert(column.name)) {
            return Err(format!("column {:?} is there twice", twice.name));
        }
        let columns = request.columns.iter();
        let columns: Vec<Feature> =
            columns.map(|column| Feature::new(column.name, column.value_type.clone())).collect();
        let layout = RowLayout::new(&columns).map_err(|e| e.to_string())?;
        let row = |(at, row): (usize, &thermae_formats::wire::ComputeRow<'_>)| {
            layout.decode(row.value, row.dense).map_err(|e| format!("row {at}: {e}"))
        };
        let rows = request.rows.iter().enumerate().map(row).collect::<Result<_, _>>()?;
        Ok(Self { request, rows })
    }

    /// The place of a column.
    fn column(&self, name: &str) -> Option<usize> {
        self.request.columns.iter().position(|column| column.name == name)
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &Value> {
        self.rows.iter().filter_map(move |row| row.get(column))
    }
}

impl EntityColumns for Brought<'_> {
    fn keys(&self, key: &WantedKey) -> Option<Result<Vec<KeyValue>, String>> {
        let cells = self.cells(self.column(&key.name)?).enumerate();
        let value = |(row, value): (usize, &Value)| {
            KeyValue::of_value(value, &key.name, key.key_type)
                .map_err(|e| format!("row {row} of the {e}"))
        };
        Some(cells.map(value).collect())
    }

    fn values(&self, field: &RequestField) -> Option<Result<Vec<Value>, String>> {
        Some(Ok(self.cells(self.column(&field.name)?).cloned().collect()))
    }

    fn names(&self) -> Vec<String> {
        self.request.columns.iter().map(|column| column.name.to_owned()).collect()
    }
}
