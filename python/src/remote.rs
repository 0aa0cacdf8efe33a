//! A store over the wire: the client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_pyarrow::{PyArrowType, Table};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Deserialize;
use thermae_client::{
    Ack, Client, Config, Error as ClientError, Keys, PendingWrite, ReadOptions, RowOutcome,
    ViewHandle, WriteBatch,
};
use thermae_features::definitions;
use thermae_features::model::Name;
use thermae_formats::{FeatureView, NO_TIME};
use thermae_server::ingest::load::{self, Report, Writer};
use thermae_server::ingest::rejects::Rejects;
use thermae_server::ingest::{IngestError, Row};

use crate::answer::{Answer, Held};
use crate::entities::Entities;
use crate::errors::{Fault, Result};
use crate::history;
use crate::mapped::MappedReaders;
use crate::pending::Pending;
use crate::resolve::{Asked, Resolved, resolve};
use crate::rows::{ArrowRows, Layout, streams};
use crate::scan::EntityKeys;

/// A store over the wire.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct Remote {
    client: Client,
    project: Option<String>,
    mapped: Option<MappedReaders>,
    /// Views that were written, by identity, with the schema that they were written by.
    handles: Mutex<HashMap<u32, (u16, ViewHandle)>>,
}

/// What was asked for, compiled.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct RemotePlan {
    /// Names it among the plans of its store.
    name: String,
    resolved: Resolved,
}

#[pymethods]
impl RemotePlan {
    /// What requests call the join keys, each once.
    #[getter]
    fn join_keys(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.resolved.keys.iter().flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// What the reader should know.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.resolved.warnings.clone()
    }
}

#[pymethods]
impl Remote {
    /// Connects. Times are seconds.
    #[new]
    #[pyo3(signature = (address, *, project, pool_size, spin, timeout_s, connect_timeout_s, mapped))]
    fn new(
        py: Python<'_>,
        address: &str,
        project: Option<String>,
        pool_size: usize,
        spin: bool,
        timeout_s: f64,
        connect_timeout_s: f64,
        mapped: bool,
    ) -> Result<Self> {
        let address = address.parse()?;
        let config = Config {
            pool_size,
            spin,
            request_timeout: seconds(timeout_s)?,
            connect_timeout: seconds(connect_timeout_s)?,
            client_name: concat!("thermae-python/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Config::default()
        };
        py.detach(|| {
            let client = Client::connect(&address, config)?;
            let mapped = match mapped {
                true => Some(MappedReaders::open(&client, project.as_deref().unwrap_or(""))?),
                false => None,
            };
            Ok(Remote { client, project, mapped, handles: Mutex::default() })
        })
    }

    /// Finds what is asked for.
    #[pyo3(signature = (features, service, full_names))]
    fn prepare(
        &self,
        py: Python<'_>,
        features: Option<Vec<String>>,
        service: Option<&str>,
        full_names: bool,
    ) -> Result<RemotePlan> {
        let asked = self.asked(features.as_deref(), service, full_names)?;
        let resolved = py.detach(|| resolve(&self.client, &asked))?;
        let picks: Vec<String> = resolved.picks.iter().map(ToString::to_string).collect();
        Ok(RemotePlan { name: picks.join(" "), resolved })
    }

    /// Reads what was prepared.
    fn read(
        &self,
        py: Python<'_>,
        plan: &RemotePlan,
        entities: &Bound<'_, PyDict>,
        read_time: Option<i64>,
        matrix: bool,
    ) -> PyResult<Answer> {
        let entities = Entities::of(entities)?;
        let options = options(read_time, matrix);
        let resolved = &plan.resolved;
        let read = || -> Result<(Held, i64)> {
            let keys = keys(resolved, &entities)?;
            if let Some(mapped) = &self.mapped {
                let answers = mapped.read(&plan.name, &resolved.plan, &keys, &options)?;
                return Ok((Held::Mapped(answers), options.read_time));
            }
            let keys: Vec<&Keys> = keys.iter().collect();
            let answer = self.client.read(&resolved.plan, &keys, &options)?;
            let read_time = answer.read_time();
            Ok((Held::Wire(answer), read_time))
        };
        let (held, read_time) = py.detach(read)?;
        Ok(Answer::new(held, Arc::clone(&resolved.columns), entities.rows(), read_time))
    }

    /// Sends the same read, to be awaited.
    fn send_read(
        &self,
        py: Python<'_>,
        plan: &RemotePlan,
        entities: &Bound<'_, PyDict>,
        read_time: Option<i64>,
        matrix: bool,
    ) -> PyResult<Pending> {
        let entities = Entities::of(entities)?;
        let options = options(read_time, matrix);
        let resolved = &plan.resolved;
        let read = py.detach(|| -> Result<_> {
            let keys = keys(resolved, &entities)?;
            let keys: Vec<&Keys> = keys.iter().collect();
            Ok(self.client.send_read(&resolved.plan, &keys, &options)?)
        })?;
        Ok(Pending::new(read, Arc::clone(&resolved.columns), entities.rows()))
    }

    /// Judges every row of a table, then writes them. `producer` 0 is nobody. The outcome is JSON.
    fn push(
        &self,
        py: Python<'_>,
        view: &str,
        table: &Bound<'_, PyAny>,
        layout: Layout,
        durable: bool,
        producer: u64,
    ) -> PyResult<String> {
        let (check, write) = streams(table)?;
        let report = py.detach(|| -> Result<Report> {
            let described = self.described(view)?;
            if check.check(&described.definition, &layout)? == 0 {
                return Ok(Report::default());
            }
            let ack = if durable { Ack::Durable } else { Ack::Logged };
            self.write(&described, write, &layout, ack, producer)
        })?;
        Ok(serde_json::to_string(&report).map_err(|e| Fault::store(e.to_string()))?)
    }

    /// Joins features onto a spine as of each row's time.
    #[pyo3(signature = (features, service, full_names, time_column, as_of_known, spine))]
    fn history(
        &self,
        py: Python<'_>,
        features: Option<Vec<String>>,
        service: Option<&str>,
        full_names: bool,
        time_column: &str,
        as_of_known: bool,
        spine: PyArrowType<RecordBatchStreamReader>,
    ) -> Result<PyArrowType<Table>> {
        let asked = self.asked(features.as_deref(), service, full_names)?;
        let client = &self.client;
        let table =
            py.detach(|| history::remote(client, &asked, time_column, as_of_known, spine.0));
        table.map(PyArrowType)
    }

    /// The join keys of the entities that the one view of a plan has rows of.
    fn entity_keys<'py>(&self, py: Python<'py>, plan: &RemotePlan) -> PyResult<Bound<'py, PyDict>> {
        py.detach(|| EntityKeys::remote(&self.client, &plan.resolved.plan))?.to_dict(py)
    }

    /// Applies definitions as a file holds them; the outcome is JSON.
    fn apply(&self, py: Python<'_>, name: &str, text: &str, dry_run: bool) -> Result<String> {
        py.detach(|| {
            let read = definitions::read(name, text).map_err(thermae_features::Error::from)?;
            let request = serde_json::json!({ "objects": read.objects, "dry_run": dry_run });
            Ok(self.client.apply(&request.to_string())?)
        })
    }

    /// The feature views, as JSON.
    fn describe(&self, py: Python<'_>) -> Result<String> {
        Ok(py.detach(|| self.client.describe(self.project.as_deref(), None))?)
    }
}

impl Remote {
    fn asked(
        &self,
        features: Option<&[String]>,
        service: Option<&str>,
        full_names: bool,
    ) -> Result<Asked> {
        Asked::of(features, service, full_names, self.project.as_deref())
    }

    /// The view that a name means, by its newest schema.
    fn described(&self, view: &str) -> Result<Described> {
        let name: Name = view.parse().map_err(Fault::invalid)?;
        let project = name.project.as_deref().or(self.project.as_deref());
        // A view that is not there is no error of DESCRIBE where no project is named.
        let json = self.client.describe(project, Some(&name.name))?;
        let told: DescribeReply = serde_json::from_str(&json)
            .map_err(|error| Fault::store(format!("DESCRIBE is not understood: {error}")))?;
        let of_version = |described: &Described| {
            name.version.map_or(described.serving, |v| v == described.definition.version)
        };
        let mut found = told.views.into_iter().filter(of_version);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => Err(Fault::invalid(format!(
                "{view} is in several projects ({}, {}): write PROJECT/{}",
                one.definition.project, other.definition.project, name.name
            ))),
            (None, _) => Err(Fault::not_found(format!("there is no feature view {view}"))),
        }
    }

    fn handle(&self, described: &Described) -> Result<ViewHandle> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((schema_id, handle)) = handles.get(&described.view_id)
            && *schema_id == described.schema_id
        {
            return Ok(handle.clone());
        }
        let view = &described.definition;
        let handle = self.client.view_version(&view.project, &view.name, view.version)?;
        handles.insert(described.view_id, (handle.view().schema_id, handle.clone()));
        Ok(handle)
    }

    fn write(
        &self,
        described: &Described,
        mut rows: ArrowRows,
        layout: &Layout,
        ack: Ack,
        producer: u64,
    ) -> Result<Report> {
        let view = &described.definition;
        let mapping = rows.mapping(view, layout)?;
        let handle = self.handle(described)?;
        let mut writer = ClientWriter { client: &self.client, handle, ack, producer, lost: None };
        let rejects = Rejects::new(None)?;
        let report = load::load(&mut rows, view, mapping, &mut writer, rejects, &mut |_| {});
        let report = match (report, writer.lost) {
            (Ok(report), _) => report,
            (Err(_), Some(error)) => return Err(error.into()),
            (Err(error), None) => return Err(error.into()),
        };
        if report.rejected == 0 {
            return Ok(report);
        }
        let reasons: Vec<String> =
            report.reasons.iter().map(|r| format!("{} ({} rows)", r.example, r.rows)).collect();
        Err(Fault::not_applied(
            format!(
                "{} of {} rows were refused, the others are written: {}",
                report.rejected,
                report.rows,
                reasons.join("; ")
            ),
            Vec::new(),
        ))
    }
}

#[derive(Deserialize)]
struct DescribeReply {
    views: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    view_id: u32,
    schema_id: u16,
    definition: FeatureView,
    #[serde(default)]
    serving: bool,
}

/// Writes rows of one view under one producer, and keeps what ended it.
struct ClientWriter<'c> {
    client: &'c Client,
    handle: ViewHandle,
    ack: Ack,
    producer: u64,
    lost: Option<ClientError>,
}

impl ClientWriter<'_> {
    fn keep<T>(
        &mut self,
        done: std::result::Result<T, ClientError>,
    ) -> std::result::Result<T, IngestError> {
        done.map_err(|error| {
            let told = IngestError::Server(error.to_string());
            self.lost = Some(error);
            told
        })
    }
}

impl Writer for ClientWriter<'_> {
    type Pending = PendingWrite;

    fn send(&mut self, rows: &[Row]) -> std::result::Result<PendingWrite, IngestError> {
        let mut batch = WriteBatch::put(&self.handle);
        batch.ack(self.ack);
        batch.producer(self.producer, rows.first().map_or(1, |row| row.number));
        for row in rows {
            let numbered = batch.sequence(row.number).map(|_| ());
            self.keep(numbered)?;
            let times = [row.event_time, row.created_time, NO_TIME];
            batch.push_encoded(&row.key_bytes, &row.value_bytes, row.dense, times);
        }
        let sent = self.client.send_write(&mut batch);
        self.keep(sent)
    }

    fn wait(&mut self, pending: PendingWrite) -> std::result::Result<Vec<RowOutcome>, IngestError> {
        let written = pending.wait().map(|written| written.outcomes);
        self.keep(written)
    }

    fn pause(&mut self, duration: Duration) {
        // The caller waits here in any case, and without the GIL.
        std::thread::sleep(duration);
    }
}

fn keys(resolved: &Resolved, entities: &Entities) -> Result<Vec<Keys>> {
    let views = resolved.keys.iter().enumerate();
    views.map(|(view, names)| entities.keys(&resolved.plan, view, names)).collect()
}

fn options(read_time: Option<i64>, matrix: bool) -> ReadOptions {
    ReadOptions {
        matrix,
        event_times: !matrix,
        read_time: read_time.unwrap_or(NO_TIME),
        ..ReadOptions::default()
    }
}

fn seconds(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| Fault::invalid(format!("a timeout of {seconds} s: {error}")))
}
